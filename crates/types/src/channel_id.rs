//! ChannelID: one subscription of one user agent, named by the user agent.

use crate::spelling::{self, ID_LEN, InvalidUuid, Spelling};

/// One subscription of one user agent. Unique within a UAID only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(pub [u8; ID_LEN]);

impl ChannelId {
    /// A UUIDv4 made of 16 bytes from a random source.
    pub fn from_random(bytes: [u8; ID_LEN]) -> Self {
        Self(spelling::version_4(bytes))
    }

    /// Reads a channelID and the spelling in which it has to be sent back.
    ///
    /// # Errors
    ///
    /// The text is not in UUID syntax.
    pub fn parse(text: &str) -> Result<(Self, Spelling), InvalidUuid> {
        spelling::parse(text).map(|(bytes, spelling)| (Self(bytes), spelling))
    }

    /// Appends the channelID in the given spelling.
    pub fn write(self, spelling: Spelling, out: &mut String) {
        spelling::write(&self.0, spelling, out);
    }

    /// The channelID in the given spelling.
    pub fn to_text(self, spelling: Spelling) -> String {
        spelling::to_text(&self.0, spelling)
    }
}
