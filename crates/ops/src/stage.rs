//! The owners of tasks. A program divides its tasks into stages, which stop one after another: first what takes work
//! in, last what operators watch the drain with.

use crate::shutdown::Shutdown;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::task::JoinHandle;
use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFuture},
    task::TaskTracker,
};

/// The owner of some of a program's tasks. Clones are the same stage. It can be used from any runtime.
#[derive(Debug, Clone)]
pub struct Stage {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    shutdown: Shutdown,
    name: &'static str,
    /// The same as `stopping.is_cancelled()`, without its lock: connections ask this at every wake-up.
    is_stopping: AtomicBool,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

/// How the wait for the tasks of a stage has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Every task has ended.
    Complete,
    /// The wait has ended before the tasks.
    CutShort {
        /// How many tasks were left. They go on until the runtime is dropped.
        tasks: usize,
    },
}

impl Stage {
    /// A stage of a program without tasks. `name` is for the log.
    #[must_use]
    pub fn new(shutdown: &Shutdown, name: &'static str) -> Self {
        let shared = Shared {
            shutdown: shutdown.clone(),
            name,
            is_stopping: AtomicBool::new(false),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The program that this stage is part of.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shared.shutdown
    }

    /// Whether the stage was asked to stop. Costs one atomic load.
    pub fn is_stopping(&self) -> bool {
        self.shared.is_stopping.load(Ordering::Acquire)
    }

    /// Ready as soon as the stage is asked to stop. Cheap enough for one in every connection: it allocates nothing.
    pub fn stopping(&self) -> WaitForCancellationFuture<'_> {
        self.shared.stopping.cancelled()
    }

    /// Runs work until it ends or the stage is asked to stop; `None` if that comes first. The work is dropped then.
    pub async fn run_until_stopping<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.shared.stopping.run_until_cancelled(work).await
    }

    /// Starts a task that [`Stage::stop`] waits for. It should end soon after [`Stage::stopping`].
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.shared.tasks.spawn(task)
    }

    /// Starts a task without which the program does not work: one that returns or panics before the stage is asked
    /// to stop is logged with its name and ends the program with exit code 70 ([`Shutdown::result`]). While one does
    /// not run, the program gives its supervisor no sign of life.
    pub fn spawn_vital<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stage, vital) = (self.clone(), self.vital(name));
        self.spawn(async move {
            let _vital = vital;
            stage.shutdown().pulse().with(name, task).await;
        });
    }

    /// As [`Stage::spawn_vital`], for work that may also end well: only a panic ends the program.
    pub fn spawn_finite<F>(&self, name: &'static str, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stage, vital) = (self.clone(), self.vital(name));
        self.spawn(async move {
            stage.shutdown().pulse().with(name, work).await;
            vital.release();
        });
    }

    /// As [`Stage::spawn_vital`], for work that never ends by itself: it is dropped when the stage is asked to stop.
    pub fn spawn_endless<F>(&self, name: &'static str, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stage = self.clone();
        self.spawn_vital(name, async move {
            stage.run_until_stopping(work).await;
        });
    }

    pub(crate) fn vital(&self, name: &'static str) -> Vital {
        Vital { name, stage: self.clone(), is_over: false }
    }

    /// How many tasks are at work.
    pub fn tasks(&self) -> usize {
        self.shared.tasks.len()
    }

    /// Asks the tasks to stop, and waits until all have ended, but no longer than `bound`, and less after a second
    /// signal or a failure ([`Shutdown::within`]).
    pub async fn stop(&self, bound: Duration) -> Stopped {
        let Shared { shutdown, name, is_stopping, stopping, tasks } = &*self.shared;
        is_stopping.store(true, Ordering::Release);
        stopping.cancel();
        tasks.close();
        if shutdown.within(bound, tasks.wait()).await.is_some() {
            tracing::debug!(stage = name, "stopped");
            return Stopped::Complete;
        }
        let tasks = tasks.len();
        tracing::warn!(stage = name, tasks, "stopped before all tasks had ended");
        Stopped::CutShort { tasks }
    }
}

/// Guards something without which the program does not work. Dropped before its stage is asked to stop, also by a
/// panic, it ends the program with exit code 70.
#[derive(Debug)]
pub(crate) struct Vital {
    name: &'static str,
    stage: Stage,
    is_over: bool,
}

impl Vital {
    /// What was guarded has ended well.
    pub(crate) fn release(mut self) {
        self.is_over = true;
    }
}

impl Drop for Vital {
    fn drop(&mut self) {
        if !self.is_over && !self.stage.is_stopping() {
            let how = if thread::panicking() { "panicked" } else { "ended" };
            self.stage.shutdown().fail(self.name, how);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Failure;

    const BOUND: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_stop_asks_and_waits_for_tasks() {
        let (shutdown, stage) = stage();
        let handle = stage.clone();
        let task = stage.spawn(async move {
            handle.stopping().await;
            assert!(handle.is_stopping());
            tokio::time::sleep(Duration::from_secs(3)).await;
            7
        });
        shutdown.request();
        assert!(!stage.is_stopping(), "stages stop one after another");
        assert_eq!(stage.tasks(), 1);
        assert_eq!(stage.stop(BOUND).await, Stopped::Complete);
        assert_eq!(task.await.ok(), Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_at_its_time_limit() {
        let (_, stage) = stage();
        let task = stage.spawn(std::future::pending::<()>());
        assert_eq!(stage.run_until_stopping(async { 7 }).await, Some(7));
        assert_eq!(stage.stop(BOUND).await, Stopped::CutShort { tasks: 1 });
        assert_eq!(stage.run_until_stopping(std::future::pending::<()>()).await, None);
        task.abort();
    }

    #[tokio::test]
    async fn a_vital_task_that_panics_ends_the_program() {
        check(
            |stage| stage.spawn_vital("timers", async { panic!("on purpose") }),
            Some("timers` has panicked"),
        )
        .await;
    }

    #[tokio::test]
    async fn a_vital_task_that_returns_ends_the_program() {
        check(|stage| stage.spawn_vital("timers", async {}), Some("timers` has ended")).await;
    }

    #[tokio::test]
    async fn a_vital_thread_that_panics_ends_the_program() {
        let start = |stage: &Stage| {
            let vital = stage.vital("writer");
            let thread = thread::spawn(move || {
                let _vital = vital;
                panic!("on purpose");
            });
            assert!(thread.join().is_err());
        };
        check(start, Some("writer` has panicked")).await;
    }

    #[tokio::test]
    async fn a_vital_task_may_end_when_its_stage_stops_or_it_is_released() {
        let start = |stage: &Stage| {
            let (handle, vital) = (stage.clone(), stage.vital("link"));
            stage.spawn_vital("lease", async move { handle.stopping().await });
            stage.spawn_endless("timers", std::future::pending());
            stage.spawn(async move { vital.release() });
        };
        check(start, None).await;
    }

    fn stage() -> (Shutdown, Stage) {
        let shutdown = Shutdown::new();
        let stage = Stage::new(&shutdown, "tested");
        (shutdown, stage)
    }

    /// Lets the tasks of a stage run, stops it, and compares how the program ends.
    async fn check(start: impl FnOnce(&Stage), reason: Option<&str>) {
        let (shutdown, stage) = stage();
        start(&stage);
        if reason.is_some() {
            tokio::time::timeout(BOUND, shutdown.requested()).await.expect("the program stops");
        } else {
            tokio::task::yield_now().await;
            assert!(!shutdown.is_requested());
        }
        assert_eq!(stage.stop(BOUND).await, Stopped::Complete);
        match (shutdown.result(), reason) {
            (Ok(()), None) => {}
            (Err(Failure { code: 70, message }), Some(reason)) => {
                assert!(message.ends_with(reason), "{message}");
            }
            (result, _) => panic!("{result:?} instead of {reason:?}"),
        }
    }
}
