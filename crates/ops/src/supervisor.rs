//! What a program tells the supervisor that has started it, in the protocol of systemd (`sd_notify(3)`): that it
//! serves (`READY=1`), that it stops (`STOPPING=1`), that its vital tasks run (`WATCHDOG=1`), and which process serves after it
//! (`MAINPID=`).
//!
//! The supervisor names its socket in `NOTIFY_SOCKET`, and in `WATCHDOG_USEC` the time after which it takes a silent
//! program for dead. Without them, nothing is sent.
//!
//! A store that does not answer is no reason to be silent: a restart would drop all clients and gain nothing.

use crate::shutdown::Shutdown;
use sd_notify::NotifyState;
use std::{
    future::pending,
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether another process has taken over, which speaks for the program from then on.
static IS_SUCCEEDED: AtomicBool = AtomicBool::new(false);

/// Tells the supervisor that the program serves.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// Tells the supervisor that the process with this id has taken over (`MAINPID=`), and nothing after that.
pub fn succeeded_by(process: u32) {
    tell(NotifyState::MainPid(process));
    IS_SUCCEEDED.store(true, Ordering::Release);
}

/// Tells the supervisor about the stop and the vital tasks of a program. Never ends.
pub(crate) async fn inform(shutdown: &Shutdown) {
    let stopping = async {
        shutdown.requested().await;
        tell(NotifyState::Stopping);
    };
    let alive = async {
        match sd_notify::watchdog_enabled() {
            Some(timeout) if !timeout.is_zero() => {
                shutdown.pulse().watch(timeout, || tell(NotifyState::Watchdog)).await;
            }
            _ => pending().await,
        }
    };
    tokio::join!(stopping, alive);
}

fn tell(state: NotifyState<'_>) {
    if IS_SUCCEEDED.load(Ordering::Acquire) {
        return;
    }
    let text = state.to_string();
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(state = text, %error, "could not notify the supervisor");
    }
}
