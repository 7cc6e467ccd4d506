//! Why a request to the admin listener is refused, and the one map from that to its answer.

use hyper::StatusCode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use std::fmt::{self, Write as _};

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Denial {
    /// It shows no token.
    NoToken,
    /// It shows a token that does not admit to this.
    OtherToken,
    /// It would change something, and there is no token for that.
    NoneSet,
    /// `Host` is a name, which its owner may have pointed to this address.
    Name,
    /// A web page of another origin would change something.
    Page,
    /// The session is not valid, or no longer.
    Session,
    /// Its source has shown too many wrong tokens.
    Guesses,
}

impl Denial {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::NoToken,
        Self::OtherToken,
        Self::NoneSet,
        Self::Name,
        Self::Page,
        Self::Session,
        Self::Guesses,
    ];

    /// For logs and metrics.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::OtherToken => "other_token",
            Self::NoneSet => "none_set",
            Self::Name => "name",
            Self::Page => "page",
            Self::Session => "session",
            Self::Guesses => "guesses",
        }
    }

    /// Of the answer.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::NoToken | Self::OtherToken | Self::Session => StatusCode::UNAUTHORIZED,
            Self::NoneSet | Self::Page => StatusCode::FORBIDDEN,
            Self::Name => StatusCode::MISDIRECTED_REQUEST,
            Self::Guesses => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// For the answer: what to do.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::NoToken => "Show admin_token: Authorization: Bearer TOKEN; see docs/operations.md",
            Self::OtherToken => "This is not an admin_token that is set here",
            Self::NoneSet => "Nothing can be changed here, because admin_token is not set",
            Self::Name => "Ask for an IP address or localhost, or show admin_token",
            Self::Page => "A web page must not do this",
            Self::Session => "The session has ended; sign in again",
            Self::Guesses => "Too many wrong tokens came from this address; try again later",
        }
    }
}

impl EncodeLabelValue for Denial {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(self.reason())
    }
}

/// The labels of the metric that counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Labels {
    /// Why.
    pub(crate) reason: Denial,
}
