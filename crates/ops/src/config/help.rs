//! The text of `--help` for a program without commands.

use super::{arguments::arguments, field::Part};
use clap::Command;

/// The part of a help text that lists settings. `defaults` replaces the defaults of fields, as
/// [`Source::set_default`](crate::config::Source::set_default) does. A field that occurs twice is listed once.
#[must_use]
pub fn help(parts: &[Part], defaults: &[(&str, &str)]) -> String {
    let mut command = Command::new("settings")
        .args(arguments(parts, defaults))
        .version("")
        .help_template("{all-args}\n")
        .max_term_width(HELP_WIDTH);
    format!("{ABOUT_SETTINGS}\n\n{}", command.render_long_help())
}

/// Where settings can be given.
pub const ABOUT_SETTINGS: &str = "\
Settings come from a TOML file (key ws_listen), the environment (BECKON_WS_LISTEN) and flags (--ws-listen);
the environment overrides the file, and flags override both.";

/// Characters of a line of help, in a wider terminal, too.
pub const HELP_WIDTH: usize = 100;
