//! Stopping: one request that everybody hears, one owner of all tasks, and a bounded wait for them.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{signal::unix, task::JoinHandle};
use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFuture},
    task::TaskTracker,
};

/// A handle on the end of a program (or a part of one). Clones are the same handle.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The same as `requested.is_cancelled()`, without its lock: connections ask this at every wake-up.
    is_requested: AtomicBool,
    requested: CancellationToken,
    /// A second signal: the operator doesn't want to wait.
    hurried: CancellationToken,
    tasks: TaskTracker,
    /// Ends the task that listens to signals.
    drained: CancellationToken,
    signals: TaskTracker,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every task ended.
    Complete,
    /// The time was up, or a second signal came, while tasks were still at work.
    CutShort {
        /// How many tasks were left.
        tasks: usize,
    },
}

impl Shutdown {
    /// A handle of which nobody has asked anything yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everybody to stop. Later calls change nothing.
    pub fn trigger(&self) {
        self.shared.is_requested.store(true, Ordering::Release);
        self.shared.requested.cancel();
    }

    /// Whether stopping was asked for. Costs one atomic load.
    pub fn is_requested(&self) -> bool {
        self.shared.is_requested.load(Ordering::Acquire)
    }

    /// Ready as soon as stopping was asked for. Cheap enough for one in every connection: it allocates nothing.
    pub fn requested(&self) -> WaitForCancellationFuture<'_> {
        self.shared.requested.cancelled()
    }

    /// Asks for the stop at SIGTERM and SIGINT; a second signal cuts the drain short.
    ///
    /// # Errors
    /// The signal handlers could not be installed.
    pub fn on_signal(&self) -> io::Result<()> {
        let mut terminate = unix::signal(unix::SignalKind::terminate())?;
        let mut interrupt = unix::signal(unix::SignalKind::interrupt())?;
        let shutdown = self.clone();
        self.shared.signals.spawn(async move {
            loop {
                let signal = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                    () = shutdown.shared.drained.cancelled() => return,
                };
                if shutdown.is_requested() {
                    tracing::warn!(signal, "second request to stop, not waiting any longer");
                    shutdown.shared.hurried.cancel();
                    return;
                }
                tracing::info!(signal, "stopping");
                shutdown.trigger();
            }
        });
        Ok(())
    }

    /// Starts a task that [`Shutdown::drain`] waits for. It should end soon after [`Shutdown::requested`].
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.shared.tasks.spawn(task)
    }

    /// How many tasks of [`Shutdown::spawn`] are at work.
    pub fn tasks(&self) -> usize {
        self.shared.tasks.len()
    }

    /// Asks everybody to stop and waits until all tasks have ended, at most `bound` and at most until a second
    /// signal. Tasks that are left go on until the runtime is dropped.
    pub async fn drain(&self, bound: Duration) -> Drained {
        let shared = &self.shared;
        self.trigger();
        shared.tasks.close();
        tokio::select! {
            () = shared.tasks.wait() => {}
            () = shared.hurried.cancelled() => {}
            () = tokio::time::sleep(bound) => {}
        }
        shared.drained.cancel();
        shared.signals.close();
        shared.signals.wait().await;
        match shared.tasks.len() {
            0 => Drained::Complete,
            tasks => Drained::CutShort { tasks },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Drained, Shutdown};
    use std::time::Duration;

    const BOUND: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_drain_asks_and_waits_for_tasks() {
        let shutdown = Shutdown::new();
        let handle = shutdown.clone();
        let task = shutdown.spawn(async move {
            handle.requested().await;
            assert!(handle.is_requested());
            tokio::time::sleep(Duration::from_secs(3)).await;
            7
        });
        assert!(!shutdown.is_requested());
        assert_eq!(shutdown.tasks(), 1);
        assert_eq!(shutdown.drain(BOUND).await, Drained::Complete);
        assert_eq!(task.await.ok(), Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_at_its_bound() {
        let shutdown = Shutdown::new();
        let task = shutdown.spawn(std::future::pending::<()>());
        assert_eq!(shutdown.drain(BOUND).await, Drained::CutShort { tasks: 1 });
        task.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_reaches_those_who_ask_later() {
        let shutdown = Shutdown::new();
        shutdown.trigger();
        shutdown.trigger();
        shutdown.requested().await;
        assert_eq!(shutdown.drain(BOUND).await, Drained::Complete);
    }
}
