//! What the `main` of every program does the same way.

use crate::{
    admin::Build,
    config::{self, Field, Request},
    exit::Failure,
};
use std::io::{self, Write as _};
use tokio::runtime::{Builder, Runtime};

/// What a program says of itself.
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
    /// Nobody reads stdout.
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
}

/// Writes text to stdout.
///
/// # Errors
/// Nobody reads stdout.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::unavailable)
}

/// The runtime of a server: a thread for each core.
///
/// # Errors
/// The system has no threads or no event queue left.
pub fn runtime() -> Result<Runtime, Failure> {
    Builder::new_multi_thread().enable_all().build().map_err(Failure::unavailable)
}
