//! What the cluster remembers: clients, their channels, what is pending on them, where they are connected, and which
//! connection-nodes are alive.
//!
//! One trait, two implementations, one suite that both pass (`beckon-store-conformance`):
//!
//! * [`redis`]: a single server or a Redis Cluster, for many nodes;
//! * [`embedded`]: redb in this process, for one node;
//! * [`open()`]: either of them, from the setting `BECKON_STORE`.
//!
//! Every method of [`Store`] is one atomic step and costs its caller one round trip. Each sentence of its
//! documentation is a case of the suite.

#[cfg(all(feature = "next-format", not(debug_assertions)))]
compile_error!("the feature next-format is for tests only");

mod codec;
mod directory;
pub mod embedded;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod newcomers;
mod open;
pub mod redis;
mod store;

pub use directory::{ANNOUNCE_INTERVAL, Announced, LEASE, MISSED_LIFETIME, MISSED_MAX, Missed, NodeEntry};
pub use error::{Cause, StoreError};
pub use newcomers::Newcomers;
pub use open::{EMBEDDED, OpenError, OpenOptions, open, open_embedded};
pub use store::{Answer, Disturbances, Store};
