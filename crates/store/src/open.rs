//! Opening the store that an operator names. An error says who can fix it.

use crate::{
    Newcomers, Store,
    embedded::{self, Clock, EmbeddedStore, OsDisk},
    redis::{self, ConnectError},
};
use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

/// The name of the store in this process, in place of a URL.
pub const EMBEDDED: &str = "embedded";

/// The time between attempts to open a store that is not available yet.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// What opening a store depends on, besides its name.
#[derive(Clone)]
pub struct OpenOptions {
    /// The data directory of the embedded store.
    pub data_dir: PathBuf,
    /// The record of a client that was not seen for so long expires.
    pub uaid_idle: Duration,
    /// Those that never came back.
    pub newcomers: Newcomers,
    /// A step that takes longer fails with [`crate::StoreError::Unavailable`].
    pub step_timeout: Duration,
    /// The fingerprint of the key that makes client ids, which the store has to know; `None` in a process without the key.
    pub uaid_key: Option<u64>,
    /// Redis: how it is reached.
    pub redis: redis::Access,
    /// Embedded: whether what was accepted also survives a power failure.
    pub fsync: bool,
    /// Embedded: the fingerprints of the token keys, one of which the database has to know.
    pub keys: Vec<u64>,
    /// Embedded: returns the time since the Unix epoch.
    pub clock: Clock,
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            data_dir,
            uaid_idle,
            newcomers,
            step_timeout,
            redis,
            fsync,
            keys: _,
            uaid_key: _,
            clock: _,
        } = self;
        f.debug_struct("OpenOptions")
            .field("data_dir", data_dir)
            .field("uaid_idle", uaid_idle)
            .field("newcomers", newcomers)
            .field("step_timeout", step_timeout)
            .field("redis", redis)
            .field("fsync", fsync)
            .finish_non_exhaustive()
    }
}

/// The store could not be opened. The text never contains a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// What the operator asked for cannot work (exit code 64).
    #[error("{0}")]
    Configuration(String),
    /// The store is not available now; trying again can help (exit code 69).
    #[error("{0}")]
    Unavailable(String),
}

/// Opens `embedded` or the Redis that a URL names ([`redis::connect`]). With `wait` it tries again until the store is
/// available; otherwise there is one attempt.
///
/// # Errors
///
/// [`OpenError::Configuration`] if no further attempt can succeed, and without `wait` [`OpenError::Unavailable`] too.
pub async fn open(name: &str, options: &OpenOptions, wait: bool) -> Result<Arc<dyn Store>, OpenError> {
    if name == EMBEDDED {
        return Ok(open_embedded(options, wait).await?);
    }
    patiently(wait, async || open_redis(name, options, wait).await).await
}

/// Opens the embedded store, as [`open()`] does.
///
/// # Errors
///
/// As those of [`open()`].
pub async fn open_embedded(options: &OpenOptions, wait: bool) -> Result<Arc<EmbeddedStore>, OpenError> {
    patiently(wait, async || {
        let options = embedded::Options {
            data_dir: options.data_dir.clone(),
            uaid_idle: options.uaid_idle,
            newcomers: options.newcomers,
            step_timeout: options.step_timeout,
            fsync: options.fsync,
            keys: options.keys.clone(),
            uaid_key: options.uaid_key,
            clock: options.clock.clone(),
            disk: Arc::new(OsDisk),
        };
        // Opening reads from the disk.
        let opening = tokio::task::spawn_blocking(move || EmbeddedStore::open(options));
        match opening.await {
            Ok(Ok(store)) => Ok(Arc::new(store)),
            Ok(Err(error)) => Err(match error {
                embedded::OpenError::InUse(_) | embedded::OpenError::Disk { .. } => {
                    OpenError::Unavailable(error.to_string())
                }
                embedded::OpenError::Directory { .. }
                | embedded::OpenError::Newer(_)
                | embedded::OpenError::OtherKeys(_)
                | embedded::OpenError::OtherUaidKey(_)
                | embedded::OpenError::Damaged { .. } => OpenError::Configuration(error.to_string()),
            }),
            Err(error) => Err(OpenError::Unavailable(error.to_string())),
        }
    })
    .await
}

/// Attempts it until it is available, if `wait` is set, and otherwise once.
async fn patiently<T>(wait: bool, attempt: impl AsyncFn() -> Result<T, OpenError>) -> Result<T, OpenError> {
    let mut has_warned = false;
    loop {
        match attempt().await {
            Err(OpenError::Unavailable(reason)) if wait => {
                if !has_warned {
                    tracing::warn!(reason, "waiting for the store");
                    has_warned = true;
                }
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            opened => return opened,
        }
    }
}

async fn open_redis(name: &str, options: &OpenOptions, wait: bool) -> Result<Arc<dyn Store>, OpenError> {
    let options = redis::RedisOptions {
        uaid_idle: options.uaid_idle,
        newcomers: options.newcomers,
        step_timeout: options.step_timeout,
        uaid_key: options.uaid_key,
        access: options.redis.clone(),
    };
    match redis::connect(name, options).await {
        Ok(store) => Ok(Arc::new(store)),
        Err(error @ ConnectError::Password(_)) if wait => Err(OpenError::Unavailable(error.to_string())),
        Err(error @ (ConnectError::Configuration(_) | ConnectError::Password(_))) => {
            Err(OpenError::Configuration(error.to_string()))
        }
        Err(error @ ConnectError::Unreachable { .. }) => Err(OpenError::Unavailable(error.to_string())),
    }
}
