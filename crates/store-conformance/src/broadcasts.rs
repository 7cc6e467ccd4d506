//! Cases about broadcasts. They are common to all clients, so each case uses new ids, and removes broadcasts that
//! would disturb other cases.

use crate::{cases::cases, steps::random};
use beckon_store::Store;
use beckon_types::{BROADCASTS_MAX, BroadcastId, BroadcastVersion, Broadcasts, TooManyBroadcasts};
use futures_util::future::join_all;
use std::sync::Arc;

fn new_id() -> BroadcastId {
    BroadcastId::parse(&format!("test/{:016x}", random())).expect("an id")
}

fn version(text: &str) -> BroadcastVersion {
    BroadcastVersion::parse(text).expect("a version")
}

async fn set(store: &Arc<dyn Store>, id: &BroadcastId, text: &str) -> Result<(), TooManyBroadcasts> {
    store.set_broadcast(id.clone(), version(text)).await.expect("set_broadcast")
}

async fn remove(store: &Arc<dyn Store>, id: &BroadcastId) -> bool {
    store.remove_broadcast(id.clone()).await.expect("remove_broadcast")
}

/// All broadcasts, whatever their revision.
async fn all(store: &Arc<dyn Store>) -> Broadcasts {
    // Zero is the revision of no broadcasts at all, so `None` means that there have been none.
    store.broadcasts(0).await.expect("broadcasts").unwrap_or_default()
}

/// The version of a broadcast, and the revision.
async fn read(store: &Arc<dyn Store>, id: &BroadcastId) -> (Option<String>, u64) {
    let all = all(store).await;
    (all.values.get(id.as_str()).map(|version| version.to_string()), all.revision)
}

cases! { $ broadcasts broadcast_cases:

/// Sets the version of a broadcast, which is made if it does not exist.
async fn a_broadcast_has_the_version_set_last(store) {
    let (one, other) = (new_id(), new_id());
    assert_eq!(read(&store, &one).await.0, None);
    for text in ["1", "\"2\"", " v\u{e4}rsion ", "1"] {
        assert_eq!(set(&store, &one, text).await, Ok(()));
        assert_eq!(read(&store, &one).await.0.as_deref(), Some(text));
    }
    assert_eq!(set(&store, &other, "7").await, Ok(()));
    assert_eq!(read(&store, &one).await.0.as_deref(), Some("1"));
    assert_eq!(read(&store, &other).await.0.as_deref(), Some("7"));
}

/// The revision grows, unless the broadcast has that version already.
async fn the_revision_grows_with_each_change(store) {
    let id = new_id();
    let mut last = read(&store, &id).await.1;
    for text in ["1", "2", "1"] {
        assert_eq!(set(&store, &id, text).await, Ok(()));
        let changed = read(&store, &id).await.1;
        assert!(changed > last, "{changed} after {last}");
        assert_eq!(set(&store, &id, text).await, Ok(()));
        assert_eq!(read(&store, &id).await.1, changed);
        last = changed;
    }
}

/// Removes a broadcast, which makes the revision grow; false if it does not exist.
async fn a_removed_broadcast_is_gone(store) {
    let (id, kept) = (new_id(), new_id());
    assert_eq!((set(&store, &id, "1").await, set(&store, &kept, "1").await), (Ok(()), Ok(())));
    let before = all(&store).await.revision;
    assert!(remove(&store, &id).await);
    let (gone, after) = read(&store, &id).await;
    assert_eq!(gone, None);
    assert!(after > before, "{after} after {before}");
    assert!(!remove(&store, &id).await);
    assert!(!remove(&store, &new_id()).await);
    assert_eq!(read(&store, &kept).await, (Some("1".to_owned()), after));
    assert!(remove(&store, &kept).await);
    assert!(all(&store).await.revision > after, "even if none is left");
}

/// Reads all broadcasts, or nothing if their revision is still `known`.
async fn broadcasts_are_read_only_if_they_have_changed(store) {
    let id = new_id();
    assert_eq!(set(&store, &id, "1").await, Ok(()));
    let known = all(&store).await;
    assert_eq!(store.broadcasts(known.revision).await, Ok(None));
    for other in [known.revision - 1, known.revision + 1, u64::MAX, 0] {
        assert_eq!(store.broadcasts(other).await, Ok(Some(known.clone())), "{other}");
    }
    assert_eq!(set(&store, &id, "2").await, Ok(()));
    let changed = store.broadcasts(known.revision).await.expect("broadcasts").expect("a change");
    assert_eq!(changed.values.get(id.as_str()).map(|version| &**version), Some("2"));
    assert!(changed.revision > known.revision);
}

/// If there are as many broadcasts as the maximum, a further one is refused, and changes nothing; one that exists can
/// be set.
async fn there_are_no_more_broadcasts_than_the_maximum(store) {
    let room = BROADCASTS_MAX - all(&store).await.values.len();
    let ids: Vec<_> = (0..room).map(|_| new_id()).collect();
    let outcomes = join_all(ids.iter().map(|id| set(&store, id, "1"))).await;
    assert!(outcomes.iter().all(Result::is_ok));
    let full = all(&store).await;
    assert_eq!(full.values.len(), BROADCASTS_MAX);
    assert_eq!(set(&store, &new_id(), "1").await, Err(TooManyBroadcasts));
    assert_eq!(all(&store).await, full);
    assert_eq!(set(&store, &ids[0], "2").await, Ok(()));
    assert!(remove(&store, &ids[0]).await);
    assert_eq!(set(&store, &ids[0], "3").await, Ok(()));
    let removed = join_all(ids.iter().map(|id| remove(&store, id))).await;
    assert!(removed.iter().all(|removed| *removed));
}

/// Concurrent changes all take effect, and the last of them has the revision.
async fn concurrent_changes_all_take_effect(store) {
    let ids: Vec<_> = (0..20).map(|_| new_id()).collect();
    let before = all(&store).await.revision;
    let outcomes = join_all(ids.iter().map(|id| set(&store, id, "1"))).await;
    assert!(outcomes.iter().all(Result::is_ok));
    let after = all(&store).await;
    assert!(after.revision >= before + 20, "{} after {before}", after.revision);
    for id in &ids {
        assert!(after.values.contains_key(id.as_str()));
        assert!(remove(&store, id).await);
    }
}

}
