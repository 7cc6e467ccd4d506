//! The ids of requests.

use beckon_types::RequestId;
use std::{
    hash::{BuildHasher as _, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

/// Draws the ids of requests: keyed hashes of a number that counts them. So they are evenly distributed, and nobody who sees some
/// can tell how many requests came between them, or what the next one is. Neither another node draws the same ones nor this one
/// after a restart, as far as chance allows.
#[derive(Debug, Default)]
pub(crate) struct RequestIds {
    /// It is random.
    key: RandomState,
    drawn: AtomicU64,
}

impl RequestIds {
    /// The id of another request.
    pub(super) fn draw(&self) -> RequestId {
        let hash = self.key.hash_one(self.drawn.fetch_add(1, Ordering::Relaxed));
        // Zero is no request.
        RequestId(hash.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_different_and_evenly_distributed() {
        let ids = RequestIds::default();
        let drawn: HashSet<RequestId> = (0..100_000).map(|_| ids.draw()).collect();
        assert_eq!(drawn.len(), 100_000);
        let below = drawn.iter().filter(|id| id.0 < u64::MAX / 100).count();
        assert!((800..1200).contains(&below), "{below} of about 1000");
        let other = RequestIds::default();
        assert!((0..1000).all(|_| !drawn.contains(&other.draw())), "another node draws others");
    }
}
