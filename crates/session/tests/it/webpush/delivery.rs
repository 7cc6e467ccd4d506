//! Live messages, acknowledgements, nacks and urgency.

use super::talk::*;
use crate::talk::*;
use beckon_session::{ClientReport, Effect, Input, Outcome, Step};
use beckon_types::{Encoding, Message, Notification, Payload, Urgency};
use std::time::Duration;

fn with_body(encoding: Encoding, body: &'static [u8]) -> Message {
    let payload = Some(Payload { encoding, body: body.into() });
    let mut message = with_topic(message(X, 11), "t");
    message.draft.payload = payload;
    message
}

/// A notification with these members behind its version.
fn notified_with(message: &Message, members: &str) -> Effect {
    let version = id_for(A, message);
    send(&format!(r#"{{"messageType":"notification","channelID":"{X}","version":"{version}"{members}}}"#))
}

#[test]
fn a_message_arrives_with_its_id_its_body_and_its_headers() {
    // WP-21, WP-22, WP-23, WP-24, WP-25
    let aesgcm = Encoding::Aesgcm {
        encryption: "salt=2rG0pFv7vE4zqvS1b9kG_w".into(),
        crypto_key: "dh=BKkQ2p;p256ecdsa=BOp81s".into(),
    };
    for (sent, members) in [
        (message(X, 11), ""),
        (with_topic(message(X, 11), "t"), ""),
        (
            with_body(Encoding::Aes128gcm, b"\xff\xfe\xfd\0"),
            r#","data":"__79AA","headers":{"encoding":"aes128gcm"}"#,
        ),
        (
            with_body(aesgcm, b"?"),
            concat!(
                r#","data":"Pw","headers":{"encoding":"aesgcm","encryption":"salt=2rG0pFv7vE4zqvS1b9kG_w","#,
                r#""crypto_key":"dh=BKkQ2p;p256ecdsa=BOp81s"}"#
            ),
        ),
    ] {
        let notification = notified_with(&sent, members);
        Talk::webpush(&[X]).check(&[bring(&sent)], std::slice::from_ref(&notification));
        // The same out of the backlog.
        let mut talk = Talk::new();
        talk.handle(text(WEBPUSH_A));
        talk.check(&[webpush_claimed(&[X], &[sent], false)], &[webpush_hello_reply(A), notification]);
    }
}

/// The new primary of a store lacks the last writes, and its clock is behind.
#[test]
fn a_store_that_goes_back_with_a_clock_that_is_behind_hides_no_message() {
    let mut talk = Talk::webpush(&[X]);
    let [lost, early, late, short] =
        [message(X, 50), message(X, 6), message(X, 50), with_ttl(message(X, 7), 0)];
    talk.check(&[bring(&lost)], &[notified_message(&lost)]);
    // It is sent to before this is noticed, and read.
    talk.check(&[bring(&early), Input::Verify, verified(6)], &[verify(), fetch(None)]);
    talk.check(&[fetched(std::slice::from_ref(&early), false)], &[notified_message(&early)]);
    // And afterwards, also with the sequence of a message that was lost.
    talk.check(&[bring(&short), bring(&late)], &[notified_message(&short), notified_message(&late)]);
    talk.check(&[bring(&early), bring(&late)], &[]);
}

#[test]
fn a_message_that_expired_while_it_waited_is_not_sent() {
    let mut talk = Talk::webpush(&[X]);
    let arrived = talk.now;
    let mut deliver = |seconds, ttl| {
        talk.now = arrived + Duration::from_secs(seconds);
        let notification = Notification::Message(with_ttl(message(X, 10 + seconds), ttl));
        talk.handle(Input::Notification { arrived, previous: None, notification }).len()
    };
    assert_eq!((deliver(1, 2), deliver(2, 2)), (1, 0));
    // A message that is not stored does not expire: it waits for the socket as long as it takes.
    assert_eq!(deliver(3, 0), 1);
}

#[test]
fn late_repeated_and_foreign_messages_are_dropped() {
    let sent = message(X, 11);
    Talk::webpush(&[X])
        .check(&[bring(&message(X, 10)), bring(&message(Y, 11))], &[])
        .check(&[bring(&sent), bring(&sent)], &[notified_message(&sent)]);
    Talk::new().check(&[bring(&sent), missed()], &[]);
    // What is for the other dialect is no news.
    Talk::webpush(&[X]).check(&[update(X, 1, 11)], &[]);
    Talk::greeted(&[(X, None)]).check(&[bring(&sent)], &[]);
}

fn told() -> Effect {
    Effect::Report(ClientReport::Delivered)
}

#[test]
fn live_messages_may_arrive_in_any_order() {
    let sent = messages([14, 12, 13]);
    let inputs: Vec<Input<'_>> = sent.iter().map(bring).collect();
    Talk::webpush(&[X]).check(&inputs, &notified_messages(&sent));
}

#[test]
fn a_message_that_is_not_stored_is_sent_and_forgotten() {
    // WP-30; an acknowledgement of it is harmless.
    let sent = with_ttl(message(X, 11), 0);
    let mut talk = Talk::webpush(&[X]);
    talk.check(&[bring(&sent)], &[notified_message(&sent)]);
    talk.check(
        &[text(&ack_messages(std::slice::from_ref(&sent))), outcome(Outcome::Done)],
        &[told(), remove_messages(&[sent])],
    );
}

#[test]
fn an_ack_with_any_code_removes_the_message() {
    // WP-28
    let sent = message(X, 11);
    for (code, told) in [
        (r#","code":100"#, ClientReport::Delivered),
        (r#","code":101"#, ClientReport::NotDecrypted),
        (r#","code":102"#, ClientReport::NoReceiver),
        ("", ClientReport::Delivered),
        (r#","code":999,"x":[]"#, ClientReport::Delivered),
        (r#","code":null"#, ClientReport::Delivered),
    ] {
        let id = id_for(A, &sent);
        let ack =
            format!(r#"{{"messageType":"ACK","updates":[{{"version":"{id}","channelID":"{X}"{code}}}]}}"#);
        Talk::webpush(&[X]).check(&[bring(&sent)], &[notified_message(&sent)]).check(
            &[text(&ack), outcome(Outcome::Done)],
            &[Effect::Report(told), remove_messages(std::slice::from_ref(&sent))],
        );
    }
}

#[test]
fn several_messages_are_acknowledged_at_once_also_such_as_an_earlier_socket_was_sent() {
    let sent = [message(X, 3), with_topic(message(X, 11), "t")];
    Talk::webpush(&[]).check(&[text(&ack_messages(&sent))], &[told(), told(), remove_messages(&sent)]);
}

#[test]
fn an_ack_of_nothing_known_is_ignored() {
    // WP-28
    let foreign = id_for(B, &message(X, 11));
    for version in ["", "x", "m1.", &foreign, r"\ud800"] {
        let ack = format!(
            r#"{{"messageType":"ack","updates":[{{"channelID":"","version":"{version}","code":100}}]}}"#
        );
        Talk::webpush(&[X]).check(&[text(&ack)], &[]);
    }
    Talk::webpush(&[X]).check(&[text(r#"{"messageType":"ack","updates":[]}"#)], &[]);
}

#[test]
fn an_ill_formed_ack_or_nack_is_refused() {
    for members in [
        r#""messageType":"ack""#,
        r#""messageType":"ack","updates":null"#,
        r#""messageType":"ack","updates":{}"#,
        r#""messageType":"ack","updates":[1]"#,
        r#""messageType":"ack","updates":[{"channelID":"x"}]"#,
        r#""messageType":"ack","updates":[{"version":"x"}]"#,
        r#""messageType":"ack","updates":[{"channelID":"x","version":1}]"#,
        r#""messageType":"ack","updates":[{"channelID":"x","version":"x"},[]]"#,
        r#""messageType":"ack","expired":["x"]"#,
        r#""messageType":"nack""#,
        r#""messageType":"nack","version":1"#,
        r#""messageType":"nack","version":null,"code":301"#,
    ] {
        let message = format!("{{{members}}}");
        Talk::webpush(&[X]).check(&[text(&message)], &refused_webpush(&message));
    }
}

#[test]
fn a_nack_is_reported_and_changes_nothing() {
    // WP-29
    let sent = message(X, 11);
    let mut talk = Talk::webpush(&[X]);
    talk.check(&[bring(&sent)], &[notified_message(&sent)]);
    for (members, told) in [
        (r#","code":301"#, ClientReport::HandlerThrew),
        (r#","code":302"#, ClientReport::HandlerRejected),
        (r#","code":303"#, ClientReport::OtherFailure),
        (r#","code":304"#, ClientReport::UnknownFailure),
        (r#","code":"301""#, ClientReport::UnknownFailure),
        (r#","channelID":7"#, ClientReport::UnknownFailure),
    ] {
        let nack = format!(r#"{{"messageType":"nack","version":"{}"{members}}}"#, id_for(A, &sent));
        talk.check(&[text(&nack)], &[Effect::Report(told)]);
    }
    talk.check(&[missed()], &[fetch(None)]).check_fetched(&[sent], false, &[], &[]);
}

#[test]
fn acknowledgements_that_wait_go_together() {
    let sent = messages([11, 12, 13]);
    let mut talk = Talk::webpush(&[X]);
    talk.check(&sent.iter().map(bring).collect::<Vec<_>>(), &notified_messages(&sent));
    talk.check(&[text(&ack_messages(&sent[..1]))], &[told(), remove_messages(&sent[..1])]);
    talk.check(&[text(&ack_messages(&sent[1..2])), text(&ack_messages(&sent[2..]))], &[told(), told()]);
    talk.check(&[outcome(Outcome::Done)], &[remove_messages(&sent[1..])]);
    talk.check(&[outcome(Outcome::Done)], &[]);
    assert!(talk.session.is_settled());
}

#[test]
fn an_acknowledgement_that_was_not_stored_is_repeated_until_it_is() {
    let sent = messages([11, 12]);
    let mut talk = Talk::webpush(&[X]);
    talk.check(&sent.iter().map(bring).collect::<Vec<_>>(), &notified_messages(&sent));
    for message in &sent {
        let message = std::slice::from_ref(message);
        talk.check(
            &[text(&ack_messages(message)), outcome(Outcome::Failed)],
            &[told(), remove_messages(message)],
        );
    }
    talk.repeat_at();
    // The store still has them, and they are not sent again.
    talk.check(&[missed()], &[fetch(None)]).check_fetched(&sent, false, &[], &[]);
    for answer in [Outcome::Failed, Outcome::Done] {
        talk.wait_to_repeat().check(&[Input::Timer, outcome(answer)], &[remove_messages(&sent)]);
    }
    assert!(talk.session.is_settled() && talk.deadline() > Some(30));
}

#[test]
fn a_bounded_number_of_acknowledgements_is_repeated_in_bounded_steps() {
    let sent = messages(11..11 + 2000);
    let mut talk = Talk::webpush(&[X]);
    for message in &sent {
        let acknowledged = std::slice::from_ref(message);
        talk.handle(bring(message));
        talk.handle(text(&ack_messages(acknowledged)));
        talk.handle(outcome(Outcome::Failed));
    }
    talk.wait_to_repeat();
    let mut repeated = Vec::new();
    let mut effects = talk.handle(Input::Timer);
    while let Some(Effect::Store(Step::RemoveMessages(_, places))) = effects.pop() {
        assert!(places.len() <= 256, "{} in one step", places.len());
        repeated.extend(places);
        effects = talk.handle(outcome(Outcome::Done));
    }
    let last: Vec<_> = sent[2000 - 1024..].iter().map(|message| message.place).collect();
    assert_eq!(repeated, last);
}

#[test]
fn an_acknowledgement_counts_while_an_older_fetch_is_under_way() {
    let sent = messages([11, 12]);
    let mut talk = Talk::webpush(&[X]);
    talk.check(&[bring(&sent[0]), missed()], &[notified_message(&sent[0]), fetch(None)]);
    talk.check(&[text(&ack_messages(&sent[..1])), bring(&sent[0])], &[told()]);
    talk.check_fetched(&sent, false, &sent[1..], &[remove_messages(&sent[..1])]);
    talk.check(&[bring(&sent[1]), outcome(Outcome::Done)], &[]);
}

#[test]
fn what_was_missed_is_fetched_and_what_was_sent_is_not_sent_again() {
    let all = messages([11, 12, 13]);
    let mut talk = Talk::webpush(&[X]);
    talk.check(&[bring(&all[1]), missed()], &[notified_message(&all[1]), fetch(None)]);
    // It overtakes the outcome.
    talk.check(&[bring(&all[2])], &[notified_message(&all[2])]);
    talk.check_fetched(&all, false, &all[..1], &[]);
    talk.check(&[bring(&all[0])], &[]);
}

#[test]
fn a_second_miss_during_a_fetch_needs_another_fetch() {
    let all = messages([11]);
    let mut talk = Talk::webpush(&[X]);
    talk.check(&[missed(), missed(), missed()], &[fetch(None)]);
    talk.check_fetched(&[], false, &[], &[fetch(None)]).check_fetched(&all, false, &all, &[]);
}

#[test]
fn less_urgent_messages_wait_until_they_are_wanted() {
    // WP-40
    let ask = |min| format!(r#"{{"messageType":"Urgency","min":"{min}"}}"#);
    let answer = || send(r#"{"messageType":"urgency","status":200}"#);
    let all: Vec<Message> =
        [(11, Urgency::VeryLow), (12, Urgency::Low), (13, Urgency::Normal), (14, Urgency::High)]
            .map(|(sequence, urgency)| with_urgency(message(X, sequence), urgency))
            .into();
    let dropped = with_ttl(with_urgency(message(X, 15), Urgency::Low), 0);
    let mut talk = Talk::webpush(&[X]);
    talk.check(&[text(&ask("normal"))], &[answer()]);
    talk.check(&all.iter().map(bring).collect::<Vec<_>>(), &notified_messages(&all[2..]));
    talk.check(&[bring(&dropped), text(&ask("high"))], &[answer()]);
    talk.check(&[missed()], &[fetch(None)]).check_fetched(&all, false, &[], &[]);
    talk.check(&[text(&ask("low"))], &[answer(), fetch(None)]);
    talk.check_fetched(&all, false, &all[1..2], &[]);
    talk.check(&[text(&ask("low"))], &[answer()]);
    talk.check(&[text(&ask("very-low"))], &[answer(), fetch(None)]);
    talk.check_fetched(&all, false, &all[..1], &[]);
}

#[test]
fn an_urgency_that_is_none_is_refused() {
    for members in ["", r#","min":"High""#, r#","min":"""#, r#","min":2"#, r#","min":null"#] {
        let message = format!(r#"{{"messageType":"urgency"{members}}}"#);
        Talk::webpush(&[X]).check(&[text(&message)], &refused_webpush(&message));
    }
}

#[test]
fn a_verification_after_messages_fetches_nothing() {
    let sent = [message(X, 11), with_ttl(message(X, 12), 0), message(X, 15)];
    let mut talk = Talk::webpush(&[X]);
    for (sent, previous) in sent.iter().zip([10, 11, 12]) {
        talk.check(&[after(previous, bring(sent))], &[notified_message(sent)]);
    }
    // Not for this registration, not registered, and again.
    talk.check(&[after(15, bring(&message(Y, 16))), after(12, bring(&sent[2]))], &[]);
    talk.check(&[Input::Verify, verified(16)], &[verify()]);
    // An older node does not say which write was before.
    talk.check(&[bring(&message(Y, 18)), Input::Verify, verified(18)], &[verify(), fetch(None)]);
    talk.check_fetched(&[], false, &[], &[]);
    talk.check(&[Input::Verify, verified(18)], &[verify()]);
}

#[test]
fn what_was_not_handed_over_is_fetched_after_the_next_message() {
    let all = messages([11, 12]);
    let mut talk = Talk::webpush(&[X]);
    talk.check(&[after(11, bring(&all[1])), Input::Timer], &[notified_message(&all[1])]);
    talk.wait_for_a_gap().check(&[Input::Timer, verified(12)], &[verify(), fetch(None)]);
    talk.check_fetched(&all, false, &all[..1], &[]);
    assert!(talk.deadline() > Some(100), "there is no gap any more");
}

/// A fetch does not say what the last write was, so the claim is verified all the same.
#[test]
fn a_gap_that_opens_during_a_fetch_is_not_closed_by_it() {
    let all = messages([11, 12]);
    for fetched in [&all[..0], &all[..]] {
        let mut talk = Talk::webpush(&[X]);
        talk.check(&[missed(), after(11, bring(&all[1]))], &[fetch(None), notified_message(&all[1])]);
        talk.check_fetched(fetched, false, &fetched[..fetched.len().min(1)], &[]);
        talk.wait_for_a_gap().check(&[Input::Timer, verified(12)], &[verify(), fetch(None)]);
        talk.check_fetched(&all, false, if fetched.is_empty() { &all[..1] } else { &[] }, &[]);
    }
}

/// Not even if the store says twice that it has gone back, and the second time has said so before the message.
#[test]
fn a_message_that_came_after_the_store_went_back_is_not_sent_again() {
    let mut talk = Talk::webpush(&[X]);
    let (lost, sent) = (message(X, 100), message(X, 60));
    talk.check(&[after(10, bring(&lost))], &[notified_message(&lost)]);
    talk.check(&[Input::Verify, Input::Verify, verified(50)], &[verify(), verify()]);
    talk.check(&[after(50, bring(&sent))], &[notified_message(&sent)]);
    talk.check(&[verified(50)], &[fetch(None)]);
    for next in [&[fetch(None)][..], &[]] {
        talk.check_fetched(std::slice::from_ref(&sent), false, &[], next);
    }
}

#[test]
fn a_gap_is_not_forgotten_when_the_store_fails() {
    for answer in [Outcome::Failed, Outcome::Postponed] {
        let mut talk = Talk::webpush(&[X]);
        let sent = message(X, 12);
        talk.check(&[after(11, bring(&sent))], &[notified_message(&sent)]);
        talk.wait_for_a_gap().check(&[Input::Timer, outcome(answer), Input::Timer], &[verify()]);
        talk.wait_to_repeat().check(&[Input::Timer, verified(12)], &[verify(), fetch(None)]);
    }
}
