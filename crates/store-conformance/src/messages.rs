//! Cases about storing messages: what is accepted, what it replaces, and how much.

use crate::{cases::cases, message_steps::*, steps::*};
use beckon_types::{
    AddChannel, AddChannelOutcome, Draft, Encoding, FindChannel, FindChannelOutcome, KeyHash, KeyId, Payload,
    Place, PutMessage, PutMessageOutcome, PutVersionOutcome, Urgency,
};
use bytes::Bytes;
use futures_util::future::join_all;
use std::time::Duration;

/// A key that channels are restricted to.
const ONE_KEY: KeyHash = KeyHash([1; 32]);
/// Another one.
const OTHER_KEY: KeyHash = KeyHash([2; 32]);

cases! { $ messages message_cases:

/// An unknown UAID is another outcome than an unknown channel; this is checked first.
async fn a_message_to_an_unknown_uaid_is_refused_first(store) {
    let client = subscribed(&store, 1).await;
    let put = PutMessage { client: new_client_id(), messages_max: 0, ..message(&client, "a") };
    assert_eq!(send(&store, put).await, PutMessageOutcome::UaidGone);
}

/// A channel that is not registered is gone; this is checked second, before the number of messages.
async fn a_message_to_an_unknown_channel_is_refused_second(store) {
    let client = subscribed(&store, 1).await;
    let other = subscribed(&store, 1).await;
    for (channel, messages_max) in [(new_channel(), 100), (new_channel(), 0), (other.channels[0], 0)] {
        for ttl in [LONG, Duration::ZERO] {
            let put = lasting(ttl, PutMessage { channel, messages_max, ..message(&client, "a") });
            assert_eq!(send(&store, put).await, PutMessageOutcome::ChannelGone);
        }
    }
    assert_eq!(snapshot(&store, &client).await.sequence, Default::default(), "nothing was written");
}

/// A channel whose restriction is not `restricted` is gone.
async fn a_message_needs_the_key_of_the_latest_register(store) {
    let client = subscribed(&store, 1).await;
    let channel = client.channels[0];
    let keys = [None, Some(ONE_KEY), Some(OTHER_KEY)];
    for registered in [Some(ONE_KEY), Some(OTHER_KEY), None, Some(ONE_KEY)] {
        add(&store, AddChannel { restricted: registered, ..addition(&client, channel) }).await;
        for restricted in keys {
            let put = PutMessage { restricted, messages_max: 100, ..message(&client, "a") };
            let outcome = send(&store, put).await;
            let expected_gone = restricted != registered;
            assert_eq!(outcome == PutMessageOutcome::ChannelGone, expected_gone, "{registered:?} {restricted:?}");
        }
    }
    assert_eq!(waiting(&store, &client).await.len(), 4, "what was accepted with an earlier key stays");
}

/// A restricted channel has a spelling and a key like any other.
async fn a_restricted_channel_is_a_channel_like_others(store) {
    use beckon_types::Spelling;
    let client = subscribed(&store, 1).await;
    for spelling in [Spelling::HYPHENATED, Spelling::PLAIN, Spelling { hyphens: false, upper: 5 }] {
        let channel = new_channel();
        let first = AddChannel { spelling, restricted: Some(ONE_KEY), key: KeyId(7), ..addition(&client, channel) };
        assert!(matches!(add(&store, first).await, AddChannelOutcome::Registered { key: KeyId(7), .. }));
        let put = PutMessage { channel, restricted: Some(ONE_KEY), ..message(&client, "a") };
        let sequence = accepted(&store, put.clone()).await.0.sequence;
        for restricted in [Some(OTHER_KEY), None, Some(ONE_KEY)] {
            let again = AddChannel { restricted, key: KeyId(8), ..first };
            let expected = AddChannelOutcome::Registered { key: KeyId(7), sequence };
            assert_eq!(add(&store, again).await, expected);
        }
        let seen = snapshot(&store, &client).await;
        let kept = seen.channels.iter().find(|kept| kept.id == channel).expect("the channel");
        assert_eq!((kept.spelling, kept.pending), (spelling, None));
        accepted(&store, put).await;
    }
}

/// A channel of one dialect takes nothing of the other.
async fn a_channel_takes_what_is_of_its_dialect(store) {
    let (simple, web) = (connected(&store, 1).await, subscribed(&store, 1).await);
    assert_eq!(send(&store, message(&simple, "a")).await, PutMessageOutcome::ChannelGone);
    assert_eq!(store.find_channel(find(&simple)).await, Ok(FindChannelOutcome::ChannelGone));
    assert_eq!(put(&store, web.id, web.channels[0], 1).await, PutVersionOutcome::Gone);
    accepted(&store, message(&web, "b")).await;
    ack(&store, web.id, web.channels[0], None).await;
    assert_eq!(waiting(&store, &web).await, ["b"]);
}

/// A channel is found where a message to it would be accepted, and nothing is written.
async fn a_channel_is_found_where_it_would_take_messages(store) {
    let client = subscribed(&store, 2).await;
    let restricted = AddChannel { restricted: Some(ONE_KEY), ..addition(&client, client.channels[1]) };
    add(&store, restricted).await;
    let stranger = new_client_id();
    for id in [client.id, stranger] {
        for channel in [client.channels[0], client.channels[1], new_channel()] {
            for key in [None, Some(ONE_KEY), Some(OTHER_KEY)] {
                let found = store.find_channel(FindChannel { client: id, channel, restricted: key }).await;
                assert_eq!(snapshot(&store, &client).await.sequence, Default::default(), "nothing is written");
                let would_be = PutMessage { client: id, channel, restricted: key, ..message(&client, "a") };
                let is_full = send(&store, PutMessage { messages_max: 0, ..would_be }).await;
                let expected = match is_full {
                    PutMessageOutcome::Full => FindChannelOutcome::Registered,
                    PutMessageOutcome::UaidGone => FindChannelOutcome::UaidGone,
                    PutMessageOutcome::ChannelGone => FindChannelOutcome::ChannelGone,
                    PutMessageOutcome::Accepted { .. } => panic!("there is no room for a message"),
                };
                assert_eq!(found, Ok(expected), "{id:?} {channel:?} {key:?}");
                let is_open = channel == client.channels[0] && key.is_none();
                let is_owner = channel == client.channels[1] && key == Some(ONE_KEY);
                let is_registered = id == client.id && (is_open || is_owner);
                assert_eq!(expected == FindChannelOutcome::Registered, is_registered);
            }
        }
    }
}

/// If there are `messages_max` stored messages, a further one is refused, and changes nothing.
async fn a_client_has_no_more_than_the_maximum_of_messages(store) {
    let client = subscribed(&store, 2).await;
    let put = |body: &str| PutMessage { messages_max: 3, ..message(&client, body) };
    accepted(&store, put("a")).await;
    accepted(&store, PutMessage { channel: client.channels[1], ..put("b") }).await;
    let (last, _) = accepted(&store, about(1, put("c"))).await;
    for refused in [put("d"), about(2, put("d")), PutMessage { messages_max: 0, ..put("d") }] {
        assert_eq!(send(&store, refused).await, PutMessageOutcome::Full);
    }
    assert_eq!(snapshot(&store, &client).await.sequence, last.sequence);
    assert_eq!(waiting(&store, &client).await, ["c", "a", "b"]);
    remove(&store, client.id, &[last]).await;
    accepted(&store, put("d")).await;
    assert_eq!(waiting(&store, &client).await, ["a", "b", "d"]);
}

/// A message that is not stored, or that replaces another, is accepted even if there are `messages_max`.
async fn the_maximum_does_not_apply_to_a_message_that_adds_none(store) {
    let client = subscribed(&store, 1).await;
    let put = |body: &str| PutMessage { messages_max: 2, ..message(&client, body) };
    accepted(&store, put("a")).await;
    accepted(&store, about(1, put("b"))).await;
    accepted(&store, lasting(Duration::ZERO, PutMessage { messages_max: 0, ..put("c") })).await;
    accepted(&store, about(1, PutMessage { messages_max: 0, ..put("d") })).await;
    assert_eq!(waiting(&store, &client).await, ["d", "a"]);
    accepted(&store, about(1, lasting(Duration::ZERO, put("e")))).await;
    accepted(&store, put("f")).await;
    assert_eq!(waiting(&store, &client).await, ["a", "f"]);
}

/// Each channel has a reserve of messages beside the maximum, which others cannot use.
async fn each_channel_has_a_reserve(store) {
    let client = subscribed(&store, 3).await;
    let put = |channel: usize, body: &str| PutMessage {
        channel: client.channels[channel],
        messages_max: 3,
        reserve: 2,
        ..message(&client, body)
    };
    let mut flood = Vec::new();
    for body in ["a", "b", "c", "d", "e"] {
        flood.push(accepted(&store, put(0, body)).await.0);
    }
    assert_eq!(send(&store, put(0, "f")).await, PutMessageOutcome::Full);
    accepted(&store, put(1, "g")).await;
    let (topic, _) = accepted(&store, about(1, put(1, "h"))).await;
    assert_eq!(send(&store, put(1, "i")).await, PutMessageOutcome::Full);
    accepted(&store, about(1, put(1, "j"))).await;
    assert_eq!(send(&store, put(1, "i")).await, PutMessageOutcome::Full, "it replaced one in the reserve");
    accepted(&store, put(2, "k")).await;
    assert_eq!(waiting(&store, &client).await, ["j", "a", "b", "c", "d", "e", "g", "k"]);
    remove(&store, client.id, &[topic]).await;
    assert_eq!(send(&store, put(0, "f")).await, PutMessageOutcome::Full, "the reserve is used");
    remove(&store, client.id, &flood[3..4]).await;
    accepted(&store, put(0, "f")).await;
    assert_eq!(send(&store, put(0, "i")).await, PutMessageOutcome::Full);
}

/// Only messages that have not expired count towards the maximum.
async fn expired_messages_do_not_count_towards_the_maximum(store) {
    let client = subscribed(&store, 1).await;
    let put = |body: &str| PutMessage { messages_max: 3, ..message(&client, body) };
    accepted(&store, put("a")).await;
    accepted(&store, lasting(SHORT, put("b"))).await;
    accepted(&store, about(1, lasting(SHORT, put("c")))).await;
    let_short_pass().await;
    accepted(&store, put("d")).await;
    accepted(&store, about(1, put("e"))).await;
    assert_eq!(send(&store, put("f")).await, PutMessageOutcome::Full);
    assert_eq!(waiting(&store, &client).await, ["e", "a", "d"]);
}

/// A message whose topic is that of an expired message replaces nothing, so it needs room.
async fn an_expired_message_is_not_replaced(store) {
    let client = subscribed(&store, 1).await;
    accepted(&store, about(1, lasting(SHORT, message(&client, "a")))).await;
    accepted(&store, message(&client, "b")).await;
    let_short_pass().await;
    let put = about(1, PutMessage { messages_max: 1, ..message(&client, "c") });
    assert_eq!(send(&store, put.clone()).await, PutMessageOutcome::Full);
    accepted(&store, PutMessage { messages_max: 2, ..put }).await;
    assert_eq!(waiting(&store, &client).await, ["c", "b"]);
}

/// Messages and channels do not count towards each other's maximum.
async fn messages_and_channels_are_counted_apart(store) {
    let client = subscribed(&store, 5).await;
    let put = |body: &str| PutMessage { messages_max: 2, ..message(&client, body) };
    accepted(&store, put("a")).await;
    accepted(&store, about(1, put("b"))).await;
    assert_eq!(send(&store, put("c")).await, PutMessageOutcome::Full);
    let sixth = AddChannel { channels_max: 6, ..addition(&client, new_channel()) };
    assert!(matches!(add(&store, sixth).await, AddChannelOutcome::Registered { .. }));
    let seventh = AddChannel { channels_max: 6, ..addition(&client, new_channel()) };
    assert_eq!(add(&store, seventh).await, AddChannelOutcome::Full);
    assert_eq!(snapshot(&store, &client).await.channels.len(), 6);
}

/// A message with a topic replaces the stored message with that topic.
async fn a_message_replaces_the_one_with_its_topic(store) {
    let client = subscribed(&store, 1).await;
    let (former, _) = accepted(&store, about(1, message(&client, "a"))).await;
    accepted(&store, about(2, message(&client, "b"))).await;
    accepted(&store, message(&client, "c")).await;
    let (latter, _) = accepted(&store, about(1, message(&client, "d"))).await;
    assert!(latter.sequence > former.sequence);
    let backlog = fetch(&store, &client, None, 10).await;
    assert_eq!(bodies(&backlog), ["b", "d", "c"], "its position is its own");
    assert_eq!(backlog.messages[1].place, latter);
}

/// The replacing message has its own TTL.
async fn a_replacing_message_has_its_own_ttl(store) {
    let client = subscribed(&store, 1).await;
    let put = |topic, ttl, body| about(topic, lasting(ttl, message(&client, body)));
    accepted(&store, put(1, SHORT, "a")).await;
    accepted(&store, put(1, LONG, "b")).await;
    accepted(&store, put(2, LONG, "c")).await;
    accepted(&store, put(2, SHORT, "d")).await;
    let_short_pass().await;
    assert_eq!(waiting(&store, &client).await, ["b"]);
}

/// A message with a TTL of zero is not stored, but has a sequence and reads which socket owns the client.
async fn a_message_with_a_ttl_of_zero_is_not_stored(store) {
    let client = subscribed(&store, 1).await;
    let put = || lasting(Duration::ZERO, message(&client, "a"));
    let (first, presence) = accepted(&store, put()).await;
    assert_eq!(presence, Some(client.presence));
    let (second, _) = accepted(&store, put()).await;
    assert!(second.sequence > first.sequence);
    assert_eq!(snapshot(&store, &client).await.sequence, second.sequence);
    assert!(waiting(&store, &client).await.is_empty());
}

/// A message with a topic and a TTL of zero removes the stored message with that topic.
async fn a_message_with_a_ttl_of_zero_removes_the_one_with_its_topic(store) {
    let client = subscribed(&store, 1).await;
    accepted(&store, about(1, message(&client, "a"))).await;
    accepted(&store, about(2, message(&client, "b"))).await;
    let zero = lasting(Duration::ZERO, message(&client, "c"));
    accepted(&store, about(1, zero.clone())).await;
    assert_eq!(waiting(&store, &client).await, ["b"]);
    accepted(&store, about(3, zero)).await;
    accepted(&store, about(1, message(&client, "d"))).await;
    assert_eq!(waiting(&store, &client).await, ["b", "d"]);
}

/// Each write has a higher sequence than all earlier writes to the same client, stored or not.
async fn each_message_has_a_higher_sequence(store) {
    let client = subscribed(&store, 1).await;
    let mut last = snapshot(&store, &client).await.sequence;
    for round in 0..20 {
        let ttl = if round % 3 == 0 { Duration::ZERO } else { LONG };
        let topic = (round % 4 == 0).then(|| tag(1));
        let put = lasting(ttl, PutMessage { topic, ..message(&client, "a") });
        let (place, _) = accepted(&store, put).await;
        assert!(place.sequence > last, "{place:?} after {last:?}");
        last = place.sequence;
        if round % 5 == 0 {
            remove(&store, client.id, &[place]).await;
            release(&store, client.id, client.presence).await;
            claim(&store, webpush(client.id, client.presence)).await;
        }
    }
    assert_eq!(snapshot(&store, &client).await.sequence, last);
}

/// Everything in a message is returned as it was stored.
async fn everything_in_a_message_is_kept(store) {
    let client = subscribed(&store, 2).await;
    let encoding = |encryption: &str, crypto_key: &str| Encoding::Aesgcm {
        encryption: encryption.into(),
        crypto_key: crypto_key.into(),
    };
    let bytes = |len: usize| (0..len).map(|at| at as u8).collect::<Bytes>();
    let long = "x".repeat(5000);
    let payloads = [
        None,
        Some(payload("a")),
        Some(payload(bytes(262_144))),
        Some(Payload { encoding: encoding("salt=abc;rs=4096", "dh=def"), body: bytes(300) }),
        Some(Payload { encoding: encoding("", ""), body: bytes(1) }),
        Some(Payload { encoding: encoding(&long, &long), body: bytes(4096) }),
    ];
    let urgencies = [Urgency::VeryLow, Urgency::Low, Urgency::Normal, Urgency::High];
    for (number, payload) in payloads.iter().enumerate() {
        for topic in [None, Some(tag(0)), Some(tag(b'\r'))] {
            let put = PutMessage {
                channel: client.channels[number % 2],
                key: KeyId(number as u8 * 51),
                topic,
                draft: Draft { urgency: urgencies[number % 4], ttl: LONG, payload: payload.clone() },
                ..message(&client, "")
            };
            let (place, _) = accepted(&store, put.clone()).await;
            let backlog = fetch(&store, &client, None, 10).await;
            let [kept] = &backlog.messages[..] else { panic!("one message") };
            assert_eq!((kept.channel, kept.key, kept.place), (put.channel, put.key, place));
            let left = kept.draft.ttl;
            assert_eq!(kept.draft, Draft { ttl: left, ..put.draft });
            assert!(left > LONG / 2 && left <= LONG, "{left:?}");
            remove(&store, client.id, &[place]).await;
        }
    }
}

/// Unregistering a channel removes its messages, and not those of others.
async fn an_unregistered_channel_is_gone_with_its_messages(store) {
    let client = subscribed(&store, 2).await;
    let put = |channel: usize, body| PutMessage { channel: client.channels[channel], ..message(&client, body) };
    for put in [put(0, "a"), put(1, "b"), about(1, put(0, "c")), about(2, put(1, "d")), put(0, "e")] {
        accepted(&store, put).await;
    }
    unregister(&store, &client, client.channels[0]).await;
    assert_eq!(send(&store, put(0, "f")).await, PutMessageOutcome::ChannelGone);
    assert_eq!(waiting(&store, &client).await, ["d", "b"]);
    register(&store, &client, client.channels[0]).await;
    assert_eq!(waiting(&store, &client).await, ["d", "b"]);
    accepted(&store, PutMessage { messages_max: 3, ..put(0, "g") }).await;
    assert_eq!(waiting(&store, &client).await, ["d", "b", "g"]);
}

/// The outcome has the sequence of the write before it, whether or not that one was stored or is stored still.
async fn each_message_names_the_write_before_it(store) {
    let client = subscribed(&store, 1).await;
    let mut last = snapshot(&store, &client).await.sequence;
    for round in 0_u8..12 {
        let ttl = if round % 3 == 0 { Duration::ZERO } else { LONG };
        let put = lasting(ttl, message(&client, "a"));
        let put = if round % 2 == 0 { about(1, put) } else { put };
        let (nonce, topic) = (put.nonce, put.topic);
        let PutMessageOutcome::Accepted { sequence, previous, .. } = send(&store, put).await else {
            panic!("expected an accepted message")
        };
        assert_eq!(previous, last, "in round {round}");
        last = sequence;
        if round % 4 == 0 {
            remove(&store, client.id, &[Place { sequence, nonce, topic }]).await;
        }
        assert_eq!(snapshot(&store, &client).await.sequence, last);
    }
}

/// The record of a client without channels is deleted, even if it had messages.
async fn the_record_of_a_released_client_is_deleted_once_its_channels_are_unregistered(store) {
    for ttl in [LONG, SHORT] {
        let client = subscribed(&store, 1).await;
        accepted(&store, lasting(ttl, message(&client, "a"))).await;
        accepted(&store, about(1, lasting(ttl, message(&client, "b")))).await;
        if ttl == SHORT {
            let_short_pass().await;
        }
        unregister(&store, &client, client.channels[0]).await;
        release(&store, client.id, client.presence).await;
        assert_eq!(send(&store, message(&client, "c")).await, PutMessageOutcome::UaidGone);
    }
}

/// Messages are not channels: a snapshot contains none of them.
async fn a_snapshot_has_channels_only(store) {
    let client = subscribed(&store, 1).await;
    accepted(&store, message(&client, "a")).await;
    let (last, _) = accepted(&store, about(1, message(&client, "b"))).await;
    let seen = snapshot(&store, &client).await;
    assert_eq!((seen.sequence, seen.channels.len()), (last.sequence, 1));
    let (_, _, claimed) = claim(&store, webpush(client.id, client.presence)).await;
    assert_eq!(claimed, seen);
}

/// A client may have as many messages as an operator allows, and all of them are returned and removed.
async fn nine_thousand_messages_are_kept(store) {
    const MESSAGES: usize = 9000;
    const AT_ONCE: usize = 300;
    let client = subscribed(&store, 1).await;
    let put = |number: usize| {
        let topic = number.is_multiple_of(2).then(|| {
            let mut tag = tag(0);
            tag.0[..8].copy_from_slice(&number.to_be_bytes());
            tag
        });
        PutMessage { topic, messages_max: MESSAGES as u32, ..message(&client, "a") }
    };
    for first in (0..MESSAGES).step_by(AT_ONCE) {
        join_all((first..first + AT_ONCE).map(|number| accepted(&store, put(number)))).await;
    }
    assert_eq!(send(&store, message(&client, "b")).await, PutMessageOutcome::Full);
    assert_eq!(send(&store, PutMessage { topic: None, ..put(0) }).await, PutMessageOutcome::Full);
    let backlog = fetch(&store, &client, None, 10_000).await;
    assert_eq!(backlog.messages.len(), MESSAGES);
    let (kept, removed) = backlog.messages.split_at(10);
    let removed: Vec<_> = removed.iter().map(|message| message.place).collect();
    remove(&store, client.id, &removed).await;
    assert_eq!(fetch(&store, &client, None, 10_000).await.messages.len(), kept.len());
    unregister(&store, &client, client.channels[0]).await;
    assert!(waiting(&store, &client).await.is_empty());
}

}
