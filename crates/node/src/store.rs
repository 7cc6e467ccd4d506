//! Opening the store that the settings name.

use crate::config::CommonSettings;
use beckon_ops::{clock::Clock, config::Secret, exit::Failure, shutdown::Shutdown};
use beckon_store::{OpenError, OpenOptions, Store, embedded::EmbeddedStore};
use beckon_types::UaidKey;
use std::{path::PathBuf, sync::Arc, time::Duration};

/// Where an embedded store is, and how durable.
#[derive(Debug, Clone)]
pub struct Embedded {
    /// Its directory (`data_dir`).
    pub data_dir: PathBuf,
    /// Whether what was accepted survives a power failure (`fsync`).
    pub fsync: bool,
}

/// Opens the store that is named by `url`, and waits for it if `wait_for_store` is set. `embedded` is for the
/// standalone server; the settings of a cluster's nodes do not accept that store. `uaid_key` is for programs that
/// make client ids. `None` if `shutdown` is requested first.
///
/// # Errors
/// Exit code 64 if the URL or another setting of the store cannot be used, 69 if the store cannot be reached.
pub async fn open(
    url: &Secret,
    embedded: Option<Embedded>,
    settings: &CommonSettings,
    uaid_key: Option<&UaidKey>,
    shutdown: &Shutdown,
) -> Result<Option<Arc<dyn Store>>, Failure> {
    let nowhere = Embedded { data_dir: PathBuf::new(), fsync: true };
    let options = options(embedded.unwrap_or(nowhere), settings, uaid_key)?;
    unless(shutdown, beckon_store::open(url.expose(), &options, settings.wait_for_store)).await
}

/// Opens the embedded store, as [`open()`] does.
///
/// # Errors
/// Exit code 64 if the data directory cannot be used as it is, 69 if it is in use or its disk fails.
pub async fn open_embedded(
    embedded: Embedded,
    settings: &CommonSettings,
    uaid_key: &UaidKey,
    shutdown: &Shutdown,
) -> Result<Option<Arc<EmbeddedStore>>, Failure> {
    let options = options(embedded, settings, Some(uaid_key))?;
    unless(shutdown, beckon_store::open_embedded(&options, settings.wait_for_store)).await
}

fn options(
    embedded: Embedded,
    settings: &CommonSettings,
    uaid_key: Option<&UaidKey>,
) -> Result<OpenOptions, Failure> {
    let clock = Clock::start();
    let Embedded { data_dir, fsync } = embedded;
    Ok(OpenOptions {
        data_dir,
        uaid_idle: settings.uaid_idle,
        newcomers: settings.newcomers(),
        step_timeout: settings.store_timeout,
        redis: settings.redis().map_err(Failure::usage)?,
        fsync,
        keys: settings.token_keys.fingerprints(),
        uaid_key: uaid_key.map(UaidKey::fingerprint),
        clock: Arc::new(move || Duration::from_millis(clock.unix_ms())),
    })
}

/// Waits for a store, unless the shutdown is requested.
async fn unless<T>(
    shutdown: &Shutdown,
    opening: impl Future<Output = Result<T, OpenError>>,
) -> Result<Option<T>, Failure> {
    tokio::select! {
        opened = opening => opened.map(Some).map_err(|error| match error {
            OpenError::Configuration(reason) => Failure::usage(reason),
            OpenError::Unavailable(reason) => Failure::unavailable(reason),
        }),
        () = shutdown.requested() => Ok(None),
    }
}
