//! What a client takes of memory.

use super::*;
use crate::message::Request;
use beckon_types::{Channel, Draft, KeyId, Place, Snapshot};

const CHANNEL: ChannelId = ChannelId([1; 16]);

fn client() -> WebPush {
    let channel = Channel { id: CHANNEL, spelling: Spelling::PLAIN, pending: None };
    WebPush::new(Moment(0), &Snapshot { sequence: Sequence(0), channels: vec![channel] })
}

fn message(sequence: u64, seconds: u64) -> Message {
    Message {
        channel: CHANNEL,
        place: Place { sequence: Sequence(sequence), topic: None },
        key: KeyId(1),
        draft: Draft { ttl: std::time::Duration::from_secs(seconds), ..Draft::default() },
    }
}

fn subscribe(client: &mut WebPush) {
    let named = Request::parse(r#"{"broadcasts":{"a":"1"}}"#).unwrap().broadcasts().unwrap().unwrap();
    let broadcasts = Broadcasts { revision: 1, values: [("a".into(), "1".into())].into() };
    client.ongoing.get_or_insert_default().subscriptions.add(&named, &broadcasts);
}

#[test]
fn what_was_sent_takes_no_room_once_it_is_acknowledged() {
    for subscribes in [false, true] {
        let mut client = client();
        if subscribes {
            subscribe(&mut client);
        }
        let sent: Vec<Message> = (1..100).map(|sequence| message(sequence, 60)).collect();
        sent.iter().for_each(|message| client.note(Moment(0), message, false));
        let places: Vec<Place> = sent.iter().map(|message| message.place).collect();
        client.progress().forget(&places[1..]);
        client.tidy();
        assert!(client.progress().has_sent(sent[0].place.sequence));
        client.progress().forget(&places[..1]);
        client.tidy();
        assert_eq!(client.ongoing.is_some(), subscribes);
        if let Some(ongoing) = &client.ongoing {
            assert_eq!(ongoing.progress.capacity(), 0);
            assert!(!ongoing.subscriptions.is_empty());
        }
    }
}

#[test]
fn what_has_expired_makes_room_for_what_follows() {
    let mut client = client();
    for second in 0..1000 {
        client.note(Moment(1000 * second), &message(second, 10), false);
        assert!(client.progress().has_sent(Sequence(second)));
        // Up to 10 are good at a time, and growth doubles.
        assert!(client.progress().capacity() <= 20, "{} after {second} s", client.progress().capacity());
    }
}
