//! The way from this node to every node of the cluster: a function call, a call, a question on the stream of a node that
//! attends here, or through a connection-node at which it attends.

use crate::{attending::Attending, local::Local};
use beckon_proto::{
    admin::{Answer, Question},
    auth::PresentSecret,
    channels::Channels,
    push_v1::admin_client::AdminClient,
    status::Failure,
    target,
};
use beckon_store::NodeEntry;
use beckon_types::NodeId;
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::{sync::Notify, time::timeout};
use tonic::Request;

/// Time limit for the answer of a node.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Connection-nodes that are asked for another one before it counts as silent.
const RELAYS: u32 = 2;

/// Why a node has not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unanswered {
    /// It was asked, and is silent.
    #[error("no answer within {ANSWER_TIMEOUT:?}")]
    Silent,
    /// The directory does not have it.
    #[error("the node is not in the directory")]
    Unknown,
    /// There is no way to it.
    #[error("no connection-node reaches it")]
    NoWay,
    /// The call has failed.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Connections to other nodes are closed when no operator has asked anything for so long: each node sends a ping on an open
/// one every few seconds.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// All nodes of the cluster, as this one reaches them.
#[derive(Debug)]
pub(crate) struct Others {
    pub(crate) local: Arc<Local>,
    pub(crate) attending: Attending,
    channels: Channels,
    /// Another node was asked.
    asked: Notify,
}

impl Others {
    /// The way from this node to the others. `channels` lead to those that can be called.
    pub(crate) fn new(local: Arc<Local>, channels: Channels) -> Self {
        Self { local, attending: Attending::default(), channels, asked: Notify::new() }
    }

    /// Closes the connections to other nodes [`IDLE_MAX`] after the last question. Never returns.
    pub(crate) async fn close_idle(&self) {
        loop {
            self.asked.notified().await;
            while timeout(IDLE_MAX, self.asked.notified()).await.is_ok() {}
            self.channels.retain(|_| false);
        }
    }

    /// Closes the connections to nodes that are not in the directory any more.
    pub(crate) fn forget_others(&self, directory: &[NodeEntry]) {
        let listed: HashSet<&str> = directory.iter().map(|entry| &*entry.grpc_address).collect();
        self.channels.retain(|address| listed.contains(address));
    }

    /// Asks a node of this directory, within [`ANSWER_TIMEOUT`].
    pub(crate) async fn ask(
        &self,
        directory: &[NodeEntry],
        node: NodeId,
        question: Question,
    ) -> Result<Answer, Unanswered> {
        let asked = timeout(ANSWER_TIMEOUT, self.find_and_ask(directory, node, question));
        asked.await.unwrap_or(Err(Unanswered::Silent))
    }

    async fn find_and_ask(
        &self,
        directory: &[NodeEntry],
        node: NodeId,
        question: Question,
    ) -> Result<Answer, Unanswered> {
        if let Some(answer) = self.ask_here(node, question).await {
            return answer;
        }
        let entry = directory.iter().find(|entry| entry.node == node).ok_or(Unanswered::Unknown)?;
        if !entry.grpc_address.is_empty() {
            return Ok(self.call(entry, node, question).await?);
        }
        let relays: Vec<&NodeEntry> =
            directory.iter().filter(|entry| !entry.grpc_address.is_empty()).collect();
        let mut last = Unanswered::NoWay;
        for attempt in 0..RELAYS.min(relays.len() as u32) {
            let relay = relays[(node.0 as usize).wrapping_add(attempt as usize) % relays.len()];
            last = match timeout(ANSWER_TIMEOUT / RELAYS, self.call(relay, node, question)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) => failure.into(),
                Err(_) => Unanswered::Silent,
            };
        }
        Err(last)
    }

    /// Asks this node or one that attends here; `None` if it is another one. The caller limits the time.
    pub(crate) async fn ask_here(
        &self,
        node: NodeId,
        question: Question,
    ) -> Option<Result<Answer, Unanswered>> {
        if node == self.local.id() {
            return Some(Ok(self.local.answer(question).await));
        }
        let line = self.attending.line(node)?;
        Some(line.ask(question).await.ok_or(Unanswered::NoWay))
    }

    /// Asks `node` at the address of another one.
    async fn call(&self, at: &NodeEntry, node: NodeId, question: Question) -> Result<Answer, Failure> {
        let unusable =
            |error: beckon_proto::transport::InvalidTarget| Failure::Unreachable(error.to_string());
        self.asked.notify_one();
        let channel = self.channels.get(&at.grpc_address).map_err(unusable)?;
        let secret = PresentSecret(self.channels.secret().clone());
        let mut request = Request::new(question.into());
        target::write(request.metadata_mut(), node);
        let answer = AdminClient::with_interceptor(channel, secret).ask(request).await?.into_inner();
        Answer::try_from(answer).map_err(|unknown| Failure::Malformed(unknown.to_string()))
    }
}
