//! What people and scripts see while a run is under way.
#![expect(clippy::print_stderr, reason = "progress is for the one who watches")]

use crate::stats::Tick;
use beckon_ops::program::print;
use std::{
    io::{self, IsTerminal as _},
    sync::mpsc::{Receiver, TryRecvError, sync_channel},
    thread,
};

/// The line of progress on standard error: one that changes on a terminal, one a second elsewhere.
#[derive(Debug)]
pub struct Console {
    is_terminal: bool,
    phase: &'static str,
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

impl Console {
    /// A console that has shown nothing yet.
    pub fn new() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), phase: "" }
    }

    /// Names what the run is doing from now on.
    pub fn phase(&mut self, phase: &'static str) {
        self.phase = phase;
    }

    /// Shows how it goes.
    pub fn progress(&self, tick: &Tick, missing: u64) {
        let line = format!(
            "{:>5} s  {:<10}  {:>7} clients  {:>6} sent/s  {:>6} delivered/s  p50 {:.2} ms  p99 {:.2} ms  {} missing",
            tick.at_us / 1_000_000,
            self.phase,
            tick.clients,
            tick.sent,
            tick.delivered,
            tick.latency.p50_us as f64 / 1000.0,
            tick.latency.p99_us as f64 / 1000.0,
            missing,
        );
        if self.is_terminal {
            eprint!("\r\x1b[2K{line}");
        } else {
            eprintln!("{line}");
        }
    }

    /// Leaves the line.
    pub fn finish(&self) {
        if self.is_terminal {
            eprintln!();
        }
    }
}

/// The permission to go on.
#[derive(Debug)]
pub struct Go(Receiver<io::Result<()>>);

impl Go {
    /// Says a word on standard output and waits for a line on standard input.
    ///
    /// # Errors
    /// Standard output is not read.
    pub fn ask(word: &str) -> io::Result<Self> {
        print(&format!("{word}\n")).map_err(io::Error::other)?;
        let (sender, receiver) = sync_channel(1);
        // It ends with the line, or with the process.
        thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            let mut line = String::new();
            let result = io::stdin().read_line(&mut line).and_then(|length| match length {
                0 => Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "standard input has ended without a line",
                )),
                _ => Ok(()),
            });
            // The receiver is gone if the run has failed.
            let _ = sender.send(result);
        })?;
        Ok(Self(receiver))
    }

    /// Whether the line has come.
    ///
    /// # Errors
    /// None will come: standard input has ended.
    pub fn has_come(&self) -> io::Result<bool> {
        match self.0.try_recv() {
            Ok(result) => result.map(|()| true),
            Err(TryRecvError::Empty) => Ok(false),
            Err(TryRecvError::Disconnected) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
