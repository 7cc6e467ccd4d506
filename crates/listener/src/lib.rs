//! Public ports: who is at the other end, and what each of them may take of a node.
//!
//! ```text
//!   accept ─▶ PROXY header, if a proxy is trusted ─▶ TLS, if there are certificates ─▶ HTTP head ─▶ a request, or an upgrade
//!                                │                                                         │
//!                              Client  ◀─────────── X-Forwarded-For, if a proxy is trusted ┘
//! ```
//!
//! * [`settings`]: what an operator can set;
//! * [`source`]: a *source* is an IPv4 address or the /64 of an IPv6 address;
//! * [`trust`]: which proxies say truly from whom a connection is, and which sources are limited;
//! * [`proxy_header`], [`forwarded`]: what those proxies say;
//! * [`tls`]: certificates, and a TLS connection that holds no buffers; [`stream`]: a connection with TLS or without;
//! * [`connections`]: the connections of a port that are not upgraded, and which of them makes room for a new one;
//! * [`port`]: a port that never stops accepting, and hands each connection on with a guard;
//! * [`rate`]: how often something may happen, for each of very many keys; [`shares`]: what each source may take;
//! * [`gate`]: what is checked of every request;
//! * [`http`]: an HTTP/1.1 server behind such a port; [`body`]: reading a body within limits; `request_body`: what the server knows of
//!   it; `resting`: its connections while they are handed over to another process.
//!
//! # What holds
//!
//! A port always accepts. Beyond its limit the oldest connection goes that has not sent a request for a second, then the one
//! that has been idle longest, then the oldest without a request. A connection whose request is being answered is never closed to make room: when all are busy,
//! a few more are accepted, which get an answer to a health check and 503 to anything else.

pub mod body;
pub mod connections;
pub mod forwarded;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod gate;
pub mod http;
pub mod metrics;
pub mod port;
pub mod proxy_header;
pub mod rate;
mod request_body;
mod resting;
pub mod settings;
pub mod shares;
pub mod source;
pub mod stream;
pub mod tls;
pub mod trust;
mod watched;
