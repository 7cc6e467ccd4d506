//! A public port over real sockets.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod http;
mod panics;
mod tls;
