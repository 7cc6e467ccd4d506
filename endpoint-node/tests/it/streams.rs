//! Handing notifications over to connection-nodes, and what happens when that fails.

use crate::{
    certificates::tls,
    node_server::{Manner, NodeServer},
    test_node::{TestNode, connected_to},
};
use beckon_proto::delivery::Receipt;
use beckon_store::Missed;
use beckon_testbed::certificates::Certificates;
use beckon_types::{
    Cause, ChannelId, Claim, ClientId, ConnectionId, NodeId, Notification, Presence, PutVersion,
    PutVersionOutcome, Sequence, Version,
};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// Fails the test if `test` takes too long.
async fn within<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, test).await.expect("it did not happen in time")
}

#[tokio::test]
async fn a_connected_client_gets_what_was_sent() {
    let node = TestNode::start().await;
    let server = NodeServer::start(11, None, None);
    server.announce(&node.store).await;
    let path = node.register(1, connected_to(server.node, 1)).await;
    let answer = node.put(&path, "version=7&data=hello").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
    let taken = within(server.until_taken(|taken| !taken.is_empty())).await;
    assert_eq!(taken[0].to, connected_to(server.node, 1));
    // Nothing is traced or logged, so nothing of it is on the wire.
    assert_eq!(taken[0].cause, Cause::default());
    let Notification::Update(update) = &taken[0].notification else { panic!("{taken:?}") };
    assert_eq!(update.channel, ChannelId([1; 16]));
    assert_eq!(update.version.number(), 7);
    assert_eq!(update.data.as_deref(), Some("hello"));
    assert_eq!(taken[0].previous, Some(Sequence(0)), "nothing was written before");
    let first = update.sequence;
    assert_eq!(node.put(&path, "version=8").await.status, 200);
    let taken = within(server.until_taken(|taken| taken.len() > 1)).await;
    assert_eq!(taken[1].previous, Some(first));
    node.stop().await;
}

#[tokio::test]
async fn a_stream_is_open_before_the_first_notification() {
    let node = TestNode::start().await;
    let server = NodeServer::start(26, None, None);
    server.announce(&node.store).await;
    // Node 27 does not exist, so the directory is read again, and node 26 found.
    let path = node.register(1, connected_to(NodeId(27), 1)).await;
    assert_eq!(node.put(&path, "version=1").await.status, 202);
    within(async {
        while server.streams() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(server.until_taken(|_| true).await.is_empty());
    node.stop().await;
}

/// With sixteen threads on either side there is a stream for each thread of the connection-node, not for each pair, and the
/// links to Redis are as many as with four.
#[tokio::test]
async fn each_worker_of_a_connection_node_gets_its_parcels_on_the_only_stream_to_it() {
    const WORKERS: u8 = 16;
    let node = TestNode::start_on(WORKERS, &[]).await;
    let server = NodeServer::start_with(13, WORKERS, None, None);
    server.announce(&node.store).await;
    let mut paths = Vec::new();
    for worker in 0..WORKERS {
        let connection = ConnectionId::new(worker, 1);
        paths.push(node.register(worker, Presence { node: server.node, connection }).await);
    }
    // More connections than workers, so that each worker of this node writes to each stream.
    let puts = (0..WORKERS).flat_map(|_| &paths).map(|path| node.put(path, "version=1"));
    let statuses = within(futures_util::future::join_all(puts)).await;
    assert!(statuses.iter().all(|answer| answer.status == 200), "{statuses:?}");
    let count = usize::from(WORKERS) * usize::from(WORKERS);
    let taken = within(server.until_taken(|taken| taken.len() == count)).await;
    let mut counts = [0; WORKERS as usize];
    taken.iter().for_each(|parcel| counts[usize::from(parcel.to.connection.worker())] += 1);
    assert_eq!(counts, [usize::from(WORKERS); WORKERS as usize]);
    assert_eq!(server.strays(), 0);
    assert_eq!(server.streams(), u32::from(WORKERS));
    let clients = node.redis.info("connected_clients");
    // Three workers, the announcement, the steps of the test, and the connection that asks.
    assert!(clients.parse::<u32>().unwrap() <= 6, "{clients}");
    node.stop().await;
}

#[tokio::test]
async fn another_node_at_the_address_is_not_taken_for_the_one_that_is_meant() {
    let node = TestNode::start().await;
    let server = NodeServer::start(28, None, None);
    let meant = NodeId(29);
    server.announce_as(meant, &node.store).await;
    let presence = connected_to(meant, 1);
    let path = node.register(1, presence).await;
    assert_eq!(node.put(&path, "version=1").await.status, 202);
    // The connection hears of it through the store, and still has its client.
    assert_eq!(node.store.take_missed(meant).await, Ok(Missed::These(vec![presence.connection])));
    let claim = node.store.verify(ClientId([1; 16]), presence).await.unwrap();
    assert!(matches!(claim, Claim::Owned { .. }), "{claim:?}");
    assert!(server.until_taken(|_| true).await.is_empty());
    node.stop().await;
}

#[tokio::test]
async fn many_notifications_share_one_stream() {
    let node = TestNode::start().await;
    let server = NodeServer::start(12, None, None);
    server.announce(&node.store).await;
    let path = node.register(1, connected_to(server.node, 1)).await;
    let puts = (0..200).map(|version| {
        let (node, path) = (&node, &path);
        async move { node.put(path, &format!("version={version}")).await.status }
    });
    let statuses = within(futures_util::future::join_all(puts)).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    let taken = within(server.until_taken(|taken| taken.len() == 200)).await;
    let mut versions: Vec<u64> = taken
        .iter()
        .filter_map(|parcel| match &parcel.notification {
            Notification::Update(update) => Some(update.version.number()),
            Notification::Message(_) | Notification::Missed => None,
        })
        .collect();
    versions.sort_unstable();
    assert_eq!(versions, (0..200).collect::<Vec<_>>());
    assert_eq!(server.streams(), 1);
    node.stop().await;
}

#[tokio::test]
async fn a_stale_presence_is_released() {
    let node = TestNode::start().await;
    let server = NodeServer::start(13, None, None);
    server.announce(&node.store).await;
    server.behave(Manner::Answer(Receipt::NotHere));
    let path = node.register(1, connected_to(server.node, 1)).await;
    assert_eq!(node.put(&path, "version=1").await.status, 202);
    let released = async {
        while presence_is_stored(&node).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(released).await;
    node.stop().await;
}

#[tokio::test]
async fn a_busy_client_keeps_its_presence() {
    let node = TestNode::start().await;
    let server = NodeServer::start(14, None, None);
    server.announce(&node.store).await;
    server.behave(Manner::Answer(Receipt::Busy));
    let path = node.register(1, connected_to(server.node, 1)).await;
    assert_eq!(node.put(&path, "version=1").await.status, 202);
    assert!(presence_is_stored(&node).await);
    node.stop().await;
}

/// Whether the store says that client 1 is connected.
async fn presence_is_stored(node: &TestNode) -> bool {
    let version = Version::new(1).unwrap();
    let put = PutVersion { client: ClientId([1; 16]), channel: ChannelId([1; 16]), version };
    match node.store.put_version(put).await.unwrap() {
        PutVersionOutcome::Stored { presence, .. } => presence.is_some(),
        PutVersionOutcome::Gone => panic!("client 1 is registered"),
    }
}

#[tokio::test]
async fn a_node_that_is_missing_from_the_directory_is_looked_up_at_once() {
    let node = TestNode::start_with(&[("BECKON_DELIVERY_TIMEOUT", "10s")]).await;
    let gone = node.register(1, connected_to(NodeId(404), 1)).await;
    // The directory has been read by now, before the next node is announced.
    assert_eq!(node.put(&gone, "version=1").await.status, 202);
    let server = NodeServer::start(15, None, None);
    server.announce(&node.store).await;
    let path = node.register(2, connected_to(server.node, 2)).await;
    assert_eq!(node.put(&path, "version=1").await.status, 200);
    node.stop().await;
}

#[tokio::test]
async fn a_silent_node_is_nudged_when_it_answers_again() {
    let node = TestNode::start_with(&[("BECKON_DELIVERY_TIMEOUT", "500ms")]).await;
    let server = NodeServer::start(16, None, None);
    server.announce(&node.store).await;
    let first = node.register(1, connected_to(server.node, 1)).await;
    let second = node.register(2, connected_to(server.node, 2)).await;
    assert_eq!(node.put(&first, "version=1").await.status, 200);
    server.behave(Manner::Silent);
    assert_eq!(node.put(&first, "version=2").await.status, 202);
    server.behave(Manner::Answer(Receipt::Delivered));
    assert_eq!(node.put(&second, "version=1").await.status, 200);
    let nudged = |taken: &Vec<beckon_proto::delivery::Parcel>| {
        taken.iter().any(|parcel| {
            parcel.notification == Notification::Missed && parcel.to == connected_to(server.node, 1)
        })
    };
    within(server.until_taken(nudged)).await;
    assert_eq!(server.streams(), 1, "a node that is only slow keeps its stream");
    node.stop().await;
}

#[tokio::test]
async fn a_reopened_stream_nudges_the_clients_that_missed_something() {
    let node = TestNode::start().await;
    let mut server = NodeServer::start(17, None, None);
    server.announce(&node.store).await;
    let first = node.register(1, connected_to(server.node, 1)).await;
    let second = node.register(2, connected_to(server.node, 2)).await;
    assert_eq!(node.put(&first, "version=1").await.status, 200);
    server.kill();
    assert_eq!(within(node.put(&first, "version=2")).await.status, 202);
    assert_eq!(within(node.put(&second, "version=2")).await.status, 202);
    server.restart();
    for client in [1, 2] {
        let nudged = |taken: &Vec<beckon_proto::delivery::Parcel>| {
            taken.iter().any(|parcel| {
                parcel.notification == Notification::Missed && parcel.to == connected_to(server.node, client)
            })
        };
        within(server.until_taken(nudged)).await;
    }
    assert_eq!(within(node.put(&first, "version=3")).await.status, 200);
    assert_eq!(server.streams(), 2);
    node.stop().await;
}

#[tokio::test]
async fn a_node_with_another_secret_gets_nothing() {
    let secret = ("BECKON_CLUSTER_SECRET", "the secret of this cluster");
    let node = TestNode::start_with(&[secret]).await;
    let friend = NodeServer::start(18, Some(secret.1), None);
    let stranger = NodeServer::start(19, Some("the secret of another cluster"), None);
    friend.announce(&node.store).await;
    stranger.announce(&node.store).await;
    let path = node.register(1, connected_to(friend.node, 1)).await;
    assert_eq!(node.put(&path, "version=1").await.status, 200);
    let path = node.register(2, connected_to(stranger.node, 2)).await;
    assert_eq!(within(node.put(&path, "version=1")).await.status, 202);
    assert_eq!(stranger.streams(), 0);
    node.stop().await;
}

#[tokio::test]
async fn with_tls_only_nodes_of_the_same_authority_get_notifications() {
    let (ours, theirs) = (Certificates::make(), Certificates::make());
    let files = [ours.certificate(), ours.key(), ours.authority()];
    let files = files.map(|path| path.to_str().unwrap().to_owned());
    let node = TestNode::start_with(&[
        ("BECKON_GRPC_TLS_CERT", &files[0]),
        ("BECKON_GRPC_TLS_KEY", &files[1]),
        ("BECKON_GRPC_TLS_CA", &files[2]),
    ])
    .await;
    let friend = NodeServer::start(21, None, Some(tls(&ours)));
    let stranger = NodeServer::start(22, None, Some(tls(&theirs)));
    let careless = NodeServer::start(23, None, None);
    for (client, server, status) in [(1, &friend, 200), (2, &stranger, 202), (3, &careless, 202)] {
        server.announce(&node.store).await;
        let path = node.register(client, connected_to(server.node, client)).await;
        assert_eq!(within(node.put(&path, "version=1")).await.status, status, "client {client}");
    }
    assert_eq!((stranger.streams(), careless.streams()), (0, 0));
    node.stop().await;
}

#[tokio::test]
async fn a_node_with_tls_refuses_a_sender_without() {
    let node = TestNode::start().await;
    let server = NodeServer::start(24, None, Some(tls(&Certificates::make())));
    server.announce(&node.store).await;
    let path = node.register(1, connected_to(server.node, 1)).await;
    assert_eq!(within(node.put(&path, "version=1")).await.status, 202);
    assert_eq!(server.streams(), 0);
    node.stop().await;
}

#[tokio::test]
async fn stopping_does_not_wait_for_silent_nodes() {
    let node = TestNode::start_with(&[("BECKON_DELIVERY_TIMEOUT", "300ms")]).await;
    let server = NodeServer::start(20, None, None);
    server.announce(&node.store).await;
    server.behave(Manner::Silent);
    let path = node.register(1, connected_to(server.node, 1)).await;
    let shutdown = node.shutdown.clone();
    let (answer, ()) = tokio::join!(node.put(&path, "version=1"), async {
        server.until_taken(|taken| !taken.is_empty()).await;
        shutdown.request();
    });
    assert_eq!(answer.status, 202, "a request that has begun is answered");
    within(node.stop()).await;
}
