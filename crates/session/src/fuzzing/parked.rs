//! Fuzz target for sessions that another process has parked.

use super::talk::{BROADCASTS, OWN, Talk};
use crate::{Parked, Session};
use prost::Message as _;

/// Between the session and the conversation.
const END: &[u8] = b"\n--\n";

/// How much longer than its encoding a session may be: an empty field of two bytes is a value of some words.
const GROWTH: usize = 32;

/// A parked session, and the conversation that follows, in lines as those of [`super::session`].
///
/// What is read is parked as it was, and keeps to the rules of every session.
pub fn parked(data: &[u8]) {
    let end = data.windows(END.len()).position(|window| window == END);
    let (parked, conversation) = match end {
        Some(end) => (&data[..end], &data[end + END.len()..]),
        None => (data, &[][..]),
    };
    let Ok(parked) = Parked::decode(parked) else { return };
    let resume = |parked| Session::resume(OWN, parked, &BROADCASTS);
    let Ok(session) = resume(parked) else { return };
    let again = session.park().expect("a session that was resumed is at rest");
    let twice = resume(again.clone()).expect("what was parked is a session").park();
    assert_eq!(twice.as_ref(), Some(&again));
    Talk::resumed(session, data.len() * GROWTH).hear_all(conversation);
}
