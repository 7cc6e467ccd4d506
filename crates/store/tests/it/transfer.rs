//! All clients of one store are carried to another one.

use crate::{SetClock, embedded, redis};
use beckon_store::{Store, redis::RedisOptions};
use beckon_store_conformance::{message_steps::*, records::*, steps::*};
use beckon_testbed::redis::{RedisCluster, RedisServer};
use beckon_types::ClientId;
use std::{collections::BTreeSet, sync::Arc};

/// Clients of both dialects: more than there are on a page of any store.
const CLIENTS: usize = 1100;

/// Adds all clients of a store to another one, which has then the same.
async fn carry(from: &Arc<dyn Store>, to: &Arc<dyn Store>, expected: &BTreeSet<ClientId>) {
    let (clients, pages) = all_clients(from, 1000).await;
    assert_eq!((&clients, pages > 1), (expected, true), "{pages} pages");
    for client in &clients {
        let record = record_of(from, *client).await;
        assert_eq!(to.add_client(record.clone()).await, Ok(true));
        let mut added = record_of(to, *client).await;
        // Each store knows it to within its own uncertainty.
        added.unseen = record.unseen;
        assert_eq!(added, record);
    }
}

#[tokio::test]
async fn from_the_embedded_store_to_redis_and_a_cluster_and_back() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    let first: Arc<dyn Store> = Arc::new(embedded::open(&folder.path().join("first"), &clock));
    let last: Arc<dyn Store> = Arc::new(embedded::open(&folder.path().join("last"), &clock));
    let (server, cluster) = (RedisServer::start(), RedisCluster::start(3));
    let single = redis::open(&server, RedisOptions::default()).await;
    let shards = beckon_store::redis::connect(&cluster.url(), RedisOptions::default()).await.unwrap();
    let shards: Arc<dyn Store> = Arc::new(shards);
    let mut expected = BTreeSet::new();
    for number in 0..CLIENTS {
        let client = if number % 2 == 0 {
            let client = connected(&first, 2).await;
            stored(&first, client.id, client.channels[0], number as u64).await;
            client
        } else {
            let client = subscribed(&first, 1).await;
            accepted(&first, message(&client, "plain")).await;
            accepted(&first, about(1, message(&client, "topic"))).await;
            client
        };
        expected.insert(client.id);
    }
    carry(&first, &single, &expected).await;
    carry(&single, &shards, &expected).await;
    carry(&shards, &last, &expected).await;
}
