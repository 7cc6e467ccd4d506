//! Reading the settings again while a program runs: at SIGHUP, or when an operator asks for it.
//!
//! A reload reads everything a start reads: flags, variables and the file. Flags and variables of a process do not change,
//! so new values come from the file that `--config` or `BECKON_CONFIG` names, and from the files that settings name.
//!
//! ```text
//!   read all settings ─▶ prepare every part ─▶ every part takes its settings
//!          │                     │
//!          └── an error here changes nothing
//! ```
//!
//! A part of the program that can take new settings joins with [`Reloadables::add`]. A setting that no part takes needs a
//! restart, and a reload names it.

use crate::{
    config::{ConfigErrors, Digests, Part, Source},
    logging,
    server_config::ServerConfig,
};
use parking_lot::Mutex;
use serde::Serialize;
use std::{collections::BTreeSet, fmt, sync::Arc};

/// Puts new settings in use. It cannot fail.
pub type Take = Box<dyn FnOnce() + Send>;

/// The parts of a program that can take new settings, `C`, while it runs.
pub struct Reloadables<C> {
    names: BTreeSet<&'static str>,
    files: BTreeSet<&'static str>,
    complete: Option<Box<Complete<C>>>,
    parts: Vec<Box<Prepare<C>>>,
}

type Complete<C> = dyn Fn(&mut C) -> Result<(), ConfigErrors> + Send + Sync;
type Prepare<C> = dyn Fn(&C) -> Result<Take, ConfigErrors> + Send + Sync;

impl<C> fmt::Debug for Reloadables<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reloadables").field("names", &self.names).finish_non_exhaustive()
    }
}

impl<C: ServerConfig> Default for Reloadables<C> {
    /// The filter of the log.
    fn default() -> Self {
        let (names, files) = (BTreeSet::new(), BTreeSet::new());
        let mut parts = Self { names, files, complete: None, parts: Vec::new() };
        parts.add(&["log"], |config| {
            let filter = config.log().log.clone();
            Ok(Box::new(move || logging::set_filter(&filter)))
        });
        parts
    }
}

impl<C> Reloadables<C> {
    /// Adds a part. `names` are the settings that it takes. `prepare` does everything that can fail, such as reading a
    /// certificate, and changes nothing; what it returns is called when all parts are prepared.
    pub fn add(
        &mut self,
        names: &[&'static str],
        prepare: impl Fn(&C) -> Result<Take, ConfigErrors> + Send + Sync + 'static,
    ) {
        self.names.extend(names);
        self.parts.push(Box::new(prepare));
    }

    /// Adds files that are read whenever they are used, so that other contents of them need nothing more. `names` are the
    /// settings that name them, of which other values need a restart. `check` says what is wrong with the files.
    pub fn add_files(
        &mut self,
        names: &[&'static str],
        check: impl Fn(&C) -> Result<(), ConfigErrors> + Send + Sync + 'static,
    ) {
        self.files.extend(names);
        self.parts.push(Box::new(move |config| check(config).map(|()| Box::new(|| {}) as Take)));
    }

    /// What reads the rest of the settings, such as a file that the program has made at its first start, before any part
    /// gets them.
    pub fn complete(
        &mut self,
        complete: impl Fn(&mut C) -> Result<(), ConfigErrors> + Send + Sync + 'static,
    ) {
        self.complete = Some(Box::new(complete));
    }

    /// Prepares all parts.
    fn prepare(&self, mut config: C) -> Result<Vec<Take>, ConfigErrors> {
        if let Some(complete) = &self.complete {
            complete(&mut config)?;
        }
        let (mut takes, mut errors) = (Vec::new(), Vec::new());
        for part in &self.parts {
            match part(&config) {
                Ok(take) => takes.push(take),
                Err(ConfigErrors(more)) => errors.extend(more),
            }
        }
        if errors.is_empty() { Ok(takes) } else { Err(ConfigErrors(errors)) }
    }
}

/// What a reload has done. The names are sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// Settings that have other values now, or name files that have other contents.
    pub changed: Vec<&'static str>,
    /// Settings whose new values need a restart.
    pub needs_restart: Vec<&'static str>,
}

/// Reads the settings of a program again. Clones are the same.
#[derive(Clone)]
pub struct Reload {
    shared: Arc<Shared>,
}

struct Shared {
    read: Box<dyn Fn() -> Source + Send + Sync>,
    parts: &'static [Part],
    /// Locked for a whole reload, so that there is one at a time.
    state: Mutex<State>,
}

struct State {
    in_use: Digests,
    /// `None` until the program has started.
    serving: Option<Serving>,
    /// Whether a reload was asked for before that.
    is_due: bool,
}

struct Serving {
    names: BTreeSet<&'static str>,
    files: BTreeSet<&'static str>,
    prepare: Box<dyn Fn(Source) -> Result<Vec<Take>, ConfigErrors> + Send + Sync>,
}

impl Reload {
    /// `in_use` are the settings with which the program starts, and `read` returns them as they are at another time.
    pub fn new(
        parts: &'static [Part],
        in_use: Digests,
        read: impl Fn() -> Source + Send + Sync + 'static,
    ) -> Self {
        let state = Mutex::new(State { in_use, serving: None, is_due: false });
        Self { shared: Arc::new(Shared { read: Box::new(read), parts, state }) }
    }

    /// From now on these parts take new settings. Does at once what was asked for until now.
    pub async fn serve<C: ServerConfig + 'static>(&self, parts: Reloadables<C>) {
        let (names, files) = (parts.names.clone(), parts.files.clone());
        let prepare = Box::new(move |source| parts.prepare(C::read(source)?));
        let is_due = {
            let mut state = self.shared.state.lock();
            state.serving = Some(Serving { names, files, prepare });
            std::mem::take(&mut state.is_due)
        };
        if is_due {
            // What is wrong is logged.
            let _ = self.reload_in_background().await;
        }
    }

    /// Blocks: it reads files.
    fn reload(&self) -> Result<Reloaded, ConfigErrors> {
        let Shared { read, parts, state } = &*self.shared;
        let mut state = state.lock();
        let State { in_use, serving, is_due } = &mut *state;
        let Some(Serving { names, files, prepare }) = serving else {
            *is_due = true;
            return Ok(Reloaded::default());
        };
        let source = read();
        let new = in_use.again(&source, parts);
        let takes = prepare(source).inspect_err(|errors| {
            tracing::error!(%errors, "the new configuration is wrong; nothing has changed");
        })?;
        for take in takes {
            take();
        }
        let is_taken =
            |name: &str| names.contains(name) || (files.contains(name) && in_use.names_same_file(&new, name));
        let (changed, needs_restart): (Vec<_>, Vec<_>) =
            in_use.differing(&new).into_iter().partition(|name| is_taken(name));
        in_use.keep(&new, &changed);
        tracing::info!(changed = changed.join(","), "configuration reloaded");
        if !needs_restart.is_empty() {
            tracing::warn!(settings = needs_restart.join(","), "these settings change at the next start");
        }
        Ok(Reloaded { changed, needs_restart })
    }

    /// Reads the settings and puts those in use that can change while the program runs. What has changed is logged by
    /// name. While the program starts, this is put off until [`Reload::serve`].
    ///
    /// # Errors
    /// Everything that is wrong with the new settings. Nothing has changed then.
    pub async fn reload_in_background(&self) -> Result<Reloaded, ConfigErrors> {
        let reload = self.clone();
        let reloaded = tokio::task::spawn_blocking(move || reload.reload()).await;
        reloaded.unwrap_or_else(|_| Err(ConfigErrors::one("reload", "it has failed; the log says why")))
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reload").finish_non_exhaustive()
    }
}
