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
    push_v1::{DeliverRequest, delivery_client::DeliveryClient},
    target, transport,
};
use beckon_types::{ConnectionId, Notification, Presence};
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

/// Hands a parcel over on a stream to a worker.
async fn deliver(address: SocketAddr, worker: u8, parcel: &Parcel) -> Receipt {
    let endpoint = transport::client(&address.to_string(), None).unwrap();
    let channel = transport::connect(&endpoint, worker).await.unwrap();
    let mut client = DeliveryClient::with_interceptor(channel, PresentSecret(ClusterSecret::default()));
    let request = DeliverRequest { parcels: vec![parcel_to_wire(1, parcel)] };
    let mut call = Request::new(stream::iter([request]));
    target::write(call.metadata_mut(), parcel.to.node);
    let mut receipts = client.deliver(call).await.unwrap().into_inner();
    let response = receipts.message().await.unwrap().unwrap();
    response.receipts.into_iter().next().unwrap().try_into().unwrap()
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
