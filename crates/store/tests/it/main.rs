//! The store against real servers and real files.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod redis;
