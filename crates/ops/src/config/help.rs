//! The text of `--help`.

use super::field::Field;
use std::fmt::Write as _;

/// The part of a help text that lists settings. `defaults` replaces the defaults of fields, as
/// [`Source::set_default`](crate::config::Source::set_default) does. A field that occurs twice is listed once.
#[must_use]
pub fn help(parts: &[&[Field]], defaults: &[(&str, &str)]) -> String {
    let mut text = String::from(
        "Settings come from a TOML file (key ws_listen), the environment (BECKON_WS_LISTEN) and flags (--ws-listen);\n\
         the environment overrides the file, and flags override both.\n\n  --config FILE\n      The TOML file.\n      \
         [BECKON_CONFIG] [default: none]\n",
    );
    let mut listed: Vec<&str> = Vec::new();
    for field in parts.iter().copied().flatten() {
        if listed.contains(&field.name) {
            continue;
        }
        listed.push(field.name);
        let value = if field.switch { "[true|false]" } else { "VALUE" };
        let _ = writeln!(text, "  {} {value}", field.flag());
        for line in field.help.lines() {
            let _ = writeln!(text, "      {}", line.trim());
        }
        let overridden = defaults.iter().find(|(name, _)| *name == field.name).map(|(_, default)| *default);
        let default = match overridden.or(field.default) {
            Some("") => "default: none".to_owned(),
            Some(default) => format!("default: {default}"),
            None => "required".to_owned(),
        };
        let _ = writeln!(text, "      [{}] [{default}]", field.variable());
    }
    text.push_str("  --help\n      Show this text.\n  --version\n      Show the version of this program.\n");
    text
}
