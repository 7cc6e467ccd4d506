//! Stopping: one request that everything hears, and a bound on every wait.
//!
//! A program has one [`Shutdown`]. Its tasks belong to [stages](crate::stage::Stage).
//!
//! * The first SIGTERM or SIGINT [requests](Shutdown::request) the stop. The program then stops its stages; each wait
//!   has a bound.
//! * The second signal [hurries](Shutdown::hurry) it: every wait ends within [`HURRIED_WAIT`], and the program within
//!   [`HURRIED_END`].
//! * A [vital](crate::stage::Stage::spawn_vital) task that ends before its stage stops also requests the stop, as a failure:
//!   [`Shutdown::result`] is exit code 70, and no wait takes longer than [`FAILED_WAIT_MAX`].

use crate::{exit::Failure, pulse::Pulse, reload::Reload};
use std::{
    future::pending,
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{signal::unix, time::sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

/// What each wait may still take after the second signal: enough for a step of a store that is well.
pub const HURRIED_WAIT: Duration = Duration::from_millis(200);

/// What a program may still take after the second signal, whatever it waits for.
pub const HURRIED_END: Duration = Duration::from_secs(1);

/// What a wait may take after a vital task has failed: a program that does not work must not drain for long.
pub const FAILED_WAIT_MAX: Duration = Duration::from_secs(10);

/// The end of a program. Clones are the same handle.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The same as `requested.is_cancelled()`, without its lock.
    is_requested: AtomicBool,
    requested: CancellationToken,
    hurried: CancellationToken,
    failed: CancellationToken,
    /// The first vital task that has failed, and how.
    failure: OnceLock<String>,
    pulse: Pulse,
}

/// The signals that stop a program, and the one at which it reads its settings again.
#[derive(Debug)]
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hang_up: unix::Signal,
}

impl Signals {
    /// Catches SIGTERM, SIGINT and SIGHUP from now on, for good. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The signal handlers could not be installed.
    pub fn catch() -> io::Result<Self> {
        let terminate = unix::signal(unix::SignalKind::terminate())?;
        let interrupt = unix::signal(unix::SignalKind::interrupt())?;
        let hang_up = unix::signal(unix::SignalKind::hangup())?;
        Ok(Self { terminate, interrupt, hang_up })
    }

    /// The next signal to stop; reloads at each SIGHUP before it.
    async fn next(&mut self, reload: &Reload) -> &'static str {
        let Self { terminate, interrupt, hang_up } = self;
        let reloads = async {
            while hang_up.recv().await.is_some() {
                // What is wrong is logged.
                let _ = reload.reload_in_background().await;
            }
            pending::<&'static str>().await
        };
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            signal = reloads => signal,
        }
    }
}

impl Shutdown {
    /// A program that was not asked to stop yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests the stop. Later calls change nothing.
    pub fn request(&self) {
        self.shared.is_requested.store(true, Ordering::Release);
        self.shared.requested.cancel();
    }

    /// Whether the stop was requested. Costs one atomic load.
    pub fn is_requested(&self) -> bool {
        self.shared.is_requested.load(Ordering::Acquire)
    }

    /// Ready as soon as the stop is requested.
    pub fn requested(&self) -> WaitForCancellationFuture<'_> {
        self.shared.requested.cancelled()
    }

    /// Ends all waits early: the operator does not want to wait.
    pub fn hurry(&self) {
        self.request();
        self.shared.hurried.cancel();
    }

    /// Reloads at each SIGHUP, requests the stop at the first other signal, and hurries it at the second. Ready
    /// [`HURRIED_END`] after the second one; a program that has not ended by then should be left.
    pub async fn obey(&self, mut signals: Signals, reload: &Reload) {
        let signal = signals.next(reload).await;
        tracing::info!(signal, "stopping");
        self.request();
        let signal = signals.next(reload).await;
        tracing::warn!(signal, "stopping at once");
        self.hurry();
        sleep(HURRIED_END).await;
        tracing::warn!("ended before everything had stopped");
    }

    /// Waits for `work`, but no longer than `bound`, and less after a second signal or a failure. `None` if the work
    /// did not end in that time; it is dropped.
    pub async fn within<T>(&self, bound: Duration, work: impl Future<Output = T>) -> Option<T> {
        let shared = &self.shared;
        tokio::select! {
            biased;
            done = work => Some(done),
            () = sleep(bound) => None,
            () = async { shared.hurried.cancelled().await; sleep(HURRIED_WAIT).await } => None,
            () = async { shared.failed.cancelled().await; sleep(FAILED_WAIT_MAX).await } => None,
        }
    }

    /// How the program should end: with exit code 70 if a vital task has failed.
    ///
    /// # Errors
    /// A vital task has failed.
    pub fn result(&self) -> Result<(), Failure> {
        match self.shared.failure.get() {
            None => Ok(()),
            Some(reason) => Err(Failure::software(reason)),
        }
    }

    /// Whether the vital tasks run.
    pub(crate) fn pulse(&self) -> &Pulse {
        &self.shared.pulse
    }

    /// A vital task has ended before its time.
    pub(crate) fn fail(&self, task: &'static str, how: &'static str) {
        tracing::error!(task, "a vital task has {how}; stopping");
        let _not_the_first = self.shared.failure.set(format!("the task `{task}` has {how}"));
        self.shared.failed.cancel();
        self.request();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    const BOUND: Duration = Duration::from_secs(60);

    /// How long a wait takes that nothing but `shutdown` ends.
    #[expect(clippy::disallowed_methods, reason = "time is paused")]
    async fn waited(shutdown: &Shutdown) -> Duration {
        let start = Instant::now();
        assert_eq!(shutdown.within(BOUND, pending::<()>()).await, None);
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_reaches_tasks_that_subscribe_later() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.is_requested());
        shutdown.request();
        shutdown.request();
        shutdown.requested().await;
        assert!(shutdown.is_requested());
        assert!(shutdown.result().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_with_its_work_or_at_its_time_limit() {
        let shutdown = Shutdown::new();
        shutdown.request();
        assert_eq!(shutdown.within(BOUND, async { 7 }).await, Some(7));
        assert_eq!(waited(&shutdown).await, BOUND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hurried_wait_is_short_but_lets_quick_work_finish() {
        let shutdown = Shutdown::new();
        shutdown.hurry();
        assert!(shutdown.is_requested());
        assert_eq!(waited(&shutdown).await, HURRIED_WAIT);
        assert_eq!(shutdown.within(BOUND, sleep(HURRIED_WAIT / 2)).await, Some(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_program_does_not_drain_for_long() {
        let shutdown = Shutdown::new();
        shutdown.fail("timers", "panicked");
        shutdown.fail("lease", "ended");
        assert!(shutdown.is_requested());
        assert_eq!(waited(&shutdown).await, FAILED_WAIT_MAX);
        let failure = shutdown.result().expect_err("it has failed");
        assert_eq!((failure.code, &*failure.message), (70, "the task `timers` has panicked"));
    }
}
