//! Real Redis servers on 127.0.0.1, each with a folder of its own.
//!
//! ```no_run
//! use beckon_testbed::redis::RedisServer;
//!
//! let mut redis = RedisServer::start();
//! let url = redis.url();      // redis://127.0.0.1:port
//! redis.pause();              // it keeps its sockets and answers nothing
//! redis.resume();
//! redis.kill();               // SIGKILL
//! redis.restart();            // same port, same files
//! let replica = redis.start_replica();
//! let snapshot = redis.snapshot();
//! redis.restore(&snapshot);   // it knows what it knew then
//! redis.fill_up();            // no memory left for anything new
//! redis.make_room();
//! ```
//!
//! [`RedisCluster`] is a Redis Cluster with or without replicas, [`RedisSentinel`] a primary with replicas and Sentinels.
//! Both can be reached over [`Links`]: forwarders to each of their servers, and a [`Watch`] tells when they choose other primaries. A server starts in about 50 ms, a cluster in
//! a few seconds. The servers end when the handle is dropped.

mod clock;
mod cluster;
mod deployment;
mod faults;
mod links;
mod sentinel;
mod server;
mod watch;

pub use self::{
    cluster::{ClusterOptions, RedisCluster},
    deployment::{Deployment, Topology},
    faults::Snapshot,
    links::Links,
    sentinel::RedisSentinel,
    server::{Options, RedisServer},
    watch::{Takeover, Watch},
};
