//! Progress on stderr.

/// Shows what is going on.
#[expect(clippy::print_stderr, reason = "progress is for people at a terminal")]
pub(crate) fn tell(what: &str) {
    eprintln!("bench: {what}");
}
