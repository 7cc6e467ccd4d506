//! What is wrong with the settings, for the operator.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it is: a flag, a variable, or a file and key.
    pub place: String,
    /// What is wrong, to be read after the place.
    pub reason: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

/// Everything that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    /// One thing that is wrong.
    pub fn one(place: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self(vec![ConfigError { place: place.into(), reason: reason.to_string() }])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [error] => write!(f, "{error}"),
            errors => {
                write!(f, "{} settings are wrong", errors.len())?;
                errors.iter().try_for_each(|error| write!(f, "\n  {error}"))
            }
        }
    }
}

impl std::error::Error for ConfigErrors {}

impl From<ConfigErrors> for crate::exit::Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::usage(errors)
    }
}
