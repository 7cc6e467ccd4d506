//! The Unix socket `control` in the data directory, on which a running server gives its backup. Access to it is access to
//! the directory: its owner only.

use crate::{
    config::Config,
    key_files::{TOKEN_KEYS, UAID_KEY},
};
use beckon_ops::{exit::Failure, listener::accept_local, stage::Stage};
use beckon_store::embedded::{EmbeddedStore, Figures};
use beckon_types::KeyRing;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::gauge::ConstGauge,
    registry::Registry,
};
use std::{
    fmt, fs,
    io::{self, BufWriter},
    net::Shutdown,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::AsyncReadExt as _,
    net::{UnixListener, UnixStream},
};

/// What a client sends to get a backup.
pub(crate) const BACKUP: &[u8] = b"backup\n";

/// Time limit for a client to say what it wants, and for each piece of a backup to be taken.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of a backup that are written at once.
const BUFFER_LEN: usize = 128 * 1024;

/// Where the socket of a data directory is.
pub(crate) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("control")
}

/// The socket of an open store.
#[derive(Debug)]
pub(crate) struct Control {
    path: PathBuf,
    store: Arc<EmbeddedStore>,
    /// The token keys in use; `None` if the operator has set them.
    token_keys: Option<KeyRing>,
    /// The UAID key, as a line of a backup; empty if the operator has set it.
    uaid_key: String,
}

impl Control {
    /// The socket of this store, which is not bound yet.
    pub(crate) fn new(config: &Config, store: Arc<EmbeddedStore>) -> Self {
        let path = path(&config.process.data_dir);
        let token_keys = if config.given.token_keys { None } else { Some(config.common.token_keys.clone()) };
        let uaid_key = &config.sockets.uaid_key;
        let uaid_key =
            if config.given.uaid_key { String::new() } else { UAID_KEY.line(&uaid_key.secret_text()) };
        Self { path, store, token_keys, uaid_key }
    }

    /// Binds the socket. This process has the store, so whatever is at its path is left over.
    fn bind(&self) -> io::Result<UnixListener> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&self.path)?;
        fs::set_permissions(&self.path, fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    }

    /// Serves one client after the other until the stage stops.
    ///
    /// # Errors
    /// The socket cannot be bound.
    pub(crate) fn serve(self, stage: &Stage) -> Result<(), Failure> {
        let bound = self.bind();
        let listener =
            bound.map_err(|error| Failure::unavailable(format!("{}: {error}", self.path.display())))?;
        let stopping = stage.clone();
        stage.spawn(async move {
            while let Some(client) = stopping.run_until_stopping(accept_local(&listener)).await {
                match stopping.run_until_stopping(self.answer(client, &stopping)).await {
                    Some(Ok(())) | None => {}
                    Some(Err(error)) => tracing::warn!(%error, "backup failed"),
                }
            }
        });
        Ok(())
    }

    async fn answer(&self, mut client: UnixStream, stage: &Stage) -> io::Result<()> {
        let mut request = [0; BACKUP.len()];
        let asked = tokio::time::timeout(PATIENCE, client.read_exact(&mut request));
        asked.await.map_err(|_| io::ErrorKind::TimedOut)??;
        if request != *BACKUP {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the request is not known"));
        }
        let backup = self.store.backup().await.map_err(io::Error::other)?;
        let token_keys = self.token_keys.as_ref().map(|keys| TOKEN_KEYS.line(&keys.secret_text()));
        let keys = token_keys.unwrap_or_default() + &self.uaid_key;
        let client = client.into_std()?;
        client.set_nonblocking(false)?;
        client.set_write_timeout(Some(PATIENCE))?;
        let handle = client.try_clone()?;
        let writing = tokio::task::spawn_blocking(move || {
            backup.write_to(&keys, BufWriter::with_capacity(BUFFER_LEN, client))
        });
        tokio::select! {
            written = writing => {
                let summary = written.map_err(io::Error::other)??;
                tracing::info!(clients = summary.clients, messages = summary.messages, "gave a backup");
                Ok(())
            }
            // The thread ends at its next write.
            () = stage.stopping() => handle.shutdown(Shutdown::Both),
        }
    }
}

/// Registers the sizes of a store.
pub(crate) fn register_metrics(store: Arc<EmbeddedStore>, registry: &mut Registry) {
    registry.register_collector(Box::new(Sizes(store)));
}

/// The sizes of the store, read at each scrape.
#[derive(Debug)]
struct Sizes(Arc<EmbeddedStore>);

impl Collector for Sizes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Figures { clients, messages, database_bytes, content_bytes, log_bytes } = self.0.figures();
        for (name, help, value) in [
            ("store_clients", "Records of clients in the embedded store", clients),
            ("store_messages", "Messages in the embedded store", messages),
            ("store_database_bytes", "Size of store.redb, including its free pages", database_bytes),
            (
                "store_content_bytes",
                "Bytes of records and messages in store.redb; the rest is free pages and overhead",
                content_bytes,
            ),
            ("store_log_bytes", "Size of store.log", log_bytes),
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
