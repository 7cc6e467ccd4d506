//! How a node is divided among its worker threads.

use crate::{
    node::{TestNode, WORKERS},
    sockets::{registered, stored},
    wire::Wire,
};
use beckon_proto::{
    auth::{ClusterSecret, PresentSecret},
    convert::parcel_to_wire,
    delivery::{Parcel, Receipt},
    push_v1::{self as wire, DeliverRequest, delivery_client::DeliveryClient},
    target, transport,
};
use beckon_types::{ConnectionId, NodeId, Notification, Presence};
use futures_util::stream;
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::Request;

#[tokio::test]
async fn connections_are_spread_evenly_over_the_workers_also_when_some_have_left() {
    let node = TestNode::start(&[]).await;
    let mut wires = Vec::new();
    for _ in 0..WORKERS * 10 {
        wires.push(Wire::greeted(node.address).await);
    }
    assert_eq!(spread(&node).await, [10; WORKERS as usize]);
    // Those of one worker leave, if they were accepted in turn.
    for index in (0..10).rev() {
        drop(wires.remove(index * usize::from(WORKERS)));
    }
    node.until("beckon_connections", |open| open == u64::from(WORKERS - 1) * 10).await;
    for _ in 0..10 {
        wires.push(Wire::greeted(node.address).await);
    }
    assert_eq!(spread(&node).await, [10; WORKERS as usize]);
    node.stop().await;
}

/// How many connections each worker has.
async fn spread(node: &TestNode) -> Vec<u64> {
    let mut counts = Vec::new();
    for worker in 0..WORKERS {
        counts.push(node.metric(&format!("beckon_worker_connections{{worker=\"{worker}\"}}")).await);
    }
    counts
}

#[tokio::test]
async fn a_notification_that_comes_to_another_worker_arrives() {
    let node = TestNode::start(&[]).await;
    let mut wire = registered(&node).await;
    let put = stored(&*node.store, 1).await;
    let owner = put.to.connection.worker();
    // The last one is a worker that the node does not have.
    for (number, worker) in (0..=WORKERS).enumerate() {
        let mut parcel = put.clone();
        let Notification::Update(update) = &mut parcel.notification else { panic!("{parcel:?}") };
        update.sequence.0 += number as u64;
        assert_eq!(deliver(node.grpc, worker, &parcel).await, Receipt::Delivered, "{worker}, not {owner}");
        assert!(wire.text().await.contains("notification"));
    }
    let Presence { node: id, connection } = put.to;
    for connection in [ConnectionId::new(WORKERS, 0), ConnectionId::new(owner, connection.rest() + 1)] {
        let to = Presence { node: id, connection };
        assert_eq!(deliver(node.grpc, 0, &Parcel { to, ..put.clone() }).await, Receipt::NotHere);
    }
    node.stop().await;
}

/// A newer node sends kinds of notifications and values that this one does not know. Each parcel has its receipt, and the
/// stream goes on.
#[tokio::test]
async fn a_parcel_of_another_version_gets_a_receipt_and_its_connection_reads_the_store() {
    let node = TestNode::start(&[]).await;
    let mut agent = registered(&node).await;
    let put = stored(&*node.store, 1).await;
    let unknown_kind = wire::Parcel { notification: None, ..parcel_to_wire(1, &put) };
    let mut malformed = parcel_to_wire(2, &put);
    malformed.notification = Some(wire::parcel::Notification::Update(wire::Update {
        channel_id: vec![7; 17].into(),
        ..wire::Update::default()
    }));
    let absent = wire::Parcel { connection: put.to.connection.0 + 1, ..unknown_kind.clone() };
    let parcels = vec![unknown_kind, malformed, wire::Parcel { tag: 3, ..absent }, parcel_to_wire(4, &put)];
    let receipts = exchange(node.grpc, 0, put.to.node, parcels).await;
    let receipts: Vec<(u64, Receipt)> =
        receipts.into_iter().map(|receipt| (receipt.tag, receipt.try_into().unwrap())).collect();
    let busy = Receipt::Busy;
    assert_eq!(receipts, [(1, busy), (2, busy), (3, Receipt::NotHere), (4, Receipt::Delivered)]);
    assert!(agent.text().await.contains("\"version\":1"), "the update is read from the store");
    node.stop().await;
}

/// Hands a parcel over on a stream to a worker.
async fn deliver(address: SocketAddr, worker: u8, parcel: &Parcel) -> Receipt {
    let receipts = exchange(address, worker, parcel.to.node, vec![parcel_to_wire(1, parcel)]).await;
    receipts.into_iter().next().unwrap().try_into().unwrap()
}

/// Sends one request on a stream to a worker, and returns its receipts.
async fn exchange(
    address: SocketAddr,
    worker: u8,
    node: NodeId,
    parcels: Vec<wire::Parcel>,
) -> Vec<wire::Receipt> {
    let endpoint = transport::client(&address.to_string(), None).unwrap();
    let channel = transport::connect(&endpoint, worker).await.unwrap();
    let mut client = DeliveryClient::with_interceptor(channel, PresentSecret(ClusterSecret::default()));
    let mut call = Request::new(stream::iter([DeliverRequest { parcels }]));
    target::write(call.metadata_mut(), node);
    let mut receipts = client.deliver(call).await.unwrap().into_inner();
    receipts.message().await.unwrap().unwrap().receipts
}

#[tokio::test]
async fn a_connection_between_nodes_that_begins_wrongly_is_closed_and_the_others_go_on() {
    let node = TestNode::start(&[]).await;
    let mut wrong = TcpStream::connect(node.grpc).await.unwrap();
    wrong.write_all(b"beckon\x02\x00").await.unwrap();
    let mut rest = Vec::new();
    wrong.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"");
    let _silent = TcpStream::connect(node.grpc).await.unwrap();
    let _wire = registered(&node).await;
    let put = stored(&*node.store, 1).await;
    assert_eq!(deliver(node.grpc, 1, &put).await, Receipt::Delivered);
    node.stop().await;
}
