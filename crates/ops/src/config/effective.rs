//! The settings that apply, and where each comes from.

use super::{
    field::{Field, Part, once},
    source::Source,
};
use std::fmt;

/// Where the value of a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It is not given anywhere.
    Default,
    /// A flag, a variable, or a file and key.
    Given(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Given(place) => f.write_str(place),
        }
    }
}

/// A setting with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// The setting.
    pub field: Field,
    /// As it would be written in a variable. `None` if it is required and not given.
    pub value: Option<String>,
    /// Where it comes from.
    pub origin: Origin,
}

/// Every setting of `parts` once, with the value that applies. `defaults` replaces the defaults of fields.
#[must_use]
pub fn effective(source: &Source, parts: &[Part], defaults: &[(&str, &str)]) -> Vec<Effective> {
    let mut settings: Vec<Effective> = Vec::new();
    for (_, field) in once(parts) {
        let given = source.given(field.name).map(|(place, value)| {
            (value.map_or_else(|| "true".to_owned(), str::to_owned), Origin::Given(place))
        });
        let (value, origin) = match given {
            Some((value, origin)) => (Some(value), origin),
            None => {
                let replaced = defaults.iter().find(|(name, _)| *name == field.name).map(|(_, text)| *text);
                (replaced.or(field.default).map(str::to_owned), Origin::Default)
            }
        };
        settings.push(Effective { field: *field, value, origin });
    }
    settings
}
