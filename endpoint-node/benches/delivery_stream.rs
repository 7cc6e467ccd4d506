//! What it costs to hand a notification to another node and get its receipt: both ends of the stream, in this
//! process, over a real socket on loopback.
//!
//! A line is the time until all parcels of a batch, offered at once, have their receipts; the items per second are
//! parcels. The side of the connection-node reads and answers every parcel like a real node, but has no WebSockets.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has to stop")]

use beckon_endpoint_node::{
    connection_nodes::{ConnectionNodes, Member, Settings},
    metrics::Metrics,
};
use beckon_node::key_rings::KeyRings;
use beckon_ops::{clock::Clock, shutdown::Shutdown, stage::Stage, workers::Workers};
use beckon_proto::{
    auth::ClusterSecret,
    convert::receipt_to_wire,
    delivery::{Deliver as _, Parcel, Receipt},
    push_v1::{
        DeliverRequest, DeliverResponse, EvictRequest, EvictResponse,
        delivery_server::{Delivery, DeliveryServer},
    },
    target, transport,
};
use beckon_store::{NodeEntry, Store, redis::RedisOptions};
use beckon_testbed::redis::RedisServer;
use beckon_types::{
    Cause, ChannelId, ConnectionId, KeyRing, NodeId, Notification, Presence, Sequence, Update, Version,
};
use divan::{Bencher, counter::ItemsCount};
use futures_util::{StreamExt as _, future::join_all, stream::BoxStream};
use std::{hint::black_box, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    task::JoinSet,
};
use tonic::{Request, Response, Status, Streaming, transport::server::TcpIncoming};

const NODE: NodeId = NodeId(7);

fn main() {
    divan::main();
}

/// Answers every parcel with a receipt.
#[derive(Debug, Clone, Copy)]
struct Taker;

impl Taker {
    fn take(request: DeliverRequest) -> Result<DeliverResponse, Status> {
        let take = |parcel: beckon_proto::push_v1::Parcel| {
            let tag = parcel.tag;
            black_box(Parcel::try_from(parcel)?);
            Ok(receipt_to_wire(tag, Receipt::Delivered))
        };
        let receipts: Result<Vec<_>, beckon_proto::convert::Malformed> =
            request.parcels.into_iter().map(take).collect();
        Ok(DeliverResponse { receipts: receipts? })
    }
}

#[tonic::async_trait]
impl Delivery for Taker {
    type DeliverStream = BoxStream<'static, Result<DeliverResponse, Status>>;

    async fn deliver(
        &self,
        request: Request<Streaming<DeliverRequest>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let answers = request.into_inner().map(|request| Self::take(request?));
        let mut response = Response::new(answers.boxed());
        target::write(response.metadata_mut(), NODE);
        Ok(response)
    }

    async fn evict(&self, _: Request<EvictRequest>) -> Result<Response<EvictResponse>, Status> {
        Err(Status::unimplemented("this bench evicts nothing"))
    }
}

/// A node that takes parcels, and the stream to it.
struct Bed {
    nodes: ConnectionNodes,
    /// Ends when dropped.
    _server: JoinSet<Result<(), tonic::transport::Error>>,
    runtime: Runtime,
    _redis: RedisServer,
}

impl Bed {
    /// Both ends on one thread, so that a line is about the work and not about the scheduling of threads.
    fn make() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let redis = RedisServer::start();
        let (nodes, server) = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let entry = NodeEntry {
                node: NODE,
                name: "bench".to_owned(),
                grpc_address: listener.local_addr().unwrap().to_string(),
                workers: 1,
                ws_url: None,
                room: true,
                keys: Vec::new(),
            };
            let mut server = JoinSet::new();
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            let serving = transport::server();
            server.spawn(serving.serve_with_incoming(DeliveryServer::new(Taker), incoming));
            let store = beckon_store::redis::connect(&redis.url(), RedisOptions::default()).await.unwrap();
            store.announce(entry).await.unwrap();
            let keys = KeyRing::parse(&KeyRing::key_text(&[7; 32])).unwrap();
            let member = Member { name: "bench".into(), key_rings: Arc::new(KeyRings::alone(&keys)) };
            let secret = ClusterSecret::default();
            let settings = Settings { delivery_timeout: Duration::from_secs(10), secret, tls: None };
            let (metrics, clock) = (Metrics::default(), Clock::start());
            let streams = Stage::new(&Shutdown::new(), "streams");
            let (store, workers) = (Arc::new(store), Workers::current());
            (ConnectionNodes::start(store, member, settings, metrics, clock, streams, workers), server)
        });
        Self { nodes, _server: server, runtime, _redis: redis }
    }

    /// Hands over `parcels` at once and waits for their receipts.
    fn deliver(&self, parcels: usize, data: Option<&Arc<str>>) {
        let offered = (0..parcels as u64).map(|number| self.nodes.deliver(parcel(number, data)));
        let receipts = self.runtime.block_on(join_all(offered));
        assert!(receipts.iter().all(|receipt| *receipt == Ok(Receipt::Delivered)), "{receipts:?}");
    }
}

fn parcel(number: u64, data: Option<&Arc<str>>) -> Parcel {
    let update = Update {
        channel: ChannelId([9; 16]),
        version: Version::new(1_700_000_000_000).unwrap(),
        sequence: Sequence(number + 1),
        data: data.cloned(),
    };
    let to = Presence { node: NODE, connection: ConnectionId(number) };
    let previous = Some(Sequence(number));
    Parcel { to, notification: Notification::Update(update), previous, cause: Cause::default() }
}

/// Parcels in a batch.
#[divan::bench(args = [1, 64], sample_count = 200, sample_size = 16)]
fn parcels(bencher: Bencher<'_, '_>, batch: usize) {
    let bed = Bed::make();
    bencher.counter(ItemsCount::new(batch)).bench_local(|| bed.deliver(batch, None));
}

/// The same with 1 KiB of data in each.
#[divan::bench(args = [1, 64], sample_count = 200, sample_size = 16)]
fn parcels_with_data(bencher: Bencher<'_, '_>, batch: usize) {
    let bed = Bed::make();
    let data: Arc<str> = "d".repeat(1024).into();
    bencher.counter(ItemsCount::new(batch)).bench_local(|| bed.deliver(batch, Some(&data)));
}
