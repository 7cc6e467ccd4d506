//! The stream to one worker of a connection-node: opened when the node becomes known, so that no parcel waits for it, opened again
//! when it breaks, closed when the node is gone.

use super::{
    backoff,
    context::Context,
    pending::{Pending, Phase, Settled, Superseded},
};
use beckon_proto::{
    auth::PresentSecret,
    delivery::{Parcel, Receipt, Undelivered},
    push_v1::{DeliverRequest, DeliverResponse, delivery_client::DeliveryClient},
    status::Failure,
    target, transport,
};
use beckon_store::NodeEntry;
use futures_util::Stream;
use parking_lot::Mutex;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};
use tokio::{sync::oneshot, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Status, transport::Channel};

/// Until a stream to a node has worked for the first time, the wait between attempts stops growing after this many
/// failures: a node may be in the directory a little before it can be reached, and clients come soon.
const FAILURES_BEFORE_FIRST_MAX: u32 = 3;

/// So many attempts take longer than the lease of a node that has been restarted.
const FAILURES_BEFORE_WRONG: u32 = 9;

/// Time for a node to accept the stream once it is connected.
const OPEN_TIMEOUT: Duration = transport::CONNECT_TIMEOUT;

/// One worker of a connection-node, as this node reaches it.
#[derive(Debug)]
pub(super) struct Link {
    entry: Arc<NodeEntry>,
    /// The index of the worker.
    worker: u8,
    context: Arc<Context>,
    pending: Mutex<Pending>,
    closed: CancellationToken,
}

impl Link {
    /// Starts to open a stream to a worker of a node. Must be called inside a tokio runtime; [`Link::close`] ends it.
    pub(super) fn start(entry: Arc<NodeEntry>, worker: u8, context: Arc<Context>) -> Arc<Self> {
        let pending = Mutex::new(Pending::new(entry.node, context.metrics.clone()));
        let link = Arc::new(Self { entry, worker, context, pending, closed: CancellationToken::new() });
        // A node that leaves ends its link, but a panic would leave its clients without notifications.
        link.context.stage.spawn_finite("link to a node", link.clone().run());
        link
    }

    /// What operators call the node.
    pub(super) fn node_name(&self) -> &str {
        &self.entry.name
    }

    /// Whether the node takes parcels now.
    pub(super) fn is_open(&self) -> bool {
        self.pending.lock().phase() == Phase::Open
    }

    /// Takes a parcel at once; the future waits for the receipt, within the delivery time limit.
    pub(super) fn deliver(
        &self,
        parcel: Parcel,
    ) -> impl Future<Output = Result<Receipt, Undelivered>> + Send + use<> {
        let offered = self.offer(parcel);
        async move { offered?.await.unwrap_or(Err(Undelivered::Broken)) }
    }

    fn offer(&self, parcel: Parcel) -> Result<oneshot::Receiver<Result<Receipt, Undelivered>>, Undelivered> {
        let (reply, receipt) = oneshot::channel();
        let deadline = self.context.deadline();
        let parked = self.pending.lock().offer(parcel, deadline, reply)?;
        if let Some(stream) = parked {
            stream.wake();
        }
        Ok(receipt)
    }

    /// Ends the stream and its task. Parcels that still wait get [`Undelivered::NodeGone`].
    pub(super) fn close(&self) {
        self.closed.cancel();
        let mut settled = Vec::new();
        let parked = self.pending.lock().close(&mut settled);
        answer(&mut settled);
        if let Some(stream) = parked {
            stream.wake();
        }
    }

    /// Gives up on parcels whose deadline has passed. To be called now and then.
    pub(super) fn expire(&self) {
        let mut settled = Vec::new();
        self.pending.lock().expire(self.context.now(), &mut settled);
        answer(&mut settled);
    }

    /// Keeps a stream to the worker until the link is closed or this node stops.
    async fn run(self: Arc<Self>) {
        tokio::select! {
            () = self.closed.cancelled() => {}
            () = self.context.stage.stopping() => {}
            () = self.keep_streaming() => {}
        }
        self.close();
    }

    /// Opens one stream after the other. Never returns.
    async fn keep_streaming(self: &Arc<Self>) {
        let mut failures = 0;
        let mut failures_max = FAILURES_BEFORE_FIRST_MAX;
        loop {
            let (worked, failure) = self.stream().await;
            if failure == Failure::HandingOver {
                // The next process takes what waits, as soon as it serves.
                self.pending.lock().handed_over();
                self.log(0, &failure);
                continue;
            }
            let mut settled = Vec::new();
            self.pending.lock().broken(&mut settled);
            answer(&mut settled);
            failures = if worked { 1 } else { failures + 1 };
            if worked {
                failures_max = u32::MAX;
            }
            self.log(failures, &failure);
            let wait = backoff::wait(failures.min(failures_max), self.context.random());
            tokio::time::sleep(wait).await;
        }
    }

    /// Opens a stream and reads receipts until it breaks. Returns whether it ever worked, and how it ended.
    async fn stream(self: &Arc<Self>) -> (bool, Failure) {
        let (mut receipts, channel) = match self.open().await {
            Ok(open) => open,
            Err(failure) => return (false, failure),
        };
        let _attending = self.attend(channel);
        tracing::info!(node.id = %self.entry.node, node.name = self.entry.name, "stream to node open");
        let _open = OpenStream::count(&self.context);
        if let Some(stream) = self.pending.lock().opened() {
            stream.wake();
        }
        let mut settled = Vec::new();
        loop {
            let ended = match receipts.message().await {
                Ok(Some(response)) => {
                    self.settle(response, &mut settled);
                    continue;
                }
                // A node ends its streams when it shuts down.
                Ok(None) => Failure::Draining,
                Err(status) => status.into(),
            };
            return (true, ended);
        }
    }

    /// Answers to operators who are connected to the node, on the connection to its first worker, until the guard is dropped.
    /// In a task of its own, so that receipts do not pass by it.
    fn attend(&self, channel: Channel) -> Option<DropGuard> {
        if self.worker != 0 {
            return None;
        }
        let (context, node) = (self.context.clone(), self.entry.node);
        let ended = self.closed.child_token();
        let guard = ended.clone().drop_guard();
        let stage = self.context.stage.clone();
        self.context.stage.spawn(async move {
            let attending = async {
                let local = context.local.wait().await;
                local.attend(node, channel, context.secret.clone()).await;
            };
            stage.run_until_stopping(ended.run_until_cancelled(attending)).await;
        });
        Some(guard)
    }

    async fn open(self: &Arc<Self>) -> Result<(tonic::Streaming<DeliverResponse>, Channel), Failure> {
        let unreachable = |reason: String| Failure::Unreachable(reason);
        let endpoint = transport::client(&self.entry.grpc_address, self.context.tls.as_ref())
            .map_err(|error| unreachable(error.to_string()))?;
        let too_slow = |_| unreachable("no answer in time".to_owned());
        // The endpoint limits the time to connect; this limit also covers resolving the host's name.
        let channel = timeout(transport::CONNECT_TIMEOUT, transport::connect(&endpoint, self.worker))
            .await
            .map_err(too_slow)?
            .map_err(|error| unreachable(transport::chain(&error)))?;
        let secret = PresentSecret(self.context.secret.clone());
        let mut client = DeliveryClient::with_interceptor(channel.clone(), secret)
            .max_decoding_message_size(transport::MESSAGE_LEN_MAX);
        let number = self.pending.lock().next_stream();
        let parcels = Parcels { link: self.clone(), number, yielded: false };
        let mut request = Request::new(parcels);
        target::write(request.metadata_mut(), self.entry.node);
        let response = timeout(OPEN_TIMEOUT, client.deliver(request)).await.map_err(too_slow)?;
        let response = response.map_err(|status: Status| Failure::from(status))?;
        target::check(response.metadata(), self.entry.node)?;
        Ok((response.into_inner(), channel))
    }

    /// Hands receipts to the parcels that wait for them.
    fn settle(&self, response: DeliverResponse, settled: &mut Vec<Settled>) {
        let mut pending = self.pending.lock();
        for receipt in response.receipts {
            pending.settle(receipt.tag, receipt.try_into().ok(), settled);
        }
        let parked = pending.take_waker_if_ready();
        drop(pending);
        answer(settled);
        if let Some(stream) = parked {
            stream.wake();
        }
    }

    /// Logs why the stream ended: an unreachable node once per outage, what only the operator can repair every time.
    fn log(&self, failures: u32, failure: &Failure) {
        let (id, name) = (self.entry.node, &self.entry.name);
        match failure {
            Failure::SecretRefused => {
                tracing::error!(
                    node.id = %id,
                    node.name = name,
                    "node refuses the cluster secret; give all nodes the same one"
                );
            }
            Failure::Malformed(_) | Failure::Unsupported(_) => {
                tracing::error!(node.id = %id, node.name = name, error = %failure, "node speaks another version");
            }
            // A node that was restarted is in the directory until its lease has lapsed.
            Failure::WrongNode if failures < FAILURES_BEFORE_WRONG => {
                tracing::debug!(node.id = %id, node.name = name, "another node answers at the address");
            }
            Failure::WrongNode => {
                tracing::error!(
                    node.id = %id,
                    node.name = name,
                    node.address = self.entry.grpc_address,
                    "another node answers at the address that this one has announced; give each node its own \
                    `grpc_advertise`"
                );
            }
            Failure::Draining => tracing::info!(node.id = %id, node.name = name, "node is shutting down"),
            Failure::HandingOver => {
                tracing::info!(node.id = %id, node.name = name, "node hands over to another process");
            }
            Failure::Unreachable(_) if failures == 1 => {
                tracing::warn!(
                    node.id = %id,
                    node.name = name,
                    error = %failure,
                    "node unreachable, notifications for its clients wait in the store"
                );
            }
            Failure::Unreachable(_) => {
                tracing::debug!(node.id = %id, node.name = name, error = %failure, "node still unreachable");
            }
        }
    }
}

/// Sends the answers that are due. A request that no longer waits has lost its HTTP connection.
fn answer(settled: &mut Vec<Settled>) {
    for (reply, receipt) in settled.drain(..) {
        let _ = reply.send(receipt);
    }
}

/// Counts a stream as open while it lives.
struct OpenStream<'a>(&'a Context);

impl<'a> OpenStream<'a> {
    fn count(context: &'a Context) -> Self {
        context.metrics.streams_open.inc();
        Self(context)
    }
}

impl Drop for OpenStream<'_> {
    fn drop(&mut self) {
        self.0.metrics.streams_open.dec();
    }
}

/// The requests of one stream. The HTTP/2 connection takes whatever is ready from the link itself, so a parcel passes
/// through no other task on its way.
struct Parcels {
    link: Arc<Link>,
    number: u64,
    /// Whether the tasks that are ready have had a turn, so that their parcels go out together with the first.
    yielded: bool,
}

impl Stream for Parcels {
    type Item = DeliverRequest;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Option<DeliverRequest>> {
        // A system call and a frame per parcel cost more than the parcel. Only tasks that are ready get a turn, so a
        // lone parcel is not delayed.
        if !std::mem::replace(&mut self.yielded, true) {
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
        let nudge_deadline = self.link.context.deadline();
        let mut pending = self.link.pending.lock();
        match pending.take_request(self.number, nudge_deadline) {
            Ok(Some(request)) => Poll::Ready(Some(request)),
            Ok(None) => {
                pending.park(task.waker());
                drop(pending);
                self.yielded = false;
                Poll::Pending
            }
            Err(Superseded) => Poll::Ready(None),
        }
    }
}
