//! What operators see of one client, and do with it: a part of the API.
//!
//! Each request is a POST whose body names the client: `{"uaid"}`, `{"endpoint"}`, or `{"client"}` with the id that an answer has.
//!
//! | path | what happens |
//! | --- | --- |
//! | `/api/client/find` | nothing |
//! | `/api/client/disconnect` | its socket is closed with 1001, and it says hello again |
//! | `/api/client/test` | it is sent something, and its acknowledgement is waited for |
//! | `/api/client/forget` | everything that is stored for it is deleted, and its socket closed |
//! | `/api/client/block`, `/api/client/unblock` | the same, and it cannot say hello until it is unblocked |
//!
//! Each is a step or two of the store, and a question to the node that has the client. The answer is the client as it is then.

use crate::{
    cluster::Cluster,
    others::{Others, Unanswered},
    refusal::Refusal,
};
use beckon_ops::clock::Clock;
use beckon_proto::admin::{Answer, Question};
use beckon_store::Store;
use beckon_types::{
    ChannelId, ClientId, ClientRecord, Dialect, Draft, Endpoint, FoundClient, KeyRing, Message, Nonce,
    Presence, PutMessage, PutMessageOutcome, PutVersion, PutVersionOutcome, Restriction, Revoke, Uaid,
    UaidKey, Version,
};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// How long a test notification is good for.
const TEST_TTL: Duration = Duration::from_secs(60);

/// How long its acknowledgement is waited for, and how often the store is asked.
const TEST_TIMEOUT: Duration = Duration::from_secs(3);
const TEST_INTERVAL: Duration = Duration::from_millis(150);

/// What a node needs to find the client that somebody names.
#[derive(Debug, Clone)]
pub struct Identification {
    /// Opens the tokens of endpoints.
    pub keys: KeyRing,
    /// Makes the id from a UAID. Endpoint-nodes have none: they never see UAIDs.
    pub uaid_key: Option<UaidKey>,
}

/// How a request names a client.
#[derive(Deserialize)]
pub(crate) struct Named {
    uaid: Option<String>,
    endpoint: Option<String>,
    client: Option<String>,
}

/// What is done to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Find,
    Disconnect,
    Test,
    Forget,
    Block,
    Unblock,
}

/// A client, for operators.
#[derive(Debug, Serialize)]
pub(crate) struct ClientView {
    client: String,
    /// `unknown`, `blocked`, `offline` or `connected`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<StoredView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket: Option<SocketView>,
    /// Whether the verb has changed something.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<TestView>,
}

#[derive(Debug, Serialize)]
struct StoredView {
    dialect: &'static str,
    channels: usize,
    /// Versions and messages that are not acknowledged.
    pending: usize,
    messages: usize,
    message_bytes: usize,
    /// How long ago it was last seen.
    unseen_s: u64,
}

#[derive(Debug, Serialize)]
struct SocketView {
    node: String,
    name: String,
    /// For how long the socket has been open; `None` if its node has not answered or has no such socket.
    open_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

#[derive(Debug, Serialize)]
struct TestView {
    /// After how long it was acknowledged; `None` if it was not in time, so that it waits in the store.
    acknowledged_ms: Option<u64>,
}

/// Finds clients and acts on them.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) identification: Identification,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) others: Arc<Others>,
    pub(crate) clock: Clock,
}

/// A client that a request names.
pub(crate) struct Target {
    client: ClientId,
    /// If it was named by an endpoint.
    endpoint: Option<Endpoint>,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Find => "find",
            Self::Disconnect => "disconnect",
            Self::Test => "test",
            Self::Forget => "forget",
            Self::Block => "block",
            Self::Unblock => "unblock",
        }
    }
}

impl Identification {
    /// The client that a request names.
    pub(crate) fn identify(&self, named: Named) -> Result<Target, Refusal> {
        let wrong = |what: &str| Refusal::Body(what.to_owned());
        let Self { keys, uaid_key } = self;
        match named {
            Named { uaid: Some(uaid), endpoint: None, client: None } => {
                let (uaid, _) =
                    Uaid::parse(uaid.trim()).map_err(|_| wrong("the UAID is not in UUID syntax"))?;
                let reason = "this node does not know UAIDs: ask a connection-node, or name an endpoint";
                let key = uaid_key.as_ref().ok_or_else(|| Refusal::Conflict(reason.into()))?;
                Ok(Target { client: key.client_id(uaid), endpoint: None })
            }
            Named { uaid: None, endpoint: Some(endpoint), client: None } => {
                let endpoint = endpoint.trim();
                let path = endpoint
                    .split_once("://")
                    .map_or(endpoint, |(_, rest)| rest.find('/').map_or("", |at| &rest[at..]));
                let endpoint = Endpoint::from_path(keys, path)
                    .map_err(|_| wrong("the endpoint is not one of this cluster, or altered"))?;
                let (Endpoint::SimplePush { client, .. } | Endpoint::WebPush { client, .. }) = endpoint;
                Ok(Target { client, endpoint: Some(endpoint) })
            }
            Named { uaid: None, endpoint: None, client: Some(client) } => {
                let client = client.trim().parse().map_err(|_| wrong("the id of the client is malformed"))?;
                Ok(Target { client, endpoint: None })
            }
            Named { .. } => Err(wrong("name a uaid, an endpoint, or a client")),
        }
    }
}

impl Clients {
    /// Does something to the client that a request names. Returns it as it is then, and what the audit says.
    pub(crate) async fn perform(
        &self,
        cluster: &Cluster,
        verb: Verb,
        named: Named,
    ) -> Result<(ClientView, String), Refusal> {
        let target = self.identification.identify(named)?;
        let client = target.client;
        let (mut changed, mut test) = (None, None);
        match verb {
            Verb::Find => {}
            Verb::Disconnect => {
                let (_, presence) = self.stored(client).await?;
                let presence = presence.ok_or_else(|| Refusal::Conflict("it is not connected".into()))?;
                self.tell(cluster, presence, Question::Disconnect(presence.connection)).await?;
            }
            Verb::Test => test = Some(self.test(cluster, &target).await?),
            Verb::Forget => changed = Some(self.revoke(cluster, Revoke::Forget(client)).await?),
            Verb::Block => changed = Some(self.revoke(cluster, Revoke::Block(client)).await?),
            Verb::Unblock => changed = Some(self.revoke(cluster, Revoke::Unblock(client)).await?),
        }
        let view = ClientView { changed, test, ..self.view(cluster, client).await? };
        // Enough to find the line by, and too little to name the client.
        let short: String = view.client.chars().take(8).collect();
        Ok((view, format!("{} client {short}…", verb.name())))
    }

    async fn stored(&self, client: ClientId) -> Result<(ClientRecord, Option<Presence>), Refusal> {
        match self.store.find_client(client).await? {
            FoundClient::Stored { record, presence } => Ok((*record, presence)),
            FoundClient::Unknown => Err(Refusal::Unknown("client")),
            FoundClient::Blocked => Err(Refusal::Conflict("the client is blocked".into())),
        }
    }

    async fn view(&self, cluster: &Cluster, client: ClientId) -> Result<ClientView, Refusal> {
        let (state, stored, socket) = match self.store.find_client(client).await? {
            FoundClient::Unknown => ("unknown", None, None),
            FoundClient::Blocked => ("blocked", None, None),
            FoundClient::Stored { record, presence: None } => {
                ("offline", Some(StoredView::of(&record)), None)
            }
            FoundClient::Stored { record, presence: Some(presence) } => {
                let socket = self.socket(cluster, presence).await;
                // A node that was killed leaves presences behind.
                let is_open = socket.open_s.is_some() || socket.failure.is_some();
                let state = if is_open { "connected" } else { "offline" };
                (state, Some(StoredView::of(&record)), Some(socket).filter(|_| is_open))
            }
        };
        let client = client.to_string();
        Ok(ClientView { client, state, stored, socket, changed: None, test: None })
    }

    async fn socket(&self, cluster: &Cluster, presence: Presence) -> SocketView {
        let directory = cluster.directory().await;
        let name = directory.iter().find(|entry| entry.node == presence.node).map(|entry| entry.name.clone());
        let question = Question::Find(presence.connection);
        let (open_ms, failure) = match self.others.ask(&directory, presence.node, question).await {
            Ok(Answer::Socket { open_ms }) => (open_ms, None),
            Err(Unanswered::Unknown) => (None, None),
            Ok(Answer::Refused(reason)) => (None, Some(reason)),
            Ok(Answer::Status(_) | Answer::Done { .. } | Answer::Audit(_)) => {
                (None, Some("another version".into()))
            }
            Err(unanswered) => (None, Some(unanswered.to_string())),
        };
        SocketView {
            node: presence.node.to_string(),
            name: name.unwrap_or_default(),
            open_s: open_ms.map(|open_ms| open_ms / 1000),
            failure,
        }
    }

    /// Tells the node that has a client to do something to its socket.
    async fn tell(&self, cluster: &Cluster, to: Presence, question: Question) -> Result<(), Refusal> {
        let directory = cluster.directory().await;
        match self.others.ask(&directory, to.node, question).await {
            Ok(Answer::Refused(reason)) => Err(Refusal::Conflict(reason)),
            Ok(_) => Ok(()),
            Err(unanswered) => Err(unanswered.into()),
        }
    }

    /// Returns whether there was something to revoke. A socket whose node does not answer finds out by itself, with its next
    /// step or its keep-alive, that it does not own the client any more.
    async fn revoke(&self, cluster: &Cluster, revoke: Revoke) -> Result<bool, Refusal> {
        let revoked = self.store.revoke(revoke).await?;
        if let Some(former) = revoked.former {
            let told = self.tell(cluster, former, Question::Evict(former.connection)).await;
            if let Err(refusal) = told {
                tracing::info!(node.id = %former.node, %refusal, "the socket of a revoked client is not closed yet");
            }
        }
        Ok(revoked.changed)
    }

    /// Stores a notification for the client, as an application server would, has its socket re-read the store, and waits until
    /// the client has acknowledged it.
    async fn test(&self, cluster: &Cluster, target: &Target) -> Result<TestView, Refusal> {
        let (record, _) = self.stored(target.client).await?;
        let (sent, presence) = match record.dialect {
            Dialect::SimplePush => self.test_simplepush(target, &record).await?,
            Dialect::WebPush => self.test_webpush(target, &record).await?,
        };
        let began_ms = self.clock.now_ms();
        let Some(presence) = presence else { return Ok(TestView { acknowledged_ms: None }) };
        self.tell(cluster, presence, Question::Reread(presence.connection)).await?;
        let acknowledged = async {
            loop {
                tokio::time::sleep(TEST_INTERVAL).await;
                if !sent.waits(&self.stored(target.client).await?.0) {
                    return Ok::<u64, Refusal>(self.clock.now_ms() - began_ms);
                }
            }
        };
        let acknowledged_ms = match tokio::time::timeout(TEST_TIMEOUT, acknowledged).await {
            Ok(acknowledged) => Some(acknowledged?),
            Err(_) => None,
        };
        Ok(TestView { acknowledged_ms })
    }

    async fn test_simplepush(
        &self,
        target: &Target,
        record: &ClientRecord,
    ) -> Result<(Sent, Option<Presence>), Refusal> {
        let named = match target.endpoint {
            Some(Endpoint::SimplePush { channel, .. }) => Some(channel),
            Some(Endpoint::WebPush { .. }) | None => None,
        };
        let first = record.channels.first().map(|channel| channel.channel.id);
        let channel = named.or(first).ok_or_else(no_channel)?;
        let version = Version::new(self.clock.unix_ms()).map_err(|_| no_channel())?;
        match self.store.put_version(PutVersion { client: target.client, channel, version }).await? {
            PutVersionOutcome::Stored { presence, .. } => Ok((Sent::Version(channel, version), presence)),
            PutVersionOutcome::Gone => Err(no_channel()),
        }
    }

    /// A message without a body: the server cannot encrypt for a client.
    async fn test_webpush(
        &self,
        target: &Target,
        record: &ClientRecord,
    ) -> Result<(Sent, Option<Presence>), Refusal> {
        let named = match target.endpoint {
            Some(Endpoint::WebPush { channel, restricted, .. }) => Some((channel, restricted)),
            Some(Endpoint::SimplePush { .. }) | None => None,
        };
        let first = record.channels.first();
        let first =
            first.map(|channel| (channel.channel.id, channel.restricted.map(Restriction::passing_hash)));
        let (channel, restricted) = named.or(first).ok_or_else(no_channel)?;
        let nonce = getrandom::u64().map_err(|_| Refusal::Conflict("no random numbers".into()))?;
        let put = PutMessage {
            client: target.client,
            channel,
            restricted,
            key: self.identification.keys.newest(),
            nonce: Nonce(nonce),
            topic: None,
            draft: Draft { ttl: TEST_TTL, ..Draft::default() },
            messages_max: u32::MAX,
            reserve: 0,
        };
        match self.store.put_message(put).await? {
            PutMessageOutcome::Accepted { presence, .. } => Ok((Sent::Message(Nonce(nonce)), presence)),
            PutMessageOutcome::UaidGone | PutMessageOutcome::ChannelGone => Err(no_channel()),
            PutMessageOutcome::Full => Err(Refusal::Conflict("the client has too many messages".into())),
        }
    }
}

/// What a test has stored.
#[derive(Debug, Clone, Copy)]
enum Sent {
    Version(ChannelId, Version),
    Message(Nonce),
}

impl Sent {
    /// Whether the client has not acknowledged it.
    fn waits(self, record: &ClientRecord) -> bool {
        match self {
            Self::Version(id, version) => {
                let channel = record.channels.iter().find(|channel| channel.channel.id == id);
                channel.is_some_and(|channel| channel.channel.pending == Some(version))
            }
            Self::Message(nonce) => record.messages.iter().any(|message| message.place.nonce == nonce),
        }
    }
}

fn no_channel() -> Refusal {
    Refusal::Conflict("the client has no such channel".into())
}

/// How much waits for a client.
fn pending(record: &ClientRecord) -> usize {
    let versions = record.channels.iter().filter(|channel| channel.channel.pending.is_some());
    versions.count() + record.messages.len()
}

impl StoredView {
    fn of(record: &ClientRecord) -> Self {
        let len = |message: &Message| message.draft.payload.as_ref().map_or(0, |payload| payload.body.len());
        Self {
            dialect: record.dialect.name(),
            channels: record.channels.len(),
            pending: pending(record),
            messages: record.messages.len(),
            message_bytes: record.messages.iter().map(len).sum(),
            unseen_s: record.unseen.as_secs(),
        }
    }
}
