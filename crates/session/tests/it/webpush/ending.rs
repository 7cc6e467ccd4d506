//! How a conversation ends.

use super::talk::*;
use crate::talk::*;
use beckon_session::{ClientReport, CloseCode, Effect, Input, Outcome};

const TOLD: Effect = Effect::Report(ClientReport::Delivered);

#[test]
fn an_evicted_socket_still_stores_its_acknowledgements() {
    let sent = messages([1, 2]);
    let mut talk = Talk::webpush_with(settings(), &[X], &sent, false);
    talk.check(&[text(&register_text(Y))], &[webpush_add(Y, None)]);
    talk.check(
        &[text(&ack_messages(&sent)), text(&unregister_text(X)), Input::Evicted],
        &[TOLD, TOLD, Effect::Report(ClientReport::Unregistered), close(CloseCode::Normal)],
    );
    talk.check(&[registered(10)], &[remove_messages(&sent)]);
    talk.check(&[outcome(Outcome::Done)], &[Effect::End]);
}

#[test]
fn what_was_received_is_performed_before_the_release() {
    let sent = messages(0..10);
    for end in [Input::Disconnected, Input::Drain] {
        let mut talk = Talk::webpush_with(settings(), &[X], &sent, true);
        let closes = (end == Input::Drain).then(|| close(CloseCode::GoingAway));
        talk.check(&[text(&register_text(Y))], &[webpush_add(Y, None)]);
        talk.check(&[text(&ack_messages(&sent))], &vec![TOLD; 10]);
        talk.check(&[end], &closes.into_iter().collect::<Vec<_>>());
        // The fetch that would follow is not made for a socket that has ended.
        talk.check(&[registered(10)], &[remove_messages(&sent)]);
        talk.check(&[outcome(Outcome::Done)], &[release()]);
        talk.check(&[outcome(Outcome::Done), bring(&message(X, 11)), Input::Broadcasts], &[Effect::End]);
    }
}

#[test]
fn what_a_fetch_brings_after_the_end_is_not_sent() {
    let mut talk = Talk::webpush(&[X]);
    talk.check(&[missed(), Input::Disconnected], &[fetch(None)]);
    talk.check(&[fetched(&messages([11]), true), outcome(Outcome::Done)], &[release(), Effect::End]);
}
