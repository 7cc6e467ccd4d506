//! The store against real servers and real files.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod embedded;
mod faulty_disk;
mod log;
mod outage;
mod random_steps;
mod redis;
mod redis_access;
mod redis_directory;
mod redis_format;
mod redis_former_primary;
mod redis_keys;
mod redis_links;
mod redis_messages;
mod redis_replicas;
mod transfer;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// A clock that tests advance. It starts in November 2023.
#[derive(Debug, Clone)]
struct SetClock(Arc<AtomicU64>);

impl SetClock {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_700_000_000)))
    }

    fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_secs(), Ordering::SeqCst);
    }

    fn go_back(&self, by: Duration) {
        self.0.fetch_sub(by.as_secs(), Ordering::SeqCst);
    }

    fn clock(&self) -> beckon_store::embedded::Clock {
        let seconds = Arc::clone(&self.0);
        Arc::new(move || Duration::from_secs(seconds.load(Ordering::SeqCst)))
    }
}

/// The operating system's clock.
fn moving_clock() -> beckon_store::embedded::Clock {
    Arc::new(|| {
        #[expect(clippy::disallowed_methods, reason = "this test is about the time that passes")]
        let now = std::time::SystemTime::now();
        now.duration_since(std::time::UNIX_EPOCH).unwrap()
    })
}

/// Options to open a store by its name.
fn open_options(data_dir: std::path::PathBuf) -> beckon_store::OpenOptions {
    beckon_store::OpenOptions {
        data_dir,
        uaid_idle: Duration::from_secs(3600),
        newcomers: beckon_store::Newcomers::default(),
        step_timeout: Duration::from_secs(3),
        redis: beckon_store::redis::Access::default(),
        fsync: true,
        keys: Vec::new(),
        uaid_key: None,
        clock: SetClock::new().clock(),
    }
}
