//! Cases about what is pending: putting versions and acknowledging them, also concurrently.

use crate::{cases::cases, steps::*};
use beckon_store::Store;
use beckon_types::{Ack, PutVersionOutcome, Version};
use futures_util::future::{join, join_all};
use std::{collections::BTreeSet, sync::Arc};

/// The number of times that a race is run.
const RACES: usize = 40;

/// Whether acknowledging `number` removes `pending`.
async fn removes(store: &Arc<dyn Store>, pending: u64, number: f64) -> bool {
    let client = connected(store, 1).await;
    let channel = client.channels[0];
    stored(store, client.id, channel, pending).await;
    ack(store, client.id, channel, Some(number)).await;
    let left = pending_on(store, &client, channel).await;
    assert!(left.is_none() || left == Some(pending), "{left:?}");
    left.is_none()
}

cases! { $ pending pending_cases:

/// It replaces the version that was pending, even a larger one.
async fn the_last_version_written_is_pending(store) {
    let client = connected(&store, 1).await;
    let channel = client.channels[0];
    for number in [0, 12_345_789, 1, Version::MAX, Version::MAX - 1, 1 << 53, (1 << 53) + 1, 0] {
        let (_, presence) = stored(&store, client.id, channel, number).await;
        assert_eq!(presence, Some(client.presence));
        assert_eq!(pending_on(&store, &client, channel).await, Some(number));
    }
}

/// Each write has a higher sequence than all earlier writes to the same client.
async fn each_write_has_a_higher_sequence(store) {
    let client = connected(&store, 2).await;
    let mut last = snapshot(&store, &client).await.sequence;
    for round in 0..20 {
        let (sequence, _) = stored(&store, client.id, client.channels[round % 2], 1).await;
        assert!(sequence > last, "{sequence:?} after {last:?}");
        last = sequence;
        if round % 5 == 0 {
            ack(&store, client.id, client.channels[0], None).await;
            release(&store, client.id, client.presence).await;
            claim(&store, simplepush(client.id, client.presence)).await;
        }
    }
}

/// The outcome has the sequence of the write before it, which a snapshot before it has too.
async fn each_write_names_the_one_before_it(store) {
    let mut client = connected(&store, 2).await;
    let mut last = snapshot(&store, &client).await.sequence;
    for round in 0..10 {
        let channel = client.channels[round % 2];
        let PutVersionOutcome::Stored { sequence, previous, .. } = put(&store, client.id, channel, 1).await else {
            panic!("expected a stored version")
        };
        assert_eq!(previous, last, "in round {round}");
        last = sequence;
        // None of these is a write.
        ack(&store, client.id, channel, None).await;
        unregister(&store, &client, channel).await;
        register(&store, &client, channel).await;
        assert_eq!(put(&store, client.id, new_channel(), 1).await, PutVersionOutcome::Gone);
        release(&store, client.id, client.presence).await;
        client.presence = new_presence();
        assert_eq!(claim(&store, simplepush(client.id, client.presence)).await.2.sequence, last);
    }
}

/// An unknown UAID, or a channel that is not registered to it, is gone.
async fn a_put_to_what_is_not_registered_is_gone(store) {
    let client = connected(&store, 1).await;
    let other = connected(&store, 1).await;
    assert_eq!(put(&store, new_client_id(), client.channels[0], 1).await, PutVersionOutcome::Gone);
    assert_eq!(put(&store, client.id, new_channel(), 1).await, PutVersionOutcome::Gone);
    assert_eq!(put(&store, client.id, other.channels[0], 1).await, PutVersionOutcome::Gone);
    assert_eq!(snapshot(&store, &client).await.sequence, Default::default(), "nothing was written");
}

/// A version that is put while the client is offline is pending at the next hello.
async fn a_version_waits_for_the_next_hello(store) {
    let client = offline(&store, 1).await;
    assert_eq!(stored(&store, client.id, client.channels[0], 3).await.1, None);
    let (_, _, claimed) = claim(&store, simplepush(client.id, new_presence())).await;
    assert_eq!(pending(&claimed), [(client.channels[0], Some(3))].into());
}

/// Removes the pending version if the acknowledged version equals it as an IEEE double.
async fn an_acknowledgement_is_compared_as_a_double(store) {
    for (pending, number, expected) in [
        (0, 0.0, true),
        (0, -0.0, true),
        (7, 7.0, true),
        (7, 7.5, false),
        (7, 6.0, false),
        (7, -7.0, false),
        ((1 << 53) + 1, 9_007_199_254_740_992.0, true),
        ((1 << 53) + 1, 9_007_199_254_740_994.0, false),
        (Version::MAX, 9_223_372_036_854_775_808.0, true),
        (Version::MAX, 9_223_372_036_854_774_784.0, false),
        (1_234_567_890_123_456_789, 1_234_567_890_123_456_800.0, true),
        (1, f64::MIN_POSITIVE, false),
        (1, f64::NAN, false),
        (1, f64::INFINITY, false),
        (Version::MAX, f64::INFINITY, false),
        (0, f64::NEG_INFINITY, false),
    ] {
        assert_eq!(removes(&store, pending, number).await, expected, "{pending} acknowledged as {number}");
    }
}

/// An acknowledgement that names no version removes any pending version.
async fn an_acknowledgement_without_a_version_removes_any_pending_version(store) {
    let client = connected(&store, 2).await;
    for channel in &client.channels {
        stored(&store, client.id, *channel, 9).await;
    }
    ack(&store, client.id, client.channels[0], None).await;
    let expected = [(client.channels[0], None), (client.channels[1], Some(9))];
    assert_eq!(pending(&snapshot(&store, &client).await), expected.into());
}

/// Several acknowledgements are one step, and do not change the spelling of their channels.
async fn several_channels_are_acknowledged_in_one_step(store) {
    let client = connected(&store, 3).await;
    for (number, channel) in client.channels.iter().enumerate() {
        stored(&store, client.id, *channel, number as u64).await;
    }
    let before = snapshot(&store, &client).await;
    let ack = |index: usize, version| Ack { channel: client.channels[index], version };
    let acks = vec![ack(0, Some(0.0)), ack(1, Some(5.0)), ack(2, None), ack(0, Some(3.0))];
    store.ack_versions(client.id, acks).await.expect("ack_versions");
    let after = snapshot(&store, &client).await;
    let expected = [(client.channels[0], None), (client.channels[1], Some(1)), (client.channels[2], None)];
    assert_eq!(pending(&after), expected.into());
    assert_eq!(after.sequence, before.sequence);
    for channel in &before.channels {
        let kept = after.channels.iter().find(|other| other.id == channel.id).map(|other| other.spelling);
        assert_eq!(kept, Some(channel.spelling));
    }
}

/// Another version, an unknown channel and an unknown UAID have no effect.
async fn an_acknowledgement_of_what_is_not_pending_has_no_effect(store) {
    let client = connected(&store, 1).await;
    let channel = client.channels[0];
    ack(&store, client.id, channel, Some(1.0)).await;
    stored(&store, client.id, channel, 2).await;
    ack(&store, client.id, channel, Some(1.0)).await;
    ack(&store, client.id, new_channel(), None).await;
    ack(&store, new_client_id(), channel, None).await;
    store.ack_versions(client.id, Vec::new()).await.expect("no acknowledgement at all");
    assert_eq!(pending(&snapshot(&store, &client).await), [(channel, Some(2))].into());
}

/// Any socket may acknowledge, whether or not it owns the UAID.
async fn an_acknowledgement_needs_no_owner(store) {
    let client = offline(&store, 1).await;
    stored(&store, client.id, client.channels[0], 2).await;
    ack(&store, client.id, client.channels[0], Some(2.0)).await;
    let (_, _, claimed) = claim(&store, simplepush(client.id, new_presence())).await;
    assert_eq!(pending(&claimed), [(client.channels[0], None)].into());
}

/// Of a put and a concurrent hello, the second sees the first.
async fn of_a_put_and_a_concurrent_hello_the_second_sees_the_first(store) {
    for _ in 0..RACES {
        let client = offline(&store, 1).await;
        let presence = new_presence();
        let putting = stored(&store, client.id, client.channels[0], 1);
        let ((_, seen), (_, _, claimed)) = join(putting, claim(&store, simplepush(client.id, presence))).await;
        let pending = pending(&claimed)[&client.channels[0]];
        assert!(seen == Some(presence) || pending == Some(1), "put saw {seen:?}, hello saw {pending:?}");
        assert!(seen.is_none() || pending.is_none(), "only one of them is the second");
    }
}

/// Of two concurrent hellos, one owns the UAID and gets the other as the former presence.
async fn of_two_concurrent_hellos_one_owns_and_gets_the_other_as_former(store) {
    for _ in 0..RACES {
        let client = offline(&store, 1).await;
        let (one, two) = (new_presence(), new_presence());
        let first = claim(&store, simplepush(client.id, one));
        let ((_, of_one, _), (_, of_two, _)) = join(first, claim(&store, simplepush(client.id, two))).await;
        let owner = match (of_one, of_two) {
            (None, Some(former)) if former == one => two,
            (Some(former), None) if former == two => one,
            other => panic!("former presences {other:?}"),
        };
        assert_eq!(stored(&store, client.id, client.channels[0], 1).await.1, Some(owner));
    }
}

/// A hello and a concurrent release of the older socket: the newer presence is kept.
async fn a_late_release_never_clears_a_newer_presence(store) {
    for _ in 0..RACES {
        let client = connected(&store, 1).await;
        let newer = new_presence();
        let releasing = release(&store, client.id, client.presence);
        join(releasing, claim(&store, simplepush(client.id, newer))).await;
        assert_eq!(stored(&store, client.id, client.channels[0], 1).await.1, Some(newer));
    }
}

/// Concurrent puts all have their own sequence, and the one with the highest is pending.
async fn concurrent_puts_have_distinct_sequences_and_the_highest_is_pending(store) {
    const PUTS: u64 = 200;
    let client = connected(&store, 2).await;
    let channel = client.channels[0];
    let puts = (0..PUTS).map(|number| {
        let (store, client) = (&store, &client);
        async move { (stored(store, client.id, channel, number).await.0, number) }
    });
    let written: BTreeSet<_> = join_all(puts).await.into_iter().collect();
    let sequences: BTreeSet<_> = written.iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(sequences.len() as u64, PUTS);
    let last = written.last().map(|(_, number)| *number);
    assert_eq!(pending_on(&store, &client, channel).await, last);
}

/// Channels that are registered concurrently never exceed the maximum.
async fn concurrent_registers_keep_to_the_maximum(store) {
    use beckon_types::{AddChannel, AddChannelOutcome};
    let client = connected(&store, 0).await;
    let adds = (0..20).map(|_| add(&store, AddChannel { channels_max: 7, ..addition(&client, new_channel()) }));
    let outcomes = join_all(adds).await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == AddChannelOutcome::Full).count(), 13);
    assert_eq!(snapshot(&store, &client).await.channels.len(), 7);
}

}
