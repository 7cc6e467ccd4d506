//! The user agent against a server that says what the test writes, and nothing else: what a good server never
//! does, or only after half an hour. The black-box suite has the user agent against the real one.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod script;
mod user_agent;
