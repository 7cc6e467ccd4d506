//! `beckon genkey`: a key for endpoint tokens.

use beckon_ops::exit::Failure;
use beckon_types::{KeyRing, TOKEN_KEY_LEN};

const HELP: &str = "\
beckon genkey: print a new key for BECKON_TOKEN_KEYS

Usage: beckon genkey

To rotate keys, put the new key in front of the list on all nodes, and take the last one off when no endpoint
made with it is in use any more.
";

/// Does what the command line that follows `genkey` says.
pub(crate) fn run(mut parser: lexopt::Parser) -> Result<(), Failure> {
    use lexopt::prelude::*;
    match parser.next().map_err(Failure::usage)? {
        None => beckon_ops::program::print(&format!("{}\n", new_key()?)),
        Some(Short('h') | Long("help")) => beckon_ops::program::print(HELP),
        Some(argument) => Err(Failure::usage(argument.unexpected())),
    }
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
    fn a_new_key_is_a_key_and_another_one_each_time() {
        let (first, second) = (new_key().unwrap(), new_key().unwrap());
        assert!(KeyRing::parse(&first).is_ok());
        assert_ne!(first, second);
    }
}
