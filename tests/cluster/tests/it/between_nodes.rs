//! gRPC between the tiers: which peers are accepted, and what happens when none is.

use beckon_cluster_tests::{
    stage::{Registered, Stage},
    talk::{Client, new_channel},
};
use beckon_testbed::{
    PATIENCE,
    forwarder::Forwarder,
    plan::{Plan, Shape, key},
    ports::Port,
    process,
    programs::Program,
    redis::RedisServer,
    until,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_between_the_tiers_delays_and_loses_nothing() {
    let mut plan = Plan::new(Shape::Cluster);
    let proxy = Forwarder::to(plan.node("c0").addresses.grpc.unwrap());
    plan.node("c0").set("BECKON_GRPC_ADVERTISE", &proxy.address().to_string());
    let stage = Stage::own(plan);
    let mut client = Stage::client_of(stage.node("c0")).await;
    client.hello().await;
    let channel = new_channel();
    let endpoint = client.register(&channel).await;
    for round in 1..=2 {
        let (live, cut, healed) = (round * 10, round * 10 + 1, round * 10 + 2);
        // The stream to the client's worker may come back after those to others.
        let put = async || (stage.put(&endpoint, live).await == 200).then_some(());
        until("PUTs are delivered", put).await;
        expect_in_the_end(&mut client, live).await;
        client.ack(&channel, live).await;
        proxy.cut();
        // Through both endpoint-nodes; the second write replaces the first.
        assert_eq!(stage.put(&endpoint, live).await, 202);
        assert_eq!(stage.put(&endpoint, cut).await, 202);
        // On the same socket, without a hello: the endpoint-nodes have left word in the store.
        expect_in_the_end(&mut client, cut).await;
        proxy.heal();
        let put = async || (stage.put(&endpoint, healed).await == 200).then_some(());
        until("PUTs are delivered again", put).await;
        expect_in_the_end(&mut client, healed).await;
        client.ack(&channel, healed).await;
        // Each endpoint-node has its own stream; let both be back before the next cut.
        stage.wait_until_connected();
    }
}

/// Receives until this version arrives. Those before it may come, and more than once, but in order.
async fn expect_in_the_end(client: &mut Client, version: u64) {
    let mut last = 0;
    while last < version {
        for update in client.updates().await {
            let got = update["version"].as_u64().unwrap();
            assert!((last..=version).contains(&got), "version {got} after {last}");
            last = got;
        }
    }
}

#[tokio::test]
async fn a_node_with_another_secret_is_refused() {
    let mut plan = Plan::new(Shape::Cluster);
    plan.node("e1").set("BECKON_CLUSTER_SECRET", "not the secret of the others");
    let stage = Stage::apart(plan);
    let Registered { mut client, uaid, channel, endpoint } = stage.registered().await;
    let right = async || (Stage::put_through(stage.node("e0"), &endpoint, 1).await == 200).then_some(());
    until("the node with the right secret delivers", right).await;
    client.expect_update(&channel, 1).await;
    // It is believed by the store, so it may store; but no node accepts its requests.
    assert_eq!(Stage::put_through(stage.node("e1"), &endpoint, 2).await, 202);
    client.expect_nothing().await;
    client.resume(&uaid, &[]).await;
    client.expect_update(&channel, 2).await;
}

/// The server of HTTP/2 waits for its beginning without a limit.
#[tokio::test]
async fn a_connection_on_which_http_2_does_not_begin_is_closed() {
    let stage = Stage::own(Plan::new(Shape::Cluster));
    let grpc = stage.node("c0").addresses().grpc.unwrap();
    for beginning in [&b"P"[..], b"PRI * HTTP/2.0\r\n", b"beckon\x01\x01P"] {
        let mut stranger = TcpStream::connect(grpc).await.unwrap();
        stranger.write_all(beginning).await.unwrap();
        let read = timeout(PATIENCE, stranger.read(&mut [0])).await.expect("it is closed");
        assert!(matches!(read, Ok(0) | Err(_)), "{beginning:?}: {read:?}");
    }
}

#[tokio::test]
async fn the_internal_port_is_not_opened_to_others_without_a_secret() {
    let redis = RedisServer::start();
    let ports = [(); 3].map(|()| Port::free());
    let [ws, admin, _] = ports.each_ref().map(|port| port.address().to_string());
    let grpc = format!("0.0.0.0:{}", ports[2].number());
    let settings = [
        ("BECKON_WS_LISTEN", &*ws),
        ("BECKON_ADMIN_LISTEN", &admin),
        ("BECKON_GRPC_LISTEN", &grpc),
        ("BECKON_GRPC_ADVERTISE", "127.0.0.1:1"),
        ("BECKON_STORE", &redis.url()),
        ("BECKON_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("BECKON_TOKEN_KEYS", &key(1)),
        ("BECKON_UAID_KEY", &key(2)),
    ];
    let (status, output) = process::run(&Program::ConnectionNode.path(), &[], &settings);
    assert_eq!(status.code(), Some(64), "{output}");
    assert!(output.to_lowercase().contains("cluster_secret"), "{output}");
    // Too short is as bad as none, and is not shown.
    let short = [&settings[..], &[("BECKON_CLUSTER_SECRET", "tooshort")]].concat();
    let (status, output) = process::run(&Program::ConnectionNode.path(), &[], &short);
    assert_eq!(status.code(), Some(64), "{output}");
    assert!(output.contains("BECKON_CLUSTER_SECRET") && !output.contains("tooshort"), "{output}");
}
