//! Frames, pings, error replies: what does not depend on the dialect.

use crate::talk::*;
use beckon_session::{CloseCode, Effect, Input, Session};

const PONG: &str = "{}";
const INVALID: &str = r#""status":401,"error":"Invalid Command"}"#;

/// What a refused message gets: its members, status and error.
fn refused(message: &str) -> Vec<Effect> {
    let members = message.trim().strip_suffix('}').unwrap();
    let comma = if members == "{" { "" } else { "," };
    vec![send(&format!("{members}{comma}{INVALID}")), close(CloseCode::Policy)]
}

#[test]
fn an_idle_session_is_small() {
    let bytes = size_of::<Session>();
    assert!(bytes <= 144, "{bytes} bytes; beside them an idle client with one channel has 56 on the heap");
}

#[test]
fn pings_are_answered_before_and_after_hello() {
    // SP-6
    for ping in ["{}", " { } ", "{\n}", r#"{"messageType":"PING","x":1}"#, r#"{"messageType":"ping"}"#] {
        check(&[text(ping)], &[send(PONG)]);
        Talk::greeted(&[]).check(&[text(ping)], &[send(PONG)]);
    }
}

#[test]
fn a_ping_is_answered_while_a_step_is_under_way() {
    check(
        &[text(HELLO_A), text("{}")],
        &[store(beckon_session::Step::Hello(hello_step(A, &[]))), send(PONG)],
    );
    let register = register_text(X);
    Talk::greeted(&[]).check(&[text(&register), text("{}")], &[add_step(X), send(PONG)]);
}

#[test]
fn a_second_ping_within_the_minimum_interval_is_refused() {
    // SP-7
    for ping in ["{}", r#"{"messageType":"Ping","x":[1]}"#] {
        let mut expected = refused(ping);
        expected.push(Effect::End);
        let mut talk = Talk::new();
        talk.check(&[text("{}")], &[send(PONG)]).wait(19).check(&[text(ping)], &expected);
        let mut talk = Talk::greeted(&[]);
        talk.check(&[text("{}")], &[send(PONG)]).wait(20).check(&[text(ping)], &[send(PONG)]).wait(5);
        let expected = [refused(ping), vec![release()]].concat();
        talk.check(&[text(ping)], &expected);
    }
}

#[test]
fn purge_is_answered_as_often_as_it_comes() {
    // SP-50
    let purge = r#"{"messageType":"purge"}"#;
    check(&[text(purge), text(purge)], &[send(PONG), send(PONG)]);
    Talk::greeted(&[]).check(&[text(purge), text("{}"), text(purge)], &[send(PONG), send(PONG), send(PONG)]);
}

#[test]
fn what_is_no_json_object_is_closed_without_a_reply() {
    // SP-10
    for message in [r#"{"messageType":"#, "[]", r#""x""#, "1", " ", "{}{}", "{\"a\":01}", "\u{feff}{}"] {
        check(&[text(message)], &[close(CloseCode::Invalid), Effect::End]);
        check(&[Input::Binary(message.as_bytes())], &[close(CloseCode::Invalid), Effect::End]);
    }
    check(&[Input::Binary(b"{\"a\":\"\xff\"}")], &[close(CloseCode::Invalid), Effect::End]);
}

#[test]
fn an_empty_message_is_ignored() {
    // SP-12
    check(&[text(""), Input::Binary(b""), text("{}")], &[send(PONG)]);
}

#[test]
fn a_binary_message_is_read_as_text() {
    // SP-13
    check(
        &[Input::Binary(HELLO_A.as_bytes()), claimed(0, &[])],
        &[store(beckon_session::Step::Hello(hello_step(A, &[]))), hello_reply(A)],
    );
    let register = register_text(X);
    Talk::greeted(&[]).check(&[Input::Binary(register.as_bytes())], &[add_step(X)]);
}

#[test]
fn an_unknown_type_is_refused_with_all_its_members() {
    // SP-14, SP-15, SP-16
    for message in [
        r#"{"messageType":123}"#,
        r#"{"messageType":null}"#,
        r#"{"messageType":""}"#,
        r#"{"x":1e999,"big":123456789012345678901234567890,"deep":{"a":[1, {"b":null}]}}"#,
        r#"{"messageType":"nonsense","a":"\u00e9\ud800"}"#,
        r#"{"messageType":"nack"}"#,
        r#"{"messageType":"broadcast_subscribe"}"#,
        r#"{"messagetype":"hello","channelIDs":[]}"#,
        r#"{" messageType ":"hello","channelIDs":[]}"#,
        r#"{"messageType":"hel\ud800lo","channelIDs":[]}"#,
    ] {
        check(&[text(message)], &[refused(message), vec![Effect::End]].concat());
        Talk::greeted(&[]).check(&[text(message)], &[refused(message), vec![release()]].concat());
    }
}

#[test]
fn commands_before_hello_are_refused() {
    // SP-31
    for message in [register_text(X), unregister_text(X), ack_text(X, 1)] {
        check(&[text(&message)], &[refused(&message), vec![Effect::End]].concat());
    }
}

#[test]
fn the_error_reply_sets_status_and_error_and_has_no_endpoint() {
    check(
        &[text(r#"{"status":200,"messageType":1,"pushEndpoint":"x","error":2,"messageType":"x","a":1}"#)],
        &[
            send(r#"{"messageType":"x","a":1,"status":401,"error":"Invalid Command"}"#),
            close(CloseCode::Policy),
            Effect::End,
        ],
    );
}

#[test]
fn the_last_member_of_a_name_counts_however_it_is_escaped() {
    check(&[text(r#"{"messageType":"x","m\u0065ssageType":"p\u0069ng"}"#)], &[send(PONG)]);
}

#[test]
fn a_large_message_is_answered() {
    // SP-11
    let long = "k".repeat(128_000);
    let message = format!(
        r#"{{"messageType":"hello","{long}":"{long}","use_webpush":true,"uaid":"{long}","broadcasts":1}}"#
    );
    check(
        &[text(&message)],
        &[
            send(&format!(
                r#"{{"messageType":"hello","{long}":"{long}","use_webpush":true,"broadcasts":1,{INVALID}"#
            )),
            close(CloseCode::Policy),
            Effect::End,
        ],
    );
}

#[test]
fn deep_nesting_is_no_problem() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let message = format!(r#"{{"messageType":"purge","x":{deep}}}"#);
    check(&[text(&message)], &[send(PONG)]);
}

#[test]
fn a_client_that_floods_is_read_no_further() {
    let mut talk = Talk::greeted(&[]);
    let register = register_text(X);
    talk.check(&[text(&register)], &[add_step(X)]);
    for _ in 0..256 {
        assert!(talk.takes_messages());
        talk.check(&[text(&unregister_text(Y))], &[]);
    }
    assert!(!talk.takes_messages());
    talk.check(&[text("{}")], &[send(PONG)]);
    talk.check(&[registered(10)], &[register_reply(X), remove_step(Y)]);
    assert!(talk.takes_messages());
}

#[test]
fn large_requests_that_wait_are_bounded_too() {
    let mut talk = Talk::greeted(&[]);
    let large = format!(r#"{{"messageType":"register","channelID":"{X}","x":"{}"}}"#, "x".repeat(70_000));
    talk.check(&[text(&large)], &[add_step(X)]);
    assert!(talk.takes_messages());
    talk.check(&[text(&large)], &[]);
    assert!(!talk.takes_messages());
    talk.check(&[registered(10)], &[register_reply(X), add_step(X)]);
    assert!(talk.takes_messages());
}

#[test]
fn a_session_is_settled_when_no_step_is_left() {
    let mut talk = Talk::greeted(&[(X, Some(1))]);
    assert!(talk.session.is_settled());
    talk.check(&[text(&ack_text(X, 1))], &[ack_step(&[(X, Some(1))])]);
    assert!(!talk.session.is_settled());
    talk.check(&[outcome(beckon_session::Outcome::Done)], &[]);
    assert!(talk.session.is_settled());
}
