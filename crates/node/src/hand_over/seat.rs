//! What both processes of a hand-over use.

use beckon_ops::{
    exit::Failure,
    hand_over::{Lock, Place},
    listener::Listener,
};
use std::{os::fd::OwnedFd, time::Duration};
use tokio::time::{sleep, timeout};

/// How often it is checked whether something has come to rest.
const CHECK_INTERVAL: Duration = Duration::from_millis(2);

/// The listening sockets of a program, by their names in a hand-over.
pub type PortFiles = Vec<(&'static str, OwnedFd)>;

/// What a process needs to hand over: where, and the right to.
#[derive(Debug)]
pub struct Seat {
    /// Where the next process asks.
    pub place: Place,
    /// Says that this process serves.
    pub lock: Lock,
}

/// The same ports, to hand them over.
///
/// # Errors
/// The process has too many files open.
pub fn port_files<const N: usize>(ports: [(&'static str, &Listener); N]) -> Result<PortFiles, Failure> {
    let files = ports.into_iter().map(|(name, listener)| Ok((name, listener.socket()?)));
    files.collect::<std::io::Result<_>>().map_err(Failure::unavailable)
}

/// Waits until something is so, or the time is over.
pub async fn until(limit: Duration, is_so: impl Fn() -> bool) {
    let reached = async {
        while !is_so() {
            sleep(CHECK_INTERVAL).await;
        }
    };
    let _ = timeout(limit, reached).await;
}

/// A step of a hand-over. The tests of a debug build name one at which the process stops itself, so that either process can be
/// killed there.
pub(super) fn step(name: &str) {
    beckon_ops::process::stop_at(name);
}
