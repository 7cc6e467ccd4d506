//! The ids of requests.

use beckon_types::RequestId;
use std::sync::atomic::{AtomicU64, Ordering};

/// Draws the ids of requests: a number that counts them, scrambled so that the ids are evenly distributed.
#[derive(Debug)]
pub(crate) struct RequestIds(AtomicU64);

impl RequestIds {
    /// Ids that no other node draws, nor this one after a restart, as far as chance allows. `seed` is a random number.
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// The id of another request.
    pub(super) fn draw(&self) -> RequestId {
        // SplitMix64, by Steele, Lea and Flood: different numbers stay different.
        let counted = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (counted ^ counted >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        // Zero is no request.
        RequestId((mixed ^ mixed >> 31).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_different_and_evenly_distributed() {
        let ids = RequestIds::new(7);
        let drawn: HashSet<RequestId> = (0..100_000).map(|_| ids.draw()).collect();
        assert_eq!(drawn.len(), 100_000);
        let below = drawn.iter().filter(|id| id.0 < u64::MAX / 100).count();
        assert!((800..1200).contains(&below), "{below} of about 1000");
    }
}
