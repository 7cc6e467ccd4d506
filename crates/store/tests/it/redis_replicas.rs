//! Steps that count as performed only when replicas have what they have written.

use crate::redis::open;
use beckon_store::{
    Cause, Store,
    redis::{Access, RedisOptions},
};
use beckon_store_conformance::{message_steps::*, steps::*};
use beckon_testbed::{forwarder::Forwarder, redis::RedisServer};
use std::{sync::Arc, time::Duration};

/// Time limit for a store whose replicas are well again.
const RECOVERY_TIME: Duration = Duration::from_secs(15);

async fn replicated(server: &RedisServer, replicas: u32) -> Arc<dyn Store> {
    let access = Access { replicas, ..Access::default() };
    open(server, RedisOptions { access, ..RedisOptions::default() }).await
}

/// Why a message is not accepted, if it is not.
async fn fault(store: &Arc<dyn Store>, client: &Client) -> Option<Cause> {
    store.put_message(message(client, "a")).await.err().map(|error| error.cause())
}

/// Waits until a message is accepted and the store is healthy.
async fn recovers(store: &Arc<dyn Store>, client: &Client) {
    let well = async {
        while fault(store, client).await.is_some() || store.check().await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(RECOVERY_TIME, well).await.expect("the store works again");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_accepted_while_a_replica_lags() {
    let server = RedisServer::start();
    let forwarder = Forwarder::to(server.address());
    let replica = server.start_replica_through(forwarder.address());
    let store = replicated(&server, 1).await;
    let client = subscribed(&store, 1).await;
    accepted(&store, message(&client, "before")).await;
    assert_eq!(store.check().await, Ok(()));

    forwarder.stall();
    assert_eq!(fault(&store, &client).await, Some(Cause::NotDurable));
    // The others need not wait for the same answer.
    let others = async {
        for _ in 0..10 {
            assert_eq!(fault(&store, &client).await, Some(Cause::NotDurable));
        }
    };
    tokio::time::timeout(Duration::from_secs(2), others).await.expect("they are refused at once");
    let sick = async {
        while store.check().await.map_err(|error| error.cause()) != Err(Cause::NotDurable) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(RECOVERY_TIME, sick).await.expect("health says so");
    // What accepts nothing goes on.
    claim(&store, webpush(client.id, client.presence)).await;
    assert!(!fetch(&store, &client, None, 10).await.messages.is_empty());
    store.announce(new_node()).await.unwrap();

    forwarder.heal();
    recovers(&store, &client).await;
    // Without replicas to wait for, a lagging one is no obstacle.
    forwarder.stall();
    assert_eq!(fault(&replicated(&server, 0).await, &client).await, None);
    drop(replica);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_replaced_counts_again() {
    let server = RedisServer::start();
    let replica = server.start_replica();
    let store = replicated(&server, 1).await;
    let client = subscribed(&store, 1).await;
    drop(replica);
    assert_eq!(fault(&store, &client).await, Some(Cause::NotDurable));
    let two = replicated(&server, 2).await;
    let _another = server.start_replica();
    recovers(&store, &client).await;
    assert_eq!(fault(&two, &client).await, Some(Cause::NotDurable), "one of two");
}

/// Many callers store messages while the primary is killed: the replica has everything that was accepted.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_is_on_the_replica_when_the_primary_dies() {
    const SENDERS: usize = 20;
    let mut server = RedisServer::start();
    let replica = server.start_replica();
    let store = replicated(&server, 1).await;
    let client = Arc::new(subscribed(&store, 1).await);
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..SENDERS {
        let (store, client) = (store.clone(), client.clone());
        senders.spawn(async move {
            let mut sent = Vec::new();
            for number in 0.. {
                let body = format!("{sender} {number}");
                let put = beckon_types::PutMessage { messages_max: 1_000_000, ..message(&client, &body) };
                match store.put_message(put).await {
                    Ok(_) => sent.push(body),
                    Err(_) => break,
                }
            }
            sent
        });
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.kill();
    let mut sent = Vec::new();
    while let Some(sender) = senders.join_next().await {
        sent.extend(sender.unwrap());
    }
    replica.become_primary();
    let promoted = replicated(&replica, 0).await;
    claim(&promoted, webpush(client.id, client.presence)).await;
    let kept = waiting(&promoted, &client).await;
    assert!(!sent.is_empty());
    let lost: Vec<_> = sent.iter().filter(|body| !kept.contains(body)).collect();
    assert!(lost.is_empty(), "{} of {} are lost, such as {:?}", lost.len(), sent.len(), lost[0]);
}
