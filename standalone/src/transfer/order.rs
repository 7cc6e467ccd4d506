//! What the operator asks for, and the store that it is about.

use crate::{
    config::Config,
    key_files::{KeyFile, TOKEN_KEYS, UAID_KEY},
    settings::source,
};
use beckon_ops::{
    clock::Clock,
    exit::Failure,
    program::{ServerConfig as _, printable},
    shutdown::Shutdown,
};
use beckon_store::{Answer, Cause, EMBEDDED, Store, StoreError};
use beckon_types::{KeyRing, UaidKey};
use clap::ArgMatches;
use std::{
    fmt::Display,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

/// Time limit for one step, if the setting is shorter: a client can have thousands of messages.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// A step is repeated for so long while the store is not available.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pause before a step is repeated.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The time between two reports of progress.
const REPORT_INTERVAL_MS: u64 = 5000;

/// The command line of either command.
#[derive(Debug)]
pub(super) struct Order {
    /// The file; `None` is stdin or stdout.
    pub(super) file: Option<PathBuf>,
    /// Whether nodes may be running.
    pub(super) live: bool,
    /// Whether the store may have clients already.
    pub(super) add: bool,
    pub(super) config: Config,
}

/// The keys with which a store is used.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub(super) token_keys: KeyRing,
    pub(super) uaid_key: UaidKey,
}

impl Order {
    /// Reads the arguments.
    ///
    /// # Errors
    /// The settings are wrong.
    pub(super) fn read(matches: &ArgMatches) -> Result<Self, Failure> {
        let file = matches.get_one::<PathBuf>("file").filter(|file| **file != Path::new("-")).cloned();
        let is_given = |flag: &str| matches.try_get_one::<bool>(flag).ok().flatten() == Some(&true);
        let mut config = Config::read(source(matches, Config::PARTS)).map_err(Failure::usage)?;
        config.common.store_timeout = config.common.store_timeout.max(STEP_TIMEOUT);
        config.common.wait_for_store = false;
        Ok(Self { file, live: is_given("live"), add: is_given("add"), config })
    }

    /// What the file is called in messages.
    pub(super) fn file_name(&self, without: &str) -> String {
        self.file.as_ref().map_or_else(|| without.to_owned(), |file| file.display().to_string())
    }

    /// Whether the store is the embedded one.
    pub(super) fn is_embedded(&self) -> bool {
        self.config.process.store.expose() == EMBEDDED
    }

    /// The token keys that are set or in the data directory; `None` if there are none.
    ///
    /// # Errors
    /// They cannot be read.
    pub(super) fn token_keys(&self) -> Result<Option<KeyRing>, Failure> {
        if self.config.given.token_keys {
            return Ok(Some(self.config.common.token_keys.clone()));
        }
        self.kept(TOKEN_KEYS)
    }

    /// The UAID key that is set or in the data directory; `None` if there is none.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn uaid_key(&self) -> Result<Option<UaidKey>, Failure> {
        if self.config.given.uaid_key {
            return Ok(Some(self.config.sockets.uaid_key.clone()));
        }
        self.kept(UAID_KEY)
    }

    /// What is in a file of the data directory; `None` if that has neither the file nor a database.
    fn kept<T: FromStr<Err: Display>>(&self, file: KeyFile) -> Result<Option<T>, Failure> {
        let data_dir = &self.config.process.data_dir;
        if file.is_new(data_dir) { Ok(None) } else { file.read_or_make(data_dir).map(Some) }
    }

    /// Opens the store, which has to be used with these keys.
    ///
    /// # Errors
    /// It cannot be opened, or nodes that use it are running and may not.
    pub(super) async fn open(&mut self, keys: Keys) -> Result<Arc<dyn Store>, Failure> {
        let Keys { token_keys, uaid_key } = keys;
        self.config.common.token_keys = token_keys;
        let (process, uaid_key) = (&self.config.process, Some(&uaid_key));
        let embedded = self.is_embedded().then(|| self.config.embedded());
        let shutdown = Shutdown::new();
        let opened =
            beckon_node::store::open(&process.store, embedded, &self.config.common, uaid_key, &shutdown);
        let Some(store) = opened.await? else { return Err(Failure::software("there was no shutdown")) };
        let nodes = patiently(|| store.nodes()).await.map_err(unavailable)?;
        if !self.live && !nodes.is_empty() {
            let (running, some) = (nodes.len(), &nodes[0].name);
            return Err(Failure::usage(format!(
                "{running} nodes use the store, such as {some}; stop them first (see --live in --help)"
            )));
        }
        Ok(store)
    }
}

/// Performs a step, again and again while the store is not available.
///
/// # Errors
/// It is not available for longer than [`PATIENCE`], or has refused the step.
pub(super) async fn patiently<T>(step: impl Fn() -> Answer<T>) -> Result<T, StoreError> {
    let clock = Clock::start();
    loop {
        match step().await {
            Err(error) if may_pass(&error) && clock.now_ms() < PATIENCE.as_millis() as u64 => {
                say(&format!("{error}; trying again"));
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            answer => return answer,
        }
    }
}

/// Whether trying again can help.
fn may_pass(error: &StoreError) -> bool {
    match error.cause() {
        Cause::Timeout
        | Cause::Unreachable
        | Cause::Overloaded
        | Cause::ReadOnly
        | Cause::Loading
        | Cause::Full
        | Cause::Cluster
        | Cause::Busy
        | Cause::NotDurable
        | Cause::Unconfirmed
        | Cause::Disk => true,
        Cause::Denied | Cause::Damaged | Cause::Refused | Cause::Unreadable | Cause::Closed => false,
    }
}

/// The failure for a store that is not available.
pub(super) fn unavailable(error: StoreError) -> Failure {
    Failure::unavailable(error)
}

/// Reports progress now and then.
#[derive(Debug)]
pub(super) struct Progress {
    clock: Clock,
    said_ms: u64,
}

impl Progress {
    /// Begins now.
    pub(super) fn start() -> Self {
        Self { clock: Clock::start(), said_ms: 0 }
    }

    /// Says how many clients and messages it is by now, if it is time for that.
    pub(super) fn report(&mut self, clients: u64, messages: u64) {
        let now = self.clock.now_ms();
        if now - self.said_ms >= REPORT_INTERVAL_MS {
            self.said_ms = now;
            say(&format!("{clients} clients and {messages} messages so far"));
        }
    }
}

/// Writes a line to stderr: stdout may be the export.
#[expect(clippy::print_stderr, reason = "progress of a command, which does not log")]
pub(super) fn say(text: &str) {
    eprintln!("beckon: {}", printable(text));
}
