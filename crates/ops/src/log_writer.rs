//! Stderr as a program can rely on it: whoever logs does not wait for whoever reads. What is not taken in time waits in
//! memory, up to a limit; what is beyond it is dropped and counted.

use std::{
    io::{self, Write},
    mem,
    sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};

/// Bytes that wait while stderr is blocked. As much again may be in the middle of being written.
const WAITING_MAX: usize = 1024 * 1024;

/// The writer of this process, once there is a log.
static STDERR: OnceLock<LogWriter> = OnceLock::new();

/// Writes lines on a thread of its own.
#[derive(Debug, Default)]
pub(crate) struct LogWriter {
    queue: Mutex<Queue>,
    /// Something has arrived.
    arrived: Condvar,
    /// Everything has been written.
    idle: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<u8>,
    is_writing: bool,
    /// Lines that were dropped since the start.
    dropped: u64,
}

/// Stderr. The first call starts the thread that writes to it.
///
/// # Errors
/// The thread cannot be started.
pub(crate) fn start() -> io::Result<&'static LogWriter> {
    if let Some(writer) = STDERR.get() {
        return Ok(writer);
    }
    let writer = STDERR.get_or_init(LogWriter::default);
    thread::Builder::new().name("log".to_owned()).spawn(|| writer.run(io::stderr()))?;
    Ok(writer)
}

/// How many lines were dropped because stderr was blocked.
pub(crate) fn dropped() -> u64 {
    STDERR.get().map_or(0, |writer| writer.lock().dropped)
}

/// How long the end of a program waits for stderr to take what was logged.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// Waits until stderr has taken everything, but no longer than a second. What is left is lost when the process ends.
pub(crate) fn flush() {
    if let Some(writer) = STDERR.get() {
        let is_busy = |queue: &mut Queue| queue.is_writing || !queue.waiting.is_empty();
        let waited = writer.idle.wait_timeout_while(writer.lock(), FLUSH_LIMIT, is_busy);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// Writes a line to stderr, after what was logged.
pub(crate) fn line(text: &str) -> bool {
    let Some(writer) = STDERR.get() else { return false };
    writer.push(format!("{text}\n").as_bytes());
    true
}

impl LogWriter {
    /// What is kept is valid after each statement, so a panic elsewhere does not make it unusable.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut queue = self.lock();
        if queue.waiting.len() + line.len() > WAITING_MAX {
            queue.dropped += 1;
            return;
        }
        queue.waiting.extend_from_slice(line);
        drop(queue);
        self.arrived.notify_one();
    }

    /// Writes what arrives. Never returns.
    fn run(&self, mut to: impl Write) {
        let mut reported = 0;
        loop {
            let is_idle = |queue: &mut Queue| queue.waiting.is_empty();
            let mut queue =
                self.arrived.wait_while(self.lock(), is_idle).unwrap_or_else(PoisonError::into_inner);
            let lines = mem::take(&mut queue.waiting);
            queue.is_writing = true;
            drop(queue);
            let is_lost = to.write_all(&lines).and_then(|()| to.flush()).is_err();
            let mut queue = self.lock();
            queue.is_writing = false;
            if is_lost {
                queue.dropped += lines.iter().filter(|byte| **byte == b'\n').count() as u64;
            }
            let dropped = queue.dropped;
            if queue.waiting.is_empty() {
                self.idle.notify_all();
            }
            drop(queue);
            // Not about a stderr that is closed: that line would be lost as well.
            if dropped > reported && !is_lost {
                tracing::warn!(
                    lines = dropped - reported,
                    "log lines were dropped, because stderr was blocked"
                );
                reported = dropped;
            }
        }
    }
}

/// Takes each event whole: the formatting layer writes it at once.
impl Write for &LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Takes a chunk whenever the test allows it.
    struct Blocked {
        taken: mpsc::SyncSender<usize>,
    }

    impl Write for Blocked {
        fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
            self.taken.send(chunk.len()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(chunk.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_beyond_the_limit_is_dropped_and_counted() {
        let (taken, takes) = mpsc::sync_channel(0);
        let writer: &'static LogWriter = Box::leak(Box::default());
        thread::spawn(move || writer.run(Blocked { taken }));
        let line = [b'x'; 1024];
        for _ in 0..3 * WAITING_MAX / line.len() {
            writer.push(&line);
        }
        let dropped = writer.lock().dropped;
        assert!((1000..=2048).contains(&dropped), "{dropped}");
        let mut written = 0;
        while written < 3 * WAITING_MAX - dropped as usize * line.len() {
            written += takes.recv().unwrap();
        }
        writer.push(&line);
        assert_eq!(takes.recv().unwrap(), line.len());
    }
}
