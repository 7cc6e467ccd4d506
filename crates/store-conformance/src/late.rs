//! A step that its caller has given up changes nothing later.
//!
//! These are not cases of the suite, because they need a way to the store that can be held up: a store and the means to
//! hold it up are arguments.

use crate::{
    message_steps::{accepted, bodies, message, waiting},
    steps::*,
};
use beckon_store::{Answer, Store, StoreError};
use beckon_types::{BroadcastId, BroadcastVersion, HelloOutcome, PutVersion};
use futures_util::future::{BoxFuture, join_all};
use std::{fmt, sync::Arc};

/// A way to the store that can be held up.
pub trait Way: fmt::Debug {
    /// From now on no step reaches the store.
    fn hold_up(&self);

    /// Everything that was held up reaches the store now, in whatever state its callers are.
    fn let_go(&self) -> BoxFuture<'_, ()>;
}

/// The error of a step, if it fails.
fn failure<T: 'static>(step: Answer<T>) -> BoxFuture<'static, Option<StoreError>> {
    Box::pin(async move { step.await.err() })
}

/// Steps of all kinds are held up until their callers have given up. None of them has an effect afterwards.
///
/// `held_up` reaches the store over `way`, and `store` is another way to the same store.
///
/// # Panics
/// A step was performed late.
pub async fn a_step_that_was_given_up_changes_nothing(
    held_up: &Arc<dyn Store>,
    store: &Arc<dyn Store>,
    way: &dyn Way,
) {
    let (simple, web) = (connected(store, 2).await, subscribed(store, 2).await);
    let taken_over = connected(store, 1).await;
    let node = new_node();
    store.announce(node.clone()).await.expect("the store performs it");
    let (id, value) =
        (BroadcastId::parse("late/held").expect("an id"), BroadcastVersion::parse("1").expect("a version"));
    let (kept, other) =
        (BroadcastId::parse("late/kept").expect("an id"), BroadcastVersion::parse("2").expect("a version"));
    stored(store, simple.id, simple.channels[0], 7).await;
    // A step of each kind has gone this way before, so that a Redis has its script.
    let warm = connected(held_up, 2).await;
    stored(held_up, warm.id, warm.channels[0], 1).await;
    unregister(held_up, &warm, warm.channels[1]).await;
    accepted(held_up, message(&web, "before")).await;
    held_up.announce(new_node()).await.expect("the store performs it");
    assert_eq!(held_up.set_broadcast(kept.clone(), value.clone()).await, Ok(Ok(())));
    assert_eq!(held_up.remove_broadcast(kept.clone()).await, Ok(true));

    assert_eq!(store.set_broadcast(kept.clone(), value.clone()).await, Ok(Ok(())));
    let (added, late_socket) = (new_channel(), new_presence());
    way.hold_up();
    let put = PutVersion { client: simple.id, channel: simple.channels[0], version: version(6) };
    let steps = [
        failure(held_up.hello(simplepush(taken_over.id, late_socket))),
        failure(held_up.put_version(put)),
        failure(held_up.add_channel(addition(&simple, added))),
        failure(held_up.remove_channel(simple.id, simple.presence, simple.channels[1])),
        failure(held_up.put_message(message(&web, "late"))),
        failure(held_up.set_broadcast(id.clone(), value.clone())),
        failure(held_up.remove_broadcast(kept.clone())),
        failure(held_up.announce(node.clone())),
    ];
    let failures = join_all(steps).await;
    let given_up = |failure: &Option<StoreError>| matches!(failure, Some(StoreError::Unavailable { .. }));
    assert!(failures.iter().all(given_up), "{failures:?}");
    way.let_go().await;

    store.retire(node.node).await.expect("the store performs it");
    // A step over the same way is performed after those that were held up, if they are performed at all.
    held_up_recovers(held_up, &warm).await;
    let (_, presence) = stored(store, taken_over.id, taken_over.channels[0], 1).await;
    assert_eq!(presence, Some(taken_over.presence), "a late hello does not take the UAID away");
    assert_eq!(pending_on(store, &simple, simple.channels[0]).await, Some(7), "no older version wins");
    assert_eq!(pending_on(store, &simple, simple.channels[1]).await, None);
    let snapshot =
        store.snapshot(simple.id, simple.presence).await.expect("the store performs it").expect("the owner");
    let registered: Vec<_> = snapshot.channels.iter().map(|channel| channel.id).collect();
    assert!(registered.contains(&simple.channels[1]) && !registered.contains(&added), "{registered:?}");
    assert_eq!(waiting(store, &web).await, ["before"]);
    let broadcasts = store.broadcasts(0).await.expect("the store performs it").unwrap_or_default();
    assert!(!broadcasts.values.contains_key(id.as_str()), "{broadcasts:?}");
    assert_eq!(broadcasts.values.get(kept.as_str()).map(|value| &**value), Some("1"));
    let nodes = store.nodes().await.expect("the store performs it");
    assert!(nodes.iter().all(|entry| entry.node != node.node), "a late announcement revives a node");
    assert_eq!(store.set_broadcast(kept.clone(), other).await, Ok(Ok(())));
    assert_eq!(store.remove_broadcast(kept).await, Ok(true));
    let backlog = claim_backlog(store, webpush(web.id, web.presence)).await;
    assert_eq!(bodies(&backlog), ["before"]);
    let outcome = say(store, simplepush(taken_over.id, new_presence())).await;
    let HelloOutcome::Claimed { former, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(former, Some(taken_over.presence));
}

/// Waits until a step succeeds over the way that was held up.
async fn held_up_recovers(held_up: &Arc<dyn Store>, client: &Client) {
    let put = PutVersion { client: client.id, channel: client.channels[0], version: version(2) };
    let mut attempts = 0;
    while held_up.put_version(put).await.is_err() {
        attempts += 1;
        assert!(attempts < 100, "the store does not recover");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
