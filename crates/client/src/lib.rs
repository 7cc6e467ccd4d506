//! The two programs that talk to a push server, as a library: for tools, tests and users.
//!
//! ```text
//!   user_agent   hello, register, acknowledge; reconnects with its UAID and channels
//!     │    └──▶ backoff    how long to wait before the next attempt
//!     ├──▶ message         SimplePush messages: typed to JSON and back
//!     └──▶ raw             one WebSocket: any frame out, the next frame in, within a time limit
//!   app_server             PUT to an endpoint over pooled connections
//!     ├──▶ webpush::post   POST to an endpoint, and cancel what was posted
//!     └──▶ vapid           how an application server shows who it is
//!   webpush::message       Web Push messages: typed to JSON and back
//!   tls                    the trust anchors of both
//! ```
//!
//! * [`user_agent::UserAgent`] is what a program uses that wants to be woken up.
//! * [`raw::RawSocket`] with [`message`] or [`webpush::message`] is what a test or a load generator uses: no task, no timer and about a
//!   kilobyte of buffer per socket.
//! * [`app_server::AppServer`] is the other end: whoever knows an endpoint can send to it.
//!
//! Nothing here spawns a task: a future that is dropped leaves nothing behind.

pub mod app_server;
pub mod backoff;
pub mod error;
pub mod message;
pub mod raw;
pub mod tls;
pub mod user_agent;
pub mod vapid;
pub mod webpush;
