//! A load generator for push servers: it connects many clients, sends notifications to them through their
//! endpoints, and reports what that took and what arrived.
//!
//! * [`settings`]: what a run is made of.
//! * [`load`]: the run, one thread around one queue of events.
//! * [`clients`]: the user agents; [`senders`]: the application servers.
//! * [`dialect`]: what both say; [`frame`], [`http`]: how it is written; [`vapid`]: who says it.
//! * [`route`]: where to connect to, and from where; [`schedule`]: when, and whose turn it is; [`timer`]: to the
//!   microsecond.
//! * [`ledger`]: what became of each notification; [`stats`]: what was counted; [`book`]: both.
//! * [`measure`]: memory and CPU of the servers; [`cost`]: what that makes per client and notification.
//! * [`merge`]: one report of several processes.
//! * [`abuse`]: another kind of run: what one host can do to the others.
//! * [`report`], [`plot`], [`console`]: what people get to see.
//!
//! In an open loop, notifications are due at fixed times, and every latency is counted from that time: a server
//! that stalls does not get a lighter load, nor a better figure, for it.

pub mod abuse;
pub mod book;
mod client;
pub mod clients;
pub mod console;
pub mod cost;
pub mod dialect;
pub mod frame;
pub mod http;
pub mod ledger;
pub mod load;
pub mod measure;
pub mod merge;
pub mod plot;
pub mod report;
pub mod route;
pub mod schedule;
pub mod senders;
pub mod settings;
mod sockets;
pub mod stats;
pub mod timer;
pub mod vapid;
