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
//! ```
//!
//! [`RedisCluster::start`] makes a Redis Cluster of masters. A server starts in about 50 ms, a cluster in a few
//! seconds. The servers end when the handle is dropped.

mod cluster;
mod server;

pub use self::{
    cluster::RedisCluster,
    server::{Options, RedisServer},
};
