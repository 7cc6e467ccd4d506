//! ChannelID: one subscription of one user agent, named by the user agent.

use crate::uuid_text::{self, ID_LEN, InvalidUuid, Spelling};

/// One subscription of one user agent. Unique within a UAID only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(pub [u8; ID_LEN]);

impl ChannelId {
    /// Reads a channelID and the spelling in which it has to be sent back.
    pub fn parse(text: &str) -> Result<(Self, Spelling), InvalidUuid> {
        uuid_text::parse(text).map(|(bytes, spelling)| (Self(bytes), spelling))
    }

    /// The channelID in the given spelling.
    pub fn to_text(self, spelling: Spelling) -> String {
        uuid_text::to_text(&self.0, spelling)
    }
}
