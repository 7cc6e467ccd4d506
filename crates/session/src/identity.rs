//! The UAID of the user agent at the other end.

use crate::api::Settings;
use beckon_types::{ClientId, Spelling, Uaid};

/// A UAID and how the user agent spelled it last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The UAID.
    pub(crate) uaid: Uaid,
    /// Its spelling, which replies repeat.
    pub(crate) spelling: Spelling,
}

impl Identity {
    /// What everything but this connection calls the client. It is hashed each time, so that a connection at rest does not
    /// have to keep it.
    pub(crate) fn client(&self, settings: &Settings) -> ClientId {
        settings.uaid_key.client_id(self.uaid)
    }
}
