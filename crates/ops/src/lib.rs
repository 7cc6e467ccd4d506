//! What any server needs, whatever it serves: settings, logs, metrics, shutdown. It knows nothing of push and
//! depends on nothing else in this repository.
//!
//! * [`config`]: settings from a file, the environment and flags, all errors at once.
//! * [`command_line`]: help, and commands besides starting a program.
//! * [`exit`]: how a program ends, and with which code.
//! * [`logging`]: text for people, JSON for programs; nobody waits for stderr.
//! * [`log_throttle`]: one line per cause and minute for what fails thousands of times a second.
//! * [`clock`]: the only place that reads the time.
//! * [`shutdown`]: one request to stop, and a bound on every wait. [`stage`]: an owner for every task.
//! * [`reload`]: reading the settings again while a program runs.
//! * [`supervisor`]: what a program tells systemd, and `pulse`: whether its vital tasks run.
//! * [`hand_over`]: passing open files and the right to serve to the next process; [`tenure`]: whether this one serves.
//! * [`listener`]: binding a port and accepting connections without falling over.
//! * [`metrics`]: the Prometheus registry, and the metrics of the process.
//! * [`process`]: limits and usage of this process, read from `/proc`.
//! * [`program`]: what every `main` does the same way. [`workers`]: the threads that serve.

pub mod clock;
pub mod command_line;
pub mod config;
pub mod exit;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod hand_over;
pub mod listener;
pub mod log_throttle;
mod log_writer;
pub mod logging;
pub mod metrics;
mod printable;
pub mod process;
pub mod program;
mod pulse;
pub mod reload;
mod server_config;
pub mod shutdown;
pub mod stage;
mod stdout;
pub mod supervisor;
pub mod tenure;
pub mod workers;
