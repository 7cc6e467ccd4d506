//! What both kinds of device say about their connection.

use beckon_client::error::Error;
use beckon_ops::{exit::Failure, program::printable};

/// What a first connection that failed means for the caller.
pub(super) fn failure(error: Error) -> Failure {
    if matches!(error, Error::InvalidUrl { .. }) {
        Failure::usage(printable(&error.to_string()))
    } else {
        Failure::unavailable(printable(&error.to_string()))
    }
}

/// Reports what happens to the connection, on stderr, where it does not mix with notifications. The server may have written
/// a part of it.
#[expect(clippy::print_stderr, reason = "a command for people; stdout is for notifications")]
pub(super) fn report(text: &str) {
    eprintln!("beckon listen: {}", printable(text));
}

/// An endpoint as a word of a command that people copy into a shell. `None` if it is no URL of HTTP, which a command could
/// take for one of its flags. A server may have put anything into it.
pub(super) fn quoted(endpoint: &str) -> Option<String> {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-._~:/%@+=,".contains(character);
    if !["http://", "https://"].iter().any(|scheme| endpoint.starts_with(scheme)) {
        return None;
    }
    if endpoint.chars().all(is_plain) {
        return Some(endpoint.to_owned());
    }
    Some(format!("'{}'", printable(endpoint).replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_one_word_whatever_is_in_it() {
        for (endpoint, word) in [
            ("https://push.example:8081/wpush/v1/a-_b=", "https://push.example:8081/wpush/v1/a-_b="),
            ("http://a/x; rm -r b", "'http://a/x; rm -r b'"),
            ("http://a/$(b)", "'http://a/$(b)'"),
            ("http://a/'`b`\n", r"'http://a/'\''`b`\n'"),
        ] {
            assert_eq!(quoted(endpoint).as_deref(), Some(word));
        }
        assert_eq!(quoted("-ofile"), None);
    }
}
