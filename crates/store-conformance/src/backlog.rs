//! Cases about stored messages: reading and removing them, also concurrently with storing others.

use crate::{cases::cases, message_steps::*, steps::*};
use beckon_types::{Backlog, Fetch, Hello, NotOwner, Place, PutMessage, PutMessageOutcome};
use futures_util::future::{join, join_all};
use std::collections::BTreeSet;

/// The number of times that a race is run.
const RACES: usize = 40;

cases! { $ backlog backlog_cases:

/// They are in the order of their positions: those with a topic first, oldest first in each group.
async fn messages_with_a_topic_come_first_and_older_ones_before_newer(store) {
    let client = subscribed(&store, 2).await;
    for (body, topic, channel) in
        [("a", None, 0), ("b", Some(9), 1), ("c", None, 1), ("d", Some(3), 0), ("e", Some(200), 0), ("f", None, 0)]
    {
        let channel = client.channels[channel];
        let put = PutMessage { topic: topic.map(tag), channel, ..message(&client, body) };
        accepted(&store, put).await;
    }
    let backlog = fetch(&store, &client, None, 10).await;
    assert_eq!(bodies(&backlog), ["b", "d", "e", "a", "c", "f"]);
    assert!(positions(&backlog).is_sorted());
    assert!(!backlog.more);
}

/// Reads those behind a position, and no more than `max`.
async fn a_backlog_is_read_in_parts(store) {
    let client = subscribed(&store, 1).await;
    for number in 0..25_u8 {
        let topic = (number % 5 == 4).then(|| tag(number));
        accepted(&store, PutMessage { topic, ..message(&client, &number.to_string()) }).await;
    }
    let whole = fetch(&store, &client, None, 25).await;
    assert!(!whole.more && whole.messages.len() == 25);
    for max in [1, 3, 5, 10, 24, 25, 26] {
        let (mut read, mut after, mut parts) = (Vec::new(), None, 0);
        loop {
            let part = fetch(&store, &client, after, max).await;
            assert!(part.messages.len() <= max);
            assert!(!part.more || part.messages.len() == max, "fewer only if no others are behind");
            after = part.messages.last().map(|message| message.place.position()).or(after);
            read.extend(bodies(&part));
            parts += 1;
            if !part.more {
                break;
            }
        }
        assert_eq!(read, bodies(&whole), "{max} at a time");
        assert!(parts <= 25_usize.div_ceil(max) + 1, "{parts} parts of {max}");
        assert_eq!(fetch(&store, &client, after, max).await, Backlog::default());
    }
}

/// The position may be that of a message that has been removed.
async fn a_backlog_goes_on_behind_a_removed_message(store) {
    let client = subscribed(&store, 1).await;
    let mut places = Vec::new();
    for body in ["a", "b", "c"] {
        places.push(accepted(&store, message(&client, body)).await.0);
        places.push(accepted(&store, about(body.as_bytes()[0], message(&client, body))).await.0);
    }
    places.sort_by_key(|place| place.position());
    remove(&store, client.id, &[places[0], places[1], places[3]]).await;
    let behind = |index: usize| fetch(&store, &client, Some(places[index].position()), 10);
    assert_eq!(behind(1).await.messages.len(), 3);
    assert_eq!(behind(3).await.messages.len(), 2);
    assert_eq!(behind(5).await, Backlog::default());
}

/// A message is not returned once its TTL has passed since it was stored.
async fn an_expired_message_is_not_returned(store) {
    let client = subscribed(&store, 1).await;
    accepted(&store, lasting(SHORT, message(&client, "a"))).await;
    accepted(&store, about(1, lasting(SHORT, message(&client, "b")))).await;
    accepted(&store, message(&client, "c")).await;
    let_short_pass().await;
    let expected = fetch(&store, &client, None, 10).await;
    assert_eq!(bodies(&expected), ["c"]);
    let claimed = claim_backlog(&store, webpush(client.id, client.presence)).await;
    assert_eq!(bodies(&claimed), ["c"]);
}

/// Messages that have expired do not count: there are fewer than `max` messages only if no others are behind.
async fn expired_messages_do_not_take_the_place_of_others(store) {
    let client = subscribed(&store, 1).await;
    for number in 0..25_u8 {
        let put = lasting(SHORT, message(&client, "expired"));
        accepted(&store, if number % 2 == 0 { put } else { about(number, put) }).await;
    }
    for body in ["a", "b", "c", "d"] {
        accepted(&store, message(&client, body)).await;
    }
    let_short_pass().await;
    let hello = Hello { backlog_max: 3, ..webpush(client.id, client.presence) };
    let claimed = claim_backlog(&store, hello).await;
    assert_eq!(bodies(&claimed), ["a", "b", "c"]);
    let rest = fetch(&store, &client, Some(claimed.messages[2].place.position()), 3).await;
    assert_eq!((bodies(&rest), rest.more), (vec!["d".to_owned()], false));
}

/// Each message comes with what is left of its TTL, which is more than zero.
async fn what_is_left_of_the_ttl_decreases(store) {
    let client = subscribed(&store, 1).await;
    let ttl = SHORT * 3;
    accepted(&store, lasting(ttl, message(&client, "a"))).await;
    let_short_pass().await;
    let mut last = ttl - SHORT;
    loop {
        // It is stored for two seconds more, and then it is gone.
        let backlog = fetch(&store, &client, None, 10).await;
        let Some(left) = backlog.messages.first() else { break };
        assert!(!left.draft.ttl.is_zero() && left.draft.ttl <= last, "{:?} after {last:?}", left.draft.ttl);
        last = left.draft.ttl;
        tokio::time::sleep(SHORT / 10).await;
    }
}

/// A socket that does not own the UAID gets no messages.
async fn messages_are_for_the_owner_only(store) {
    let client = subscribed(&store, 1).await;
    accepted(&store, message(&client, "a")).await;
    for (client, presence) in [(client.id, new_presence()), (new_client_id(), client.presence)] {
        let fetch = Fetch { client, presence, after: None, max: 10 };
        assert_eq!(store.fetch(fetch).await, Ok(Err(NotOwner)));
    }
    release(&store, client.id, client.presence).await;
    let fetch = Fetch { client: client.id, presence: client.presence, after: None, max: 10 };
    assert_eq!(store.fetch(fetch).await, Ok(Err(NotOwner)));
}

/// A Web Push claim returns the first `backlog_max` stored messages, as a fetch does.
async fn a_web_push_claim_returns_the_first_messages(store) {
    let client = subscribed(&store, 1).await;
    for number in 0..12_u8 {
        let topic = (number % 3 == 0).then(|| tag(number));
        accepted(&store, PutMessage { topic, ..message(&client, &number.to_string()) }).await;
    }
    release(&store, client.id, client.presence).await;
    for backlog_max in [1, 10, 11, 12, 13] {
        let hello = Hello { backlog_max, ..webpush(client.id, client.presence) };
        let claimed = claim_backlog(&store, hello).await;
        let fetched = fetch(&store, &client, None, backlog_max).await;
        assert_eq!((positions(&claimed), bodies(&claimed)), (positions(&fetched), bodies(&fetched)));
        assert_eq!(claimed.messages.len(), backlog_max.min(12));
        assert!(claimed.more || backlog_max >= 12);
    }
}

/// A claim of a client without messages, and one that asks for none, returns none.
async fn a_claim_without_messages_returns_none(store) {
    let client = subscribed(&store, 1).await;
    let hello = webpush(client.id, client.presence);
    assert_eq!(claim_backlog(&store, hello.clone()).await, Backlog::default());
    accepted(&store, message(&client, "a")).await;
    let hello = Hello { backlog_max: 0, ..hello };
    assert!(claim_backlog(&store, hello).await.messages.is_empty());
}

/// A message is returned by every hello until it is removed.
async fn a_message_is_returned_until_it_is_removed(store) {
    let client = subscribed(&store, 1).await;
    release(&store, client.id, client.presence).await;
    let (place, presence) = accepted(&store, message(&client, "a")).await;
    assert_eq!(presence, None);
    for _ in 0..3 {
        let hello = webpush(client.id, client.presence);
        assert_eq!(bodies(&claim_backlog(&store, hello).await), ["a"]);
        release(&store, client.id, client.presence).await;
    }
    remove(&store, client.id, &[place]).await;
    let hello = webpush(client.id, client.presence);
    assert_eq!(claim_backlog(&store, hello).await, Backlog::default());
}

/// Removes stored messages, several in one step; any socket may acknowledge, and so may an application server.
async fn messages_are_removed_by_their_places(store) {
    let client = subscribed(&store, 1).await;
    let mut places = Vec::new();
    for body in ["a", "b", "c", "d"] {
        places.push(accepted(&store, message(&client, body)).await.0);
        places.push(accepted(&store, about(body.as_bytes()[0], message(&client, body))).await.0);
    }
    release(&store, client.id, client.presence).await;
    remove(&store, client.id, &[places[0], places[3], places[4], places[5], places[0]]).await;
    remove(&store, client.id, &[places[7]]).await;
    let hello = webpush(client.id, client.presence);
    assert_eq!(bodies(&claim_backlog(&store, hello).await), ["a", "b", "d"]);
    remove(&store, client.id, &places).await;
    assert!(waiting(&store, &client).await.is_empty());
}

/// An unknown UAID, and a place that has no message or another one, have no effect.
async fn removing_a_message_that_is_not_stored_has_no_effect(store) {
    let client = subscribed(&store, 1).await;
    let (former, _) = accepted(&store, about(1, message(&client, "a"))).await;
    let (topic, _) = accepted(&store, about(1, message(&client, "b"))).await;
    let (plain, _) = accepted(&store, message(&client, "c")).await;
    remove(&store, client.id, &[former]).await;
    remove(&store, client.id, &[Place { topic: Some(tag(2)), ..topic }, plain_place(topic.sequence)]).await;
    remove(&store, client.id, &[Place { topic: Some(tag(1)), ..plain }]).await;
    remove(&store, client.id, &[plain_place(beckon_types::Sequence(u64::MAX))]).await;
    remove(&store, client.id, &[]).await;
    remove(&store, new_client_id(), &[topic, plain]).await;
    let other = subscribed(&store, 1).await;
    remove(&store, other.id, &[topic, plain]).await;
    assert_eq!(waiting(&store, &client).await, ["b", "c"]);
    assert_eq!(snapshot(&store, &client).await.sequence, plain.sequence);
}

/// Of a message and a concurrent hello, the second sees the first.
async fn of_a_message_and_a_concurrent_hello_the_second_sees_the_first(store) {
    for _ in 0..RACES {
        let client = subscribed(&store, 1).await;
        release(&store, client.id, client.presence).await;
        let presence = new_presence();
        let sending = accepted(&store, message(&client, "a"));
        let ((_, seen), claimed) = join(sending, claim_backlog(&store, webpush(client.id, presence))).await;
        let found = !claimed.messages.is_empty();
        assert!(seen == Some(presence) || found, "the message saw {seen:?}, hello saw {claimed:?}");
        assert!(seen.is_none() || !found, "only one of them is the second");
    }
}

/// Messages that are stored concurrently never exceed the maximum.
async fn concurrent_messages_keep_to_the_maximum(store) {
    let client = subscribed(&store, 3).await;
    let sends = (0..20_u8).map(|number| {
        let put = PutMessage { messages_max: 7, ..message(&client, "a") };
        send(&store, if number % 2 == 0 { put } else { about(number, put) })
    });
    let outcomes = join_all(sends).await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == PutMessageOutcome::Full).count(), 13);
    assert_eq!(waiting(&store, &client).await.len(), 7);
}

/// Concurrent messages all have their own sequence, and are read in that order.
async fn concurrent_messages_have_distinct_sequences(store) {
    const MESSAGES: usize = 200;
    let client = subscribed(&store, 1).await;
    let sends = (0..MESSAGES).map(|number| {
        let (store, client) = (&store, &client);
        let put = PutMessage { messages_max: 1000, ..message(client, &number.to_string()) };
        async move { (accepted(store, put).await.0.sequence, number.to_string()) }
    });
    let written: BTreeSet<_> = join_all(sends).await.into_iter().collect();
    let sequences: BTreeSet<_> = written.iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(sequences.len(), MESSAGES);
    let expected: Vec<_> = written.into_iter().map(|(_, body)| body).collect();
    assert_eq!(waiting(&store, &client).await, expected);
}

/// Of concurrent messages with the same topic, the one with the highest sequence is left.
async fn of_concurrent_messages_with_one_topic_the_last_is_left(store) {
    let client = subscribed(&store, 1).await;
    let sends = (0..50).map(|number| {
        let (store, client) = (&store, &client);
        let put = about(1, PutMessage { messages_max: 1, ..message(client, &number.to_string()) });
        async move { (accepted(store, put).await.0.sequence, number.to_string()) }
    });
    let written: BTreeSet<_> = join_all(sends).await.into_iter().collect();
    let last = written.last().map(|(_, body)| body.clone());
    assert_eq!(waiting(&store, &client).await.pop(), last);
}

/// Of a message and a concurrent unregistering of its channel, nothing is left.
async fn of_a_message_and_a_concurrent_unregister_nothing_is_left(store) {
    for _ in 0..RACES {
        let client = subscribed(&store, 1).await;
        let channel = client.channels[0];
        join(send(&store, message(&client, "a")), unregister(&store, &client, channel)).await;
        register(&store, &client, channel).await;
        assert!(waiting(&store, &client).await.is_empty());
    }
}

}
