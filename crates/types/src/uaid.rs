//! UAID: the secret that identifies one user agent.

use crate::spelling::{self, ID_LEN, InvalidUuid, Spelling};
use std::fmt;

/// The secret that identifies one user agent. Whoever knows it can act as that user agent, so `Debug` shows only its
/// first byte.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uaid(pub [u8; ID_LEN]);

impl Uaid {
    /// A UUIDv4 made of 16 bytes from a secure random source.
    pub fn from_random(bytes: [u8; ID_LEN]) -> Self {
        Self(spelling::version_4(bytes))
    }

    /// Reads a UAID and the spelling in which it has to be echoed.
    ///
    /// # Errors
    ///
    /// The text is not in UUID syntax.
    pub fn parse(text: &str) -> Result<(Self, Spelling), InvalidUuid> {
        spelling::parse(text).map(|(bytes, spelling)| (Self(bytes), spelling))
    }

    /// Appends the UAID in the given spelling.
    pub fn write(self, spelling: Spelling, out: &mut String) {
        spelling::write(&self.0, spelling, out);
    }

    /// The UAID in the given spelling.
    pub fn to_text(self, spelling: Spelling) -> String {
        spelling::to_text(&self.0, spelling)
    }
}

impl fmt::Debug for Uaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uaid({:02x}..)", self.0[0])
    }
}
