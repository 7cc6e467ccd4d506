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
    future::{BoxFuture, ready},
    stream::{BoxStream, StreamExt as _, unfold},
};
use std::sync::Arc;
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
        Box::pin(ready(self.post(parcel).ok_or(Undelivered::NodeGone)))
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
        let answers = unfold((self.clone(), request.into_inner()), |(service, mut requests)| async move {
            let message = service.stage.run_until_stopping(requests.message()).await?;
            let answer = match message {
                Ok(Some(request)) => service.post_all(request).map_err(Status::from),
                Ok(None) => return None,
                Err(status) => Err(status),
            };
            Some((answer, (service, requests)))
        });
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
