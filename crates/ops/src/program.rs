//! What the `main` of every program does the same way.

pub use crate::server_config::ServerConfig;

use crate::{
    config::{self, Digests, Field, Request, Source},
    exit::Failure,
    logging, process,
    reload::Reload,
    shutdown::{Shutdown, Signals},
    supervisor,
    workers::{self, Threads, Workers},
};
use serde::Serialize;
use std::io::{self, Write as _};

/// Which build a program is.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Build {
    /// What was built.
    pub source: &'static str,
    /// The version, from Cargo.
    pub version: &'static str,
    /// The commit, or empty if unknown.
    pub commit: &'static str,
    /// What built it: a link to the build or a date. Empty if unknown.
    pub build: &'static str,
}

/// How a program describes itself.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// The name of the program.
    pub name: &'static str,
    /// What it is for and how it is called: the beginning of the help text.
    pub usage: &'static str,
    /// Its settings.
    pub parts: &'static [&'static [Field]],
    /// Defaults that differ from those of the parts.
    pub defaults: &'static [(&'static str, &'static str)],
    /// Which build it is.
    pub build: Build,
}

impl About {
    /// Answers `--help` or `--version` on stdout.
    ///
    /// # Errors
    /// Stdout cannot be written to.
    pub fn answer(&self, request: Request) -> Result<(), Failure> {
        match request {
            Request::Help => print(&format!("{}\n{}", self.usage, config::help(self.parts, self.defaults))),
            Request::Version => {
                let Build { version, commit, .. } = self.build;
                let commit = if commit.is_empty() { String::new() } else { format!(" ({commit})") };
                print(&format!("{} {version}{commit}\n", self.name))
            }
        }
    }

    /// Does what the caller of a server asks for: answers a request, or reads the settings, starts logging and runs
    /// the server until SIGTERM or SIGINT. `read` returns the settings as they are when it is called. `run` runs on this
    /// thread, and what it starts on the [`Workers`] on theirs. It should stop when its [`Shutdown`] is requested; it is
    /// dropped [`HURRIED_END`](crate::shutdown::HURRIED_END) after a second signal.
    ///
    /// # Errors
    /// The settings are wrong, `run` has failed, or a vital task has.
    pub fn serve<C: ServerConfig>(
        &self,
        read: impl Fn() -> Source + Send + Sync + 'static,
        run: impl AsyncFnOnce(C, Shutdown, Workers, Reload) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        process::remember_program();
        let source = read();
        if let Some(request) = source.request() {
            return self.answer(request);
        }
        let in_use = Digests::of(&source, self.parts);
        let config = C::read(source)?;
        logging::init(config.log()).map_err(Failure::software)?;
        process::raise_open_files_max();
        let shutdown = Shutdown::new();
        let threads = Threads::start(config.threads(), &shutdown)?;
        let runtime = workers::runtime().map_err(Failure::unavailable)?;
        let result = runtime.block_on(async {
            let signals = Signals::catch().map_err(Failure::unavailable)?;
            let reload = Reload::new(self.parts, in_use, read);
            tokio::select! {
                result = run(config, shutdown.clone(), threads.workers().clone(), reload.clone()) => result?,
                () = shutdown.obey(signals, &reload) => {}
                () = supervisor::inform(&shutdown) => {}
            }
            shutdown.result()
        });
        // Whatever still runs has had its time.
        runtime.shutdown_background();
        result
    }
}

/// Writes text to stdout.
///
/// # Errors
/// Stdout cannot be written to.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::unavailable)
}
