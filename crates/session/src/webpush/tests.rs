//! A Web Push client alone, without a session.

use super::*;
use crate::{
    api::{ClientReport, Effect, Step},
    turn::rig::{CHANNEL, CHANNEL_TEXT, PRESENCE, Rig, client_id, snapshot},
};
use beckon_types::{Draft, Nonce, Place, Sequence};
use std::time::Duration;

/// A client with one channel.
fn client(rig: &mut Rig) -> WebPush {
    let no_broadcasts = NamedBroadcasts::new();
    rig.turn(|turn| WebPush::greet(turn, &no_broadcasts, &snapshot(0, None), &Backlog::default())).0
}

fn message(sequence: u64, seconds: u64) -> Message {
    let place = Place { sequence: Sequence(sequence), nonce: Nonce(sequence), topic: None };
    let draft = Draft { ttl: Duration::from_secs(seconds), ..Draft::default() };
    Message { channel: CHANNEL, place, key: Rig::new().turn(|turn| turn.settings.keys.newest()).0, draft }
}

/// Brings a message that arrives just now. Returns how many were sent.
fn push(rig: &mut Rig, client: &mut WebPush, message: &Message) -> usize {
    rig.turn(|turn| client.push_message(turn, turn.now, &mut message.clone(), None)).1.len()
}

/// An ack for messages.
fn ack(messages: &[Message]) -> String {
    let keys = Rig::new().turn(|turn| turn.settings.keys.clone()).0;
    let entry = |message: &Message| {
        let id = MessageId { client: client_id(), place: message.place }.seal(&keys, message.key);
        format!(r#"{{"channelID":"{CHANNEL_TEXT}","version":"{id}"}}"#)
    };
    let entries: Vec<String> = messages.iter().map(entry).collect();
    format!(r#"{{"updates":[{}]}}"#, entries.join(","))
}

#[test]
fn a_violation_has_no_effect_of_its_own() {
    let mut rig = Rig::new();
    let mut client = client(&mut rig);
    for result in [
        rig.request("{}", |turn, request| client.register(turn, request)),
        rig.request("{}", |turn, request| client.unregister(turn, request)),
        rig.request("{}", |turn, request| client.ack(turn, request)),
        rig.request("{}", |turn, request| client.nack(turn, request)),
        rig.request("{}", |turn, request| client.set_urgency(turn, request)),
        rig.request("{}", |turn, request| client.subscribe(turn, request)),
    ] {
        assert_eq!(result, (Err(Violation::IllFormed), Vec::new()));
    }
}

#[test]
fn an_ack_is_reported_and_stored_and_does_not_wait_for_the_store() {
    let mut rig = Rig::new();
    let mut client = client(&mut rig);
    let sent = message(1, 60);
    assert_eq!(push(&mut rig, &mut client, &sent), 1);
    let (result, effects) =
        rig.request(&ack(std::slice::from_ref(&sent)), |turn, request| client.ack(turn, request));
    let remove = Effect::Store(Step::RemoveMessages(client_id(), vec![sent.place]));
    assert_eq!((result, effects), (Ok(()), vec![Effect::Report(ClientReport::Delivered), remove]));
    assert!(client.ongoing.is_none());
}

#[test]
fn a_missed_message_is_fetched_and_sent_once() {
    let mut rig = Rig::new();
    let mut client = client(&mut rig);
    let sent = message(1, 60);
    assert_eq!(push(&mut rig, &mut client, &sent), 1);
    let (_, effects) = rig.turn(|turn| client.read_again(turn));
    let fetch = Fetch { client: client_id(), presence: PRESENCE, after: None, max: 10 };
    assert_eq!(effects, [Effect::Store(Step::Fetch(fetch))]);
    let backlog = Backlog { messages: vec![sent, message(2, 60)], more: false };
    let (result, effects) = rig.turn(|turn| {
        let job = turn.steps.finish().unwrap();
        client.conclude(turn, job, Outcome::Backlog(backlog))
    });
    assert_eq!((result, effects.len()), (Ok(()), 1), "{effects:?}");
}

#[test]
fn sent_messages_take_no_memory_once_they_are_acknowledged() {
    for subscribes in [false, true] {
        let mut rig = Rig::new();
        let mut client = client(&mut rig);
        if subscribes {
            rig.broadcasts.values.insert("a".into(), "1".into());
            let request = r#"{"broadcasts":{"a":"1"}}"#;
            let result = rig.request(request, |turn, request| client.subscribe(turn, request));
            assert_eq!(result, (Ok(()), vec![Effect::Subscribed]));
        }
        let sent: Vec<Message> = (1..100).map(|sequence| message(sequence, 60)).collect();
        assert!(sent.iter().all(|message| push(&mut rig, &mut client, message) == 1));
        rig.request(&ack(&sent[1..]), |turn, request| client.ack(turn, request)).0.unwrap();
        assert!(client.progress().has_sent(sent[0].place.sequence));
        rig.request(&ack(&sent[..1]), |turn, request| client.ack(turn, request)).0.unwrap();
        assert_eq!(client.ongoing.is_some(), subscribes);
        if let Some(ongoing) = &client.ongoing {
            assert_eq!(ongoing.progress.capacity(), 0);
            assert!(!ongoing.subscriptions.is_empty());
        }
    }
}

#[test]
fn expired_messages_make_room_for_those_that_follow() {
    let mut rig = Rig::new();
    let mut client = client(&mut rig);
    for second in 1..1000 {
        rig.now = Moment(1000 * second);
        assert_eq!(push(&mut rig, &mut client, &message(second, 10)), 1);
        assert!(client.progress().has_sent(Sequence(second)));
        // Up to 10 are valid at a time, and the list grows by doubling.
        assert!(client.progress().capacity() <= 20, "{} after {second} s", client.progress().capacity());
    }
}
