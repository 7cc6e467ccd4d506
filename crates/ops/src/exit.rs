//! How a program ends: one sentence on stderr, and an exit code of `sysexits.h` that scripts can distinguish.

use crate::{log_writer, printable::printable_lines};
use std::{fmt::Display, process::ExitCode};

/// Invalid flags or settings. Starting again without a change does not help.
pub const USAGE: u8 = 64;

/// Something that the program needs is not available: the store, a port. Starting again later may help.
pub const UNAVAILABLE: u8 = 69;

/// A bug in the program.
pub const SOFTWARE: u8 = 70;

/// Why a program ends early.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The exit code: [`USAGE`], [`UNAVAILABLE`] or [`SOFTWARE`].
    pub code: u8,
    /// What is wrong, for the operator.
    pub message: String,
}

impl Failure {
    /// The operator has asked for something that cannot be done.
    pub fn usage(reason: impl Display) -> Self {
        Self { code: USAGE, message: reason.to_string() }
    }

    /// Something that the program needs is not available.
    pub fn unavailable(reason: impl Display) -> Self {
        Self { code: UNAVAILABLE, message: reason.to_string() }
    }

    /// The program is at fault.
    pub fn software(reason: impl Display) -> Self {
        Self { code: SOFTWARE, message: reason.to_string() }
    }
}

/// Turns the result of a program into its exit code; a failure is written to stderr, after the name of the program, with its
/// control characters escaped.
pub fn report(program: &str, result: Result<(), Failure>) -> ExitCode {
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&printable_lines(&format!("{program}: {failure}")));
            ExitCode::from(failure.code)
        }
    };
    log_writer::flush();
    code
}

/// Writes one message to stderr.
#[expect(clippy::print_stderr, reason = "the last words of a program, when logging may not have started")]
fn complain(message: &str) {
    if !log_writer::line(message) {
        eprintln!("{message}");
    }
}
