//! The harness of the black-box tests: clients that speak literal messages, and a stage for each test, over the
//! programs and servers of `beckon-testbed`.
//!
//! ```text
//!   stage      one test's view of a fleet: connect, register, PUT; shows the logs if the test fails
//!     ├─▶ shared     fleets that many tests share
//!     ├─▶ connected  when the programs of a fleet have found each other
//!     └─▶ requests   what application servers send
//!   site       a fleet, its store, and the links between them, all of which can fail
//!     └─▶ device     a user agent with one channel in either dialect, and who sends to it
//!   talk       a user agent that sends JSON as it is written in the test
//!   webpush    the same in the Web Push dialect, with the application server's side
//!   kept       an application server that keeps its connection
//!   host       a host of an address of its own
//!   stranger   a peer that sends anything; below it `damaging`: a network that damages it
//!   bare       a WebSocket without any help: no Pong, no Close, broken frames if wanted
//! ```
//!
//! Nothing here waits for a fixed time: what should happen is waited for, no longer than
//! [`PATIENCE`](beckon_testbed::PATIENCE).

pub mod bare;
mod connected;
pub mod damaging;
pub mod device;
pub mod host;
pub mod kept;
pub mod requests;
pub mod shared;
pub mod site;
pub mod stage;
pub mod stranger;
pub mod talk;
pub mod tls;
pub mod webpush;
