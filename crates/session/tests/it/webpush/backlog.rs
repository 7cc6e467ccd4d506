//! The backlog: batches, expiry, starting over, failures.

use super::talk::*;
use crate::talk::*;
use beckon_session::{ClientReport, Effect, Input, Outcome};
use beckon_types::Message;
use std::time::Duration;

fn told(count: usize) -> Vec<Effect> {
    vec![Effect::Report(ClientReport::Delivered); count]
}

/// Acknowledges one message after the other, and compares what follows the last one.
#[track_caller]
fn acknowledge(talk: &mut Talk, sent: &[Message], then: &[Effect]) {
    let (last, others) = sent.split_last().unwrap();
    for message in others {
        let one = std::slice::from_ref(message);
        talk.check(
            &[text(&ack_messages(one)), outcome(Outcome::Done)],
            &[told(1), vec![remove_messages(one)]].concat(),
        );
    }
    let one = std::slice::from_ref(last);
    talk.check(&[text(&ack_messages(one))], &[told(1), vec![remove_messages(one)]].concat());
    talk.check(&[outcome(Outcome::Done)], then);
}

#[test]
fn the_next_batch_follows_when_all_of_the_former_is_acknowledged() {
    // WP-26, WP-35
    let stored = messages(0..25);
    let mut talk = Talk::webpush_with(settings(), &[X], &stored[..10], true);
    acknowledge(&mut talk, &stored[..9], &[]);
    acknowledge(&mut talk, &stored[9..10], &[fetch(Some(&stored[9]))]);
    talk.check_fetched(&stored[10..20], true, &stored[10..20], &[]);
    // Any order will do, and several at once.
    let mut reversed = stored[10..20].to_vec();
    reversed.reverse();
    talk.check(
        &[text(&ack_messages(&reversed)), outcome(Outcome::Done)],
        &[told(10), vec![remove_messages(&reversed), fetch(Some(&stored[19]))]].concat(),
    );
    talk.check_fetched(&stored[20..], false, &stored[20..], &[]);
    acknowledge(&mut talk, &stored[20..], &[]);
    assert_eq!(talk.deadline(), Some(300));
}

/// A page of the backlog does not show what was stored before it.
#[test]
fn a_claim_is_verified_while_the_backlog_is_read() {
    let stored = messages(0..30);
    let mut talk = Talk::webpush_with(settings(), &[X], &stored[..10], true);
    let sent = &stored[..10];
    talk.check(&[text(&ack_messages(sent))], &[told(10), vec![remove_messages(sent)]].concat());
    talk.check(&[Input::Verify, Input::Verify, outcome(Outcome::Done)], &[fetch(Some(&stored[9]))]);
    talk.wait(50).check_fetched(&stored[10..20], true, &stored[10..20], &[verify()]);
    talk.check(&[outcome(Outcome::Failed)], &[]);
    // No page puts off the next verification either.
    let mut settings = settings();
    settings.uaid_idle = Duration::from_secs(300);
    let mut talk = Talk::webpush_with(settings, &[X], sent, true);
    assert_eq!(talk.deadline(), Some(100));
    talk.wait(50).handle(text(&ack_messages(sent)));
    talk.check(&[outcome(Outcome::Done)], &[fetch(Some(&stored[9]))]);
    talk.check_fetched(&stored[10..20], true, &stored[10..20], &[]);
    assert_eq!(talk.deadline(), Some(50));
}

#[test]
fn a_position_behind_messages_with_a_topic_is_kept() {
    let stored = [with_topic(message(X, 9), "t"), message(X, 3)];
    let mut small = settings();
    small.batch_size = 1;
    let mut talk = Talk::webpush_with(small, &[X], &stored[..1], true);
    talk.check(
        &[text(&ack_messages(&stored[..1]))],
        &[told(1), vec![remove_messages(&stored[..1])]].concat(),
    );
    let effects = talk.handle(outcome(Outcome::Done));
    let [Effect::Store(beckon_session::Step::Fetch(fetch))] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((fetch.after, fetch.max), (Some(stored[0].place.position()), 1));
    talk.check_fetched(&stored[1..], false, &stored[1..], &[]);
}

#[test]
fn live_messages_do_not_wait_for_the_batch_and_the_batch_not_for_them() {
    let (stored, live) = (messages(0..10), messages([11, 12]));
    let mut talk = Talk::webpush_with(settings(), &[X], &stored, true);
    talk.check(&[bring(&live[0]), bring(&live[1])], &notified_messages(&live));
    acknowledge(&mut talk, &stored, &[fetch(Some(&stored[9]))]);
    // The second live message is also what the backlog goes on with.
    let next = [live[1].clone(), message(X, 13)];
    talk.check_fetched(&next, true, &next[1..], &[fetch(Some(&next[1]))]);
    talk.check_fetched(&[], false, &[], &[]);
}

#[test]
fn a_fetch_that_brings_nothing_new_is_followed_by_the_next_at_once() {
    // WP-36: what has expired does not come out of the store at all.
    let (live, stored) = (messages(11..21), messages(21..33));
    let mut talk = Talk::webpush(&[X]);
    talk.check(&live.iter().map(bring).collect::<Vec<_>>(), &notified_messages(&live));
    talk.check(&[missed()], &[fetch(None)]);
    talk.check_fetched(&live, true, &[], &[fetch(Some(&live[9]))]);
    talk.check_fetched(&stored[..6], true, &stored[..6], &[fetch(Some(&stored[5]))]);
    // There is room for four more; the rest is read again.
    talk.check_fetched(&stored[6..], false, &stored[6..10], &[]);
    acknowledge(&mut talk, &stored[..10], &[fetch(Some(&stored[9]))]);
    talk.check_fetched(&stored[10..], false, &stored[10..], &[]);
}

#[test]
fn a_batch_that_has_expired_makes_room() {
    let mut stored = messages(0..10);
    for (message, seconds) in stored.iter_mut().zip((100..).step_by(10)) {
        message.draft.ttl = Duration::from_secs(seconds);
    }
    let mut talk = Talk::webpush_with(settings(), &[X], &stored, true);
    assert_eq!(talk.deadline(), Some(190), "the last of them expires");
    talk.wait(189).check(&[Input::Timer], &[]);
    talk.wait(1).check(&[Input::Timer], &[fetch(Some(&stored[9]))]);
    // An acknowledgement of the last one left does the same.
    let mut talk = Talk::webpush_with(settings(), &[X], &stored, true);
    talk.wait(185).check(
        &[text(&ack_messages(&stored[9..])), outcome(Outcome::Done)],
        &[told(1), vec![remove_messages(&stored[9..]), fetch(Some(&stored[9]))]].concat(),
    );
    // Without anything behind them nothing is to be done when they expire.
    let mut talk = Talk::webpush_with(settings(), &[X], &stored, false);
    assert_eq!(talk.deadline(), Some(300));
    talk.wait(250).check(&[Input::Timer], &[]);
}

#[test]
fn starting_over_never_has_more_outstanding_than_a_batch() {
    let stored = messages(0..14);
    let mut talk = Talk::webpush_with(settings(), &[X], &stored[..10], true);
    acknowledge(&mut talk, &stored[..7], &[]);
    talk.check(&[missed()], &[fetch(None)]);
    // Three are outstanding, so there is room for seven; one of them is new.
    let brought = [&stored[7..12], &[message(X, 20)]].concat();
    let sent = [&stored[10..12], &[message(X, 20)]].concat();
    talk.check_fetched(&brought, false, &sent, &[]);
    acknowledge(&mut talk, &stored[7..12], &[]);
    acknowledge(&mut talk, &brought[5..], &[]);
}

#[test]
fn starting_over_waits_for_room() {
    let stored = messages(0..11);
    let mut talk = Talk::webpush_with(settings(), &[X], &stored[..10], true);
    talk.check(&[missed()], &[]);
    assert_eq!(talk.deadline(), Some(300), "the messages are good for longer");
    acknowledge(&mut talk, &stored[..1], &[fetch(None)]);
    talk.check_fetched(&stored[1..], true, &stored[10..], &[]);
    // The batch is full again, and has to be acknowledged as a whole.
    acknowledge(&mut talk, &stored[1..10], &[]);
    acknowledge(&mut talk, &stored[10..], &[fetch(Some(&stored[10]))]);
}

#[test]
fn starting_over_is_not_forgotten_for_what_an_earlier_fetch_left() {
    let all = messages(0..11);
    let mut talk = Talk::webpush(&[X]);
    talk.check(&[missed(), missed()], &[fetch(None)]);
    talk.check_fetched(&all[1..10], true, &all[1..10], &[fetch(None)]);
    talk.check_fetched(&all[..10], true, &all[..1], &[]);
}

#[test]
fn starting_over_goes_on_when_one_of_a_full_batch_expires() {
    let mut stored = messages(0..10);
    stored[4].draft.ttl = Duration::from_secs(60);
    let mut talk = Talk::webpush_with(settings(), &[X], &stored, false);
    talk.check(&[missed()], &[]);
    assert_eq!(talk.deadline(), Some(60));
    talk.wait(60).check(&[Input::Timer], &[fetch(None)]);
}

#[test]
fn a_fetch_that_failed_is_repeated() {
    let stored = messages(0..11);
    let mut talk = Talk::webpush_with(settings(), &[X], &stored[..10], true);
    acknowledge(&mut talk, &stored[..10], &[fetch(Some(&stored[9]))]);
    talk.check(&[outcome(Outcome::Failed), Input::Timer], &[]);
    for _ in 0..2 {
        let repeated = talk.repeat_at();
        talk.wait(9).check(
            &[Input::Timer, text(&ack_messages(&stored[..1]))],
            &[Effect::Report(ClientReport::Delivered), remove_messages(&stored[..1])],
        );
        talk.check(&[outcome(Outcome::Done)], &[]);
        talk.now = repeated;
        talk.check(&[Input::Timer, Input::Timer], &[fetch(Some(&stored[9]))]);
        talk.check(&[outcome(Outcome::Failed)], &[]);
    }
    // Something new is looked for at once, from the beginning.
    talk.check(&[missed()], &[fetch(None)]);
    talk.check_fetched(&stored[10..], false, &stored[10..], &[]);
}

#[test]
fn the_record_of_a_connected_client_is_renewed() {
    let mut settings = settings();
    settings.uaid_idle = Duration::from_secs(300);
    let mut talk = Talk::webpush_with(settings, &[X], &[], false);
    for _ in 0..2 {
        assert_eq!(talk.deadline(), Some(100));
        talk.wait(100).check(&[Input::Control, Input::Timer, Input::Timer, verified(10)], &[verify()]);
    }
    talk.wait(100).check(&[Input::Control, Input::Timer, outcome(Outcome::Failed)], &[verify()]);
    talk.wait_to_verify_again().check(&[Input::Timer, verified(10)], &[verify()]);
    // A fetch renews too.
    talk.wait(50).check(&[Input::Control, missed()], &[fetch(None)]);
    talk.check_fetched(&[], false, &[], &[]);
    assert_eq!(talk.deadline(), Some(100));
}

#[test]
fn of_very_many_unacknowledged_messages_the_oldest_live_ones_may_be_repeated() {
    let stored = messages(0..2);
    let mut talk = Talk::webpush_with(settings(), &[X], &stored, false);
    let live = messages(11..11 + 1024);
    talk.check(&live.iter().map(bring).collect::<Vec<_>>(), &notified_messages(&live));
    // With the two of the batch there were two too many.
    talk.check(&[missed()], &[fetch(None)]);
    let brought = [&stored[..], &live[..2], &live[4..8]].concat();
    talk.check_fetched(&brought, false, &live[..2], &[]);
}
