//! The parts of `ops` as a node uses them: settings from all sources, logs, signals.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod config;
mod logging;
mod reload;
mod signals;
