//! What a program prints.

use crate::{exit::Failure, printable::printable_lines};
use std::io::{self, Write as _};

/// Writes text to stdout. Its control characters are escaped, except for line feeds and tabulators.
///
/// # Errors
/// Stdout cannot be written to.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let text = printable_lines(text);
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::unavailable)
}
