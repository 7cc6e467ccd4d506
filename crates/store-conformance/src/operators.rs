//! The sentences about what operators see of a client and take from it.

use crate::{cases::cases, message_steps::*, records::record_of, steps::*};
use beckon_store::Store;
use beckon_types::{
    ChannelId, Claim, ClientId, ClientRecord, FindChannel, FindChannelOutcome, FoundClient, Hello,
    HelloOutcome, Presence, PutMessageOutcome, PutVersion, PutVersionOutcome, Revoke, Revoked,
};
use std::{sync::Arc, time::Duration};

async fn found(store: &Arc<dyn Store>, client: ClientId) -> Option<(ClientRecord, Option<Presence>)> {
    match store.find_client(client).await.expect("find_client") {
        FoundClient::Stored { record, presence } => Some((*record, presence)),
        FoundClient::Unknown => None,
        FoundClient::Blocked => panic!("it is blocked"),
    }
}

async fn revoke(store: &Arc<dyn Store>, revoke: Revoke) -> Revoked {
    store.revoke(revoke).await.expect("revoke")
}

const NOTHING: Revoked = Revoked { changed: false, former: None };

/// What a PUT to a channel finds.
async fn put(store: &Arc<dyn Store>, client: ClientId, channel: ChannelId) -> PutVersionOutcome {
    store.put_version(PutVersion { client, channel, version: version(7) }).await.expect("put_version")
}

/// Nothing is left of a client, whose socket and channels were these.
async fn is_gone(store: &Arc<dyn Store>, client: &Client) {
    assert!(!matches!(store.verify(client.id, client.presence).await, Ok(Claim::Owned { .. })));
    for channel in &client.channels {
        assert_eq!(put(store, client.id, *channel).await, PutVersionOutcome::Gone);
        let posted =
            store.put_message(beckon_types::PutMessage { channel: *channel, ..message(client, "x") }).await;
        assert!(
            matches!(posted, Ok(PutMessageOutcome::UaidGone | PutMessageOutcome::ChannelGone)),
            "{posted:?}"
        );
        let find = FindChannel { client: client.id, channel: *channel, restricted: None };
        assert_ne!(store.find_channel(find).await, Ok(FindChannelOutcome::Registered));
    }
    // What a socket that does not know yet still does, has no effect.
    assert!(store.snapshot(client.id, client.presence).await.expect("snapshot").is_err());
    release(store, client.id, client.presence).await;
    assert_eq!(store.read_client(client.id).await, Ok(None));
}

cases! { $ operators operator_cases:
    /// Reads everything that is stored for a client, and which socket owns it, for an operator.
    async fn a_client_is_found_with_its_socket(store) {
        assert_eq!(found(&store, new_client_id()).await, None);
        let client = subscribed(&store, 2).await;
        accepted(&store, message(&client, "first")).await;
        let (record, presence) = found(&store, client.id).await.expect("it is stored");
        assert_eq!((record.channels.len(), record.messages.len()), (2, 1));
        assert_eq!(presence, Some(client.presence));
        release(&store, client.id, client.presence).await;
        let (record, presence) = found(&store, client.id).await.expect("it is stored");
        assert_eq!((record.messages.len(), presence), (1, None));
    }

    /// A client that is forgotten is not stored any more: its socket does not own it, and its endpoints are gone.
    async fn a_client_is_forgotten(store) {
        for client in [connected(&store, 2).await, subscribed(&store, 2).await] {
            assert_eq!(
                revoke(&store, Revoke::Forget(client.id)).await,
                Revoked { changed: true, former: Some(client.presence) }
            );
            is_gone(&store, &client).await;
            assert_eq!(found(&store, client.id).await, None);
            assert_eq!(revoke(&store, Revoke::Forget(client.id)).await, NOTHING);
        }
        let client = offline(&store, 1).await;
        assert_eq!(revoke(&store, Revoke::Forget(client.id)).await, Revoked { changed: true, former: None });
        is_gone(&store, &client).await;
        // It can come back as a new client.
        let (_, former, snapshot) = claim(&store, simplepush(client.id, new_presence())).await;
        assert_eq!((former, snapshot.channels.len()), (None, 0));
    }

    /// A client that is blocked is forgotten, and cannot be claimed, until it is unblocked; this does not expire.
    async fn a_blocked_client_cannot_be_claimed(store) {
        for client in [connected(&store, 2).await, subscribed(&store, 2).await] {
            accepted_if_webpush(&store, &client).await;
            assert_eq!(
                revoke(&store, Revoke::Block(client.id)).await,
                Revoked { changed: true, former: Some(client.presence) }
            );
            is_gone(&store, &client).await;
            assert_eq!(revoke(&store, Revoke::Block(client.id)).await, NOTHING);
            assert_eq!(revoke(&store, Revoke::Forget(client.id)).await, NOTHING, "a blocked client is not forgotten");
            assert_eq!(store.find_client(client.id).await, Ok(FoundClient::Blocked));
            let without_list = Hello { listed: None, ..simplepush(client.id, new_presence()) };
            for hello in [
                simplepush(client.id, new_presence()),
                without_list,
                webpush(client.id, new_presence()),
                Hello { adopt: true, ..webpush(client.id, new_presence()) },
            ] {
                assert_eq!(say(&store, hello).await, HelloOutcome::Blocked);
            }
            is_gone(&store, &client).await;
            assert_eq!(revoke(&store, Revoke::Unblock(client.id)).await, Revoked { changed: true, former: None });
            assert_eq!(revoke(&store, Revoke::Unblock(client.id)).await, NOTHING);
            let (_, former, snapshot) = claim(&store, simplepush(client.id, new_presence())).await;
            assert_eq!((former, snapshot.channels.len()), (None, 0));
        }
    }

    /// A client that is not stored can be blocked.
    async fn a_client_is_blocked_before_it_comes(store) {
        let client = new_client_id();
        assert_eq!(revoke(&store, Revoke::Unblock(client)).await, NOTHING);
        assert_eq!(revoke(&store, Revoke::Block(client)).await, Revoked { changed: true, former: None });
        assert_eq!(say(&store, simplepush(client, new_presence())).await, HelloOutcome::Blocked);
        assert_eq!(revoke(&store, Revoke::Unblock(client)).await, Revoked { changed: true, former: None });
        claim(&store, simplepush(client, new_presence())).await;
    }

    /// [`Store::read_client`] returns `None` for a blocked client, and [`Store::add_client`] false.
    async fn a_blocked_client_is_neither_exported_nor_imported(store) {
        let client = offline(&store, 1).await;
        let record = record_of(&store, client.id).await;
        revoke(&store, Revoke::Block(client.id)).await;
        assert_eq!(store.read_client(client.id).await, Ok(None));
        assert_eq!(store.add_client(ClientRecord { unseen: Duration::ZERO, ..record }).await, Ok(false));
        assert_eq!(store.find_client(client.id).await, Ok(FoundClient::Blocked));
    }
}

/// Stores something for a Web Push client, so that there is more to forget.
async fn accepted_if_webpush(store: &Arc<dyn Store>, client: &Client) {
    // A SimplePush client has no channel for messages.
    let _ = store.put_message(message(client, "waiting")).await;
}
