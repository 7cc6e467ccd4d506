//! The harness of the black-box tests: a stage for each test, over the programs and servers of `beckon-testbed`. Its
//! clients, which speak literal messages, are those of `beckon-conformance`.
//!
//! ```text
//!   stage      one test's view of a fleet: a server of `beckon-conformance`; shows the logs if the test fails
//!     ├─▶ shared     fleets that many tests share
//!     ├─▶ connected  when the programs of a fleet have found each other
//!     ├─▶ contract   the JSON Schemas of docs/api, which every message of a server has to match
//!     └─▶ requests   what application servers send
//!   site       a fleet, its store, and the links between them, all of which can fail
//!     └─▶ device     a user agent with one channel in either dialect, and who sends to it
//!   kept       an application server that keeps its connection
//!   host       a host of an address of its own
//!   stranger   a peer that sends anything; below it `damaging`: a network that damages it
//! ```
//!
//! Nothing here waits for a fixed time: what should happen is waited for, no longer than
//! [`PATIENCE`](beckon_testbed::PATIENCE).

mod connected;
pub mod contract;
pub mod damaging;
pub mod device;
pub mod host;
pub mod kept;
pub mod requests;
pub mod shared;
pub mod site;
pub mod stage;
pub mod stranger;
pub mod tls;

pub use beckon_conformance::{bare, talk, webpush};
