//! `beckon genkey`: a key for endpoint tokens, or for client ids.

use beckon_ops::{exit::Failure, program::print};
use beckon_types::{KeyRing, TOKEN_KEY_LEN};
use clap::{ArgMatches, Command};

/// `beckon genkey`.
pub(crate) fn command() -> Command {
    Command::new("genkey").about("Print a new key for BECKON_TOKEN_KEYS or BECKON_UAID_KEY").after_help(
        "BECKON_UAID_KEY is one key, which is never changed. To rotate the keys in BECKON_TOKEN_KEYS, add the new key at \
         the end of the list on all nodes. When all of them have it, move it to the front of the list on all nodes. Remove \
         the last key when no endpoint made with it is used any more.",
    )
}

/// Runs `beckon genkey`.
pub(crate) fn run(_: &ArgMatches) -> Result<(), Failure> {
    print(&format!("{}\n", new_key()?))
}

/// A key from the system's random source.
pub(crate) fn new_key() -> Result<String, Failure> {
    let mut bytes = [0; TOKEN_KEY_LEN];
    getrandom::fill(&mut bytes).map_err(Failure::unavailable)?;
    Ok(KeyRing::key_text(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_new_key_is_valid_and_different() {
        let (first, second) = (new_key().unwrap(), new_key().unwrap());
        assert!(KeyRing::parse(&first).is_ok());
        assert_ne!(first, second);
    }
}
