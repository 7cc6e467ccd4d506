//! What a setting is called in each of the places where it can be given.

/// The prefix of environment variables.
pub(super) const PREFIX: &str = "BECKON_";

/// What a setting is called and what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// `ws_listen`: as in the file. The variable is `BECKON_WS_LISTEN`, the flag `--ws-listen`.
    pub name: &'static str,
    /// The text that stands for a setting that is not given; empty for "none". `None`: it is required.
    pub default: Option<&'static str>,
    /// The doc comment of the field.
    pub help: &'static str,
    /// A boolean: the flag alone means `true`.
    pub switch: bool,
}

impl Field {
    /// The flag: `--ws-listen`.
    pub fn flag(&self) -> String {
        flag_of(self.name)
    }

    /// The environment variable: `BECKON_WS_LISTEN`.
    pub fn variable(&self) -> String {
        variable_of(self.name)
    }
}

/// The flag of a setting.
pub(super) fn flag_of(name: &str) -> String {
    format!("--{}", name.replace('_', "-"))
}

/// The variable of a setting.
pub(super) fn variable_of(name: &str) -> String {
    format!("{PREFIX}{}", name.to_uppercase())
}
