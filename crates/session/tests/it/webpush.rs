//! The Web Push dialect (PROTOCOL.md section 4).

mod backlog;
mod broadcasts;
mod channels;
mod delivery;
mod ending;
mod hello;
pub(crate) mod talk;
