//! Broadcasts (PROTOCOL.md section 4.8).

use super::talk::*;
use crate::talk::*;
use beckon_session::{Effect, Input};
use beckon_types::Broadcasts;

fn broadcasts(values: &[(&str, &str)]) -> Broadcasts {
    let values = values.iter().map(|&(id, version)| (id.into(), version.into()));
    Broadcasts { revision: 1, values: values.collect() }
}

fn subscribe(members: &str) -> String {
    format!(r#"{{"messageType":"broadcast_subscribe","broadcasts":{members}}}"#)
}

fn broadcast(members: &str) -> Effect {
    send(&format!(r#"{{"messageType":"broadcast","broadcasts":{members}}}"#))
}

/// A socket that knows these broadcasts and says hello with the member.
fn greeted(values: &[(&str, &str)], member: &str) -> (Talk, Vec<Effect>) {
    let mut talk = Talk::new();
    talk.broadcasts = broadcasts(values);
    let message = format!(r#"{{"messageType":"hello","uaid":"{A}","broadcasts":{member}}}"#);
    assert_eq!(talk.handle(text(&message)).len(), 1);
    let effects = talk.handle(webpush_claimed(&[], &[], false));
    (talk, effects)
}

fn reply(members: &str) -> Effect {
    let Effect::Send(reply) = webpush_hello_reply(A) else { panic!("a reply is sent") };
    send(&reply.replace("{}", members))
}

#[test]
fn a_hello_gets_what_it_does_not_know_and_what_there_is_not() {
    // WP-8, WP-9
    let values = [("news/main", "\"42\""), ("x", "1")];
    for (member, members, subscribed) in [
        ("null", "{}", false),
        ("{}", "{}", false),
        (r#"{"news/main":"\"42\""}"#, "{}", true),
        (r#"{"news/main":"\"41\"","x":"1"}"#, r#"{"news/main":"\"42\""}"#, true),
        (r#"{"x":"0","x":"1"}"#, "{}", true),
        (r#"{"\u0078":"0"}"#, r#"{"x":"1"}"#, true),
        (r#"{"y/\u00e9":"0"}"#, r#"{"errors":{"y/\u00e9":"Broadcast not found"}}"#, false),
        (
            r#"{"a":"","news/main":"","x":"2","z":"9"}"#,
            r#"{"news/main":"\"42\"","x":"1","errors":{"a":"Broadcast not found","z":"Broadcast not found"}}"#,
            true,
        ),
    ] {
        let expected = [subscribed.then_some(Effect::Subscribed), Some(reply(members))];
        assert_eq!(
            greeted(&values, member).1,
            expected.into_iter().flatten().collect::<Vec<_>>(),
            "{member}"
        );
    }
}

#[test]
fn a_subscription_is_answered_only_if_there_is_something_to_say() {
    // WP-10
    let mut talk = Talk::webpush(&[]);
    talk.broadcasts = broadcasts(&[("a", "1"), ("b", "2")]);
    talk.check(&[text(&subscribe("{}"))], &[])
        .check(&[text(&subscribe(r#"{"c":"1"}"#))], &[broadcast(r#"{"errors":{"c":"Broadcast not found"}}"#)])
        .check(&[text(&subscribe(r#"{"a":"1"}"#))], &[Effect::Subscribed])
        .check(&[text(&subscribe(r#"{"a":"1","b":"1"}"#))], &[broadcast(r#"{"b":"2"}"#)])
        .check(&[text(&subscribe(r#"{"b":"1"}"#))], &[broadcast(r#"{"b":"2"}"#)]);
}

#[test]
fn an_ill_formed_subscription_is_refused() {
    for message in [
        r#"{"messageType":"broadcast_subscribe"}"#.to_owned(),
        subscribe("null"),
        subscribe("[]"),
        subscribe(r#""a""#),
        subscribe(r#"{"a":1}"#),
        subscribe(r#"{"a":null}"#),
    ] {
        Talk::webpush(&[]).check(&[text(&message)], &refused_webpush(&message));
    }
}

#[test]
fn a_change_reaches_those_who_have_subscribed_to_it() {
    // WP-11
    let (mut talk, _) = greeted(&[("a", "1"), ("b", "1"), ("c", "1")], r#"{"a":"1","b":"0"}"#);
    talk.check(&[Input::Broadcasts], &[]);
    talk.broadcasts = broadcasts(&[("a", "2"), ("b", "1"), ("c", "2")]);
    talk.check(&[Input::Broadcasts, Input::Broadcasts], &[broadcast(r#"{"a":"2"}"#)]);
    talk.broadcasts = broadcasts(&[("b", "2")]);
    talk.check(&[Input::Broadcasts], &[broadcast(r#"{"b":"2"}"#)]);
    talk.broadcasts = broadcasts(&[("a", "3"), ("b", "3")]);
    talk.check(&[Input::Broadcasts], &[broadcast(r#"{"a":"3","b":"3"}"#)]);
}

#[test]
fn only_subscribers_receive_a_change() {
    for mut talk in [Talk::webpush(&[]), Talk::greeted(&[]), Talk::new()] {
        talk.broadcasts = broadcasts(&[("a", "1")]);
        talk.check(&[Input::Broadcasts], &[]);
    }
}

#[test]
fn a_socket_subscribes_to_a_hundred_broadcasts_at_most() {
    let ids: Vec<String> = (0..101).map(|number| format!("{number:03}")).collect();
    let values: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), "1")).collect();
    let named: Vec<String> = ids.iter().map(|id| format!(r#""{id}":"1""#)).collect();
    let mut talk = Talk::webpush(&[]);
    talk.broadcasts = broadcasts(&values);
    talk.check(
        &[text(&subscribe(&format!("{{{}}}", named.join(","))))],
        &[Effect::Subscribed, broadcast(r#"{"errors":{"100":"Too many broadcasts"}}"#)],
    );
    talk.check(&[text(&subscribe(r#"{"099":"0"}"#))], &[broadcast(r#"{"099":"1"}"#)]);
    talk.broadcasts = broadcasts(&[("099", "2"), ("100", "2")]);
    talk.check(&[Input::Broadcasts], &[broadcast(r#"{"099":"2"}"#)]);
}
