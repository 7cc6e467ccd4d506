//! A connection-node reduced to its gRPC service: real sockets, and the receipts that a test chooses.

use beckon_proto::{
    auth::{ClusterSecret, RequireSecret},
    convert::receipt_to_wire,
    delivery::{Parcel, Receipt},
    push_v1::{
        DeliverRequest, DeliverResponse, EvictRequest, EvictResponse,
        delivery_server::{Delivery, DeliveryServer},
    },
    server_stream::ServerStream,
    target,
    tls::Tls,
    transport, worker_line,
};
use beckon_store::{NodeEntry, Store};
use beckon_types::NodeId;
use futures_util::{
    StreamExt as _,
    stream::{BoxStream, unfold},
};
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    sync::{mpsc, watch},
};
use tonic::{Request, Response, Status, Streaming};

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
    /// How many workers it says that it has. Each has a server of its own, as in a real node.
    workers: u8,
    service: Service,
    secret: ClusterSecret,
    tls: Option<Tls>,
    runtime: Option<Runtime>,
}

#[derive(Debug, Clone)]
struct Service {
    /// The node that answers.
    node: NodeId,
    worker: u8,
    taken: Arc<watch::Sender<Vec<Parcel>>>,
    /// Parcels for another worker than the one on whose stream they came.
    strays: Arc<AtomicUsize>,
    manner: Arc<watch::Sender<Manner>>,
    streams: Arc<watch::Sender<u32>>,
}

impl NodeServer {
    /// Starts a node with one worker on a free port.
    pub(crate) fn start(node: u64, secret: Option<&str>, tls: Option<Tls>) -> Self {
        Self::start_with(node, 1, secret, tls)
    }

    /// Starts a node with so many workers on a free port.
    pub(crate) fn start_with(node: u64, workers: u8, secret: Option<&str>, tls: Option<Tls>) -> Self {
        let service = Service {
            node: NodeId(node),
            worker: 0,
            taken: Arc::default(),
            strays: Arc::default(),
            manner: Arc::new(watch::Sender::new(Manner::Answer(Receipt::Delivered))),
            streams: Arc::default(),
        };
        let secret = secret.unwrap_or_default().parse().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { node: NodeId(node), address, workers, service, secret, tls, runtime: None };
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
        let listener = TcpListener::from_std(listener).unwrap();
        let mut sockets = Vec::new();
        for worker in 0..self.workers {
            let (sender, receiver) = mpsc::channel(8);
            sockets.push(sender);
            let incoming = unfold(receiver, |mut receiver| async {
                Some((Ok::<ServerStream, Infallible>(receiver.recv().await?), receiver))
            });
            let service = Service { worker, ..self.service.clone() };
            let service = DeliveryServer::with_interceptor(service, RequireSecret(self.secret.clone()));
            let server = transport::server();
            drop(runtime.spawn(server.serve_with_incoming(service, incoming)));
        }
        let tls = self.tls.clone();
        drop(runtime.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                // A test may connect and say nothing.
                let Ok(worker) = worker_line::read(&mut stream).await else { continue };
                let Ok(stream) = transport::accept(stream, tls.as_ref()).await else { continue };
                let _ = sockets[usize::from(worker)].send(stream).await;
            }
        }));
        drop(entered);
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
            workers: self.workers,
            ws_url: None,
            room: true,
            keys: Vec::new(),
        };
        store.announce(entry).await.unwrap();
    }

    /// Waits until the parcels it has received are `enough`, and returns them.
    pub(crate) async fn until_taken(&self, enough: impl FnMut(&Vec<Parcel>) -> bool) -> Vec<Parcel> {
        self.service.taken.subscribe().wait_for(enough).await.unwrap().clone()
    }

    /// Parcels that came on the stream to another worker than that of their connection.
    pub(crate) fn strays(&self) -> usize {
        self.service.strays.load(Ordering::Relaxed)
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
            let parcel: Parcel = parcel.try_into()?;
            if parcel.to.connection.worker() != self.worker {
                self.strays.fetch_add(1, Ordering::Relaxed);
            }
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
