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
    /// The Rust type as it is declared: `Option<u64>`.
    pub type_name: &'static str,
}

/// Settings that belong together.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// What help and templates show before them.
    pub heading: &'static str,
    /// The settings.
    pub fields: &'static [Field],
}

/// Every field of `parts` once, with the heading of the first part that has it.
pub(super) fn once(parts: &[Part]) -> impl Iterator<Item = (&'static str, &'static Field)> {
    let mut listed: Vec<&str> = Vec::new();
    let all = parts.iter().flat_map(|part| part.fields.iter().map(|field| (part.heading, field)));
    all.filter(move |(_, field)| {
        let is_new = !listed.contains(&field.name);
        listed.push(field.name);
        is_new
    })
}

/// How a setting is written in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Switch,
    /// A whole number.
    Whole,
    /// A number with a fraction.
    Fraction,
    /// Texts, as an array or separated by commas.
    List,
    /// A text.
    Text,
}

impl Field {
    /// The flag: `--ws-listen`.
    pub fn flag(&self) -> String {
        flag_of(self.name)
    }

    /// How it is written in a file. A type of its own is a text.
    pub fn kind(&self) -> Kind {
        let name = self.type_name.trim_start_matches("Option<").trim_end_matches('>').replace(' ', "");
        match name.trim_start_matches("NonZero<") {
            "bool" => Kind::Switch,
            "u8" | "u16" | "u32" | "u64" | "usize" | "i64" => Kind::Whole,
            "f64" => Kind::Fraction,
            list if list.starts_with("Vec<") => Kind::List,
            _ => Kind::Text,
        }
    }

    /// It is a path: what the file holds is part of the setting.
    pub fn is_file(&self) -> bool {
        self.type_name.contains("PathBuf")
    }

    /// Its value is never shown.
    pub fn is_secret(&self) -> bool {
        ["Secret", "KeyRing", "Tokens"].iter().any(|secret| self.type_name.contains(secret))
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
