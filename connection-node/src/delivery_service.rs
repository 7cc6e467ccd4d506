//! The gRPC service of a connection-node: parcels for its connections, and evictions.

use crate::{metrics::Kind, node::Node};
use beckon_ops::stage::Stage;
use beckon_proto::{
    convert::receipt_to_wire,
    delivery::{Deliver, Parcel, Receipt, Undelivered},
    push_v1::{DeliverRequest, DeliverResponse, EvictRequest, EvictResponse, delivery_server::Delivery},
    status::Failure,
    target,
};
use beckon_types::Presence;
use futures_util::{
    Stream,
    future::{self, BoxFuture},
    stream::{BoxStream, StreamExt as _},
};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Request, Response, Status, Streaming};

/// Takes notifications for the connections of a node.
#[derive(Debug, Clone)]
pub struct DeliveryService {
    node: Arc<Node>,
    /// Ends the streams when the last socket is gone.
    stage: Stage,
}

impl DeliveryService {
    /// A service for the connections of this node. Its streams end when `stage` is asked to stop.
    pub(crate) fn new(node: Arc<Node>, stage: Stage) -> Self {
        Self { node, stage }
    }

    /// Posts a parcel to its connection. `None` if it is for another node, whose presences are not this node's to judge.
    fn post(&self, parcel: Parcel) -> Option<Receipt> {
        if parcel.to.node != self.node.id {
            return None;
        }
        let kind = Kind::from(&parcel.notification);
        let receipt = self.node.registry.post(parcel.to.connection, self.node.now(), parcel.notification);
        self.node.metrics.parcel(kind, receipt);
        Some(receipt)
    }

    fn post_all(&self, request: DeliverRequest) -> Result<DeliverResponse, Failure> {
        let receipts = request.parcels.into_iter().map(|parcel| {
            let tag = parcel.tag;
            let receipt = self.post(parcel.try_into()?).ok_or(Failure::WrongNode)?;
            Ok(receipt_to_wire(tag, receipt))
        });
        Ok(DeliverResponse { receipts: receipts.collect::<Result<_, Failure>>()? })
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
        let answers = Answers {
            service: self.clone(),
            requests: request.into_inner(),
            stopping: Box::pin(self.stage.stopping_owned()),
            is_armed: false,
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
        self.node.registry.evict(former.connection);
        Ok(Response::new(EvictResponse {}))
    }
}

/// The answers on one stream.
struct Answers {
    service: DeliveryService,
    requests: Streaming<DeliverRequest>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Whether `stopping` wakes the task of this stream.
    is_armed: bool,
}

impl Stream for Answers {
    type Item = Result<DeliverResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // Polling it takes a lock that all streams share. One poll registers the waker, which stays the same.
        if !self.is_armed || self.service.stage.is_stopping() {
            self.is_armed = true;
            if self.stopping.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
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
