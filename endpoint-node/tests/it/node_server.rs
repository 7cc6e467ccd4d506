//! A connection-node reduced to its gRPC service: real sockets, and the receipts that a test chooses.

use beckon_proto::{
    auth::{ClusterSecret, RequireSecret},
    convert::receipt_to_wire,
    delivery::{Parcel, Receipt},
    push_v1::{
        DeliverRequest, DeliverResponse, EvictRequest, EvictResponse,
        delivery_server::{Delivery, DeliveryServer},
    },
    target,
    tls::Tls,
    transport,
};
use beckon_store::{NodeEntry, Store};
use beckon_types::NodeId;
use futures_util::{StreamExt as _, stream::BoxStream};
use std::{net::SocketAddr, sync::Arc};
use tokio::{net::TcpListener, runtime::Runtime, sync::watch};
use tonic::{Request, Response, Status, Streaming, transport::server::TcpIncoming};

/// What a node does with parcels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It answers each with this receipt.
    Answer(Receipt),
    /// It never answers.
    Silent,
}

/// A node that can be killed and started again. It has a runtime of its own, so that all its sockets close when it is
/// killed.
#[derive(Debug)]
pub(crate) struct NodeServer {
    pub(crate) node: NodeId,
    pub(crate) address: SocketAddr,
    service: Service,
    secret: Option<ClusterSecret>,
    tls: Option<Tls>,
    runtime: Option<Runtime>,
}

#[derive(Debug, Clone)]
struct Service {
    /// The node that answers.
    node: NodeId,
    taken: Arc<watch::Sender<Vec<Parcel>>>,
    manner: Arc<watch::Sender<Manner>>,
    streams: Arc<watch::Sender<u32>>,
}

impl NodeServer {
    /// Starts a node on a free port.
    pub(crate) fn start(node: u64, secret: Option<&str>, tls: Option<Tls>) -> Self {
        let service = Service {
            node: NodeId(node),
            taken: Arc::default(),
            manner: Arc::new(watch::Sender::new(Manner::Answer(Receipt::Delivered))),
            streams: Arc::default(),
        };
        let secret = secret.map(|secret| secret.parse().unwrap());
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { node: NodeId(node), address, service, secret, tls, runtime: None };
        server.restart();
        server
    }

    /// Starts to serve again, on the same port.
    pub(crate) fn restart(&mut self) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let entered = runtime.enter();
        let listener = std::net::TcpListener::bind(self.address).unwrap();
        listener.set_nonblocking(true).unwrap();
        self.address = listener.local_addr().unwrap();
        let incoming = TcpIncoming::from(TcpListener::from_std(listener).unwrap());
        let service =
            DeliveryServer::with_interceptor(self.service.clone(), RequireSecret(self.secret.clone()));
        let server = transport::server(self.tls.as_ref()).unwrap().serve_with_incoming(service, incoming);
        drop(entered);
        drop(runtime.spawn(server));
        self.runtime = Some(runtime);
    }

    /// Ends the node and all its sockets, as SIGKILL would.
    pub(crate) fn kill(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    /// Sets what it does with parcels from now on.
    pub(crate) fn behave(&self, manner: Manner) {
        self.service.manner.send_replace(manner);
    }

    /// Announces the node, as a real one does itself.
    pub(crate) async fn announce(&self, store: &Arc<dyn Store>) {
        self.announce_as(self.node, store).await;
    }

    /// Announces another node at the address of this one.
    pub(crate) async fn announce_as(&self, node: NodeId, store: &Arc<dyn Store>) {
        let entry = NodeEntry {
            node,
            name: "test".to_owned(),
            grpc_address: self.address.to_string(),
            ws_url: None,
            room: true,
        };
        store.announce(entry).await.unwrap();
    }

    /// Waits until the parcels it has received are `enough`, and returns them.
    pub(crate) async fn until_taken(&self, enough: impl FnMut(&Vec<Parcel>) -> bool) -> Vec<Parcel> {
        self.service.taken.subscribe().wait_for(enough).await.unwrap().clone()
    }

    /// How many streams have been opened to it so far.
    pub(crate) fn streams(&self) -> u32 {
        *self.service.streams.borrow()
    }
}

impl Drop for NodeServer {
    fn drop(&mut self) {
        // A runtime may not be dropped inside another one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Service {
    fn take(&self, request: DeliverRequest) -> Result<DeliverResponse, Status> {
        let manner = *self.manner.borrow();
        let mut receipts = Vec::new();
        for parcel in request.parcels {
            if let Manner::Answer(receipt) = manner {
                receipts.push(receipt_to_wire(parcel.tag, receipt));
            }
            let parcel = parcel.try_into()?;
            self.taken.send_modify(|taken| taken.push(parcel));
        }
        Ok(DeliverResponse { receipts })
    }
}

#[tonic::async_trait]
impl Delivery for Service {
    type DeliverStream = BoxStream<'static, Result<DeliverResponse, Status>>;

    async fn deliver(
        &self,
        request: Request<Streaming<DeliverRequest>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        self.streams.send_modify(|streams| *streams += 1);
        target::check(request.metadata(), self.node)?;
        let service = self.clone();
        let answers = request.into_inner().map(move |request| service.take(request?));
        let mut response = Response::new(answers.boxed());
        target::write(response.metadata_mut(), self.node);
        Ok(response)
    }

    async fn evict(&self, _: Request<EvictRequest>) -> Result<Response<EvictResponse>, Status> {
        Err(Status::unimplemented("endpoint-nodes do not evict"))
    }
}
