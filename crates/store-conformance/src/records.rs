//! The sentences about carrying clients from one store to another.

use crate::{cases::cases, message_steps::*, steps::*};
use beckon_store::{Store, StoreError};
use beckon_types::{
    AddChannel, ChannelRecord, ClientId, ClientRecord, Encoding, KeyHash, KeyId, Payload, PutMessage,
    Spelling,
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// The record of a client that is stored, with the channels in their order and whole TTLs.
pub async fn record_of(store: &Arc<dyn Store>, client: ClientId) -> ClientRecord {
    let mut record = store.read_client(client).await.expect("read_client").expect("a client that is stored");
    record.channels.sort_by_key(|record| record.channel.id);
    for message in &mut record.messages {
        assert!(!message.draft.ttl.is_zero() && message.draft.ttl <= LONG, "{:?}", message.draft.ttl);
        message.draft.ttl = LONG;
    }
    record
}

/// All clients of a store, whose number of pages is returned too.
///
/// # Panics
/// If there are more pages than `pages_max`.
pub async fn all_clients(store: &Arc<dyn Store>, pages_max: usize) -> (BTreeSet<ClientId>, usize) {
    let (mut clients, mut from) = (BTreeSet::new(), None);
    for pages in 1..=pages_max {
        let page = store.list_clients(from).await.expect("list_clients");
        clients.extend(page.clients);
        from = page.next;
        if from.is_none() {
            return (clients, pages);
        }
    }
    panic!("more than {pages_max} pages");
}

/// A disconnected Web Push client with a channel for one application server and messages of all kinds.
async fn web_client(store: &Arc<dyn Store>) -> Client {
    let mut client = subscribed(store, 2).await;
    let (channel, restricted) = (new_channel(), Some(KeyHash([9; 32])));
    let spelling = Spelling { hyphens: false, upper: 7 };
    add(store, AddChannel { spelling, restricted, key: KeyId(3), ..addition(&client, channel) }).await;
    client.channels.push(channel);
    accepted(store, message(&client, "first")).await;
    let headers = Encoding::Aesgcm { encryption: "salt=a".into(), crypto_key: "dh=b".into() };
    let mut other = PutMessage { channel, restricted, key: KeyId(3), ..about(1, message(&client, "")) };
    other.draft.payload = Some(Payload { encoding: headers, body: "second".into() });
    accepted(store, other).await;
    accepted(store, PutMessage { channel: client.channels[1], ..message(&client, "third") }).await;
    release(store, client.id, client.presence).await;
    client
}

cases! { $ records record_cases:
    /// A client that is stored while all pages are read is on one of them, or on several.
    async fn all_clients_are_listed(store) {
        let mut expected = BTreeSet::new();
        for _ in 0..20 {
            expected.insert(offline(&store, 1).await.id);
            expected.insert(web_client(&store).await.id);
        }
        expected.insert(connected(&store, 1).await.id);
        let (found, _) = all_clients(&store, 1000).await;
        assert!(found.is_superset(&expected));
    }

    /// Reads everything that is stored for a client; `None` if it is not stored.
    async fn a_record_has_channels_versions_and_messages(store) {
        assert_eq!(store.read_client(new_client_id()).await, Ok(None));
        let client = offline(&store, 2).await;
        let (sequence, _) = stored(&store, client.id, client.channels[1], 7).await;
        let record = record_of(&store, client.id).await;
        assert_eq!((record.client, record.sequence, record.messages.len()), (client.id, sequence, 0));
        assert!(record.unseen < Duration::from_secs(60), "{:?}", record.unseen);
        let pending = |record: &ChannelRecord| (record.channel.id, record.channel.pending);
        let found: BTreeSet<_> = record.channels.iter().map(pending).map(|(id, found)| (id, found.is_some())).collect();
        assert_eq!(found, [(client.channels[0], false), (client.channels[1], true)].into());

        let client = web_client(&store).await;
        let record = record_of(&store, client.id).await;
        let messages: Vec<_> = record.messages.iter().map(|message| (message.channel, message.key.0)).collect();
        let [first, second, third] = client.channels[..] else { panic!("three channels") };
        assert_eq!(messages, [(third, 3), (first, 1), (second, 1)], "in the order of their positions");
        let special = record.channels.iter().find(|record| record.channel.id == third).expect("the channel");
        assert_eq!(special.restricted, Some(KeyHash([9; 32]).into()));
        assert_eq!((special.key, special.channel.spelling), (KeyId(3), Spelling { hyphens: false, upper: 7 }));
    }

    /// Nothing is renewed, and the socket that owns the client does not matter.
    async fn a_client_is_read_while_it_is_connected(store) {
        let client = connected(&store, 1).await;
        let record = record_of(&store, client.id).await;
        assert_eq!(record.channels[0].channel.id, client.channels[0]);
        assert_eq!(stored(&store, client.id, client.channels[0], 1).await.1, Some(client.presence));
    }

    /// Stores a client as another store had it, and returns true. Its messages keep their places.
    async fn a_client_that_was_added_is_what_it_was(store) {
        let client = web_client(&store).await;
        let record = ClientRecord { client: new_client_id(), ..record_of(&store, client.id).await };
        assert_eq!(store.add_client(record.clone()).await, Ok(true));
        let added = record_of(&store, record.client).await;
        assert_eq!(ClientRecord { unseen: record.unseen, ..added }, record);
        let copy = Client { id: record.client, presence: new_presence(), channels: client.channels };
        let (_, former, snapshot) = claim(&store, webpush(copy.id, copy.presence)).await;
        assert_eq!((former, snapshot.sequence, snapshot.channels.len()), (None, record.sequence, 3));
        assert_eq!(waiting(&store, &copy).await, ["second", "first", "third"]);
        remove(&store, copy.id, &[record.messages[1].place]).await;
        assert_eq!(waiting(&store, &copy).await, ["second", "third"]);
        let (place, _) = accepted(&store, message(&copy, "later")).await;
        assert!(place.sequence > record.sequence);
        accepted(&store, about(1, message(&copy, "replaces the second"))).await;
        assert_eq!(waiting(&store, &copy).await, ["replaces the second", "third", "later"]);

        let client = connected(&store, 2).await;
        stored(&store, client.id, client.channels[1], 7).await;
        let record = ClientRecord { client: new_client_id(), ..record_of(&store, client.id).await };
        assert_eq!(store.add_client(record.clone()).await, Ok(true));
        let (sequence, presence) = stored(&store, record.client, client.channels[0], 8).await;
        assert!(sequence > record.sequence && presence.is_none(), "{presence:?}");
        let (_, _, snapshot) = claim(&store, simplepush(record.client, new_presence())).await;
        assert_eq!(pending(&snapshot), [(client.channels[0], Some(8)), (client.channels[1], Some(7))].into());
    }

    /// A client that is stored already does not change.
    async fn a_client_is_added_once(store) {
        let client = connected(&store, 2).await;
        let record = record_of(&store, client.id).await;
        stored(&store, client.id, client.channels[0], 7).await;
        assert_eq!(store.add_client(record.clone()).await, Ok(false));
        assert_eq!(pending_on(&store, &client, client.channels[0]).await, Some(7));
        let copy = ClientRecord { client: new_client_id(), ..record };
        assert_eq!(store.add_client(copy.clone()).await, Ok(true));
        assert_eq!(store.add_client(copy).await, Ok(false));
    }

    /// It expires when it would have expired in the other store.
    async fn a_client_that_was_not_seen_for_long_expires(store) {
        let client = offline(&store, 1).await;
        let record = ClientRecord { client: new_client_id(), ..record_of(&store, client.id).await };
        let unseen = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        assert_eq!(store.add_client(ClientRecord { unseen, ..record.clone() }).await, Ok(true));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(store.read_client(record.client).await, Ok(None));
    }

    /// A message of a channel that the record lacks makes the record [`StoreError::Unreadable`].
    async fn a_record_with_a_message_of_another_channel_is_refused(store) {
        let client = web_client(&store).await;
        let mut record = ClientRecord { client: new_client_id(), ..record_of(&store, client.id).await };
        record.messages[0].channel = new_channel();
        let refused = store.add_client(record.clone()).await;
        assert!(matches!(refused, Err(StoreError::Unreadable(_))), "{refused:?}");
        assert_eq!(store.read_client(record.client).await, Ok(None));
    }
}
