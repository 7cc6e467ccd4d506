//! A SimplePush client alone, without a session.

use super::*;
use crate::doubt::repeat_at;
use crate::{
    api::{Effect, Step},
    turn::rig::{CHANNEL, CHANNEL_TEXT, PRESENCE, Rig, UAID, client_id, snapshot},
};
use beckon_types::{Ack, Spelling, Version};

/// A client with one channel, on which version 1 is pending, and the effects of its hello.
fn client(rig: &mut Rig) -> (SimplePush, Vec<Effect>) {
    rig.turn(|turn| SimplePush::greet(turn, &snapshot(10, Some(1))))
}

fn update(version: u64, sequence: u64) -> Update {
    let version = Version::new(version).unwrap();
    Update { channel: CHANNEL, version, sequence: Sequence(sequence), data: None }
}

fn notified(version: u64) -> Effect {
    let entry = format!(r#"{{"channelID":"{CHANNEL_TEXT}","version":{version}}}"#);
    Effect::Send(format!(r#"{{"messageType":"notification","updates":[{entry}]}}"#))
}

fn read_record() -> Effect {
    Effect::Store(Step::Snapshot(client_id(), PRESENCE))
}

#[test]
fn a_hello_is_answered_with_what_is_pending() {
    let (_, effects) = client(&mut Rig::new());
    let uaid = UAID.to_text(Spelling::PLAIN);
    let reply = format!(r#"{{"messageType":"hello","uaid":"{uaid}","status":200}}"#);
    assert_eq!(effects, [Effect::Send(reply), notified(1)]);
}

#[test]
fn a_violation_has_no_effect_of_its_own() {
    let mut rig = Rig::new();
    let (mut client, _) = client(&mut rig);
    let other = r#"{"messageType":"hello","channelIDs":[],"uaid":"22222222222222222222222222222222"}"#;
    for (result, violation) in [
        (rig.request("{}", |turn, request| client.ack(turn, request)), Violation::IllFormed),
        (rig.request("{}", |turn, request| client.register(turn, request)), Violation::IllFormed),
        (rig.request("{}", |turn, request| client.unregister(turn, request)), Violation::IllFormed),
        (rig.request("{}", |turn, request| client.hello_again(turn, request)), Violation::IllFormed),
        (rig.request(other, |turn, request| client.hello_again(turn, request)), Violation::AnotherUaid),
    ] {
        assert_eq!(result, (Err(violation), Vec::new()));
    }
}

#[test]
fn an_acknowledged_update_is_not_sent_again_while_the_store_still_has_it() {
    let mut rig = Rig::new();
    let (mut client, _) = client(&mut rig);
    let (_, effects) = rig.turn(|turn| client.refresh(turn));
    assert_eq!(effects, [read_record()]);
    let ack = format!(r#"{{"updates":[{{"channelID":"{CHANNEL_TEXT}","version":1}}]}}"#);
    assert_eq!(rig.request(&ack, |turn, request| client.ack(turn, request)), (Ok(()), Vec::new()));
    let (result, effects) = rig.turn(|turn| {
        assert!(turn.steps.is_acknowledging(|ack| *ack == Ack { channel: CHANNEL, version: Some(1.0) }));
        let job = turn.steps.finish().unwrap();
        client.conclude(turn, job, Outcome::Snapshot(snapshot(10, Some(1))))
    });
    assert_eq!((result, effects), (Ok(()), Vec::new()));
}

#[test]
fn writes_are_sent_in_the_order_of_the_store() {
    let mut rig = Rig::new();
    let (mut client, _) = client(&mut rig);
    let (_, effects) = rig.turn(|turn| {
        client.push_update(turn, &update(9, 12), None);
        client.push_update(turn, &update(8, 11), None);
        client.push_update(turn, &update(7, 13), None);
    });
    assert_eq!(effects, [notified(9), notified(7)]);
}

#[test]
fn a_failed_read_is_repeated_later() {
    let mut rig = Rig::new();
    let (mut client, _) = client(&mut rig);
    let (result, effects) =
        rig.turn(|turn| client.conclude(turn, Job::Refresh(Sequence(10)), Outcome::Failed));
    assert_eq!((result, effects), (Ok(()), Vec::new()));
    let (due, _) = rig.turn(|turn| client.due(turn.settings));
    assert_eq!(due, repeat_at(PRESENCE.connection, Moment(0)));
    rig.now = due;
    assert_eq!(rig.turn(|turn| client.resume(turn)).1, [read_record()]);
}

#[test]
fn a_repeated_hello_that_the_store_cannot_answer_closes_the_socket() {
    let mut rig = Rig::new();
    let (mut client, _) = client(&mut rig);
    for job in [Job::HelloAgain(Sequence(10)), Job::RemoveMessages(Vec::new())] {
        let (result, effects) = rig.turn(|turn| client.conclude(turn, job, Outcome::Failed));
        assert_eq!((result, effects), (Err(CloseCode::Error), Vec::new()));
    }
}
