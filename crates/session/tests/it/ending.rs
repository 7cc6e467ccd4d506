//! How a conversation ends.

use crate::talk::*;
use beckon_session::{CloseCode, Effect, Input, Outcome, Step};
use beckon_types::HelloOutcome;

fn acknowledged() -> Input<'static> {
    outcome(Outcome::Done)
}

fn released() -> Input<'static> {
    outcome(Outcome::Done)
}

#[test]
fn an_evicted_socket_is_closed_and_releases_nothing() {
    // SP-28
    Talk::greeted(&[(X, Some(1))])
        .check(&[Input::Evicted], &[close(CloseCode::Normal), Effect::End])
        .check(&[text("{}"), update(X, 2, 11), Input::Timer, Input::Disconnected, Input::Evicted], &[]);
}

#[test]
fn a_drained_socket_is_closed_and_released() {
    // SP-51
    let mut talk = Talk::greeted(&[]);
    talk.check(&[Input::Drain], &[close(CloseCode::GoingAway), release()]);
    assert_eq!(talk.deadline(), None);
    talk.check(&[Input::Disconnected, missed(), released(), released()], &[Effect::End]);
    check(&[Input::Drain], &[close(CloseCode::GoingAway), Effect::End]);
}

#[test]
fn a_broken_socket_is_closed_with_its_code() {
    for code in [CloseCode::Protocol, CloseCode::Invalid, CloseCode::TooBig] {
        check(&[Input::Broken(code)], &[close(code), Effect::End]);
        Talk::greeted(&[]).check(&[Input::Broken(code), released()], &[close(code), release(), Effect::End]);
    }
}

#[test]
fn a_socket_that_ends_releases_its_uaid() {
    check(&[Input::Disconnected], &[Effect::End]);
    Talk::greeted(&[]).check(&[Input::Disconnected, released()], &[release(), Effect::End]);
    Talk::greeted(&[]).check(&[Input::Disconnected, outcome(Outcome::Failed)], &[release(), Effect::End]);
}

#[test]
fn a_socket_that_ends_during_hello_waits_for_its_outcome() {
    let mut talk = Talk::new();
    talk.handle(text(HELLO_A));
    talk.check(&[text(&register_text(X)), Input::Disconnected], &[]);
    talk.check(&[claimed_from(None, 1, &[]), released()], &[release(), Effect::End]);
}

/// The user agent may have said hello on the other socket after this one, and the store has performed this hello last.
#[test]
fn a_socket_that_ends_during_hello_gives_the_uaid_back_to_its_former_owner() {
    let give_back = || store(Step::Release(client(A), OWN, Some(OTHER)));
    let noted = || outcome(Outcome::Done);
    let leave = |input| {
        let mut talk = Talk::new();
        talk.handle(text(HELLO_A));
        talk.handle(input);
        talk.check(&[claimed_from(Some(OTHER), 1, &[])], &[give_back()]);
        talk
    };
    for input in [Input::Disconnected, Input::Evicted, Input::Drain, Input::Broken(CloseCode::TooBig)] {
        leave(input).check(&[released(), noted()], &[store(Step::NoteMissed(OTHER)), Effect::End]);
    }
    leave(Input::Disconnected)
        .check(&[released(), outcome(Outcome::Failed)], &[store(Step::NoteMissed(OTHER)), Effect::End]);
    // The former owner does not own the client any more, and learns that by reading.
    leave(Input::Disconnected)
        .check(&[outcome(Outcome::Failed), noted()], &[store(Step::NoteMissed(OTHER)), Effect::End]);
    // The node does not wait for a store that fails twice.
    let failed = [outcome(Outcome::Failed), outcome(Outcome::Failed)];
    leave(Input::Disconnected).check(&failed, &[store(Step::NoteMissed(OTHER)), Effect::End]);
}

#[test]
fn a_socket_that_ends_during_a_hello_that_deletes_its_uaid_evicts_the_former_owner() {
    let mut talk = Talk::new();
    talk.handle(text(HELLO_A));
    talk.handle(Input::Disconnected);
    let deleted = outcome(Outcome::Hello(HelloOutcome::Deleted { former: Some(OTHER) }));
    talk.check(&[deleted], &[Effect::Evict(OTHER), Effect::End]);
}

#[test]
fn what_was_received_is_performed_before_the_release() {
    let mut talk = Talk::greeted(&[(X, Some(1)), (Y, Some(2))]);
    talk.check(&[missed(), text(&ack_text(X, 1)), text(&unregister_text(Y))], &[look()]);
    talk.check(&[Input::Disconnected], &[]);
    talk.check(&[looked(11, &[(X, Some(1)), (Y, Some(3))])], &[ack_step(&[(X, Some(1))])]);
    talk.check(&[acknowledged()], &[remove_step(Y)]);
    talk.check(&[removed()], &[release()]);
    assert!(!talk.session.is_settled());
    talk.check(&[released()], &[Effect::End]);
    assert!(talk.session.is_settled());
}

#[test]
fn an_evicted_socket_still_stores_its_acknowledgements() {
    let mut talk = Talk::greeted(&[(X, Some(1))]);
    talk.check(&[text(&register_text(Y)), text(&ack_text(X, 1)), text(&unregister_text(Y))], &[add_step(Y)]);
    talk.check(&[Input::Evicted], &[close(CloseCode::Normal)]);
    talk.check(&[registered(10)], &[ack_step(&[(X, Some(1))])]);
    talk.check(&[acknowledged()], &[Effect::End]);
}

#[test]
fn a_failing_store_does_not_delay_the_end() {
    let mut talk = Talk::greeted(&[(X, Some(1))]);
    talk.check(&[missed(), text(&ack_text(X, 1)), Input::Disconnected], &[look()]);
    talk.check(&[outcome(Outcome::Failed)], &[release()]);
    talk.check(&[outcome(Outcome::Failed)], &[Effect::End]);
}

#[test]
fn a_violation_closes_at_once_and_sends_nothing_more() {
    let mut talk = Talk::greeted(&[]);
    talk.check(&[text(&register_text(X)), text("[")], &[add_step(X), close(CloseCode::Invalid)]);
    talk.check(&[registered(10), released()], &[release(), Effect::End]);
}

#[test]
fn an_outcome_of_no_step_is_ignored() {
    Talk::greeted(&[]).check(&[acknowledged(), released(), registered(1)], &[]);
}
