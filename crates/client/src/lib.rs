//! A user agent and an application server in Rust. Internal: the tools, the tests and the program `beckon` of this
//! workspace use it, and it is not published.
//!
//! ```text
//!   user_agent   hello, register, acknowledge; reconnects with its UAID and channels
//!     │    └──▶ backoff    how long to wait before the next attempt
//!     ├──▶ message         SimplePush messages: typed to JSON and back
//!     ├──▶ keep_alive      a WebSocket that is pinged while it is quiet
//!     └──▶ raw             one WebSocket: any frame out, the next frame in, within a time limit
//!   app_server             PUT to an endpoint over pooled connections
//!     ├──▶ webpush::post   POST to an endpoint, and cancel what was posted
//!     └──▶ vapid           the signature by which an application server identifies itself
//!   webpush::message       Web Push messages: typed to JSON and back
//!   webpush::device        a device with one channel: reconnects with its UAID, decrypts and acknowledges
//!   webpush::encryption    what a message says, readable to its device only
//!   tls                    the trust anchors of both
//! ```
//!
//! * [`user_agent::UserAgent`] is for programs that want to receive notifications.
//! * [`raw::RawSocket`] with [`message`] or [`webpush::message`] is for tests and load generators: it has no timer, and
//!   about a kilobyte of buffer per socket. Identifiers are text there, in any spelling.
//! * [`app_server::AppServer`] is the other end: it sends to anyone whose endpoint it knows.
//!
//! The user agent and the socket spawn no tasks: dropping one of their futures leaves nothing behind. The application
//! server does: hyper runs each pooled connection, and the timer that closes idle ones, in a task of its own. They end when
//! the last clone of the application server is dropped and its requests are done.

pub mod app_server;
pub mod backoff;
pub mod error;
mod keep_alive;
pub mod message;
pub mod p256_keys;
pub mod raw;
pub mod tls;
pub mod user_agent;
pub mod vapid;
pub mod webpush;
