//! Notifications, acknowledgements and retries.

use crate::talk::*;
use beckon_session::{CloseCode, Effect, Input, Outcome};
use beckon_types::{Notification, Sequence, Update};
use std::time::Duration;

#[test]
fn a_write_arrives_with_its_data() {
    // SP-41
    let update = Update {
        channel: channel(X),
        version: version(9_223_372_036_854_775_807),
        sequence: Sequence(11),
        data: Some("lo\"ok\n\u{1}\u{e9}".into()),
    };
    Talk::greeted(&[(X, None)]).check(
        &[fresh(Notification::Update(update))],
        &[send(concat!(
            r#"{"messageType":"notification","updates":[{"channelID":"0d9f7b52-3c41-4e8a-9a57-51e0c2b7aa10","#,
            r#""version":9223372036854775807,"data":"lo\"ok\n\u0001"#,
            "\u{e9}\"}]}"
        ))],
    );
}

#[test]
fn what_was_written_offline_follows_the_hello_reply() {
    // SP-42, SP-43, SP-44
    let mut talk = Talk::new();
    talk.handle(text(HELLO_A));
    talk.check(&[claimed(7, &[(X, Some(1)), (Y, Some(0))])], &[hello_reply(A), notified(&[(X, 1), (Y, 0)])]);
}

#[test]
fn no_notification_has_more_than_a_hundred_entries() {
    let ids: Vec<String> = (0..201).map(|number| format!("{number:032x}")).collect();
    let pending: Vec<(&str, Option<u64>)> = ids.iter().map(|id| (id.as_str(), Some(5))).collect();
    let sent: Vec<(&str, u64)> = ids.iter().map(|id| (id.as_str(), 5)).collect();
    let mut talk = Talk::new();
    talk.handle(text(HELLO_A));
    talk.check(
        &[claimed(1, &pending)],
        &[hello_reply(A), notified(&sent[..100]), notified(&sent[100..200]), notified(&sent[200..])],
    );
}

#[test]
fn late_repeated_and_foreign_deliveries_are_dropped() {
    Talk::greeted(&[(X, None)])
        .check(&[update(X, 1, 10), update(Y, 1, 11), update(X, 2, 12)], &[notified(&[(X, 2)])])
        .check(&[update(X, 2, 12), update(X, 1, 11)], &[])
        .check(&[update(X, 1, 13)], &[notified(&[(X, 1)])]);
    Talk::new().check(&[update(X, 1, 1), missed()], &[]);
}

#[test]
fn what_is_not_acknowledged_is_sent_again_without_data() {
    // SP-43, SP-45
    let mut talk = Talk::greeted(&[(X, None), (Y, None)]);
    let data = Some("once".into());
    let update = Update { channel: channel(X), version: version(3), sequence: Sequence(11), data };
    assert_eq!(talk.handle(fresh(Notification::Update(update))).len(), 1);
    for _ in 0..3 {
        assert_eq!(talk.deadline(), Some(60));
        talk.wait(59).check(&[Input::Timer], &[]);
        talk.wait(1).check(&[Input::Timer, Input::Timer], &[look()]);
        talk.check(&[looked(11, &[(X, Some(3)), (Y, None)])], &[notified(&[(X, 3)])]);
    }
    talk.check(&[text(&ack_text(X, 3))], &[ack_step(&[(X, Some(3))])]);
    talk.check(&[outcome(Outcome::Done)], &[]);
    assert_eq!(talk.deadline(), Some(300), "only the keep-alive is left");
}

#[test]
fn retries_can_be_turned_off() {
    let mut settings = settings();
    settings.sp_retry_interval = Duration::ZERO;
    let mut talk = Talk::with(settings);
    talk.handle(text(HELLO_A));
    talk.check(&[claimed(7, &[(X, Some(1))])], &[hello_reply(A), notified(&[(X, 1)])]);
    assert_eq!(talk.deadline(), Some(300));
    talk.wait(70).check(&[Input::Timer], &[]);
    talk.check(&[missed(), looked(8, &[(X, Some(1))])], &[look()]);
}

#[test]
fn retries_that_are_nearly_due_go_together() {
    let mut talk = Talk::greeted(&[(X, Some(1)), (Y, None)]);
    talk.wait(7).check(&[update(Y, 2, 11)], &[notified(&[(Y, 2)])]);
    talk.wait(53).check(
        &[Input::Timer, looked(11, &[(X, Some(1)), (Y, Some(2))])],
        &[look(), notified(&[(X, 1), (Y, 2)])],
    );
    assert_eq!(talk.deadline(), Some(60));
    let mut talk = Talk::greeted(&[(X, Some(1)), (Y, None)]);
    talk.wait(30).check(&[update(Y, 2, 11)], &[notified(&[(Y, 2)])]);
    talk.wait(30)
        .check(&[Input::Timer, looked(11, &[(X, Some(1)), (Y, Some(2))])], &[look(), notified(&[(X, 1)])]);
    assert_eq!(talk.deadline(), Some(30));
}

#[test]
fn an_acknowledged_update_is_not_sent_again() {
    // SP-46, SP-48
    let mut talk = Talk::greeted(&[(X, Some(1)), (Y, Some(2))]);
    talk.check(&[text(&ack_text(X, 1)), outcome(Outcome::Done)], &[ack_step(&[(X, Some(1))])]);
    talk.wait(60)
        .check(&[Input::Timer, looked(10, &[(X, None), (Y, Some(2))])], &[look(), notified(&[(Y, 2)])]);
}

#[test]
fn an_acknowledgement_counts_while_an_older_snapshot_is_under_way() {
    let mut talk = Talk::greeted(&[(X, Some(1)), (Y, Some(2))]);
    talk.wait(60).check(&[Input::Timer, text(&ack_text(X, 1))], &[look()]);
    talk.check(
        &[looked(10, &[(X, Some(1)), (Y, Some(2))])],
        &[notified(&[(Y, 2)]), ack_step(&[(X, Some(1))])],
    );
    talk.check(&[outcome(Outcome::Done)], &[]);
}

#[test]
fn an_acknowledgement_of_another_version_leaves_the_update() {
    // SP-47
    let mut talk = Talk::greeted(&[(X, Some(1))]);
    talk.check(
        &[text(&ack_text(X, 2)), outcome(Outcome::Done), text(&ack_text(Y, 1))],
        &[ack_step(&[(X, Some(2))])],
    );
    assert_eq!(talk.deadline(), Some(60));
}

#[test]
fn versions_are_compared_as_doubles() {
    let mut talk = Talk::greeted(&[(X, Some(9_007_199_254_740_993))]);
    talk.handle(text(&ack_text(X, 9_007_199_254_740_992)));
    talk.handle(outcome(Outcome::Done));
    assert_eq!(talk.deadline(), Some(300));
}

#[test]
fn an_ack_may_name_several_channels_expired_ones_and_no_version() {
    for (lists, acks) in [
        (format!(r#""updates":[{{"channelID":"{X}"}}]"#), vec![(X, None)]),
        (
            format!(
                r#""updates":[{{"channelID":"{X}","version":1e0,"x":[]}},{{"channelID":"{Y}","version":-0.0}}]"#
            ),
            vec![(X, Some(1)), (Y, Some(0))],
        ),
        (format!(r#""expired":["{Y}","x"]"#), vec![(Y, None)]),
        (format!(r#""updates":[],"expired":["{Y}"]"#), vec![(Y, None)]),
        (
            format!(r#""updates":[{{"channelID":"{X}","version":1}}],"expired":["{Y}"]"#),
            vec![(X, Some(1)), (Y, None)],
        ),
        (format!(r#""updates":[{{"channelID":"{X}","version":1}}],"expired":null"#), vec![(X, Some(1))]),
    ] {
        let message = format!(r#"{{"messageType":"acK",{lists}}}"#);
        Talk::greeted(&[(X, Some(1)), (Y, Some(0))])
            .check(&[text(&message)], &[ack_step(&acks)])
            .check(&[outcome(Outcome::Done)], &[]);
    }
    let unknown = r#"{"messageType":"ack","updates":[{"channelID":"","version":1e999}]}"#;
    Talk::greeted(&[(X, Some(1))]).check(&[text(unknown)], &[]);
}

#[test]
fn an_ill_formed_ack_is_refused() {
    // SP-49
    for lists in [
        String::new(),
        r#","updates":[]"#.into(),
        r#","updates":[],"expired":[]"#.into(),
        r#","updates":{},"expired":["x"]"#.into(),
        r#","updates":[1]"#.into(),
        r#","updates":[{}]"#.into(),
        r#","updates":[{"channelID":1}]"#.into(),
        r#","expired":[1]"#.into(),
        r#","expired":"x""#.into(),
        format!(r#","updates":[{{"channelID":"{X}","version":"1"}}]"#),
        format!(r#","updates":[{{"channelID":"{X}","version":null}}]"#),
        format!(r#","updates":[{{"channelID":"{X}","version":1}},[]]"#),
    ] {
        let members = format!(r#"{{"messageType":"ack"{lists}"#);
        Talk::greeted(&[(X, Some(1))]).check(
            &[text(&format!("{members}}}"))],
            &[
                send(&format!(r#"{members},"status":401,"error":"Invalid Command"}}"#)),
                close(CloseCode::Policy),
                release(),
            ],
        );
    }
}

#[test]
fn acknowledgements_that_wait_go_together() {
    let mut talk = Talk::greeted(&[(X, Some(1)), (Y, Some(2))]);
    talk.check(&[text(&register_text(X)), text(&ack_text(X, 1)), text(&ack_text(Y, 2))], &[add_step(X)]);
    talk.check(&[registered(10)], &[register_reply(X), ack_step(&[(X, Some(1)), (Y, Some(2))])]);
}

#[test]
fn an_acknowledgement_that_was_not_stored_is_looked_up_and_sent_again() {
    let mut talk = Talk::greeted(&[(X, Some(1))]);
    talk.check(&[text(&ack_text(X, 1)), outcome(Outcome::Failed)], &[ack_step(&[(X, Some(1))])]);
    talk.wait_to_repeat().check(&[Input::Timer, looked(10, &[(X, Some(1))])], &[look(), notified(&[(X, 1)])]);
    assert_eq!(talk.deadline(), Some(60));
}

#[test]
fn what_was_missed_is_looked_up() {
    let mut talk = Talk::greeted(&[(X, Some(1)), (Y, None)]);
    talk.check(&[missed(), looked(12, &[(X, Some(1)), (Y, Some(5))])], &[look(), notified(&[(Y, 5)])]);
    talk.check(&[update(Y, 5, 12)], &[]);
    talk.check(&[update(Y, 6, 13)], &[notified(&[(Y, 6)])]);
}

#[test]
fn a_second_miss_during_a_look_needs_another_look() {
    let mut talk = Talk::greeted(&[(X, None)]);
    talk.check(&[missed(), missed(), missed()], &[look()]);
    talk.check(&[looked(10, &[(X, None)])], &[look()]);
    talk.check(&[looked(11, &[(X, Some(1))])], &[notified(&[(X, 1)])]);
}

#[test]
fn a_delivery_that_overtakes_a_snapshot_counts() {
    let mut talk = Talk::greeted(&[(X, Some(1))]);
    talk.check(&[missed(), update(X, 3, 12)], &[look(), notified(&[(X, 3)])]);
    talk.check(&[looked(11, &[(X, Some(2))]), update(X, 2, 11)], &[]);
    // Included in the snapshot, so its delivery is not sent once more.
    talk.check(&[missed(), looked(13, &[(X, Some(4))])], &[look(), notified(&[(X, 4)])]);
    talk.check(&[update(X, 4, 13)], &[]);
}

#[test]
fn the_same_version_written_again_after_its_acknowledgement_is_sent_again() {
    let mut talk = Talk::greeted(&[(X, Some(1))]);
    talk.check(&[text(&ack_text(X, 1)), outcome(Outcome::Done)], &[ack_step(&[(X, Some(1))])]);
    talk.check(&[missed(), looked(11, &[(X, Some(1))])], &[look(), notified(&[(X, 1)])]);
}

#[test]
fn a_look_that_failed_is_repeated() {
    let mut talk = Talk::greeted(&[(X, None)]);
    talk.check(&[missed(), outcome(Outcome::Failed), Input::Timer], &[look()]);
    talk.wait_to_repeat().check(&[Input::Timer, outcome(Outcome::Failed)], &[look()]);
    talk.wait_to_repeat().check(&[Input::Timer, looked(11, &[(X, Some(1))])], &[look(), notified(&[(X, 1)])]);
}

#[test]
fn the_record_of_a_connected_client_is_renewed() {
    let mut talk = Talk::with({
        let mut settings = settings();
        settings.uaid_idle = Duration::from_secs(300);
        settings
    });
    talk.handle(text(HELLO_A));
    talk.handle(claimed(0, &[]));
    for _ in 0..2 {
        assert_eq!(talk.deadline(), Some(100));
        talk.wait(100).check(&[Input::Control, Input::Timer, verified(0)], &[verify()]);
    }
}

#[test]
fn a_silent_socket_is_asked_and_then_closed() {
    // SP-8, SP-9
    let mut talk = Talk::greeted(&[]);
    talk.wait(299).check(&[Input::Timer], &[]);
    talk.wait(1).check(&[Input::Timer, Input::Timer, verified(10)], &[Effect::Ping, verify()]);
    assert_eq!(talk.deadline(), Some(30));
    talk.wait(29).check(&[Input::Timer], &[]);
    talk.wait(1).check(&[Input::Timer], &[close(CloseCode::Error), release()]);
}

#[test]
fn any_sign_of_life_ends_the_silence() {
    for sign in [Input::Control, text(""), text(r#"{"messageType":"purge"}"#)] {
        let mut talk = Talk::greeted(&[]);
        talk.wait(300).check(&[Input::Timer, verified(10)], &[Effect::Ping, verify()]);
        talk.wait(29).handle(sign);
        assert!(talk.deadline() > Some(200));
        talk.wait(1).check(&[Input::Timer], &[]);
    }
}

#[test]
fn a_socket_that_is_not_read_is_not_taken_for_silent() {
    let mut talk = Talk::greeted(&[]);
    for _ in 0..257 {
        talk.handle(text(&unregister_text(X)));
    }
    assert!(!talk.takes_messages());
    talk.wait(300).check(&[Input::Timer], &[]);
    assert!(talk.deadline() > Some(30), "it is not asked");
}

#[test]
fn a_socket_without_a_claim_is_closed() {
    let mut talk = Talk::greeted(&[(X, None)]);
    talk.check(&[Input::Verify, Input::Verify, Input::Verify], &[verify()]);
    talk.check(&[outcome(Outcome::Done)], &[verify()]);
    talk.check(&[outcome(Outcome::NotOwner)], &[close(CloseCode::Normal), Effect::End]);
}

#[test]
fn a_verification_finds_what_was_not_handed_over() {
    let mut talk = Talk::greeted(&[(X, None)]);
    talk.check(&[Input::Verify, verified(10)], &[verify()]);
    for (sequence, version) in [(11, 1), (12, 2)] {
        talk.check(&[Input::Verify, verified(sequence)], &[verify(), look()]);
        talk.check(&[looked(sequence, &[(X, Some(version))])], &[notified(&[(X, version)])]);
        talk.check(&[Input::Verify, verified(sequence)], &[verify()]);
    }
    // The record of a store that has gone back in time may have any sequence.
    talk.check(&[Input::Verify, verified(5)], &[verify(), look()]);
}

/// Not as a read, of which a store that has trouble cannot put off any: all clients may verify their claims at once.
#[test]
fn a_verification_that_failed_or_is_postponed_is_repeated_as_one() {
    for answer in [Outcome::Failed, Outcome::Postponed] {
        let mut talk = Talk::greeted(&[(X, None)]);
        talk.check(&[Input::Verify, outcome(answer.clone()), Input::Timer], &[verify()]);
        talk.wait_to_verify_again().check(&[Input::Timer, outcome(answer), Input::Timer], &[verify()]);
        talk.wait_to_verify_again().check(&[Input::Timer, verified(11)], &[verify(), look()]);
        talk.check(&[looked(11, &[(X, Some(1))]), Input::Timer], &[notified(&[(X, 1)])]);
    }
}

#[test]
fn a_socket_that_is_never_silent_verifies_its_claim_all_the_same() {
    for keepalive in [0, 300] {
        let mut talk = Talk::with({
            let mut settings = settings();
            settings.keepalive_interval = Duration::from_secs(keepalive);
            settings
        });
        talk.handle(text(HELLO_A));
        talk.handle(claimed(0, &[]));
        // A sign of life every 50 s, so no Ping frame is sent.
        let mut verifications = 0;
        for _ in 0..40 {
            talk.wait(50).handle(Input::Control);
            if talk.handle(Input::Timer) == [verify()] {
                verifications += 1;
                talk.handle(verified(0));
            }
        }
        assert!((5..=6).contains(&verifications), "{verifications} in 2000 s");
    }
}

#[test]
fn a_verification_after_notifications_reads_nothing() {
    let mut talk = Talk::greeted(&[(X, None)]);
    talk.check(&[after(10, update(X, 1, 11)), Input::Verify, verified(11)], &[notified(&[(X, 1)]), verify()]);
    // One that is dropped has come all the same: for another channel, and a second time.
    talk.check(&[after(11, update(Y, 1, 15)), after(11, update(Y, 1, 15))], &[]);
    talk.check(&[Input::Verify, verified(15)], &[verify()]);
    // An older node does not say which write was before. As before, it is only found by the verification.
    talk.check(&[update(X, 2, 17)], &[notified(&[(X, 2)])]);
    assert_eq!(talk.deadline(), Some(60), "it is sent again");
    talk.check(&[Input::Verify, verified(17), looked(17, &[(X, Some(2))])], &[verify(), look()]);
    talk.check(&[Input::Verify, verified(17)], &[verify()]);
}

#[test]
fn what_was_not_handed_over_is_looked_up_after_the_next_notification() {
    let mut talk = Talk::greeted(&[(X, None), (Y, None)]);
    talk.check(&[after(11, update(X, 1, 12)), Input::Timer], &[notified(&[(X, 1)])]);
    talk.wait_for_a_gap().check(&[Input::Timer, verified(12)], &[verify(), look()]);
    talk.check(&[looked(12, &[(X, Some(1)), (Y, Some(7))])], &[notified(&[(Y, 7)])]);
    assert!(talk.deadline() > Some(50), "there is no gap any more");
    talk.check(&[after(12, update(X, 2, 13)), Input::Verify, verified(13)], &[notified(&[(X, 2)]), verify()]);
}

#[test]
fn a_gap_that_opens_during_a_read_is_not_closed_by_it() {
    let mut talk = Talk::greeted(&[(X, None), (Y, None)]);
    talk.check(&[missed(), after(11, update(X, 1, 12))], &[look(), notified(&[(X, 1)])]);
    // The store was read before the write that is lacking.
    talk.check(&[looked(10, &[(X, None), (Y, None)])], &[]);
    talk.wait_for_a_gap().check(&[Input::Timer, verified(12)], &[verify(), look()]);
    talk.check(&[looked(12, &[(X, Some(1)), (Y, Some(7))])], &[notified(&[(Y, 7)])]);
    // It was read after that, but before the next one.
    let mut talk = Talk::greeted(&[(X, None), (Y, None)]);
    talk.check(&[missed(), after(11, update(X, 1, 12))], &[look(), notified(&[(X, 1)])]);
    talk.check(&[looked(11, &[(X, None), (Y, Some(7))])], &[notified(&[(Y, 7)])]);
    assert!(talk.deadline() > Some(50), "there is no gap");
    talk.check(&[Input::Verify, verified(12)], &[verify()]);
}

#[test]
fn a_gap_is_not_forgotten_when_the_store_fails() {
    for answer in [Outcome::Failed, Outcome::Postponed] {
        let mut talk = Talk::greeted(&[(X, None), (Y, None)]);
        talk.check(&[after(11, update(X, 1, 12))], &[notified(&[(X, 1)])]);
        talk.wait_for_a_gap().check(&[Input::Timer, outcome(answer), Input::Timer], &[verify()]);
        talk.wait_to_repeat().check(&[Input::Timer], &[verify()]);
    }
}

#[test]
fn a_store_that_goes_back_behind_a_gap_is_not_asked_for_ever() {
    let mut talk = Talk::greeted(&[(X, None), (Y, None)]);
    talk.check(&[after(11, update(X, 1, 12))], &[notified(&[(X, 1)])]);
    talk.wait_for_a_gap().check(&[Input::Timer, verified(10)], &[verify(), look()]);
    talk.check(&[looked(10, &[(X, None), (Y, None)])], &[]);
    assert!(talk.deadline() > Some(50));
}

/// The new primary of a store lacks the last writes, and its clock is behind.
#[test]
fn a_store_that_goes_back_with_a_clock_that_is_behind_hides_no_version() {
    let mut talk = Talk::greeted(&[(X, None), (Y, Some(7))]);
    talk.check(&[after(10, update(X, 1, 50))], &[notified(&[(X, 1)])]);
    // It is written to before this is noticed, and read.
    talk.check(&[after(5, update(X, 2, 6)), Input::Verify, verified(6)], &[verify(), look()]);
    talk.check(&[looked(6, &[(X, Some(2)), (Y, Some(7))])], &[notified(&[(X, 2)])]);
    // And afterwards.
    talk.check(
        &[after(6, update(X, 3, 7)), after(7, update(Y, 8, 8))],
        &[notified(&[(X, 3)]), notified(&[(Y, 8)])],
    );
    talk.check(&[after(5, update(X, 2, 6)), Input::Verify, verified(8)], &[verify()]);
    // The read itself shows it, or only a verification does.
    let read = || looked(4, &[(X, None), (Y, None)]);
    for inputs in [vec![missed(), read()], vec![Input::Verify, verified(4), read()]] {
        let mut talk = Talk::greeted(&[(X, None), (Y, None)]);
        talk.check(&[after(4, update(X, 1, 50))], &[notified(&[(X, 1)])]);
        inputs.into_iter().for_each(|input| drop(talk.handle(input)));
        talk.check(&[after(4, update(Y, 1, 5))], &[notified(&[(Y, 1)])]);
        talk.check(&[after(5, update(X, 2, 6))], &[notified(&[(X, 2)])]);
    }
}

/// The store has gone back, and is written to while it is read for a reason that arose before that was noticed.
#[test]
fn what_comes_while_a_store_that_has_gone_back_is_read_is_not_lost() {
    // It is noticed by the read: what came meanwhile seemed old.
    let mut talk = Talk::greeted(&[(X, None), (Y, None)]);
    talk.check(&[after(10, update(X, 1, 100))], &[notified(&[(X, 1)])]);
    talk.check(&[missed(), after(50, update(X, 8, 60))], &[look()]);
    talk.check(&[looked(50, &[(X, None), (Y, None)])], &[look()]);
    talk.check(&[looked(60, &[(X, Some(8)), (Y, None)])], &[notified(&[(X, 8)])]);
    // Another write seems new, and to follow what is known.
    let mut talk = Talk::greeted(&[(X, None), (Y, None)]);
    talk.check(&[after(10, update(X, 1, 100))], &[notified(&[(X, 1)])]);
    talk.check(
        &[missed(), after(50, update(X, 8, 60)), after(60, update(Y, 1, 120))],
        &[look(), notified(&[(Y, 1)])],
    );
    talk.check(&[looked(60, &[(X, Some(8)), (Y, None)])], &[look()]);
    talk.check(&[looked(120, &[(X, Some(8)), (Y, Some(1))])], &[notified(&[(X, 8)])]);
    // It is noticed before: what comes is sent, and the read shows what was before it.
    let mut talk = Talk::greeted(&[(X, None), (Y, None)]);
    talk.check(&[after(10, update(X, 1, 100))], &[notified(&[(X, 1)])]);
    talk.check(&[Input::Verify, missed(), verified(50)], &[verify(), look()]);
    talk.check(&[after(50, update(X, 8, 60))], &[notified(&[(X, 8)])]);
    talk.check(&[looked(50, &[(X, Some(5)), (Y, None)])], &[look()]);
    talk.check(&[looked(60, &[(X, Some(8)), (Y, None)])], &[]);
    talk.check(&[Input::Verify, verified(60)], &[verify()]);
}

/// A hundred notifications per second through several endpoint-nodes, for ten seconds. Returns how often the store was asked.
fn asked_for(order: impl Fn(u64) -> Option<u64>) -> usize {
    let mut talk = Talk::greeted(&[(X, None)]);
    let (mut asked, mut last) = (0, 10);
    for number in 11..1011 {
        talk.now = talk.now + Duration::from_millis(10);
        last = number.max(last);
        let mut effects = Vec::new();
        if let Some(sequence) = order(number) {
            effects.extend(talk.handle(after(sequence - 1, update(X, sequence, sequence))));
        }
        effects.extend(talk.handle(Input::Timer));
        while effects.iter().any(|effect| matches!(effect, Effect::Store(_))) {
            asked += 1;
            let is_verification = effects.contains(&verify());
            effects =
                talk.handle(if is_verification { verified(last) } else { looked(last, &[(X, Some(last))]) });
        }
    }
    asked
}

#[test]
fn a_client_that_is_written_to_often_asks_the_store_rarely() {
    assert_eq!(asked_for(Some), 0);
    // Each second one overtakes the one before it.
    assert_eq!(asked_for(|number| Some(if number % 2 == 1 { number + 1 } else { number - 1 })), 0);
    // Each third one is lost: a verification and a read in a second or more.
    let asked = asked_for(|number| (number % 3 != 0).then_some(number));
    assert!((12..=20).contains(&asked), "{asked}");
}
