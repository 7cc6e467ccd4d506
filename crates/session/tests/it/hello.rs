//! Hello: the dialect, the UAID, and who else has it.

use crate::talk::*;
use beckon_session::{Admission, BareHello, CloseCode, Effect, Input, InvalidUaid, Outcome, Step};
use beckon_types::{Dialect, Hello, HelloOutcome, Listed};

fn hello(step: Hello) -> Effect {
    store(Step::Hello(step))
}

fn refusal(reply: &str) -> [Effect; 3] {
    [send(reply), close(CloseCode::Policy), Effect::End]
}

#[test]
fn a_hello_without_uaid_gets_a_new_one() {
    // SP-17, SP-19
    for message in [
        HELLO,
        r#"{"messageType":"HELLO","channelIDs":[],"uaid":null}"#,
        r#"{"messageType":"hello","channelIDs":[],"uaid":"","use_webpush":false,"x":1}"#,
        r#"{"messageType":"hello","channelIDs":["0d9f7b52-3c41-4e8a-9a57-51e0c2b7aa10"],"use_webpush":1}"#,
    ] {
        let new = generated(1);
        let reply = hello_reply("01010101010141018101010101010101");
        check(&[text(message), claimed(0, &[])], &[hello(hello_new(new)), reply]);
    }
}

#[test]
fn the_uaid_is_echoed_as_it_was_sent() {
    // SP-20
    for id in [A, B, "6FA1C3E2-d40b-4F5A-8C7E-9B1032A4D5F6"] {
        let message = format!(r#"{{"messageType":"hello","uaid":"{id}","channelIDs":[]}}"#);
        check(&[text(&message), claimed(0, &[])], &[hello(hello_step(id, &[])), hello_reply(id)]);
    }
}

#[test]
fn an_unknown_uaid_with_channels_becomes_another() {
    // SP-21
    let message = format!(r#"{{"messageType":"hello","uaid":"{A}","channelIDs":["{X}"]}}"#);
    let unknown = outcome(Outcome::Hello(HelloOutcome::Unknown { dialect: Dialect::SimplePush }));
    check(
        &[text(&message), unknown, claimed(0, &[])],
        &[
            hello(hello_step(A, &[X])),
            hello(hello_new(generated(1))),
            hello_reply("01010101010141018101010101010101"),
        ],
    );
}

#[test]
fn a_known_uaid_with_registered_channels_stays() {
    // SP-22
    let message = format!(r#"{{"messageType":"hello","uaid":"{A}","channelIDs":["{X}","{Y}"]}}"#);
    check(
        &[text(&message), claimed(5, &[(X, None), (Y, None)])],
        &[hello(hello_step(A, &[X, Y])), hello_reply(A)],
    );
}

#[test]
fn a_known_uaid_with_an_unregistered_channel_becomes_another_and_its_socket_is_closed() {
    // SP-23
    let message = format!(r#"{{"messageType":"hello","uaid":"{A}","channelIDs":["{X}"]}}"#);
    let deleted = outcome(Outcome::Hello(HelloOutcome::Deleted { former: Some(OTHER) }));
    check(
        &[text(&message), deleted, claimed(0, &[])],
        &[
            hello(hello_step(A, &[X])),
            Effect::Evict(OTHER),
            hello(hello_new(generated(1))),
            hello_reply("01010101010141018101010101010101"),
        ],
    );
}

#[test]
fn a_list_that_cannot_be_registered_is_impossible() {
    let many = vec![format!("\"{X}\""); 201].join(",");
    for list in [r#""x""#, r#""""#, r#""0d9f7b52-3c41-4e8a-9a57-51e0c2b7aa1""#, &many] {
        let message = format!(r#"{{"messageType":"hello","uaid":"{A}","channelIDs":[{list}]}}"#);
        let step = Hello { listed: Some(Listed::Impossible), ..hello_step(A, &[]) };
        check(&[text(&message)], &[hello(step)]);
    }
    let most = vec![format!("\"{X}\""); 200].join(",");
    let message = format!(r#"{{"messageType":"hello","uaid":"{A}","channelIDs":[{most}]}}"#);
    check(&[text(&message)], &[hello(hello_step(A, &[X; 200]))]);
}

#[test]
fn a_malformed_uaid_gets_a_new_one_or_is_refused() {
    // SP-24
    for id in ["!@#", "x", r"\ud800", "6fa1c3e2d40b4f5a8c7e9b1032a4d5f6a"] {
        let message = format!(r#"{{"messageType":"hello","uaid":"{id}","channelIDs":[]}}"#);
        check(&[text(&message)], &[hello(hello_new(generated(1)))]);
        let mut refusing = settings();
        refusing.invalid_uaid = InvalidUaid::Refuse;
        Talk::with(refusing).check(
            &[text(&message)],
            &refusal(&format!(
                r#"{{"messageType":"hello","uaid":"{id}","channelIDs":[],"status":503,"error":"Invalid UAID"}}"#
            )),
        );
    }
}

#[test]
fn members_of_the_wrong_type_are_refused() {
    // SP-25
    for members in [
        r#""use_webpush":false,"uaid":5,"channelIDs":[]"#,
        r#""uaid":{},"channelIDs":[]"#,
        r#""use_webpush":false,"channelIDs":"x""#,
        r#""use_webpush":false,"channelIDs":[1]"#,
        r#""use_webpush":false,"uaid":"6fa1c3e2d40b4f5a8c7e9b1032a4d5f6""#,
        r#""channelIDs":["0d9f7b52-3c41-4e8a-9a57-51e0c2b7aa10",null]"#,
        r#""use_webpush":false"#,
    ] {
        check(
            &[text(&format!(r#"{{"messageType":"hello",{members}}}"#))],
            &refusal(&format!(
                r#"{{"messageType":"hello",{members},"status":401,"error":"Invalid Command"}}"#
            )),
        );
    }
}

#[test]
fn a_bare_hello_of_a_stored_simplepush_uaid_is_refused() {
    for bare_hello in [BareHello::WebPush, BareHello::Reject] {
        let mut settings = settings();
        settings.bare_hello = bare_hello;
        let mut talk = Talk::with(settings);
        let message = format!(r#"{{"messageType":"hello","uaid":"{A}"}}"#);
        let simplepush = bare_hello == BareHello::Reject;
        let otherwise = if simplepush { Dialect::SimplePush } else { Dialect::WebPush };
        let step = Hello { listed: None, otherwise, adopt: simplepush, ..hello_step(A, &[]) };
        let reply =
            format!(r#"{{"messageType":"hello","uaid":"{A}","status":401,"error":"Invalid Command"}}"#);
        talk.check(&[text(&message)], &[hello(step)])
            .check(&[outcome(Outcome::Hello(HelloOutcome::ListMissing))], &refusal(&reply));
    }
}

#[test]
fn a_bare_hello_can_be_taken_for_an_incomplete_simplepush_one() {
    // SP-18
    let mut settings = settings();
    settings.bare_hello = BareHello::Reject;
    Talk::with(settings).check(
        &[text(r#"{"messageType":"hello","ChannelIds":[]}"#)],
        &refusal(r#"{"messageType":"hello","ChannelIds":[],"status":401,"error":"Invalid Command"}"#),
    );
}

#[test]
fn a_second_hello_of_the_same_uaid_repeats_what_is_pending() {
    // SP-26
    for member in ["", r#""uaid":"","#, r#""uaid":null,"#] {
        let again = format!(r#"{{"messageType":"hello",{member}"use_webpush":true,"channelIDs":[]}}"#);
        Talk::greeted(&[(X, Some(1)), (Y, None)]).check(
            &[text(&again), looked(11, &[(Y, Some(2)), (X, Some(1))])],
            &[look(), hello_reply(A), notified(&[(X, 1), (Y, 2)])],
        );
    }
    let upper = "6FA1C3E2-D40B-4F5A-8C7E-9B1032A4D5F6";
    let again = format!(r#"{{"messageType":"hello","uaid":"{upper}","channelIDs":["{Y}"]}}"#);
    Talk::greeted(&[]).check(&[text(&again), looked(10, &[])], &[look(), hello_reply(upper)]);
}

#[test]
fn a_second_hello_of_another_uaid_is_refused() {
    // SP-27
    for id in [B, "x"] {
        let members = format!(r#"{{"messageType":"hello","uaid":"{id}","channelIDs":[]"#);
        Talk::greeted(&[]).check(
            &[text(&format!("{members}}}"))],
            &[
                send(&format!(r#"{members},"status":503,"error":"UAID Already Assigned"}}"#)),
                close(CloseCode::Policy),
                release(),
            ],
        );
    }
}

#[test]
fn an_ill_formed_second_hello_is_refused() {
    for members in [r#""uaid":"""#, r#""uaid":1,"channelIDs":[]"#, r#""channelIDs":[2]"#] {
        Talk::greeted(&[]).check(
            &[text(&format!(r#"{{"messageType":"hello",{members}}}"#))],
            &[
                send(&format!(
                    r#"{{"messageType":"hello",{members},"status":401,"error":"Invalid Command"}}"#
                )),
                close(CloseCode::Policy),
                release(),
            ],
        );
    }
}

#[test]
fn the_former_socket_is_closed_before_the_reply() {
    // SP-28
    let mut talk = Talk::new();
    talk.handle(text(HELLO_A));
    talk.check(
        &[claimed_from(Some(OTHER), 3, &[(X, Some(7))])],
        &[Effect::Evict(OTHER), hello_reply(A), notified(&[(X, 7)])],
    );
    let mut talk = Talk::new();
    talk.handle(text(HELLO_A));
    talk.check(&[claimed_from(Some(OWN), 3, &[])], &[hello_reply(A)]);
}

#[test]
fn a_node_without_room_redirects_or_turns_away() {
    // SP-30
    let no_room = || outcome(Outcome::Hello(HelloOutcome::NoRoom));
    for (admission, members) in [
        (
            Admission::Redirect("wss://b.example.net/\"".into()),
            r#""status":307,"redirect":"wss://b.example.net/\"""#,
        ),
        (Admission::Full, r#""status":429"#),
    ] {
        for (message, step, id) in [
            (HELLO_A, hello_step(A, &[]), A),
            (HELLO, hello_new(generated(1)), "01010101010141018101010101010101"),
        ] {
            let mut talk = Talk::new();
            talk.admission = admission.clone();
            talk.check(
                &[text(message), no_room()],
                &[
                    hello(Hello { room: false, ..step }),
                    send(&format!(r#"{{"messageType":"hello","uaid":"{id}",{members}}}"#)),
                    close(CloseCode::Normal),
                    Effect::End,
                ],
            );
        }
    }
}

#[test]
fn a_failing_store_closes_without_a_reply() {
    check(
        &[text(HELLO_A), outcome(Outcome::Failed), outcome(Outcome::Done)],
        &[hello(hello_step(A, &[])), close(CloseCode::Error), release(), Effect::End],
    );
    Talk::greeted(&[])
        .check(&[text(HELLO), outcome(Outcome::Failed)], &[look(), close(CloseCode::Error), release()]);
}

#[test]
fn a_store_that_refuses_a_generated_uaid_is_to_blame() {
    let unknown = || outcome(Outcome::Hello(HelloOutcome::Unknown { dialect: Dialect::SimplePush }));
    let mut talk = Talk::new();
    talk.handle(text(HELLO));
    let effects = talk.handle(unknown());
    assert_eq!(effects[0], close(CloseCode::Error));
}

#[test]
fn admission_is_computed_for_hellos_only() {
    let mut talk = Talk::new();
    let (hello, register) = (text(HELLO_A), register_text(X));
    for (input, admissions) in [
        (text("{}"), 0),
        (Input::Control, 0),
        (Input::Timer, 0),
        (hello, 1),
        (claimed(10, &[]), 1),
        (text(&register), 1),
        (registered(10), 1),
        (update(X, 1, 11), 1),
        (Input::Timer, 1),
        (Input::Disconnected, 1),
    ] {
        talk.handle(input.clone());
        assert_eq!(talk.admissions.get(), admissions, "after {input:?}");
    }
}

#[test]
fn what_follows_a_hello_at_once_waits_for_it() {
    let mut talk = Talk::new();
    let (register, unregister) = (register_text(X), unregister_text(Y));
    talk.check(&[text(HELLO_A)], &[hello(hello_step(A, &[]))]);
    assert!(talk.takes_messages() && !talk.session.takes_notifications());
    talk.check(&[text(&register)], &[]);
    assert!(!talk.takes_messages());
    talk.check(&[text(&unregister), text("{}")], &[send("{}")]);
    talk.check(&[claimed(0, &[])], &[hello_reply(A), add_step(X)]);
    assert!(talk.takes_messages() && talk.session.takes_notifications());
    talk.check(&[registered(0)], &[register_reply(X), remove_step(Y)]);
    assert_eq!(talk.session.dialect(), Some(Dialect::SimplePush));
}

#[test]
fn a_socket_without_hello_is_closed_after_the_hello_limit() {
    // SP-4, SP-5
    let mut talk = Talk::new();
    assert_eq!(talk.deadline(), Some(30));
    talk.wait(29).check(&[text("{}"), Input::Control, Input::Timer], &[send("{}")]);
    assert_eq!(talk.deadline(), Some(1));
    talk.wait(1).check(&[Input::Timer], &[close(CloseCode::Policy), Effect::End]);
    assert_eq!(talk.deadline(), None);
}

#[test]
fn a_hello_that_the_store_does_not_answer_in_time_is_closed_and_released() {
    let mut talk = Talk::new();
    talk.check(&[text(HELLO_A)], &[hello(hello_step(A, &[]))]);
    talk.wait(30).check(&[Input::Timer], &[close(CloseCode::Policy)]);
    talk.check(
        &[claimed_from(Some(OTHER), 4, &[(X, Some(1))]), outcome(Outcome::Done)],
        &[store(Step::Release(client(A), OWN, Some(OTHER))), store(Step::NoteMissed(OTHER))],
    );
}
