//! Syncs a file now and then, so that batches need not wait for the disk.

use super::disk::DiskFile;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError, SyncSender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// The time between two syncs.
const INTERVAL: Duration = Duration::from_secs(1);

/// A thread that syncs a file. Ends when this is dropped.
#[derive(Debug)]
pub(super) struct BackgroundSync {
    shared: Arc<Shared>,
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Whether something was written since the last sync.
    is_dirty: AtomicBool,
    /// Whether a sync has failed.
    has_failed: AtomicBool,
}

impl BackgroundSync {
    /// Starts the thread.
    pub(super) fn start(file: Arc<dyn DiskFile>) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = mpsc::sync_channel::<()>(0);
        let state = shared.clone();
        let work = move || {
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if state.is_dirty.swap(false, Ordering::AcqRel) && file.sync().is_err() {
                    state.has_failed.store(true, Ordering::Release);
                }
            }
        };
        let thread = thread::Builder::new().name("store-sync".into()).spawn(work)?;
        Ok(Self { shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Notes that something was written, which will be synced within [`INTERVAL`].
    ///
    /// # Errors
    /// An earlier sync has failed.
    pub(super) fn has_written(&self) -> io::Result<()> {
        if self.shared.has_failed.load(Ordering::Acquire) {
            return Err(io::Error::other("what was written could not be synced"));
        }
        self.shared.is_dirty.store(true, Ordering::Release);
        Ok(())
    }
}

impl Drop for BackgroundSync {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
