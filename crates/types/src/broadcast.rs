//! Broadcasts: named values that are common to all user agents (PROTOCOL.md section 4.8).

use std::{collections::BTreeMap, fmt, sync::Arc};

/// Most broadcasts that there may be.
pub const BROADCASTS_MAX: usize = 1000;

/// The longest id, in bytes.
pub const BROADCAST_ID_LEN_MAX: usize = 128;

/// The longest version, in bytes.
pub const BROADCAST_VERSION_LEN_MAX: usize = 200;

/// All broadcasts, as the store has them at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Broadcasts {
    /// Grows with each change. Zero: nothing has ever been set.
    pub revision: u64,
    /// The version of each broadcast, by its id. Shared with the sockets, which keep what they were sent.
    pub values: BTreeMap<Arc<str>, Arc<str>>,
}

/// The name of a broadcast, such as `news/main`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BroadcastId(Arc<str>);

/// The value of a broadcast.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BroadcastVersion(Arc<str>);

/// The text is neither an id nor a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBroadcast {
    /// The id is empty, too long, `errors` (which replies use for something else), or not visible ASCII.
    #[error("a broadcast id has 1 to {BROADCAST_ID_LEN_MAX} visible ASCII characters and is not \"errors\"")]
    Id,
    /// The version is empty, too long, or has control characters.
    #[error("a broadcast version has 1 to {BROADCAST_VERSION_LEN_MAX} bytes and no control characters")]
    Version,
}

/// There are [`BROADCASTS_MAX`] broadcasts already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are {BROADCASTS_MAX} broadcasts already; remove one first")]
pub struct TooManyBroadcasts;

impl BroadcastId {
    /// Reads an id.
    ///
    /// # Errors
    ///
    /// The text is not an id.
    pub fn parse(text: &str) -> Result<Self, InvalidBroadcast> {
        let fits = (1..=BROADCAST_ID_LEN_MAX).contains(&text.len());
        if fits && text != "errors" && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidBroadcast::Id)
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl BroadcastVersion {
    /// Reads a version.
    ///
    /// # Errors
    ///
    /// The text is not a version.
    pub fn parse(text: &str) -> Result<Self, InvalidBroadcast> {
        let fits = (1..=BROADCAST_VERSION_LEN_MAX).contains(&text.len());
        if fits && !text.contains(char::is_control) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidBroadcast::Version)
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<BroadcastId> for Arc<str> {
    fn from(id: BroadcastId) -> Self {
        id.0
    }
}

impl From<BroadcastVersion> for Arc<str> {
    fn from(version: BroadcastVersion) -> Self {
        version.0
    }
}

impl fmt::Display for BroadcastId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for BroadcastVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_versions_are_short_and_printable() {
        let long = "x".repeat(BROADCAST_VERSION_LEN_MAX + 1);
        assert_eq!(BroadcastId::parse("news/main").unwrap().as_str(), "news/main");
        for bad in ["", "errors", "a b", "\u{e4}", &long[..=BROADCAST_ID_LEN_MAX]] {
            assert_eq!(BroadcastId::parse(bad), Err(InvalidBroadcast::Id), "{bad}");
        }
        assert_eq!(BroadcastVersion::parse("\"41\"").unwrap().as_str(), "\"41\"");
        for bad in ["", "\n", &long] {
            assert_eq!(BroadcastVersion::parse(bad), Err(InvalidBroadcast::Version), "{bad}");
        }
    }
}
