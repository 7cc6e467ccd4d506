//! Register and unregister.

use crate::talk::*;
use beckon_session::{CloseCode, Effect, Input, Outcome};

fn error_500(request: &str) -> Effect {
    let members = request.strip_suffix('}').unwrap();
    send(&format!(r#"{members},"status":500,"error":"Internal Error"}}"#))
}

#[test]
fn a_register_gets_the_same_spelling_and_an_endpoint() {
    // SP-32, SP-35
    for id in [X, "0d9f7b523c414e8a9a5751e0c2b7aa10", "0D9F7B52-3C41-4e8a-9a57-51e0C2B7AA10"] {
        let message = format!(r#"{{"messageType":"REGISTER","channelID":"{id}","uaid":"{B}","x":[]}}"#);
        Talk::greeted(&[]).check(&[text(&message), registered(3)], &[add_step(id), register_reply(id)]);
    }
}

#[test]
fn a_registered_channel_keeps_its_endpoint_and_its_update() {
    // SP-33
    Talk::greeted(&[(X, Some(4))])
        .check(&[text(&register_text(X)), registered(10)], &[add_step(X), register_reply(X)])
        .check(&[text(&ack_text(X, 4))], &[ack_step(&[(X, Some(4))])]);
    let mut talk = Talk::greeted(&[(X, Some(4))]);
    talk.check(&[text(&register_text(X)), registered(10)], &[add_step(X), register_reply(X)]);
    assert_eq!(talk.deadline(), Some(60), "the update is still to be sent again");
}

#[test]
fn a_channel_is_sent_in_the_spelling_of_the_latest_register() {
    let plain = "0d9f7b523c414e8a9a5751e0c2b7aa10";
    Talk::greeted(&[(X, None)])
        .check(&[text(&register_text(plain)), registered(10)], &[add_step(plain), register_reply(plain)])
        .check(&[update(X, 1, 11)], &[notified(&[(plain, 1)])]);
}

#[test]
fn a_register_without_a_usable_channel_is_refused() {
    // SP-34
    for members in [
        r#""channelID":"""#,
        r#""channelID":"0d9f7b523c414e8a9a5751e0c2b7aa1012""#,
        r#""channelID":1"#,
        r#""channelID":null"#,
        r#""channelId":"0d9f7b52-3c41-4e8a-9a57-51e0c2b7aa10""#,
    ] {
        let message = format!(r#"{{"messageType":"register",{members}}}"#);
        let reply =
            format!(r#"{{"messageType":"register",{members},"status":401,"error":"Invalid Command"}}"#);
        Talk::greeted(&[]).check(&[text(&message)], &[send(&reply), close(CloseCode::Policy), release()]);
    }
}

#[test]
fn one_channel_too_many_is_an_error_on_an_open_socket() {
    // SP-37
    let register = register_text(X);
    Talk::greeted(&[]).check(
        &[text(&register), outcome(Outcome::Full), text("{}")],
        &[add_step(X), error_500(&register), send("{}")],
    );
}

#[test]
fn a_failing_store_is_an_error_on_an_open_socket() {
    let (register, unregister) = (register_text(X), unregister_text(Y));
    Talk::greeted(&[])
        .check(&[text(&register), outcome(Outcome::Failed)], &[add_step(X), error_500(&register)])
        .check(
            &[text(&unregister), outcome(Outcome::Failed)],
            &[remove_step(Y), error_500(&unregister), look()],
        );
}

#[test]
fn an_unregister_is_answered_whatever_it_names() {
    // SP-38
    for id in [X, Y, "0D9F7B523C414E8A9A5751E0C2B7AA10"] {
        Talk::greeted(&[(X, None)])
            .check(&[text(&unregister_text(id)), removed()], &[remove_step(id), unregister_reply(id)]);
    }
    for id in ["x", r#"a\u0062\ud800\""#, "0d9f7b52"] {
        Talk::greeted(&[]).check(&[text(&unregister_text(id))], &[unregister_reply(id)]);
    }
}

#[test]
fn an_unregister_without_a_channel_is_refused() {
    // SP-39
    for members in [r#""channelID":"""#, r#""channelID":7"#, r#""x":7"#] {
        let message = format!(r#"{{"messageType":"unregister",{members}}}"#);
        let reply =
            format!(r#"{{"messageType":"unregister",{members},"status":401,"error":"Invalid Command"}}"#);
        Talk::greeted(&[]).check(&[text(&message)], &[send(&reply), close(CloseCode::Policy), release()]);
    }
}

#[test]
fn nothing_is_delivered_for_an_unregistered_channel() {
    // SP-40
    let mut talk = Talk::greeted(&[(X, Some(1))]);
    talk.check(&[text(&unregister_text(X)), update(X, 2, 11)], &[remove_step(X)])
        .check(&[removed(), update(X, 3, 12)], &[unregister_reply(X)])
        .check(&[text(&ack_text(X, 1))], &[]);
    assert_eq!(talk.deadline(), Some(300), "nothing is left to be sent again");
}

#[test]
fn deliveries_during_an_unregister_that_fails_are_looked_up() {
    let unregister = unregister_text(X);
    Talk::greeted(&[(X, None)])
        .check(&[text(&unregister), update(X, 2, 11)], &[remove_step(X)])
        .check(&[outcome(Outcome::Failed)], &[error_500(&unregister), look()])
        .check(&[looked(11, &[(X, Some(2))])], &[notified(&[(X, 2)])]);
}

#[test]
fn an_unregister_that_failed_but_was_performed_ends_the_channel() {
    let unregister = unregister_text(X);
    Talk::greeted(&[(X, Some(1))])
        .check(
            &[text(&unregister), outcome(Outcome::Failed)],
            &[remove_step(X), error_500(&unregister), look()],
        )
        .check(&[looked(11, &[]), update(X, 3, 12)], &[]);
}

#[test]
fn a_repeated_hello_sends_nothing_for_a_channel_that_is_being_unregistered() {
    let mut talk = Talk::greeted(&[(X, None)]);
    talk.check(&[text(HELLO), update(X, 1, 11)], &[look(), notified(&[(X, 1)])]);
    talk.check(&[text(&unregister_text(X))], &[]);
    talk.check(&[looked(10, &[(X, None)])], &[hello_reply(A), remove_step(X)]);
}

#[test]
fn a_delivery_before_the_register_reply_is_looked_up_after_it() {
    Talk::greeted(&[])
        .check(&[text(&register_text(X)), update(X, 2, 11)], &[add_step(X)])
        .check(&[registered(10)], &[register_reply(X), look()])
        .check(&[looked(11, &[(X, Some(2))])], &[notified(&[(X, 2)])]);
}

#[test]
fn a_delivery_during_another_register_of_a_known_channel_is_sent_at_once() {
    Talk::greeted(&[(X, None)]).check(
        &[text(&register_text(X)), update(X, 2, 11), registered(11)],
        &[add_step(X), notified(&[(X, 2)]), register_reply(X)],
    );
    // The write was before the register, its delivery comes after.
    Talk::greeted(&[(X, None)]).check(
        &[text(&register_text(X)), registered(11), update(X, 2, 11)],
        &[add_step(X), register_reply(X), notified(&[(X, 2)])],
    );
}

#[test]
fn a_late_delivery_for_a_former_registration_is_dropped() {
    let (unregister, register) = (unregister_text(X), register_text(X));
    Talk::greeted(&[(X, None)])
        .check(&[text(&unregister), text(&register)], &[remove_step(X)])
        .check(&[removed()], &[unregister_reply(X), add_step(X)])
        .check(&[registered(11), update(X, 2, 11)], &[register_reply(X)])
        .check(&[update(X, 3, 12)], &[notified(&[(X, 3)])]);
}

#[test]
fn a_delivery_while_a_channel_is_unregistered_and_registered_again_is_looked_up() {
    let (unregister, register) = (unregister_text(X), register_text(X));
    Talk::greeted(&[(X, None)])
        .check(&[text(&unregister), text(&register), update(X, 2, 12)], &[remove_step(X)])
        .check(&[removed()], &[unregister_reply(X), add_step(X)])
        .check(&[registered(11)], &[register_reply(X), look()])
        .check(&[looked(12, &[(X, Some(2))])], &[notified(&[(X, 2)])]);
}

#[test]
fn a_register_after_one_that_failed_is_followed_by_a_look() {
    let register = register_text(X);
    Talk::greeted(&[])
        .check(&[text(&register), outcome(Outcome::Failed)], &[add_step(X), error_500(&register)])
        .check(&[update(X, 1, 11)], &[])
        .check(&[text(&register), registered(11)], &[add_step(X), register_reply(X), look()])
        .check(&[looked(11, &[(X, Some(1))])], &[notified(&[(X, 1)])]);
}

#[test]
fn a_socket_that_does_not_own_the_uaid_is_closed() {
    let add = || outcome(Outcome::NotOwner);
    let remove = || outcome(Outcome::NotOwner);
    let snapshot = || outcome(Outcome::NotOwner);
    let end = [close(CloseCode::Normal), Effect::End];
    for (message, refused) in [
        (register_text(X), add as fn() -> _),
        (unregister_text(X), remove as fn() -> _),
        (HELLO.into(), snapshot as fn() -> _),
    ] {
        let mut talk = Talk::greeted(&[]);
        talk.handle(text(&message));
        talk.check(&[refused()], &end);
    }
}

/// The list of the next hello makes the user agent register again.
#[test]
fn a_store_that_lacks_a_registration_closes_the_socket() {
    let lost = [close(CloseCode::Error), release()];
    let greeted = || Talk::greeted(&[(X, None), (Y, None)]);
    for channels in 2..4 {
        greeted().check(&[Input::Verify, verified_with(channels, 10)], &[verify()]);
    }
    // What is pending is sent before the end, because the next hello deletes it.
    let read = || looked(10, &[(Y, Some(1)), ("00000000-0000-4000-8000-000000000abc", None)]);
    let brought = |before: &[Effect]| [before, &[notified(&[(Y, 1)])], &lost].concat();
    for channels in 0..2 {
        let mut talk = greeted();
        talk.check(&[Input::Verify, verified_with(channels, 10)], &[verify(), look()]);
        talk.check(&[read()], &brought(&[]));
    }
    greeted().check(&[missed()], &[look()]).check(&[read()], &brought(&[]));
    greeted().check(&[text(HELLO_A)], &[look()]).check(&[read()], &brought(&[hello_reply(A)]));
    // A channel counts from the reply to its register until the reply to its unregister.
    let (register, unregister) = (register_text(Y), unregister_text(X));
    let mut talk = Talk::greeted(&[(X, None)]);
    talk.check(&[Input::Verify, text(&register), Input::Verify, text(&unregister)], &[verify()]);
    talk.check(&[verified_with(1, 10)], &[add_step(Y)]);
    talk.check(&[registered(10)], &[register_reply(Y), verify()]);
    talk.check(&[verified_with(2, 10)], &[remove_step(X)]);
    talk.check(&[removed()], &[unregister_reply(X)]);
    talk.check(&[Input::Verify, verified_with(1, 10), looked(10, &[(Y, None)])], &[verify(), look()]);
    talk.check(&[Input::Verify, verified_with(1, 10)], &[verify()]);
}

/// A store that goes back may have an unregistered channel again in the place of a registered one.
#[test]
fn the_number_of_channels_is_not_enough_if_the_store_may_have_others() {
    const Z: &str = "00000000-0000-4000-8000-000000000abc";
    let lost = [close(CloseCode::Error), release()];
    let (register, unregister) = (register_text(Y), unregister_text(X));
    let mut talk = Talk::greeted(&[(X, None)]);
    talk.check(&[text(&unregister), removed()], &[remove_step(X), unregister_reply(X)]);
    talk.check(&[text(&register), registered(10)], &[add_step(Y), register_reply(Y)]);
    talk.check(&[Input::Verify, verified_with(1, 10)], &[verify(), look()]);
    talk.check(&[looked(10, &[(X, None)])], &lost);
    // A register that failed may have been performed.
    let failed = register_text(Z);
    let mut talk = Talk::greeted(&[(X, None)]);
    talk.check(&[text(&failed), outcome(Outcome::Failed)], &[add_step(Z), error_500(&failed)]);
    talk.check(&[text(&register), registered(10)], &[add_step(Y), register_reply(Y), look()]);
    talk.check(&[looked(10, &[(X, None), (Y, None), (Z, None)])], &[]);
    talk.check(&[Input::Verify, verified_with(2, 10)], &[verify(), look()]);
    talk.check(&[looked(10, &[(X, None), (Z, None)])], &lost);
}

#[test]
fn an_unregister_that_failed_may_have_been_performed() {
    let mut talk = Talk::greeted(&[(X, None), (Y, None)]);
    talk.check(&[text(&unregister_text(X))], &[remove_step(X)]);
    let effects = talk.handle(outcome(Outcome::Failed));
    assert_eq!(effects[1..], [look()]);
    // Not even if the read fails as well.
    talk.check(&[outcome(Outcome::Failed), Input::Verify, verified_with(1, 10)], &[verify()]);
    talk.wait_to_repeat().check(&[Input::Timer, looked(10, &[(Y, None)])], &[look()]);
    talk.check(&[Input::Verify, verified_with(1, 10), update(X, 1, 11)], &[verify()]);
    talk.check(&[Input::Verify, verified_with(0, 11)], &[verify(), look()])
        .check(&[looked(11, &[])], &[close(CloseCode::Error), release()]);
}
