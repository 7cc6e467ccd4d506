//! The UAID of the user agent at the other end.

use beckon_types::{Spelling, Uaid};

/// A UAID and how the user agent spelled it last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The UAID.
    pub(crate) uaid: Uaid,
    /// Its spelling, which replies repeat.
    pub(crate) spelling: Spelling,
}
