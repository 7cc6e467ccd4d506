//! The defaults of settings, as docs/configuration.md has them.

use crate::tree::read;

/// What the table of settings says is the default of the standalone server.
pub(crate) fn default_of(setting: &str) -> String {
    let text = read("docs/configuration.md");
    let row = text.lines().find(|line| line.starts_with(&format!("| `{setting}` |"))).unwrap();
    // The last of its cells.
    row.trim_end_matches([' ', '|', '`']).rsplit('`').next().unwrap().to_owned()
}

/// Longest silence on the socket of a client that is alive, in seconds.
pub(crate) fn silence_max_seconds() -> u64 {
    let seconds = |setting| default_of(setting).trim_end_matches('s').parse::<u64>().unwrap();
    seconds("keepalive_interval") + seconds("keepalive_timeout")
}

#[test]
fn defaults_are_found() {
    assert_eq!(default_of("ws_listen"), "127.0.0.1:8080");
    assert_eq!(default_of("max_message"), "262144");
    assert!(silence_max_seconds() > 0);
}
