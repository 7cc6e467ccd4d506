//! A node in this process, over a real store, spoken to in bytes over real sockets.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod broadcasts;
mod compaction;
mod node;
mod routes;
mod sockets;
mod stopping;
mod webpush;
mod wire;
mod workers;
