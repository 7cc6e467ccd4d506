//! Loadgen against a real server.
#![expect(clippy::expect_used, reason = "a test that cannot start its programs has failed")]

mod abuse;
mod runs;
