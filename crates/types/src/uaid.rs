//! UAID: the secret that identifies one user agent.

use crate::uuid_text::{self, ID_LEN, InvalidUuid, Spelling};
use std::fmt;

/// The secret that identifies one user agent. Whoever knows it can act as that user agent, so `Debug` shows
/// no more than its first byte.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uaid(pub [u8; ID_LEN]);

impl Uaid {
    /// A UUIDv4 from 16 bytes of a secure random source.
    pub fn from_random(mut bytes: [u8; ID_LEN]) -> Self {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// Reads a UAID and the spelling in which it has to be echoed.
    pub fn parse(text: &str) -> Result<(Self, Spelling), InvalidUuid> {
        uuid_text::parse(text).map(|(bytes, spelling)| (Self(bytes), spelling))
    }

    /// The UAID in the given spelling.
    pub fn to_text(self, spelling: Spelling) -> String {
        uuid_text::to_text(&self.0, spelling)
    }
}

impl fmt::Debug for Uaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uaid({:02x}..)", self.0[0])
    }
}
