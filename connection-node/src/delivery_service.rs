//! The gRPC service of a connection-node: parcels for its connections, and evictions.

use crate::{mailbox::Post, metrics::Kind, node::Node};
use beckon_node::trace;
use beckon_ops::{
    log_throttle::{self, LogThrottle},
    stage::Stage,
    tenure::Phase,
};
use beckon_proto::{
    convert::{self, Malformed, receipt_to_wire},
    delivery::{Deliver, Parcel, Receipt, Undelivered},
    push_v1::{DeliverRequest, DeliverResponse, EvictRequest, EvictResponse, delivery_server::Delivery},
    status::Failure,
    target,
};
use beckon_types::{Cause, Notification, Presence};
use futures_util::{
    Stream,
    future::{self, BoxFuture},
    stream::{BoxStream, StreamExt as _},
};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};
use tonic::{Request, Response, Status, Streaming};

/// Takes notifications for the connections of a node.
#[derive(Debug, Clone)]
pub struct DeliveryService {
    node: Arc<Node>,
    /// Ends the streams when the last socket is gone.
    stage: Stage,
    /// Streams that are open.
    streams: Arc<AtomicUsize>,
    /// Bounds what is logged of parcels that are not understood.
    unreadable: Arc<LogThrottle<()>>,
}

impl DeliveryService {
    /// A service for the connections of this node. Its streams end when `stage` is asked to stop.
    pub(crate) fn new(node: Arc<Node>, stage: Stage) -> Self {
        let unreadable = Arc::new(LogThrottle::new(log_throttle::INTERVAL));
        Self { node, stage, streams: Arc::default(), unreadable }
    }

    /// How many streams are open.
    pub(crate) fn streams(&self) -> usize {
        self.streams.load(Ordering::Acquire)
    }

    /// Posts a parcel to its connection. `None` if it is for another node, whose presences are not this node's to judge.
    fn post(&self, parcel: Parcel) -> Option<Receipt> {
        if parcel.to.node != self.node.id {
            return None;
        }
        let Parcel { to, notification, previous, cause } = parcel;
        let (kind, request) = (Kind::from(&notification), cause.request);
        let span = self.node.tracer.child(cause.trace.as_deref(), "receive", trace::Kind::Consumer);
        let post = Post { notification, previous, request, span };
        let receipt = self.node.registry.post(to.connection, self.node.now(), post);
        self.node.metrics.parcel(kind, receipt);
        if let Some(request) = request.filter(|_| receipt != Receipt::Delivered) {
            tracing::debug!(target: "beckon_requests", request_id = %request, ?receipt, "not taken");
        }
        Some(receipt)
    }

    /// Posts each parcel of a request. One that this version does not understand never ends the stream, on which other
    /// parcels wait for their receipts.
    fn post_all(&self, request: DeliverRequest) -> Result<DeliverResponse, Failure> {
        let receipts = request.parcels.into_iter().map(|parcel| {
            let (tag, to) = (parcel.tag, convert::addressee(&parcel));
            let posted = match Parcel::try_from(parcel) {
                Ok(parcel) => self.post(parcel),
                Err(error) => self.post_unreadable(to, error),
            };
            Ok(receipt_to_wire(tag, posted.ok_or(Failure::WrongNode)?))
        });
        Ok(DeliverResponse { receipts: receipts.collect::<Result<_, Failure>>()? })
    }

    /// Answers a parcel that a faulty or a newer node has made. Whatever was stored for the client is in the store, so its
    /// connection re-reads that. For the sender this is a connection that is busy.
    fn post_unreadable(&self, to: Presence, error: Malformed) -> Option<Receipt> {
        if let Some(suppressed) = self.unreadable.admit((), self.node.clock.now_ms()) {
            tracing::warn!(%error, suppressed, "a parcel of another version; its connection re-reads the store");
        }
        let (notification, cause) = (Notification::Missed, Cause::default());
        let receipt = self.post(Parcel { to, notification, previous: None, cause })?;
        Some(if receipt == Receipt::Delivered { Receipt::Busy } else { receipt })
    }
}

/// In one process, a delivery is a function call.
impl Deliver for DeliveryService {
    fn deliver(&self, parcel: Parcel) -> BoxFuture<'static, Result<Receipt, Undelivered>> {
        Box::pin(future::ready(self.post(parcel).ok_or(Undelivered::NodeGone)))
    }
}

#[tonic::async_trait]
impl Delivery for DeliveryService {
    type DeliverStream = BoxStream<'static, Result<DeliverResponse, Status>>;

    async fn deliver(
        &self,
        request: Request<Streaming<DeliverRequest>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        target::check(request.metadata(), self.node.id)?;
        self.streams.fetch_add(1, Ordering::AcqRel);
        let (stage, tenure) = (self.stage.clone(), self.node.tenure.clone());
        let ending = async move {
            tokio::select! {
                () = stage.stopping() => {}
                () = tenure.at_least(Phase::Frozen) => {}
            }
        };
        let answers = Answers {
            service: self.clone(),
            requests: request.into_inner(),
            ending: Box::pin(ending),
            armed: None,
            has_ended: false,
        };
        let mut response = Response::new(answers.boxed());
        target::write(response.metadata_mut(), self.node.id);
        Ok(response)
    }

    async fn evict(&self, request: Request<EvictRequest>) -> Result<Response<EvictResponse>, Status> {
        let former = Presence::from(request.into_inner());
        if former.node != self.node.id {
            return Err(Failure::WrongNode.into());
        }
        if self.node.tenure.is_frozen() {
            return Err(Failure::HandingOver.into());
        }
        self.node.registry.evict(former.connection);
        Ok(Response::new(EvictResponse {}))
    }
}

impl Answers {
    /// Nothing is posted from now on.
    fn end(&mut self) {
        if !std::mem::replace(&mut self.has_ended, true) {
            self.service.streams.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.end();
    }
}

/// The answers on one stream.
struct Answers {
    service: DeliveryService,
    requests: Streaming<DeliverRequest>,
    /// Ready when the node stops or hands over.
    ending: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// `ending` wakes the task of this stream, unless the phase of the tenure has changed since it had changed so often.
    armed: Option<u64>,
    has_ended: bool,
}

impl Stream for Answers {
    type Item = Result<DeliverResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // Polling it takes a lock that all streams share. One poll registers the waker, which stays the same.
        if self.has_ended {
            return Poll::Ready(None);
        }
        let tenure = &self.service.node.tenure;
        let (changes, is_frozen) = (tenure.changes(), tenure.is_frozen());
        if self.armed != Some(changes) || self.service.stage.is_stopping() {
            self.armed = Some(changes);
            if is_frozen || self.ending.as_mut().poll(context).is_ready() {
                self.end();
                return Poll::Ready(is_frozen.then(|| Err(Failure::HandingOver.into())));
            }
        }
        let answer = match ready!(self.requests.poll_next_unpin(context)) {
            Some(Ok(request)) => self.service.post_all(request).map_err(Status::from),
            Some(Err(status)) => Err(status),
            None => return Poll::Ready(None),
        };
        Poll::Ready(Some(answer))
    }
}
