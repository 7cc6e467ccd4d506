//! The test bed itself: a tool that lies makes every test lie.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod forwarder;
mod ports;
mod process;
mod redis;
