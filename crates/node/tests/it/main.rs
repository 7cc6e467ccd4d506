//! What every node is built on, as operators see it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod admin;
mod wire;
