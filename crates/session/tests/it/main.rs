//! The session as its connection sees it: inputs in, effects out. Rules of PROTOCOL.md section 10 are named in
//! the comments.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod budget;
mod channels;
mod chaos;
mod delivery;
mod ending;
mod hello;
mod messages;
mod parking;
mod simulation;
mod talk;
mod webpush;
