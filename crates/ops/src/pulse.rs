//! Whether the vital tasks of a program run. A task that has ended is noticed at once ([`Stage::spawn_vital`]); one that
//! never returns to its runtime is not, and that is what the pulse is for.
//!
//! The watch asks all vital tasks together: it wakes them, and each answers when the runtime polls it next. A task that
//! waits for a client, a store or a timer answers. One that is blocked, or in an endless loop, or whose runtime has no
//! thread left for it, does not.
//!
//! [`Stage::spawn_vital`]: crate::stage::Stage::spawn_vital

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

/// The questions to the vital tasks of a program, and their answers.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// How often they were asked.
    round: watch::Sender<u64>,
    tasks: Mutex<Vec<Weak<Beat>>>,
}

/// One task.
#[derive(Debug)]
struct Beat {
    task: &'static str,
    /// The last round that it has answered.
    answered: AtomicU64,
}

impl Pulse {
    /// Does the work of a vital task, and answers for it.
    pub(crate) async fn with<T>(&self, task: &'static str, work: impl Future<Output = T>) -> T {
        let (beat, mut rounds) = self.join(task);
        let mut work = pin!(work);
        loop {
            tokio::select! {
                // The answer comes first: work that is never finished with what it could do must not delay it.
                biased;
                Ok(()) = rounds.changed() => beat.answered.store(*rounds.borrow_and_update(), Ordering::Release),
                done = &mut work => return done,
            }
        }
    }

    /// Asks four times in `timeout`, and calls `is_alive` each time that every task has answered. Never ends.
    pub(crate) async fn watch(&self, timeout: Duration, mut is_alive: impl FnMut()) {
        let mut ticks = interval(timeout / 4);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reported = false;
        loop {
            ticks.tick().await;
            if let Some(task) = self.late() {
                if !reported {
                    tracing::warn!(task, "a vital task does not run");
                }
                reported = true;
                continue;
            }
            reported = false;
            is_alive();
            self.round.send_modify(|round| *round += 1);
        }
    }

    fn join(&self, task: &'static str) -> (Arc<Beat>, watch::Receiver<u64>) {
        let mut tasks = self.tasks();
        // A new task is asked from the next round on.
        let rounds = self.round.subscribe();
        let answered = AtomicU64::new(*rounds.borrow());
        let beat = Arc::new(Beat { task, answered });
        tasks.push(Arc::downgrade(&beat));
        (beat, rounds)
    }

    /// A task that has not answered the present round.
    fn late(&self) -> Option<&'static str> {
        let round = *self.round.borrow();
        let mut late = None;
        self.tasks().retain(|task| {
            let Some(beat) = task.upgrade() else { return false };
            if beat.answered.load(Ordering::Acquire) < round {
                late = Some(beat.task);
            }
            true
        });
        late
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<Weak<Beat>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use crate::{shutdown::Shutdown, stage::Stage};
    use std::{
        future::pending,
        sync::{
            Arc,
            atomic::{AtomicBool, AtomicUsize, Ordering},
        },
        thread,
        time::Duration,
    };
    use tokio::runtime::{Builder, Runtime};

    /// Between two signs of life there is a quarter of this.
    const TIMEOUT: Duration = Duration::from_millis(40);

    /// How long the program is given for a sign of life that should not come.
    const SILENCE: Duration = Duration::from_millis(500);

    /// How often a sign of life is looked for, with a pause of [`TIMEOUT`].
    const ATTEMPTS: usize = 500;

    /// A program under watch. The test runs outside of its runtime, because all of that may stand still.
    struct Watched {
        runtime: Runtime,
        stage: Stage,
        signs: Arc<AtomicUsize>,
    }

    impl Watched {
        fn start() -> Self {
            let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let shutdown = Shutdown::new();
            let (stage, signs) = (Stage::new(&shutdown, "tested"), Arc::new(AtomicUsize::new(0)));
            let counted = signs.clone();
            runtime.spawn(async move {
                let count = || {
                    counted.fetch_add(1, Ordering::Relaxed);
                };
                shutdown.pulse().watch(TIMEOUT, count).await;
            });
            Self { runtime, stage, signs }
        }

        fn signs(&self) -> usize {
            self.signs.load(Ordering::Relaxed)
        }

        fn is_alive(&self) -> bool {
            let before = self.signs();
            (0..ATTEMPTS).any(|_| {
                thread::sleep(TIMEOUT);
                self.signs() >= before + 3
            })
        }
    }

    #[test]
    fn a_program_is_alive_while_its_vital_tasks_wait_or_work() {
        let program = Watched::start();
        let _inside = program.runtime.enter();
        program.stage.spawn_endless("waits", pending());
        program.stage.spawn_endless("never rests", async {
            loop {
                tokio::task::yield_now().await;
            }
        });
        assert!(program.is_alive());
        program.stage.spawn_finite("ends well", async {});
        program.stage.spawn_endless("late", pending());
        assert!(program.is_alive());
    }

    #[test]
    fn a_program_with_a_blocked_vital_task_gives_no_sign_of_life() {
        let program = Watched::start();
        let _inside = program.runtime.enter();
        let is_blocked = Arc::new(AtomicBool::new(false));
        let blocked = is_blocked.clone();
        program.stage.spawn_endless("well", pending());
        program.stage.spawn_endless("blocked", async move {
            loop {
                tokio::time::sleep(TIMEOUT / 4).await;
                while blocked.load(Ordering::Relaxed) {
                    thread::sleep(TIMEOUT / 4);
                }
            }
        });
        assert!(program.is_alive());
        is_blocked.store(true, Ordering::Relaxed);
        // The task may not have been polled yet, and a round may be under way.
        thread::sleep(SILENCE);
        let before = program.signs();
        thread::sleep(SILENCE);
        assert_eq!(program.signs(), before);
        is_blocked.store(false, Ordering::Relaxed);
        assert!(program.is_alive());
    }
}
