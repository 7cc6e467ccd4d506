//! Measures whole clusters: it starts Redis, nodes and load generators on free ports, and ends them again.
//!
//! * [`settings`]: what can be chosen.
//! * [`balancer`]: HAProxy, nginx and Caddy with the configurations of `deploy`.
//! * [`cluster`]: the processes that serve; [`load`]: those that load.
//! * [`machine`]: what all of it runs on.
//! * [`experiments`]: what is measured, and how.
//! * [`mod@unit`]: what costs are compared with.
//! * [`findings`]: the results, as JSON and as a table; [`chart`]: drawn.
//!
//! An experiment is bounded in time, needs nothing but the programs and `redis-server`, and leaves nothing behind
//! but its findings.

pub mod balancer;
pub mod chart;
pub mod cluster;
mod console;
pub mod experiments;
pub mod findings;
pub mod load;
pub mod machine;
pub mod settings;
pub mod unit;
