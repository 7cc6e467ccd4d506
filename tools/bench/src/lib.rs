//! Measures whole clusters: it starts Redis, nodes and load generators on free ports, and ends them again.
//!
//! * [`settings`]: what can be chosen; [`programs`]: what is measured.
//! * [`process`], [`ports`]: child processes; [`cluster`]: those that serve; [`fleet`]: those that load.
//! * [`redis`]: what Redis says of its memory; [`machine`]: what all of it runs on.
//! * [`experiments`]: what is measured and how; [`million`]: the largest of them.
//! * [`findings`]: what was found out, as JSON and as a table; [`chart`]: drawn.
//!
//! An experiment is bounded in time, needs nothing but the programs and `redis-server`, and leaves nothing behind
//! but its findings.

pub mod chart;
pub mod cluster;
mod console;
pub mod experiments;
pub mod findings;
pub mod fleet;
pub mod machine;
pub mod million;
pub mod ports;
pub mod process;
pub mod programs;
pub mod redis;
pub mod settings;
