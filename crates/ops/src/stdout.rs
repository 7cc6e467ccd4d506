//! What a program prints.

use crate::exit::Failure;
use std::io::{self, Write as _};

/// Writes text to stdout.
///
/// # Errors
/// Stdout cannot be written to.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::unavailable)
}
