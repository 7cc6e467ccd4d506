//! What both kinds of device say about their connection.

use beckon_client::error::Error;
use beckon_ops::exit::Failure;

/// What a first connection that failed means for the caller.
pub(super) fn failure(error: Error) -> Failure {
    if matches!(error, Error::InvalidUrl { .. }) {
        Failure::usage(error)
    } else {
        Failure::unavailable(error)
    }
}

/// Reports what happens to the connection, on stderr, where it does not mix with notifications.
#[expect(clippy::print_stderr, reason = "a command for people; stdout is for notifications")]
pub(super) fn report(text: &str) {
    eprintln!("beckon listen: {text}");
}
