//! Whether a socket still owns its UAID.

use crate::Sequence;
use std::time::Duration;

/// A store forgets a client without channels this long after its socket last verified its claim, so that a node that
/// crashes leaves nothing behind. Sockets verify their claims at least twice in this time.
pub const UNREGISTERED_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// What a socket learns when it verifies its claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It owns the UAID.
    Owned {
        /// The last write to the client, zero if there was none.
        last: Sequence,
        /// How many channels are registered. There may be fewer, if a newer version stores what this one does not know.
        channels: usize,
    },
    /// A newer hello has claimed the UAID.
    Taken,
    /// No connection owns the UAID: it was released, or the store has lost the record.
    Lost,
    /// The store has enough to do at the moment. Ask again later.
    Postponed,
}
