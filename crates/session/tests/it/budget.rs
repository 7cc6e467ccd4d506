//! How many requests are read, and what a source may not ask for.

use crate::talk::{HELLO_A, Talk, X, close, notified, register_text, update};
use beckon_session::{CloseCode, Demand, Effect, Input, Outcome};
use std::{ops::RangeInclusive, time::Duration};

/// Registers that are read at once.
fn burst(talk: &mut Talk) -> usize {
    let mut read = 0;
    while talk.takes_messages() && read < 10_000 {
        talk.handle(Input::Text(&register_text(X)));
        talk.handle(Input::Store(Outcome::Full));
        read += 1;
    }
    read
}

#[test]
fn requests_are_read_at_once_up_to_the_limit_and_then_evenly() {
    let mut talk = Talk::greeted(&[]);
    assert_eq!(burst(&mut talk), 599, "the hello was one, too");
    assert!(
        talk.session
            .deadline(talk.now, &talk.settings)
            .is_some_and(|at| at.since(talk.now) <= talk.settings.request_interval)
    );
    talk.now = talk.now + talk.settings.request_interval;
    assert_eq!(burst(&mut talk), 1);
    talk.wait(10);
    assert_eq!(burst(&mut talk), 100);
    talk.wait(3600);
    assert_eq!(burst(&mut talk), 600, "no more than the limit");
}

#[test]
fn a_notification_adds_a_request_up_to_the_limit() {
    let mut talk = Talk::greeted(&[(X, None)]);
    (talk.settings.requests_max, talk.settings.request_interval) = (4, Duration::from_millis(250));
    let notify = |talk: &mut Talk, numbers: RangeInclusive<u64>| {
        for number in numbers {
            assert_eq!(talk.handle(update(X, number, 100 + number)), [notified(&[(X, number)])]);
        }
    };
    burst(&mut talk);
    notify(&mut talk, 1..=2);
    assert_eq!(burst(&mut talk), 2, "one for each");
    notify(&mut talk, 3..=100);
    assert_eq!(burst(&mut talk), 4, "no more than the limit");
}

#[test]
fn a_socket_that_is_not_read_is_not_silent() {
    let mut talk = Talk::greeted(&[]);
    talk.settings.request_interval = talk.settings.keepalive_interval * 2;
    burst(&mut talk);
    talk.wait(1);
    assert_eq!(burst(&mut talk), 1);
    talk.wait(400);
    let effects = talk.handle(Input::Timer);
    assert!(!effects.contains(&Effect::Ping) && !effects.contains(&close(CloseCode::Error)), "{effects:?}");
    assert!(!talk.takes_messages());
}

#[test]
fn a_restore_of_three_hundred_channels_is_read_at_once() {
    let mut talk = Talk::greeted(&[]);
    for _ in 0..300 {
        assert!(talk.takes_messages());
        talk.handle(Input::Text(&register_text(X)));
        talk.handle(Input::Store(Outcome::Full));
    }
}

#[test]
fn a_hello_beyond_the_share_of_its_source_is_closed_without_a_reply() {
    let mut talk = Talk::new();
    talk.refused.push(Demand::Hello);
    assert_eq!(talk.handle(Input::Text(HELLO_A)), [close(CloseCode::Error), Effect::End]);
    let mut talk = Talk::greeted(&[]);
    talk.refused.push(Demand::Hello);
    assert_eq!(talk.handle(Input::Text(HELLO_A)).first(), Some(&close(CloseCode::Error)));
}

#[test]
fn a_register_beyond_the_share_of_its_source_fails() {
    let mut talk = Talk::greeted(&[]);
    talk.refused.push(Demand::Register);
    let request = register_text(X);
    let effects = talk.handle(Input::Text(&request));
    assert!(
        matches!(&effects[..], [Effect::Send(reply)] if reply.contains("500") && reply.contains(X)),
        "{effects:?}"
    );
    talk.refused.clear();
    assert!(matches!(&talk.handle(Input::Text(&request))[..], [Effect::Store(_)]));
}
