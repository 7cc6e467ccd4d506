//! What tests and benchmarks run: the real programs, real Redis servers, and networks that fail.
//!
//! ```text
//!   fleet        the running servers of one deployment: one standalone server, or nodes around a Redis
//!     ├─▶ plan       which programs with which settings, before they run
//!     ├─▶ node       one program: start, SIGTERM, kill -9, start again
//!     └─▶ programs   the programs of this repository, built once
//!   redis        Redis servers, and what can happen to them
//!   forwarder    a TCP connection that can be cut, stalled, slowed down or pointed elsewhere
//!     └─▶ process, ports, folder, certificates
//! ```
//!
//! Everything runs on 127.0.0.0/8, ends when its handle is dropped, and cannot outlive the process that started it.
//! The functions block until what they promise has happened, and panic with what to do if it does not: they are for
//! tests, and for tools that people run by hand. Nothing waits for a fixed time: what should happen is waited for, no
//! longer than [`PATIENCE`].

use std::{
    thread,
    time::{Duration, Instant},
};

pub mod certificates;
pub mod fleet;
pub mod folder;
pub mod forwarder;
pub mod node;
pub mod plan;
pub mod ports;
pub mod process;
pub mod programs;
pub mod redis;

/// How long anything that should happen may take. Generous, because the machine may be busy; nothing passes or
/// fails because of how long it took.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The pause between two attempts at something that cannot be waited for in another way.
pub const POLL: Duration = Duration::from_millis(20);

/// Repeats `attempt` until it returns something, and blocks the thread meanwhile.
///
/// # Panics
/// If it returns nothing within [`PATIENCE`], naming `what`.
pub fn wait_until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    for _ in 0..PATIENCE.as_millis() / POLL.as_millis() {
        if let Some(found) = attempt() {
            return found;
        }
        thread::sleep(POLL);
    }
    panic!("{what}: not within {PATIENCE:?}");
}

/// The time by which a test measures what programs do.
#[expect(clippy::disallowed_methods, reason = "what a test measures is real time")]
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// [`wait_until`] for asynchronous attempts.
///
/// # Panics
/// If the attempts return nothing within [`PATIENCE`], naming `what`.
pub async fn until<T>(what: &str, attempt: impl AsyncFnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, attempt).await
}

/// [`until`] with another limit than [`PATIENCE`].
///
/// # Panics
/// If the attempts return nothing within `limit`, naming `what`.
pub async fn until_within<T>(limit: Duration, what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let search = async {
        loop {
            if let Some(found) = attempt().await {
                return found;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    match tokio::time::timeout(limit, search).await {
        Ok(found) => found,
        Err(_) => panic!("{what}: not within {limit:?}"),
    }
}
