//! Sessions as data. Every session of these tests that comes to rest is compared with the one that is made of its data, and in
//! the simulation it is replaced by that one.

use crate::talk::*;
use beckon_session::{Effect, Input, Parked, Session};
use beckon_types::{Broadcasts, Moment, Presence};
use prost::Message as _;

/// The session that another process makes of what this one is; `None` if it is not at rest.
fn copy(session: &Session, presence: Presence, broadcasts: &Broadcasts) -> Option<Session> {
    let bytes = session.park()?.encode_to_vec();
    let parked = Parked::decode(bytes.as_slice()).unwrap();
    Some(Session::resume(presence, parked, broadcasts).unwrap())
}

/// Compares a session at rest with its copy.
#[track_caller]
pub(crate) fn check(session: &Session, broadcasts: &Broadcasts) {
    if let Some(copy) = copy(session, OWN, broadcasts) {
        assert_eq!(format!("{copy:#?}"), format!("{session:#?}"));
        assert_eq!(copy.is_settled(), session.is_settled());
    }
}

/// Replaces a session at rest with its copy.
pub(crate) fn hand_over(session: &mut Session, presence: Presence, broadcasts: &Broadcasts) {
    if let Some(copy) = copy(session, presence, broadcasts) {
        *session = copy;
    }
}

#[test]
fn only_a_session_at_rest_can_be_parked() {
    let mut talk = Talk::new();
    assert!(talk.session.park().is_some(), "a stranger");
    talk.handle(Input::Text(HELLO_A));
    assert!(talk.session.park().is_none(), "its hello is under way");
    talk.handle(claimed(10, &[(X, Some(1))]));
    assert!(talk.session.park().is_some());
    talk.handle(Input::Text(&ack_text(X, 1)));
    assert!(talk.session.park().is_none(), "a step is under way");
    talk.handle(removed());
    assert!(talk.session.park().is_some());
    talk.handle(Input::Drain);
    assert!(talk.session.park().is_none(), "its end has begun");
}

#[test]
fn data_of_anything_else_is_refused() {
    let parked = Talk::greeted(&[(X, Some(1))]).session.park().unwrap();
    let bytes = parked.encode_to_vec();
    for index in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[index] ^= 0x55;
        // Whatever comes of it, it is a session or an error.
        if let Ok(parked) = Parked::decode(damaged.as_slice()) {
            let _ = Session::resume(OWN, parked, &Broadcasts::default());
        }
    }
    let refused = |bytes: &[u8]| Session::resume(OWN, Parked::decode(bytes).unwrap(), &Broadcasts::default());
    assert!(refused(&[]).is_err(), "there is no peer");
}

/// A session that goes on elsewhere says the same at the same time.
#[test]
fn deadlines_and_answers_are_those_of_the_former_session() {
    let mut talk = Talk::greeted(&[(X, Some(1)), (Y, None)]);
    let deadline = talk.session.deadline(talk.now, &talk.settings);
    hand_over(&mut talk.session, OWN, &Broadcasts::default());
    assert_eq!(talk.session.deadline(talk.now, &talk.settings), deadline);
    // It was sent before, so it is not sent again before its time.
    talk.handle(missed());
    assert_eq!(talk.handle(looked(10, &[(X, Some(1)), (Y, None)])), []);
    talk.now = deadline.unwrap_or(Moment(0));
    assert!(talk.handle(Input::Timer).iter().any(|effect| matches!(effect, Effect::Store(_))));
}
