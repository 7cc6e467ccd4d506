//! The UAID of the user agent at the other end.

use crate::{
    api::Settings,
    parked::{Damaged, ParkedClient},
};
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

    /// A client as data, of which nothing but the identity is known yet.
    pub(crate) fn park(self) -> ParkedClient {
        let Spelling { hyphens, upper } = self.spelling;
        ParkedClient { uaid: self.uaid.0.to_vec(), hyphens, upper, ..ParkedClient::default() }
    }

    /// The identity of a client that was parked.
    pub(crate) fn resume(parked: &ParkedClient) -> Result<Self, Damaged> {
        let uaid = parked.uaid.as_slice().try_into().map_err(|_| Damaged("UAID"))?;
        let spelling = Spelling { hyphens: parked.hyphens, upper: parked.upper };
        Ok(Self { uaid: Uaid(uaid), spelling })
    }
}
