//! A clock of its own for a server, which a test sets.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

/// What reads the time for the server in place of the C library.
const SOURCE: &str = include_str!("clock.c");

/// The clock of one server. It goes on while the server is restarted.
#[derive(Debug)]
pub(super) struct Clock {
    library: PathBuf,
    /// How far it is ahead of the system's.
    ahead: PathBuf,
}

impl Clock {
    /// A clock that shows the time of the system, with its files in this folder.
    ///
    /// # Panics
    /// There is no C compiler `cc`, which Rust links with as well.
    pub(super) fn new(folder: &Path) -> Self {
        let [source, library, ahead] = ["clock.c", "clock.so", "ahead"].map(|name| folder.join(name));
        fs::write(&source, SOURCE).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]);
        let status = compiler.status().unwrap_or_else(|error| panic!("cc cannot be started: {error}"));
        assert!(status.success(), "cc cannot compile {}", source.display());
        let clock = Self { library, ahead };
        clock.set(0);
        clock
    }

    /// Sets it so many seconds ahead of the system's, or behind.
    pub(super) fn set(&self, ahead: i64) {
        // The file is mapped, so it must never be empty: that would end the server.
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&self.ahead);
        file.and_then(|mut file| file.write_all(&ahead.to_ne_bytes()))
            .unwrap_or_else(|error| panic!("{}: {error}", self.ahead.display()));
    }

    /// What makes a server use it.
    pub(super) fn settings(&self) -> [(String, String); 2] {
        let variable = |name: &str, path: &Path| (name.to_owned(), path.to_string_lossy().into_owned());
        [variable("LD_PRELOAD", &self.library), variable("BECKON_CLOCK", &self.ahead)]
    }
}
