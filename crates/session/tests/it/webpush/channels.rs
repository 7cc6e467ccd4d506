//! Register and unregister.

use super::talk::*;
use crate::talk::*;
use beckon_session::{ClientReport, CloseCode, Effect, Input, Outcome};

fn register_with(id: &str, key: &str) -> String {
    format!(r#"{{"messageType":"register","channelID":"{id}","key":{key}}}"#)
}

fn unregister_with(code: &str) -> String {
    format!(r#"{{"messageType":"unregister","channelID":"{X}"{code}}}"#)
}

fn error(request: &str, members: &str) -> Effect {
    send(&format!("{},{members}}}", request.strip_suffix('}').unwrap()))
}

const INTERNAL: &str = r#""status":500,"error":"Internal Error""#;

#[test]
fn a_register_without_a_key_gets_an_open_endpoint() {
    // WP-12, WP-16
    for id in [X, "0D9F7B523c414e8a9a5751e0c2b7aa10"] {
        for request in [register_text(id), register_with(id, "null")] {
            Talk::webpush(&[])
                .check(&[text(&request)], &[webpush_add(id, None)])
                .check(&[registered(10)], &[webpush_register_reply(id, None)]);
        }
    }
}

#[test]
fn a_register_with_a_key_gets_an_endpoint_for_it_however_it_is_spelled() {
    // WP-12, WP-13, WP-15
    let standard = KEY.replace('-', "+").replace('_', "/");
    for key in [KEY.to_owned(), format!("{KEY}="), standard.clone(), standard.replace('/', "\\/")] {
        Talk::webpush(&[X])
            .check(&[text(&register_with(X, &format!("\"{key}\"")))], &[webpush_add(X, Some(key_hash()))])
            .check(&[registered(10)], &[webpush_register_reply(X, Some(key_hash()))]);
    }
}

#[test]
fn a_register_with_an_unusable_key_is_an_error_on_an_open_socket() {
    // WP-14
    let off_the_curve = format!("\"{}A\"", &KEY[..86]);
    for key in ["\"\"", "\"!\"", "\"AAAA\"", "7", "{}", "false", &off_the_curve] {
        let request = register_with(X, key);
        Talk::webpush(&[]).check(
            &[text(&request), text("{}")],
            &[error(&request, r#""status":400,"error":"Invalid Key""#), send("{}")],
        );
    }
    // The channel is looked at first, and a copied endpoint does not come back.
    let request = format!(r#"{{"pushEndpoint":"x","messageType":"register","channelID":"{X}","key":1}}"#);
    let reply = request.replace(r#""pushEndpoint":"x","#, "");
    Talk::webpush(&[]).check(&[text(&request)], &[error(&reply, r#""status":400,"error":"Invalid Key""#)]);
}

#[test]
fn a_register_without_a_usable_channel_is_refused() {
    // WP-17
    for members in
        [r#""channelID":"x""#, r#""channelID":"""#, r#""channelID":1,"key":1"#, r#""channelId":"x""#]
    {
        let request = format!(r#"{{"messageType":"register",{members}}}"#);
        Talk::webpush(&[]).check(&[text(&request)], &refused_webpush(&request));
    }
}

#[test]
fn one_channel_too_many_or_a_failing_store_is_an_error_on_an_open_socket() {
    let (register, unregister) = (register_text(X), unregister_text(Y));
    for refused in [Outcome::Full, Outcome::Failed] {
        Talk::webpush(&[]).check(
            &[text(&register), outcome(refused), text("{}")],
            &[webpush_add(X, None), error(&register, INTERNAL), send("{}")],
        );
    }
    let told = Effect::Report(ClientReport::Unregistered);
    Talk::webpush(&[]).check(
        &[text(&unregister), outcome(Outcome::Failed)],
        &[told, remove_step(Y), error(&unregister, INTERNAL), fetch(None)],
    );
}

#[test]
fn two_hundred_registers_at_once_are_all_answered() {
    // WP-18
    let mut talk = Talk::webpush(&[]);
    let ids: Vec<String> = (0..200).map(|number| format!("{number:032x}")).collect();
    let (mut read, mut answered) = (0, 0);
    while answered < ids.len() {
        while read < ids.len() && talk.takes_messages() {
            talk.handle(text(&register_text(&ids[read])));
            read += 1;
        }
        let effects = talk.handle(registered(10));
        assert_eq!(effects[0], webpush_register_reply(&ids[answered], None));
        answered += 1;
    }
    assert_eq!(talk.deadline(), Some(300));
    talk.check(&[bring(&message(X, 11))], &[]);
}

#[test]
fn an_unregister_is_answered_whatever_it_names_and_its_code_is_reported() {
    // WP-19
    for (code, told) in [
        ("", ClientReport::Unregistered),
        (r#","code":null"#, ClientReport::Unregistered),
        (r#","code":200"#, ClientReport::Unregistered),
        (r#","code":201"#, ClientReport::QuotaExceeded),
        (r#","code":202"#, ClientReport::PermissionRevoked),
        (r#","code":203"#, ClientReport::UnregisteredOtherwise),
        (r#","code":"x""#, ClientReport::UnregisteredOtherwise),
    ] {
        for channels in [&[X][..], &[]] {
            Talk::webpush(channels).check(
                &[text(&unregister_with(code)), removed()],
                &[Effect::Report(told), remove_step(X), unregister_reply(X)],
            );
        }
    }
    let malformed = r#"{"messageType":"unregister","channelID":"a\u0062"}"#;
    Talk::webpush(&[]).check(
        &[text(malformed)],
        &[Effect::Report(ClientReport::Unregistered), unregister_reply(r"a\u0062")],
    );
    for members in [r#""channelID":"""#, r#""channelID":7"#, r#""code":200"#] {
        let request = format!(r#"{{"messageType":"unregister",{members}}}"#);
        Talk::webpush(&[]).check(&[text(&request)], &refused_webpush(&request));
    }
}

#[test]
fn nothing_is_sent_for_an_unregistered_channel() {
    // WP-20
    let mut talk = Talk::webpush(&[X, Y]);
    talk.check(
        &[text(&unregister_text(X)), bring(&message(X, 11))],
        &[Effect::Report(ClientReport::Unregistered), remove_step(X)],
    );
    talk.check(&[removed(), bring(&message(X, 12))], &[unregister_reply(X)]);
    talk.check(&[bring(&message(Y, 13))], &[notified_message(&message(Y, 13))]);
}

#[test]
fn the_messages_of_an_unregistered_channel_do_not_hold_up_the_backlog() {
    let mut stored = messages(0..9);
    stored.push(message(Y, 9));
    let mut talk = Talk::webpush_with(settings(), &[X, Y], &stored, true);
    let told = Effect::Report(ClientReport::Delivered);
    talk.check(
        &[text(&ack_messages(&stored[9..])), outcome(Outcome::Done)],
        &[told, remove_messages(&stored[9..])],
    );
    talk.check(
        &[text(&unregister_text(X)), removed()],
        &[
            Effect::Report(ClientReport::Unregistered),
            remove_step(X),
            unregister_reply(X),
            fetch(Some(&stored[9])),
        ],
    );
}

#[test]
fn deliveries_during_an_unregister_that_fails_are_fetched() {
    let unregister = unregister_text(X);
    let dropped = messages([11]);
    let mut talk = Talk::webpush(&[X]);
    talk.check(
        &[text(&unregister), bring(&dropped[0]), outcome(Outcome::Failed)],
        &[
            Effect::Report(ClientReport::Unregistered),
            remove_step(X),
            error(&unregister, INTERNAL),
            fetch(None),
        ],
    );
    talk.check_fetched(&dropped, false, &dropped, &[]);
}

#[test]
fn what_a_fetch_brings_for_a_channel_that_is_being_unregistered_is_not_sent() {
    let stored = messages([1]);
    let mut talk = Talk::webpush(&[X]);
    talk.check(
        &[missed(), text(&unregister_text(X))],
        &[fetch(None), Effect::Report(ClientReport::Unregistered)],
    );
    talk.check_fetched(&stored, false, &[], &[remove_step(X)]);
}

#[test]
fn a_delivery_before_the_register_reply_is_fetched_after_it() {
    let early = messages([11]);
    let mut talk = Talk::webpush(&[]);
    talk.check(&[text(&register_text(X)), bring(&early[0])], &[webpush_add(X, None)]);
    talk.check(&[registered(10)], &[webpush_register_reply(X, None), fetch(None)]);
    talk.check_fetched(&early, false, &early, &[]);
}

#[test]
fn a_delivery_during_another_register_of_a_known_channel_is_sent_at_once() {
    let sent = message(X, 11);
    Talk::webpush(&[X]).check(
        &[text(&register_text(X)), bring(&sent), registered(11)],
        &[webpush_add(X, None), notified_message(&sent), webpush_register_reply(X, None)],
    );
    // The write was before the register, its delivery comes after.
    Talk::webpush(&[X]).check(
        &[text(&register_text(X)), registered(11), bring(&sent)],
        &[webpush_add(X, None), webpush_register_reply(X, None), notified_message(&sent)],
    );
}

#[test]
fn a_late_delivery_for_a_former_registration_is_dropped() {
    let mut talk = Talk::webpush(&[X]);
    talk.handle(text(&unregister_text(X)));
    talk.handle(text(&register_text(X)));
    talk.check(&[removed()], &[unregister_reply(X), webpush_add(X, None)]);
    talk.check(&[registered(11), bring(&message(X, 11))], &[webpush_register_reply(X, None)]);
    talk.check(&[bring(&message(X, 12))], &[notified_message(&message(X, 12))]);
}

#[test]
fn a_register_after_one_that_failed_is_followed_by_a_fetch() {
    let register = register_text(X);
    let lost = messages([11]);
    let mut talk = Talk::webpush(&[]);
    talk.check(
        &[text(&register), outcome(Outcome::Failed), bring(&lost[0])],
        &[webpush_add(X, None), error(&register, INTERNAL)],
    );
    talk.check(
        &[text(&register), registered(11)],
        &[webpush_add(X, None), webpush_register_reply(X, None), fetch(None)],
    );
    talk.check_fetched(&lost, false, &lost, &[]);
}

#[test]
fn a_channel_is_sent_in_the_spelling_of_the_latest_register() {
    let plain = "0D9F7B523c414e8a9a5751e0c2b7aa10";
    let sent = message(X, 11);
    let Effect::Send(text_of_x) = notified_message(&sent) else { panic!("a notification is sent") };
    Talk::webpush(&[X]).check(
        &[text(&register_text(plain)), registered(10), bring(&sent)],
        &[webpush_add(plain, None), webpush_register_reply(plain, None), send(&text_of_x.replace(X, plain))],
    );
}

#[test]
fn a_socket_that_does_not_own_the_uaid_is_closed() {
    let end = [close(CloseCode::Normal), Effect::End];
    let mut talk = Talk::webpush(&[]);
    talk.handle(text(&register_text(X)));
    talk.check(&[outcome(Outcome::NotOwner)], &end);
    let mut talk = Talk::webpush(&[]);
    talk.handle(text(&unregister_text(X)));
    talk.check(&[outcome(Outcome::NotOwner)], &end);
    let mut talk = Talk::webpush(&[]);
    talk.handle(missed());
    talk.check(&[outcome(Outcome::NotOwner)], &end);
}

/// The next hello names no channels, so nothing would become better.
#[test]
fn a_store_that_lacks_a_registration_closes_no_socket() {
    Talk::webpush(&[X]).check(&[Input::Verify, verified_with(0, 10)], &[verify()]);
}
