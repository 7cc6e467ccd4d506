//! Hello, and what does not depend on channels: frames, pings, unknown types.

use super::talk::*;
use crate::talk::*;
use beckon_session::{Admission, BareHello, CloseCode, Effect, Input, InvalidUaid, Outcome, Step};
use beckon_types::{Dialect, Hello, HelloOutcome};

const NEW: &str = "01010101010141018101010101010101";
const INVALID: &str = r#""status":401,"error":"Invalid Command"}"#;

fn hello(step: Hello) -> Effect {
    store(Step::Hello(step))
}

fn unknown() -> Input<'static> {
    outcome(Outcome::Hello(HelloOutcome::Unknown { dialect: Dialect::WebPush }))
}

#[test]
fn a_hello_without_a_usable_uaid_gets_a_new_one() {
    // WP-1, WP-2, WP-4, WP-5, WP-8
    for members in [
        "",
        r#","uaid":null"#,
        r#","uaid":"""#,
        r#","uaid":"!@#""#,
        r#","uaid":"6fa1c3e2d40b4f5a8c7e9b1032a4d5f","broadcasts":{}"#,
        r#","use_webpush":true,"channelIDs":7,"broadcasts":null"#,
        r#","use_webpush":true,"channelIDs":["x",1]"#,
        r#","use_webpush":"yes","channelIDs":{}"#,
    ] {
        check(
            &[text(&format!(r#"{{"messageType":"HELLO"{members}}}"#)), webpush_claimed(&[], &[], false)],
            &[hello(webpush_hello_new(generated(1))), webpush_hello_reply(NEW)],
        );
    }
    // Nothing of this depends on what SimplePush makes of a malformed UAID.
    let mut refusing = settings();
    refusing.invalid_uaid = InvalidUaid::Refuse;
    let message = r#"{"messageType":"hello","uaid":"x"}"#;
    Talk::with(refusing).check(&[text(message)], &[hello(webpush_hello_new(generated(1)))]);
}

#[test]
fn a_stored_uaid_resumes_whether_or_not_the_dialect_is_named() {
    // WP-3
    for (member, named) in [(r#","use_webpush":true"#, Some(Dialect::WebPush)), ("", None)] {
        for id in [A, B, "6FA1C3E2-d40b-4F5A-8C7E-9B1032A4D5F6"] {
            let message = format!(r#"{{"messageType":"hello","uaid":"{id}"{member}}}"#);
            let step = Hello { named, ..webpush_hello(id) };
            let mut talk = Talk::new();
            talk.check(
                &[text(&message), webpush_claimed(&[X], &[], false)],
                &[hello(step), webpush_hello_reply(id)],
            );
            assert_eq!(talk.session.dialect(), Some(Dialect::WebPush));
        }
    }
}

#[test]
fn a_list_of_channels_does_not_keep_a_stored_uaid_from_being_web_push() {
    // Section 1.9, row 3 before row 4.
    let message = format!(r#"{{"messageType":"hello","uaid":"{A}","channelIDs":["{X}"]}}"#);
    check(
        &[text(&message), webpush_claimed(&[X], &[], false)],
        &[hello(hello_step(A, &[X])), webpush_hello_reply(A)],
    );
}

#[test]
fn a_list_of_channels_means_nothing_if_the_dialect_is_named() {
    for list in [format!(r#"["{X}"]"#), r#"["x"]"#.into(), "[1]".into(), "[]".into()] {
        let message =
            format!(r#"{{"messageType":"hello","use_webpush":true,"uaid":"{A}","channelIDs":{list}}}"#);
        let step = Hello { otherwise: Dialect::SimplePush, ..webpush_hello(A) };
        check(&[text(&message), webpush_claimed(&[X], &[], false)], &[hello(step), webpush_hello_reply(A)]);
    }
}

#[test]
fn a_uaid_that_is_not_stored_for_web_push_becomes_another() {
    // WP-4
    for (message, named) in [
        (WEBPUSH_A.to_owned(), Some(Dialect::WebPush)),
        (format!(r#"{{"messageType":"hello","uaid":"{A}"}}"#), None),
    ] {
        check(
            &[text(&message), unknown(), webpush_claimed(&[], &[], false)],
            &[
                hello(Hello { named, ..webpush_hello(A) }),
                hello(webpush_hello_new(generated(1))),
                webpush_hello_reply(NEW),
            ],
        );
    }
}

#[test]
fn a_store_that_refuses_a_generated_uaid_is_to_blame() {
    let mut talk = Talk::new();
    talk.handle(text(r#"{"messageType":"hello"}"#));
    assert_eq!(talk.handle(unknown())[0], close(CloseCode::Error));
}

#[test]
fn a_second_hello_is_refused_without_a_uaid() {
    // WP-6
    for (message, reply) in [
        (WEBPUSH_A, r#"{"messageType":"hello","use_webpush":true,"#),
        (HELLO, r#"{"messageType":"hello","channelIDs":[],"#),
        (r#"{"messageType":"Hello","uaid":""}"#, r#"{"messageType":"Hello","#),
    ] {
        Talk::webpush(&[]).check(
            &[text(message)],
            &[send(&format!("{reply}{INVALID}")), close(CloseCode::Policy), release()],
        );
    }
}

#[test]
fn an_ill_formed_hello_is_refused_without_a_uaid() {
    // WP-7
    for members in [
        r#""use_webpush":true,"uaid":5"#,
        r#""uaid":[]"#,
        r#""broadcasts":[],"uaid":"x""#,
        r#""use_webpush":true,"broadcasts":"x","uaid":"6fa1c3e2d40b4f5a8c7e9b1032a4d5f6""#,
        r#""use_webpush":true,"broadcasts":{"a":1},"uaid":"6fa1c3e2d40b4f5a8c7e9b1032a4d5f6""#,
        // Whichever dialect is stored would refuse these.
        r#""broadcasts":5,"uaid":"6fa1c3e2d40b4f5a8c7e9b1032a4d5f6""#,
        r#""broadcasts":5,"channelIDs":["x",1],"uaid":"6fa1c3e2d40b4f5a8c7e9b1032a4d5f6""#,
    ] {
        let message = format!(r#"{{"messageType":"hello",{members}}}"#);
        let mut effects = Talk::new().handle(text(&message));
        assert_eq!(effects.split_off(1), [close(CloseCode::Policy), Effect::End]);
        let [Effect::Send(reply)] = &effects[..] else { panic!("{effects:?}") };
        assert!(reply.ends_with(INVALID) && !reply.contains("uaid"), "{reply}");
    }
}

#[test]
fn a_hello_whose_dialect_only_the_store_knew_is_refused_after_it() {
    // WP-7: SimplePush would not have looked at the member.
    let message = format!(r#"{{"messageType":"hello","uaid":"{A}","channelIDs":[],"broadcasts":5}}"#);
    check(
        &[text(&message), webpush_claimed_from(Some(OTHER), &[X], &messages([1]), false)],
        &[
            hello(hello_step(A, &[])),
            Effect::Evict(OTHER),
            send(&format!(r#"{{"messageType":"hello","channelIDs":[],"broadcasts":5,{INVALID}"#)),
            close(CloseCode::Policy),
            release(),
        ],
    );
    check(&[text(&message), claimed(0, &[])], &[hello(hello_step(A, &[])), hello_reply(A)]);
}

#[test]
fn a_failing_store_closes_without_a_reply() {
    // WP-7
    check(
        &[text(WEBPUSH_A), outcome(Outcome::Failed), outcome(Outcome::Done)],
        &[hello(webpush_hello(A)), close(CloseCode::Error), release(), Effect::End],
    );
}

#[test]
fn the_former_socket_is_closed_before_the_reply_and_the_backlog_follows_it() {
    let mut talk = Talk::new();
    talk.handle(text(WEBPUSH_A));
    let stored = messages([3, 5]);
    talk.check(
        &[webpush_claimed_from(Some(OTHER), &[X], &stored, false)],
        &[vec![Effect::Evict(OTHER), webpush_hello_reply(A)], notified_messages(&stored)].concat(),
    );
}

#[test]
fn a_node_without_room_takes_web_push_all_the_same() {
    let mut talk = Talk::new();
    talk.admission = Admission::Redirect("wss://b.example.net/".into());
    talk.check(
        &[text(WEBPUSH_A), webpush_claimed(&[], &[], false)],
        &[hello(Hello { room: false, ..webpush_hello(A) }), webpush_hello_reply(A)],
    );
}

#[test]
fn a_bare_hello_can_be_refused_but_not_one_that_names_the_dialect() {
    let mut rejecting = settings();
    rejecting.bare_hello = BareHello::Reject;
    Talk::with(rejecting.clone()).check(
        &[text(r#"{"messageType":"hello"}"#)],
        &[send(&format!(r#"{{"messageType":"hello",{INVALID}"#)), close(CloseCode::Policy), Effect::End],
    );
    let step = Hello { otherwise: Dialect::SimplePush, ..webpush_hello(A) };
    Talk::with(rejecting).check(&[text(WEBPUSH_A)], &[hello(step)]);
}

#[test]
fn what_follows_a_hello_at_once_waits_for_it() {
    let mut talk = Talk::new();
    let register = register_text(X);
    talk.check(&[text(WEBPUSH_A), text(&register)], &[hello(webpush_hello(A))]);
    assert!(!talk.takes_messages() && !talk.session.takes_notifications());
    let stored = messages([3]);
    talk.check(
        &[webpush_claimed(&[X], &stored, false), registered(10)],
        &[
            webpush_hello_reply(A),
            notified_message(&stored[0]),
            webpush_add(X, None),
            webpush_register_reply(X, None),
        ],
    );
}

#[test]
fn a_binary_message_closes_after_hello() {
    // WP-39; an empty one is ignored (section 1.5).
    for bytes in [&b"{}"[..], b"\xff", b"x"] {
        Talk::webpush(&[]).check(
            &[Input::Binary(b""), text(""), Input::Binary(bytes)],
            &[close(CloseCode::Unsupported), release()],
        );
    }
    // Also one that came before the reply; the hello itself may be binary.
    let mut talk = Talk::new();
    let register = register_text(X);
    talk.handle(Input::Binary(WEBPUSH_A.as_bytes()));
    talk.check(
        &[Input::Binary(register.as_bytes()), webpush_claimed(&[], &[], false)],
        &[webpush_hello_reply(A), close(CloseCode::Unsupported), release()],
    );
}

#[test]
fn pings_that_come_too_often_close_without_a_reply() {
    // WP-38
    for ping in ["{}", r#"{"messageType":"ping"}"#] {
        let mut talk = Talk::webpush(&[]);
        talk.check(&[text(ping)], &[send("{}")]).wait(45).check(&[text(ping)], &[send("{}")]);
        talk.wait(44).check(&[text(ping)], &[close(CloseCode::TooManyPings), release()]);
    }
    let mut talk = Talk::new();
    talk.check(&[text("{}")], &[send("{}")]);
    talk.handle(text(WEBPUSH_A));
    talk.handle(webpush_claimed(&[], &[], false));
    talk.wait(44).check(&[text("{}")], &[close(CloseCode::TooManyPings), release()]);
}

#[test]
fn purge_is_answered_and_an_unknown_type_is_refused() {
    // WP-39
    let purge = r#"{"messageType":"purge"}"#;
    Talk::webpush(&[]).check(&[text(purge), text(purge)], &[send("{}"), send("{}")]);
    for message in [
        r#"{"messageType":"notification"}"#,
        r#"{"messageType":"broadcast"}"#,
        r#"{"messageType":5,"x":1}"#,
        r#"{"x":1}"#,
    ] {
        Talk::webpush(&[]).check(&[text(message)], &refused_webpush(message));
    }
    Talk::webpush(&[]).check(&[text("[]")], &[close(CloseCode::Invalid), release()]);
}

#[test]
fn commands_before_hello_are_refused() {
    for message in [
        r#"{"messageType":"nack","version":"x"}"#,
        r#"{"messageType":"broadcast_subscribe","broadcasts":{}}"#,
        r#"{"messageType":"urgency","min":"low"}"#,
    ] {
        let [reply, close, _] = refused_webpush(message);
        check(&[text(message)], &[reply, close, Effect::End]);
    }
}

#[test]
fn a_silent_socket_is_asked_and_then_closed() {
    let mut talk = Talk::webpush(&[X]);
    talk.wait(300).check(&[Input::Timer], &[Effect::Ping, verify()]);
    talk.check(&[verified(10)], &[]);
    talk.wait(30).check(&[Input::Timer], &[close(CloseCode::Error), release()]);
}
