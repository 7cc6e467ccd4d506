//! Inputs that no connection and no store would bring, in any order.

use crate::{talk::*, webpush::talk::*};
use beckon_session::{CloseCode, Effect, Input, Outcome};
use beckon_types::{Backlog, Dialect, HelloOutcome};
use proptest::prelude::*;

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            String::new(),
            "{}".into(),
            "[]".into(),
            HELLO.into(),
            HELLO_A.into(),
            r#"{"messageType":"hello"}"#.into(),
            format!(r#"{{"messageType":"hello","uaid":"{A}"}}"#),
            format!(r#"{{"messageType":"hello","uaid":"{A}","channelIDs":["{X}"]}}"#),
            r#"{"messageType":"purge"}"#.into(),
            register_text(X),
            unregister_text(X),
            ack_text(X, 1),
            WEBPUSH_A.into(),
            ack_messages(&messages(0..3)),
            r#"{"messageType":"nack","version":"x"}"#.into(),
            r#"{"messageType":"urgency","min":"high"}"#.into(),
            r#"{"messageType":"urgency","min":"low"}"#.into(),
            r#"{"messageType":"broadcast_subscribe","broadcasts":{"a":"0","b":"0"}}"#.into(),
        ]),
        ".{0,20}",
    ]
}

fn outcomes() -> impl Strategy<Value = Input<'static>> {
    let hello = |hello: HelloOutcome| outcome(Outcome::Hello(hello));
    prop::sample::select(vec![
        claimed(3, &[(X, Some(1)), (Y, None)]),
        claimed_from(Some(OTHER), 3, &[]),
        hello(HelloOutcome::Unknown { dialect: Dialect::SimplePush }),
        hello(HelloOutcome::Unknown { dialect: Dialect::WebPush }),
        hello(HelloOutcome::Claimed {
            dialect: Dialect::WebPush,
            former: None,
            snapshot: snapshot(0, &[]),
            backlog: Backlog::default(),
        }),
        webpush_claimed(&[X], &messages(0..10), true),
        fetched(&messages(3..6), true),
        fetched(&[], true),
        fetched(&messages(5..9), false),
        outcome(Outcome::NotOwner),
        outcome(Outcome::Done),
        hello(HelloOutcome::Deleted { former: Some(OTHER) }),
        hello(HelloOutcome::ListMissing),
        hello(HelloOutcome::NoRoom),
        registered(4),
        outcome(Outcome::Full),
        outcome(Outcome::NotOwner),
        removed(),
        outcome(Outcome::NotOwner),
        looked(5, &[(X, Some(2))]),
        outcome(Outcome::NotOwner),
        outcome(Outcome::Done),
        outcome(Outcome::Done),
        outcome(Outcome::Failed),
    ])
}

#[derive(Debug, Clone)]
enum Event {
    Message(String),
    Bring(Input<'static>),
    Wait(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let other = prop::sample::select(vec![
        Input::Control,
        missed(),
        Input::Broadcasts,
        Input::Timer,
        Input::Binary(b"{\xff"),
    ]);
    let end = prop::sample::select(vec![
        Input::Evicted,
        Input::Drain,
        Input::Verify,
        Input::Broken(CloseCode::TooBig),
        Input::Disconnected,
    ]);
    let event = prop_oneof![
        8 => texts().prop_map(Event::Message),
        8 => outcomes().prop_map(Event::Bring),
        3 => (1..9_u64, 1..9_u64).prop_map(|(number, sequence)| Event::Bring(update(X, number, sequence))),
        3 => (1..30_u64, 0..9_u64).prop_map(|(sequence, ttl)| {
            Event::Bring(bring(&with_ttl(message(X, sequence), ttl)))
        }),
        2 => other.prop_map(Event::Bring),
        1 => end.prop_map(Event::Bring),
        2 => (0..100_u64).prop_map(Event::Wait),
    ];
    prop::collection::vec(event, 0..60)
}

proptest! {
    #[test]
    fn the_session_keeps_its_promises_to_the_connection(events in events()) {
        let mut talk = Talk::new();
        talk.broadcasts.values.insert("a".into(), "1".into());
        let (mut under_way, mut closed, mut ended, mut subscribed) = (false, false, false, false);
        for event in events {
            let effects = match &event {
                Event::Message(message) => talk.handle(text(message)),
                Event::Bring(input) => {
                    under_way &= !matches!(input, Input::Store(_));
                    closed |= matches!(input, Input::Disconnected);
                    talk.handle(input.clone())
                }
                Event::Wait(seconds) => talk.wait(*seconds).handle(Input::Timer),
            };
            for effect in effects {
                prop_assert!(!ended, "{:?} after the end", effect);
                match effect {
                    Effect::Send(_) | Effect::Ping => prop_assert!(!closed),
                    Effect::Close(_) => prop_assert!(!std::mem::replace(&mut closed, true)),
                    Effect::Store(_) => prop_assert!(!std::mem::replace(&mut under_way, true)),
                    Effect::Evict(presence) => prop_assert_eq!(presence, OTHER),
                    Effect::Subscribed => prop_assert!(!std::mem::replace(&mut subscribed, true)),
                    Effect::Report(_) => {}
                    Effect::End => {
                        prop_assert!(closed && !under_way);
                        ended = true;
                    }
                }
            }
            prop_assert!(!under_way || !talk.session.is_settled());
            prop_assert!(ended || !closed || under_way, "nothing is waited for, and there is no end");
        }
    }
}
