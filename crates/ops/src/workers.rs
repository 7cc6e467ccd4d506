//! The worker threads of a server.
//!
//! A *worker* is a thread with a runtime of its own. It owns what it serves: a connection stays on one worker from the
//! moment it is accepted until it is closed, so its work neither waits for another thread nor wakes one. What a program
//! has once (accepting, leases, metrics) runs on the main thread, which is not a worker and is idle most of the time.

use crate::{exit::Failure, shutdown::Shutdown, stage::Stage};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::gauge::ConstGauge,
};
use std::{
    fmt, io,
    num::NonZero,
    sync::Arc,
    thread::{self, available_parallelism},
};
use tokio::{
    net::TcpStream,
    runtime::{Builder, EnterGuard, Handle, Runtime},
};
use tokio_util::sync::CancellationToken;

/// The most workers of a program.
pub const WORKERS_MAX: u8 = u8::MAX;

/// A thread that serves. Clones are the same thread.
#[derive(Debug, Clone)]
pub struct Worker {
    index: u8,
    runtime: Handle,
}

/// The workers of a program, at least one. Clones are the same threads.
#[derive(Debug, Clone)]
pub struct Workers {
    all: Arc<[Worker]>,
}

/// The threads behind [`Workers`]. They end when this is dropped, without waiting for the tasks that are left on them.
#[derive(Debug)]
pub struct Threads {
    workers: Workers,
    ended: CancellationToken,
}

impl Worker {
    /// Which of the workers it is, from 0.
    pub fn index(&self) -> u8 {
        self.index
    }

    /// The runtime of the thread.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Until the guard is dropped, tasks that the calling thread spawns run on this worker, and sockets that it creates
    /// belong there.
    pub fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    /// Moves a socket to this worker. Nothing may have been read from it that has not been used.
    ///
    /// # Errors
    /// The runtime of the worker cannot take it, for example because the kernel is out of memory.
    pub fn adopt(&self, stream: TcpStream) -> io::Result<TcpStream> {
        let stream = stream.into_std()?;
        let _entered = self.enter();
        TcpStream::from_std(stream)
    }
}

impl Workers {
    /// One worker, the current runtime: for tests, and for listeners that need no threads of their own. Must be called
    /// inside a tokio runtime.
    #[must_use]
    pub fn current() -> Self {
        Self { all: [Worker { index: 0, runtime: Handle::current() }].into() }
    }

    /// The first worker.
    pub fn first(&self) -> &Worker {
        &self.all[0]
    }

    /// How many there are.
    pub fn count(&self) -> u8 {
        u8::try_from(self.all.len()).unwrap_or(WORKERS_MAX)
    }

    /// All of them, in the order of their indices.
    pub fn iter(&self) -> impl Iterator<Item = &Worker> {
        self.all.iter()
    }

    /// The worker with this index, counted on from the first again after the last.
    pub fn wrapping(&self, index: usize) -> &Worker {
        &self.all[index % self.all.len()]
    }

    /// The worker that has least to do: the first with the smallest load. With one that counts its connections, all have
    /// equally many, or one more.
    pub fn least_loaded(&self, load: impl Fn(&Worker) -> u64) -> &Worker {
        self.all.iter().min_by_key(|worker| load(worker)).unwrap_or_else(|| self.first())
    }
}

/// The metric `worker_tasks`.
impl Collector for Workers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Tasks on each worker thread that have not ended";
        let metric_type = ConstGauge::new(0_i64).metric_type();
        let mut family = encoder.encode_descriptor("worker_tasks", help, None, metric_type)?;
        for worker in self.iter() {
            let tasks = worker.runtime.metrics().num_alive_tasks();
            let gauge = ConstGauge::new(i64::try_from(tasks).unwrap_or(i64::MAX));
            gauge.encode(family.encode_family(&[("worker", worker.index)])?)?;
        }
        Ok(())
    }
}

impl Threads {
    /// Starts so many workers; by default one for each core that the process may use. A worker that ends by itself ends
    /// the program with exit code 70.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub fn start(count: Option<NonZero<u8>>, shutdown: &Shutdown) -> Result<Self, Failure> {
        let count = count.map_or_else(cores, NonZero::get);
        let (ended, stage) = (CancellationToken::new(), Stage::new(shutdown, "workers"));
        let start = |index| {
            let runtime = runtime().map_err(Failure::unavailable)?;
            let worker = Worker { index, runtime: runtime.handle().clone() };
            let (ended, stage) = (ended.clone(), stage.clone());
            thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || run(runtime, &stage, ended.cancelled()))
                .map_err(Failure::unavailable)?;
            Ok(worker)
        };
        let all: Result<Arc<[Worker]>, Failure> = (0..count).map(start).collect();
        Ok(Self { workers: Workers { all: all? }, ended })
    }

    /// The workers.
    pub fn workers(&self) -> &Workers {
        &self.workers
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

/// Serves on the calling thread until `ended`.
fn run(runtime: Runtime, stage: &Stage, ended: impl Future<Output = ()>) {
    let vital = stage.vital("worker");
    runtime.block_on(ended);
    vital.release();
    runtime.shutdown_background();
}

/// A runtime on one thread. All runtimes of the servers are made here.
pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// The cores that this process may use, by its affinity and its share of processor time.
fn cores() -> u8 {
    let cores = available_parallelism().map_or(1, NonZero::get);
    u8::try_from(cores).unwrap_or(WORKERS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::HashSet, time::Duration};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        sync::mpsc,
        time::timeout,
    };

    const PATIENCE: Duration = Duration::from_secs(10);

    fn threads(count: u8) -> (Shutdown, Threads) {
        let shutdown = Shutdown::new();
        let threads = Threads::start(NonZero::new(count), &shutdown).expect("threads");
        (shutdown, threads)
    }

    #[tokio::test]
    async fn each_worker_runs_what_is_spawned_on_it_on_a_thread_of_its_own() {
        let (_, threads) = threads(3);
        let stage = Stage::new(&Shutdown::new(), "tested");
        let (names, mut all) = mpsc::channel(6);
        for worker in threads.workers().iter().chain(threads.workers().iter()) {
            let names = names.clone();
            let _entered = worker.enter();
            stage.spawn(async move { names.send(thread::current().name().map(str::to_owned)).await });
        }
        drop(names);
        let mut seen = HashSet::new();
        while let Some(name) = timeout(PATIENCE, all.recv()).await.expect("in time") {
            seen.insert(name);
        }
        let expected = ["worker-0", "worker-1", "worker-2"].map(|name| Some(name.to_owned()));
        assert_eq!(seen, HashSet::from(expected));
    }

    #[tokio::test]
    async fn a_socket_lives_on_the_worker_that_adopts_it() {
        let (_, threads) = threads(1);
        let stage = Stage::new(&Shutdown::new(), "tested");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let connecting = TcpStream::connect(listener.local_addr().expect("an address"));
        let (client, accepted) = tokio::join!(connecting, listener.accept());
        let worker = threads.workers().first();
        let mut socket = worker.adopt(accepted.expect("accepted").0).expect("adopted");
        let echo = {
            let _entered = worker.enter();
            stage.spawn(async move {
                let mut word = [0; 4];
                socket.read_exact(&mut word).await?;
                socket.write_all(&word).await
            })
        };
        let mut client = client.expect("connected");
        let mut word = [0; 4];
        client.write_all(b"word").await.expect("written");
        timeout(PATIENCE, client.read_exact(&mut word)).await.expect("in time").expect("read");
        assert_eq!(&word, b"word");
        echo.await.expect("no panic").expect("no error");
    }

    #[test]
    fn connections_are_spread_evenly() {
        let (_, threads) = threads(4);
        let mut loads = [0_u64, 5, 0, 0];
        for _ in 0..15_000 - 5 {
            let worker = threads.workers().least_loaded(|worker| loads[usize::from(worker.index())]);
            loads[usize::from(worker.index())] += 1;
        }
        assert_eq!(loads, [3_750; 4]);
    }

    #[tokio::test]
    async fn a_worker_that_panics_ends_the_program() {
        let shutdown = Shutdown::new();
        let stage = Stage::new(&shutdown, "workers");
        let thread = thread::spawn(move || {
            run(runtime().expect("a runtime"), &stage, async { panic!("on purpose") });
        });
        assert!(thread.join().is_err());
        timeout(PATIENCE, shutdown.requested()).await.expect("the program stops");
        let failure = shutdown.result().expect_err("it has failed");
        assert_eq!(
            (failure.code, failure.message.ends_with("worker` has panicked")),
            (70, true),
            "{failure}"
        );
    }

    #[test]
    fn workers_end_with_their_threads_and_not_as_a_failure() {
        let (shutdown, threads) = threads(2);
        drop(threads);
        thread::sleep(Duration::from_millis(50));
        assert!(!shutdown.is_requested());
    }
}
