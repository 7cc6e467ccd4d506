//! The gRPC service of a connection-node: parcels for its connections, and evictions.

use crate::{metrics::Kind, node::Node};
use beckon_ops::stage::Stage;
use beckon_proto::{
    convert::{Malformed, receipt_to_wire},
    delivery::{Deliver, Parcel, Receipt, Undelivered},
    push_v1::{DeliverRequest, DeliverResponse, EvictRequest, EvictResponse, delivery_server::Delivery},
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

    fn post(&self, parcel: Parcel) -> Receipt {
        let kind = Kind::from(&parcel.notification);
        let receipt = if parcel.to.node == self.node.id {
            self.node.registry.post(parcel.to.connection, self.node.now(), parcel.notification)
        } else {
            Receipt::NotHere
        };
        self.node.metrics.parcel(kind, receipt);
        receipt
    }

    fn post_all(&self, request: DeliverRequest) -> Result<DeliverResponse, Malformed> {
        let receipts = request.parcels.into_iter().map(|parcel| {
            let tag = parcel.tag;
            Ok(receipt_to_wire(tag, self.post(parcel.try_into()?)))
        });
        Ok(DeliverResponse { receipts: receipts.collect::<Result<_, _>>()? })
    }
}

/// In one process, a delivery is a function call.
impl Deliver for DeliveryService {
    fn deliver(&self, parcel: Parcel) -> BoxFuture<'static, Result<Receipt, Undelivered>> {
        Box::pin(ready(Ok(self.post(parcel))))
    }
}

#[tonic::async_trait]
impl Delivery for DeliveryService {
    type DeliverStream = BoxStream<'static, Result<DeliverResponse, Status>>;

    async fn deliver(
        &self,
        request: Request<Streaming<DeliverRequest>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let answers = unfold((self.clone(), request.into_inner()), |(service, mut requests)| async move {
            let message = service.stage.run_until_stopping(requests.message()).await?;
            let answer = match message {
                Ok(Some(request)) => service.post_all(request).map_err(Status::from),
                Ok(None) => return None,
                Err(status) => Err(status),
            };
            Some((answer, (service, requests)))
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn evict(&self, request: Request<EvictRequest>) -> Result<Response<EvictResponse>, Status> {
        let former = Presence::from(request.into_inner());
        if former.node == self.node.id {
            self.node.registry.evict(former.connection);
        }
        Ok(Response::new(EvictResponse {}))
    }
}
