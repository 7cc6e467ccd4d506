//! What the cluster remembers: clients, their channels, what is pending on them, who has them, and which
//! connection-nodes are alive.
//!
//! One trait, two implementations, one suite that both pass (`beckon-store-conformance`):
//!
//! * [`redis`]: a single server or a Redis Cluster, for many nodes;
//! * [`embedded`]: redb in this process, for one node;
//! * [`open`]: either of them, from the setting `BECKON_STORE`.
//!
//! Every method of [`Store`] is one atomic step and costs its caller one round trip. The sentences of its
//! documentation are the names of the cases in the suite.

mod codec;
pub mod embedded;
mod error;
mod open;
pub mod redis;

pub use error::{Cause, StoreError};
pub use open::{EMBEDDED, OpenError, OpenOptions, open};

use beckon_types::{
    Ack, AddChannel, AddChannelOutcome, Backlog, BroadcastId, BroadcastVersion, Broadcasts, ChannelId, Fetch,
    FindChannel, FindChannelOutcome, Hello, HelloOutcome, NodeId, NotOwner, Place, Presence, PutMessage,
    PutMessageOutcome, PutVersion, PutVersionOutcome, Snapshot, TooManyBroadcasts, Uaid,
};
use futures_util::future::BoxFuture;
use std::{fmt, time::Duration};

/// How long a node's announcement is good for. Announced every [`ANNOUNCE_INTERVAL`].
pub const LEASE: Duration = Duration::from_secs(10);

/// How often a node announces itself.
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(3);

/// The answer of the store, once it is there. Every step ends within the store's time limit, with
/// [`StoreError::Unavailable`] if need be.
pub type Answer<T> = BoxFuture<'static, Result<T, StoreError>>;

/// A node that takes deliveries, as the others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEntry {
    /// This run of the node.
    pub node: NodeId,
    /// What operators call it.
    pub name: String,
    /// Where it takes gRPC, `host:port`. Empty in a standalone server.
    pub grpc_address: String,
    /// The WebSocket URL at which clients reach this very node, if it has one; SimplePush clients can be
    /// redirected there.
    pub ws_url: Option<String>,
    /// Whether it has room for more clients: neither above its redirect threshold nor draining.
    pub room: bool,
}

/// What a node learns when it announces itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// All nodes with a lease, the announcing one among them.
    pub nodes: Vec<NodeEntry>,
    /// A random number that the store made when it was first used. Another number than before means that the
    /// store has lost everything it knew, and that the clients have to say hello again.
    pub epoch: u64,
    /// Whether this node's lease was missing or had lapsed before this step (so too at its first
    /// announcement): meanwhile others took its clients for offline and did not hand over what they stored.
    pub lapsed: bool,
}

/// What the cluster remembers. Cheap to share; all methods may be called at the same time.
///
/// A step that is refused, or fails with [`StoreError::Unreadable`], changes nothing.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Looks the UAID up, verifies the listed channels, claims presence and reads what is pending.
    ///
    /// * The dialect is the one named, else the one stored, else `otherwise`.
    /// * A UAID stored for another dialect than the one named is [`HelloOutcome::Unknown`] and stays as it is.
    /// * SimplePush without a list is [`HelloOutcome::ListMissing`]; this is looked at first.
    /// * SimplePush without room is [`HelloOutcome::NoRoom`]; this is looked at second.
    /// * A stored SimplePush UAID whose listed channels are all registered (an empty list always is) is
    ///   claimed; channels that the list lacks are kept.
    /// * A stored SimplePush UAID with a listed channel that is not registered, or an impossible list, is
    ///   deleted with all its channels.
    /// * A UAID that is not stored is claimed if `adopt` is set and, in SimplePush, the list is empty; else it
    ///   is [`HelloOutcome::Unknown`].
    /// * A claim returns the former presence, if there was one, even if it is the same socket's.
    /// * A claim returns all channels with what is pending on them, and the sequence of the last write.
    /// * A Web Push claim returns the first `backlog_max` stored messages, as [`Store::fetch`] does.
    /// * A claim renews the time until the record expires (`uaid_idle`).
    fn hello(&self, hello: Hello) -> Answer<HelloOutcome>;

    /// Clears the presence, if it is still this one, and renews the time until the record expires.
    ///
    /// * A presence that a newer hello has claimed stays.
    /// * The record of a client without channels is forgotten.
    fn release(&self, uaid: Uaid, presence: Presence) -> Answer<()>;

    /// Reads all channels and what is pending on them, and renews the time until the record expires.
    ///
    /// * A socket that does not own the UAID gets [`NotOwner`].
    fn snapshot(&self, uaid: Uaid, presence: Presence) -> Answer<Result<Snapshot, NotOwner>>;

    /// Registers a channel.
    ///
    /// * A registered channel stays as it is but for its spelling and the key that it is restricted to: what is
    ///   pending is untouched, and so is the key of its token.
    /// * With `channels_max` channels a further one is [`AddChannelOutcome::Full`].
    /// * A socket that does not own the UAID gets [`NotOwner`].
    fn add_channel(&self, add: AddChannel) -> Answer<AddChannelOutcome>;

    /// Unregisters a channel: it and what is pending on it, versions and messages, are gone.
    ///
    /// * A channel that is not registered is no error.
    /// * A socket that does not own the UAID gets [`NotOwner`].
    fn remove_channel(
        &self,
        uaid: Uaid,
        presence: Presence,
        channel: ChannelId,
    ) -> Answer<Result<(), NotOwner>>;

    /// Stores a version as what is pending on a channel and reads who has the client.
    ///
    /// * It replaces what was pending, also a larger version.
    /// * Each write has a higher sequence than all earlier ones to the same client.
    /// * An unknown UAID, or a channel that is not registered to it, is [`PutVersionOutcome::Gone`].
    /// * When this returns, the version is as durable as the store makes anything.
    fn put_version(&self, put: PutVersion) -> Answer<PutVersionOutcome>;

    /// Removes what is pending on the channels, where the acknowledged version equals it as an IEEE double, or
    /// no version is named.
    ///
    /// * Another version, an unknown channel and an unknown UAID have no effect.
    /// * Any socket may acknowledge, owner or not: the user agent has the update.
    fn ack_versions(&self, uaid: Uaid, acks: Vec<Ack>) -> Answer<()>;

    /// Stores a message, if its `ttl` is not zero, and reads who has the client.
    ///
    /// * An unknown UAID is [`PutMessageOutcome::UaidGone`]; this is looked at first.
    /// * A channel that is not registered to it, or is registered with another key than `restricted` (or with one,
    ///   or without one), is [`PutMessageOutcome::ChannelGone`]; this is looked at second.
    /// * With `messages_max` stored messages that have not expired a further one is [`PutMessageOutcome::Full`],
    ///   unless its `ttl` is zero or it replaces a stored one.
    /// * A message with a topic takes the place of the stored message with that topic.
    /// * A message whose `ttl` is zero is not stored, but it has a sequence; one with a topic still removes the
    ///   stored message with that topic.
    /// * Each write has a higher sequence than all earlier ones to the same client.
    /// * When this returns, the message is as durable as the store makes anything.
    fn put_message(&self, put: PutMessage) -> Answer<PutMessageOutcome>;

    /// Asks whether a Web Push channel is registered: for a message that cannot be stored anyway, so that its sender
    /// learns first that there is nobody to send to.
    ///
    /// * The outcome is the one that [`Store::put_message`] would have, and nothing is written; a record that
    ///   has expired may be removed.
    fn find_channel(&self, find: FindChannel) -> Answer<FindChannelOutcome>;

    /// Reads stored messages, and renews the time until the record expires.
    ///
    /// * They come in the order of their positions: those with a topic first, oldest first in each group.
    /// * A message is not returned from the moment on at which its `ttl` has passed since it was stored.
    /// * Messages that have expired do not count: there are fewer than `max` only if there are no others behind.
    /// * Each comes with what is left of its `ttl`, more than zero.
    /// * A socket that does not own the UAID gets [`NotOwner`].
    fn fetch(&self, fetch: Fetch) -> Answer<Result<Backlog, NotOwner>>;

    /// Removes stored messages: acknowledged by the user agent, or cancelled by the application server.
    ///
    /// * An unknown UAID, and a place where no message is, or another one, have no effect.
    /// * Any socket may acknowledge, owner or not: the user agent has the message.
    fn remove_messages(&self, uaid: Uaid, places: Vec<Place>) -> Answer<()>;

    /// Sets the version of a broadcast, and makes the broadcast if there is none of that id.
    ///
    /// * The revision grows, unless the broadcast has that version already.
    /// * With [`beckon_types::BROADCASTS_MAX`] broadcasts a further one is [`TooManyBroadcasts`].
    fn set_broadcast(
        &self,
        id: BroadcastId,
        version: BroadcastVersion,
    ) -> Answer<Result<(), TooManyBroadcasts>>;

    /// Removes a broadcast; false if there is none of that id. The revision grows if there was.
    fn remove_broadcast(&self, id: BroadcastId) -> Answer<bool>;

    /// All broadcasts, or nothing if their revision is still `known`.
    fn broadcasts(&self, known: u64) -> Answer<Option<Broadcasts>>;

    /// Announces a node for the next [`LEASE`] and reads the directory.
    ///
    /// * A node whose lease lapsed is not listed.
    fn announce(&self, entry: NodeEntry) -> Answer<Announced>;

    /// Ends a node's lease at once.
    fn retire(&self, node: NodeId) -> Answer<()>;

    /// The nodes that have a lease.
    fn nodes(&self) -> Answer<Vec<NodeEntry>>;

    /// Asks the store whether it can be written to, for health checks.
    fn check(&self) -> Answer<()>;

    /// Ends the steps under way and gives back what the store holds: connections, or the lock of the data
    /// directory. Later steps fail with [`StoreError::Unavailable`].
    fn close(&self) -> Answer<()>;
}
