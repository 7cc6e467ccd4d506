//! The user agent against a server that sends only what the test writes: what a good server never does, or does only after
//! half an hour. The black-box suite runs the user agent against the real server.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod script;
mod user_agent;
