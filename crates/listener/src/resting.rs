//! HTTP connections without a task: those of a process that hands over, between two requests.

use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    net::{self, IpAddr},
    sync::atomic::{AtomicBool, Ordering},
};
use tokio::sync::Notify;

/// An HTTP connection between two requests.
#[derive(Debug)]
pub struct Rested {
    /// Without TLS.
    pub tcp: net::TcpStream,
    /// From where it is, as far as that is known.
    pub address: IpAddr,
    /// Whether a request on it was answered.
    pub was_answered: bool,
    /// What was read of its next request.
    pub read: Bytes,
}

/// The connections of a port that are at rest, and those that are to be served again.
#[derive(Debug, Default)]
pub(crate) struct Resting {
    /// Whether connections come to rest. The same as `rested` being there, without its lock.
    is_open: AtomicBool,
    /// Whether it is too late to come to rest.
    is_over: AtomicBool,
    rested: Mutex<Option<Vec<Rested>>>,
    woken: Mutex<Vec<Rested>>,
    has_woken: Notify,
}

impl Resting {
    /// Whether connections should come to rest. Costs one atomic load.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// Whether another process may have the port from now on, so that each answer is the last of its connection. Costs one atomic
    /// load.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    pub(crate) fn begin(&self) {
        self.rested.lock().get_or_insert_default();
        self.is_open.store(true, Ordering::Release);
    }

    /// A connection comes to rest. It is returned if it is too late for that.
    pub(crate) fn add(&self, rested: Rested) -> Result<(), Rested> {
        match &mut *self.rested.lock() {
            Some(all) => all.push(rested),
            None => return Err(rested),
        }
        Ok(())
    }

    /// Returns those that are at rest. No more come.
    pub(crate) fn end(&self) -> Vec<Rested> {
        let mut rested = self.rested.lock();
        self.is_over.store(true, Ordering::Release);
        self.is_open.store(false, Ordering::Release);
        rested.take().unwrap_or_default()
    }

    pub(crate) fn wake(&self, rested: Vec<Rested>) {
        self.is_over.store(false, Ordering::Release);
        self.woken.lock().extend(rested);
        self.has_woken.notify_one();
    }

    /// Those that are to be served again, as soon as there are any. Cancel safe.
    pub(crate) async fn woken(&self) -> Vec<Rested> {
        self.has_woken.notified().await;
        std::mem::take(&mut *self.woken.lock())
    }
}
