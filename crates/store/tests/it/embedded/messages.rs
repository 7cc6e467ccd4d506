//! Messages and broadcasts in the embedded store: what its disk and its clock do to them.

use super::{IDLE, copy_files, options, shared};
use crate::SetClock;
use beckon_store::{Store, StoreError, embedded::EmbeddedStore};
use beckon_store_conformance::{message_steps::*, steps::*};
use beckon_types::{
    AddChannel, Backlog, BroadcastId, BroadcastVersion, ChannelId, Draft, Encoding, Hello, KeyHash, KeyId,
    Nonce, Payload, Place, PutMessage, PutMessageOutcome, Sequence, Urgency,
};
use redb::{ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _};
use std::{path::Path, sync::Arc, time::Duration};

const TTL: Duration = Duration::from_secs(60);

const MESSAGES: redb::TableDefinition<'_, &[u8; 24], &[u8]> = redb::TableDefinition::new("messages");

/// A message for the client's first channel, for [`TTL`], with its number as body.
fn numbered(client: &Client, number: usize) -> PutMessage {
    lasting(TTL, PutMessage { messages_max: 150, ..message(client, &number.to_string()) })
}

/// The sequence of this write to a client, counted from 1, before the clock is advanced.
fn next(number: u64) -> Sequence {
    Sequence(1_700_000_000_000 + number - 1)
}

/// The first messages that a hello brings.
async fn backlog(store: &Arc<dyn Store>, client: &Client, max: usize) -> Backlog {
    claim_backlog(store, Hello { backlog_max: max, ..webpush(client.id, client.presence) }).await
}

/// The number of messages in a closed database.
fn on_disk(data_dir: &Path) -> u64 {
    let database = redb::Database::open(data_dir.join("store.redb")).unwrap();
    database.begin_read().unwrap().open_table(MESSAGES).unwrap().len().unwrap()
}

#[tokio::test]
async fn messages_and_broadcasts_are_kept_over_a_restart() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    let store = shared(directory.path(), &clock);
    let client = subscribed(&store, 1).await;
    let channel = client.channels[0];
    let hash = KeyHash([7; 32]);
    let restricted = AddChannel { restricted: Some(hash), ..addition(&client, channel) };
    store.add_channel(restricted).await.unwrap();
    let topic = Some(tag(1));
    let payload = Payload {
        encoding: Encoding::Aesgcm { encryption: "salt=c2FsdA".into(), crypto_key: "dh=BNoR".into() },
        body: vec![1; 4096].into(),
    };
    let first = PutMessage { restricted: Some(hash), key: KeyId(3), ..numbered(&client, 1) };
    let draft = Draft { urgency: Urgency::Low, payload: Some(payload.clone()), ..first.draft.clone() };
    let second = PutMessage { topic, draft, ..first.clone() };
    accepted(&store, first).await;
    accepted(&store, second.clone()).await;
    let id = BroadcastId::parse("news/main").unwrap();
    store.set_broadcast(id.clone(), BroadcastVersion::parse("1").unwrap()).await.unwrap().unwrap();
    let known = store.broadcasts(0).await.unwrap().unwrap();
    drop(store);

    let store = shared(directory.path(), &clock);
    clock.advance(Duration::from_secs(10));
    assert_eq!(store.broadcasts(known.revision).await.unwrap(), None);
    assert_eq!(store.broadcasts(0).await.unwrap(), Some(known));
    let superseded = store.put_message(numbered(&client, 3)).await.unwrap();
    assert_eq!(superseded, PutMessageOutcome::ChannelGone, "the key of the channel is kept");
    let Backlog { messages, more } = backlog(&store, &client, 10).await;
    assert!(!more && messages.len() == 2, "{messages:?}");
    let with_topic = &messages[0];
    assert_eq!(with_topic.place, Place { sequence: next(2), nonce: second.nonce, topic });
    assert_eq!((with_topic.key, with_topic.draft.urgency), (KeyId(3), Urgency::Low));
    assert_eq!((with_topic.channel, with_topic.draft.payload.as_ref()), (channel, Some(&payload)));
    assert_eq!(with_topic.draft.ttl, TTL - Duration::from_secs(10));
    let expected = Sequence(next(1).0 + 10_000);
    assert_eq!(accepted(&store, second).await.0.sequence, expected, "the sequence goes on with the clock");
}

/// Whatever was added, replaced and removed, also after a crash.
#[tokio::test]
async fn the_bytes_of_records_and_messages_are_known() {
    const CLIENTS: redb::TableDefinition<'_, &[u8; 16], &[u8]> = redb::TableDefinition::new("clients");
    let (directory, copy, clock) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), SetClock::new());
    // They are counted once a second.
    let counted = async |embedded: &EmbeddedStore| {
        clock.advance(Duration::from_secs(2));
        embedded.nodes().await.unwrap();
        embedded.figures().content_bytes
    };
    let embedded = Arc::new(super::open(directory.path(), &clock));
    assert_eq!(counted(&embedded).await, 0);
    let store: Arc<dyn Store> = embedded.clone();
    let (client, other) = (subscribed(&store, 2).await, offline(&store, 3).await);
    stored(&store, other.id, other.channels[0], 7).await;
    for number in 0..10 {
        let (place, _) = accepted(&store, numbered(&client, number)).await;
        accepted(&store, PutMessage { topic: Some(tag(1)), ..numbered(&client, number) }).await;
        if number % 3 == 0 {
            remove(&store, client.id, &[place]).await;
        }
    }
    let known = counted(&embedded).await;
    copy_files(directory.path(), copy.path());
    assert_eq!(counted(&super::open(copy.path(), &clock)).await, known, "after a crash");
    drop((embedded, store));
    let database = redb::Database::open(directory.path().join("store.redb")).unwrap();
    let transaction = database.begin_read().unwrap();
    let (records, messages) =
        (transaction.open_table(CLIENTS).unwrap(), transaction.open_table(MESSAGES).unwrap());
    let records: usize = records.iter().unwrap().map(|entry| 16 + entry.unwrap().1.value().len()).sum();
    let messages: usize = messages.iter().unwrap().map(|entry| 24 + entry.unwrap().1.value().len()).sum();
    assert_eq!(known, (records + messages) as u64);
}

/// After `kill -9`, the file has what the operating system had received when the step was answered.
#[tokio::test]
async fn an_answered_step_survives_the_end_of_the_process() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    let store = shared(directory.path(), &clock);
    let client = subscribed(&store, 1).await;
    let mut expected = Vec::new();
    for number in 0..20 {
        let (place, _) = accepted(&store, numbered(&client, number)).await;
        expected.push(number.to_string());
        if number % 3 == 0 {
            remove(&store, client.id, &[place]).await;
            expected.pop();
        }
        let copy = tempfile::tempdir().unwrap();
        copy_files(directory.path(), copy.path());
        let left = shared(copy.path(), &clock);
        assert_eq!(bodies(&backlog(&left, &client, 100).await), expected);
    }
}

#[tokio::test]
async fn a_message_is_returned_until_its_last_second_and_not_after() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    let store = shared(directory.path(), &clock);
    let client = subscribed(&store, 1).await;
    accepted(&store, numbered(&client, 1)).await;
    accepted(&store, lasting(2 * TTL, numbered(&client, 2))).await;
    clock.advance(TTL - Duration::from_secs(1));
    let last = backlog(&store, &client, 10).await;
    assert_eq!(bodies(&last), ["1", "2"]);
    assert_eq!(last.messages[0].draft.ttl, Duration::from_secs(1));
    clock.advance(Duration::from_secs(1));
    let Backlog { messages, more } = fetch(&store, &client, None, 1).await;
    assert_eq!((messages.len(), messages[0].draft.ttl, more), (1, TTL, false));
    drop(store);
    assert_eq!(on_disk(directory.path()), 1, "what a fetch meets expired is removed");
}

#[tokio::test]
async fn expired_messages_leave_room_and_free_their_topics() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    let store = shared(directory.path(), &clock);
    let client = subscribed(&store, 1).await;
    let topic = Some(tag(1));
    let put = |number| PutMessage { messages_max: 2, ..numbered(&client, number) };
    accepted(&store, PutMessage { topic, ..put(1) }).await;
    accepted(&store, lasting(2 * TTL, put(2))).await;
    assert_eq!(store.put_message(put(3)).await.unwrap(), PutMessageOutcome::Full);
    clock.advance(TTL);
    accepted(&store, lasting(2 * TTL, put(3))).await;
    let put = PutMessage { topic, ..put(4) };
    assert_eq!(store.put_message(put).await.unwrap(), PutMessageOutcome::Full, "nothing to replace");
    assert_eq!(bodies(&backlog(&store, &client, 10).await), ["2", "3"]);
    drop(store);
    assert_eq!(on_disk(directory.path()), 2);
}

/// Puts messages of two clients, lets `end` happen to the first one, and returns the number of messages on the disk.
async fn left_after<F: Future<Output = ()>>(end: impl FnOnce(Arc<dyn Store>, Client, SetClock) -> F) -> u64 {
    let (directory, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    let store = shared(directory.path(), &clock);
    let (client, other) = (subscribed(&store, 1).await, subscribed(&store, 1).await);
    let ttl = IDLE * 10;
    for number in 0..5 {
        accepted(&store, lasting(ttl, numbered(&client, number))).await;
    }
    accepted(&store, lasting(ttl, numbered(&other, 0))).await;
    end(Arc::clone(&store), client, clock).await;
    drop(store);
    on_disk(directory.path())
}

#[tokio::test]
async fn the_messages_of_a_removed_channel_or_client_leave_the_disk() {
    let unregistered = left_after(|store, client, _| async move {
        unregister(&store, &client, client.channels[0]).await;
        release(&store, client.id, client.presence).await;
    });
    assert_eq!(unregistered.await, 1);
    let expired = left_after(|store, client, clock| async move {
        release(&store, client.id, client.presence).await;
        clock.advance(IDLE * 2);
        // The other client is connected, and this makes the sweep run.
        store.nodes().await.unwrap();
    });
    assert_eq!(expired.await, 1);
    let acknowledged = left_after(|store, client, _| async move {
        let first = fetch(&store, &client, None, 5).await;
        let places: Vec<_> = first.messages.iter().map(|message| message.place).collect();
        remove(&store, client.id, &places).await;
    });
    assert_eq!(acknowledged.await, 1);
    assert_eq!(left_after(|_, _, _| async {}).await, 6, "nothing has come to an end");
}

/// A sweep removes a bounded number of messages, and the next one continues where it stopped.
#[tokio::test]
async fn expired_messages_are_swept_from_the_disk() {
    const CLIENTS: usize = 20;
    let (directory, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    let store = shared(directory.path(), &clock);
    let mut last = None;
    for number in 0..CLIENTS {
        let client = subscribed(&store, 1).await;
        let puts = (0..149).map(|number| accepted(&store, numbered(&client, number)));
        futures_util::future::join_all(puts).await;
        accepted(&store, lasting(IDLE, numbered(&client, 200))).await;
        // Some are connected.
        if number % 2 == 0 {
            release(&store, client.id, client.presence).await;
        }
        last = Some(client);
    }
    clock.advance(2 * TTL);
    store.nodes().await.unwrap();
    drop(store);
    let left = on_disk(directory.path());
    assert!(
        (CLIENTS as u64 + 1..CLIENTS as u64 * 150).contains(&left),
        "the first sweep leaves something: {left}"
    );
    let store = shared(directory.path(), &clock);
    for _ in 0..3 {
        clock.advance(Duration::from_secs(1));
        store.nodes().await.unwrap();
    }
    assert_eq!(bodies(&backlog(&store, &last.unwrap(), 10).await), ["200"]);
    drop(store);
    assert_eq!(on_disk(directory.path()), CLIENTS as u64, "what has not expired stays");
}

/// Steps of one batch see each other: a message that is put, replaced and removed before a commit.
#[tokio::test]
async fn concurrent_steps_see_each_other_and_share_commits() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    let synced = beckon_store::embedded::Options { fsync: true, ..options(directory.path(), &clock) };
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(synced).unwrap());
    let client = subscribed(&store, 1).await;
    let topic = Some(tag(1));
    let puts = (0..200).map(|number| {
        let topic = topic.filter(|_| number % 2 == 0);
        let nonce = Nonce(number as u64);
        store.put_message(PutMessage { topic, nonce, messages_max: 50, ..numbered(&client, number) })
    });
    let removes = (1..=20).map(|number| {
        let topic = topic.filter(|_| number % 2 == 1);
        let place = Place { sequence: next(number), nonce: Nonce(number - 1), topic };
        store.remove_messages(client.id, vec![place])
    });
    // They are queued in this order, since the task of the test does not yield, and performed by one thread.
    let all = async {
        let puts = futures_util::future::join_all(puts);
        futures_util::future::join(puts, futures_util::future::join_all(removes)).await
    };
    let (puts, removes) = tokio::task::unconstrained(all).await;
    removes.into_iter().for_each(|removed| removed.unwrap());
    let full = puts.iter().filter(|put| matches!(put, Ok(PutMessageOutcome::Full))).count();
    assert_eq!(full, 100 - 49, "49 without topic besides one with");
    drop(store);
    let store = shared(directory.path(), &clock);
    let kept = bodies(&backlog(&store, &client, 100).await);
    assert_eq!((kept[0].as_str(), kept.len()), ("198", 50 - 10));
    drop(store);
    assert_eq!(on_disk(directory.path()), 40);
}

#[tokio::test]
async fn an_unreadable_message_is_reported_and_kept() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    let store = shared(directory.path(), &clock);
    let client = subscribed(&store, 1).await;
    let (place, _) = accepted(&store, numbered(&client, 1)).await;
    drop(store);
    let mut key = [0; 24];
    key[..16].copy_from_slice(&client.id.0);
    key[16..].copy_from_slice(&place.sequence.0.to_be_bytes());
    let newer: &[u8] = &[2, 0];
    {
        let database = redb::Database::open(directory.path().join("store.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        assert!(transaction.open_table(MESSAGES).unwrap().insert(&key, newer).unwrap().is_some());
        transaction.commit().unwrap();
    }
    let store = shared(directory.path(), &clock);
    let claimed = store.hello(webpush(client.id, new_presence())).await;
    assert!(matches!(claimed, Err(StoreError::Unreadable(_))), "{claimed:?}");
    let (_, owner) = accepted(&store, lasting(Duration::ZERO, numbered(&client, 2))).await;
    assert_eq!(owner, None, "the hello changed nothing");
    // Steps that do not have to read it succeed.
    accepted(&store, numbered(&client, 2)).await;
    drop(store);
    assert_eq!(on_disk(directory.path()), 2);
}

#[tokio::test]
async fn other_channels_keep_their_messages() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    let store = shared(directory.path(), &clock);
    let mut client = subscribed(&store, 1).await;
    let mut channels: Vec<ChannelId> = client.channels.clone();
    for _ in 0..3 {
        let channel = new_channel();
        register(&store, &client, channel).await;
        channels.push(channel);
    }
    for (number, channel) in (0..).zip(&channels) {
        client.channels = vec![*channel];
        accepted(&store, numbered(&client, number)).await;
    }
    unregister(&store, &client, channels[1]).await;
    unregister(&store, &client, channels[0]).await;
    unregister(&store, &client, channels[0]).await;
    let Backlog { messages, .. } = backlog(&store, &client, 10).await;
    let left: Vec<_> = messages.iter().map(|message| message.channel).collect();
    assert_eq!(left, channels[2..]);
    unregister(&store, &client, channels[3]).await;
    assert_eq!(bodies(&backlog(&store, &client, 10).await), ["2"]);
}

/// A backup of several parts.
#[tokio::test]
async fn a_restored_backup_has_every_message() {
    const CLIENTS: usize = 30;
    let (directory, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    let store = Arc::new(super::open(directory.path(), &clock));
    let shared_store: Arc<dyn Store> = store.clone();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let client = subscribed(&shared_store, 1).await;
        for number in 0..100 {
            let mut put = numbered(&client, number);
            let body = [number.to_string(), "x".repeat(1000)].concat();
            put.draft.payload =
                Some(Payload { encoding: Encoding::Aes128gcm, body: body.into_bytes().into() });
            accepted(&shared_store, put).await;
        }
        clients.push(client);
    }
    let mut backup = Vec::new();
    let summary = store.backup().await.unwrap().write_to("keys", &mut backup).unwrap();
    assert_eq!((summary.clients, summary.messages), (CLIENTS as u64, 100 * CLIENTS as u64));
    let copy = tempfile::tempdir().unwrap();
    let restore = |keep: fn(&str) -> Result<(), String>| {
        beckon_store::embedded::restore(copy.path(), &backup[..], keep).unwrap()
    };
    assert_eq!(restore(|keys| Err(format!("these {keys} do not fit"))), Err("these keys do not fit".into()));
    assert!(!copy.path().join("store.redb").exists(), "it is of no use without its keys");
    assert_eq!(restore(|_| Ok(())), Ok(()));
    assert_eq!(on_disk(copy.path()), 100 * CLIENTS as u64);
    let restored = shared(copy.path(), &clock);
    for client in clients {
        let hello = Hello { backlog_max: 200, ..webpush(client.id, new_presence()) };
        assert_eq!(claim_backlog(&restored, hello).await.messages.len(), 100);
    }
}
