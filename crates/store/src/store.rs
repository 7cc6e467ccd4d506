//! The trait that every store implements.

use crate::{
    StoreError,
    directory::{Announced, Missed, NodeEntry},
};
use beckon_types::{
    Ack, AddChannel, AddChannelOutcome, Backlog, BroadcastId, BroadcastVersion, Broadcasts, ChannelId, Claim,
    ClientId, ClientPage, ClientRecord, Cursor, Fetch, FindChannel, FindChannelOutcome, FoundClient, Hello,
    HelloOutcome, NodeId, NotOwner, Place, Presence, PutMessage, PutMessageOutcome, PutVersion,
    PutVersionOutcome, Revoke, Revoked, Snapshot, TooManyBroadcasts,
};
use futures_util::future::BoxFuture;
use std::{fmt, sync::Arc};
use tokio::runtime::Handle;

/// The future of an outcome. It ends within the time limit of the store, if need be with [`StoreError::Unavailable`].
pub type Answer<T> = BoxFuture<'static, Result<T, StoreError>>;

/// How often something happened since a store was opened after which it may lack what it had acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Disturbances {
    /// Connections that were lost or established again, and primaries that were replaced.
    pub interruptions: u64,
    /// Primaries that had lost their data.
    pub losses: u64,
}

/// What the cluster remembers. Cheap to share; all methods may be called concurrently.
///
/// A step that is refused, or fails with [`StoreError::Unreadable`], changes nothing. Whether a step that fails with
/// [`StoreError::Unavailable`] was performed is unknown, but it changes nothing after that. The exceptions are
/// [`Store::release`], [`Store::ack_versions`], [`Store::remove_messages`] and [`Store::retire`], which are harmless
/// whenever they are performed, and renewals of the time until a record expires.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Looks the UAID up, verifies the listed channels, claims presence, and reads what is pending.
    ///
    /// * The dialect is the one that is named, else the one that is stored, else `otherwise`.
    /// * A UAID that is stored for another dialect is [`HelloOutcome::Unknown`], and does not change.
    /// * A client that was blocked ([`Store::revoke`]) is [`HelloOutcome::Blocked`]; this is checked first.
    /// * SimplePush without a list is [`HelloOutcome::ListMissing`]; this is checked second.
    /// * SimplePush without room is [`HelloOutcome::NoRoom`]; this is checked third.
    /// * A stored SimplePush UAID whose listed channels are all registered (those of an empty list are) is claimed;
    ///   channels that the list lacks are kept.
    /// * A stored SimplePush UAID with an impossible list, or with a listed channel that is not registered, is
    ///   deleted with all its channels.
    /// * A UAID that is not stored is claimed if `adopt` is set and, in SimplePush, the list is empty; otherwise it
    ///   is [`HelloOutcome::Unknown`].
    /// * A claim returns the former presence, if there was one, even if it belongs to the same socket.
    /// * A claim returns all channels with what is pending on them, and the sequence of the last write.
    /// * A Web Push claim returns the first `backlog_max` stored messages, as [`Store::fetch`] does.
    /// * A claim renews the time until the record expires (`uaid_idle`).
    fn hello(&self, hello: Hello) -> Answer<HelloOutcome>;

    /// Clears the presence, if it is still this one, and renews the time until the record expires.
    ///
    /// * A presence that a newer hello has claimed is kept.
    /// * The record of a client without channels is deleted.
    /// * With `former`, the client is given back to that socket instead: the record is neither deleted nor renewed.
    fn release(&self, client: ClientId, presence: Presence, former: Option<Presence>) -> Answer<()>;

    /// Reads all channels and what is pending on them, and renews the time until the record expires.
    ///
    /// * A socket that does not own the UAID gets [`NotOwner`].
    fn snapshot(&self, client: ClientId, presence: Presence) -> Answer<Result<Snapshot, NotOwner>>;

    /// Verifies that a socket still owns the UAID.
    ///
    /// * Its owner learns the last write to the client, and how many channels are registered.
    /// * Less than three quarters of the time until the record expires (`uaid_idle`) may be left; then it is renewed.
    /// * A store that has enough to do answers [`Claim::Postponed`], so that verifications delay no other step.
    fn verify(&self, client: ClientId, presence: Presence) -> Answer<Claim>;

    /// Registers a channel.
    ///
    /// * A channel that is registered already gets the spelling and the restriction of this register; what is pending
    ///   on it, and the key of its token, do not change.
    /// * If there are `channels_max` channels, a further one is [`AddChannelOutcome::Full`].
    /// * A socket that does not own the UAID gets [`NotOwner`].
    fn add_channel(&self, add: AddChannel) -> Answer<AddChannelOutcome>;

    /// Unregisters a channel, and removes what is pending on it: versions and messages.
    ///
    /// * Unregistering a channel that is not registered succeeds.
    /// * A socket that does not own the UAID gets [`NotOwner`].
    fn remove_channel(
        &self,
        client: ClientId,
        presence: Presence,
        channel: ChannelId,
    ) -> Answer<Result<(), NotOwner>>;

    /// Stores a version as pending on a channel, and reads which socket owns the client.
    ///
    /// * It replaces the version that was pending, even a larger one.
    /// * Each write has a higher sequence than all earlier writes to the same client, also than those that the store has
    ///   lost: a sequence is not below the store's clock in milliseconds.
    /// * The outcome has the sequence of the write before it, which a snapshot before it has too.
    /// * An unknown UAID, one of the other dialect, or a channel that is not registered to it, is
    ///   [`PutVersionOutcome::Gone`].
    /// * When this returns, the version is as durable as the store makes anything.
    fn put_version(&self, put: PutVersion) -> Answer<PutVersionOutcome>;

    /// Removes the pending version of each channel, if the acknowledged version equals it as an IEEE double, or if no
    /// version is named.
    ///
    /// * Another version, an unknown channel and an unknown UAID have no effect.
    /// * Any socket may acknowledge, whether or not it owns the UAID: the user agent has received the update.
    fn ack_versions(&self, client: ClientId, acks: Vec<Ack>) -> Answer<()>;

    /// Stores a message, unless its TTL is zero, and reads which socket owns the client.
    ///
    /// * An unknown UAID is [`PutMessageOutcome::UaidGone`]; this is checked first.
    /// * A UAID of the other dialect, a channel that is not registered to it, or one whose restriction is not
    ///   `restricted`, is [`PutMessageOutcome::ChannelGone`]; this is checked second.
    /// * If there are `messages_max` stored messages that have not expired, a further one is stored in the reserve of its
    ///   channel if that has fewer than `reserve` messages, and otherwise is [`PutMessageOutcome::Full`], unless its TTL
    ///   is zero or it replaces a stored message. With more than 100 messages, it may take some seconds of refusals
    ///   until it is noticed that some have expired.
    /// * Its nonce is part of its place. A message that is put twice because an answer was lost is stored once.
    /// * A message with a topic replaces the stored message with that topic.
    /// * A message with a TTL of zero is not stored, but has a sequence. If it has a topic, it removes the stored
    ///   message with that topic.
    /// * Each write has a higher sequence than all earlier writes to the same client, and the outcome has that of the write
    ///   before it, as in [`Store::put_version`]. For a message that is put twice, that one is not known any more.
    /// * When this returns, the message is as durable as the store makes anything.
    fn put_message(&self, put: PutMessage) -> Answer<PutMessageOutcome>;

    /// Checks whether a Web Push channel is registered. It is for a message that will be rejected anyway, so that a
    /// missing channel takes precedence over errors in the message.
    ///
    /// * The outcome is the one that [`Store::put_message`] would have, and nothing is written, although a record
    ///   that has expired may be removed.
    fn find_channel(&self, find: FindChannel) -> Answer<FindChannelOutcome>;

    /// Reads stored messages, and renews the time until the record expires.
    ///
    /// * They are in the order of their positions: those with a topic first, oldest first in each group.
    /// * A message is not returned once its TTL has passed since it was stored.
    /// * Messages that have expired do not count: there are fewer than `max` messages only if no others are behind.
    /// * Each message comes with what is left of its TTL, which is more than zero.
    /// * A socket that does not own the UAID gets [`NotOwner`].
    fn fetch(&self, fetch: Fetch) -> Answer<Result<Backlog, NotOwner>>;

    /// Removes stored messages, because the user agent acknowledged them or the application server cancelled them.
    ///
    /// * An unknown UAID, and a place that has no message or another one, have no effect.
    /// * Any socket may acknowledge, whether or not it owns the UAID: the user agent has received the message.
    fn remove_messages(&self, client: ClientId, places: Vec<Place>) -> Answer<()>;

    /// Sets the version of a broadcast, which is made if it does not exist.
    ///
    /// * The revision grows, unless the broadcast has that version already.
    /// * If there are [`beckon_types::BROADCASTS_MAX`] broadcasts, a further one is [`TooManyBroadcasts`].
    fn set_broadcast(
        &self,
        id: BroadcastId,
        version: BroadcastVersion,
    ) -> Answer<Result<(), TooManyBroadcasts>>;

    /// Removes a broadcast, which makes the revision grow. Returns false if it does not exist.
    fn remove_broadcast(&self, id: BroadcastId) -> Answer<bool>;

    /// Reads all broadcasts; `None` if their revision is still `known`.
    fn broadcasts(&self, known: u64) -> Answer<Option<Broadcasts>>;

    /// Lists some of the clients, for a copy of the whole store: the first ones, or those from a cursor on.
    ///
    /// * A client that is stored while all pages are read is on one of them, or on several.
    /// * If [`Store::disturbances`] has grown meanwhile, clients may be missing.
    fn list_clients(&self, from: Option<Cursor>) -> Answer<ClientPage>;

    /// Reads everything that is stored for a client; `None` if it is not stored.
    ///
    /// * Nothing is renewed, and the socket that owns the client does not matter.
    fn read_client(&self, client: ClientId) -> Answer<Option<ClientRecord>>;

    /// Stores a client as another store had it, and returns true; false if that client is stored already.
    ///
    /// * A client that is stored already does not change.
    /// * The client is not connected. It expires when it would have expired in the other store.
    /// * Its messages keep their places, so their ids stay the same. Their number is not limited.
    /// * A message of a channel that the record lacks makes the record [`StoreError::Unreadable`].
    fn add_client(&self, record: ClientRecord) -> Answer<bool>;

    /// Reads everything that is stored for a client, and which socket owns it, for an operator.
    ///
    /// * Nothing is renewed.
    fn find_client(&self, client: ClientId) -> Answer<FoundClient>;

    /// Forgets a client, blocks it, or lets it come back.
    ///
    /// * A client that is forgotten is not stored any more: its socket does not own it, and its endpoints are gone.
    /// * A client that is blocked is forgotten, and cannot be claimed, until it is unblocked; this does not expire.
    /// * A client that is not stored can be blocked.
    /// * [`Store::read_client`] returns `None` for a blocked client, and [`Store::add_client`] false.
    /// * [`Revoked::changed`] is false for a client that is as it should be already. A blocked client is not forgotten.
    fn revoke(&self, revoke: Revoke) -> Answer<Revoked>;

    /// Announces a node for the next [`LEASE`](crate::LEASE), and reads the directory.
    ///
    /// * A node whose lease has lapsed is not listed.
    fn announce(&self, entry: NodeEntry) -> Answer<Announced>;

    /// Ends the lease of a node at once.
    fn retire(&self, node: NodeId) -> Answer<()>;

    /// Notes that something was stored for the client of this socket and could not be handed over.
    ///
    /// * It is kept for [`MISSED_LIFETIME`](crate::MISSED_LIFETIME), and for [`MISSED_MAX`](crate::MISSED_MAX) sockets of each
    ///   node one by one.
    fn note_missed(&self, presence: Presence) -> Answer<()>;

    /// Takes what was noted for the sockets of a node since the last time.
    fn take_missed(&self, node: NodeId) -> Answer<Missed>;

    /// Reads the directory.
    fn nodes(&self) -> Answer<Vec<NodeEntry>>;

    /// Checks that all of the store can be written to, for health checks.
    fn check(&self) -> Answer<()>;

    /// How full the store is, from 0 to 1; for several primaries the fullest. `None` if it has no limit, or may not say.
    ///
    /// * A store that does not answer is as full as it was: this fails.
    fn fullness(&self) -> Answer<Option<f64>>;

    /// Performs [`Store::ack_versions`] and [`Store::remove_messages`] as soon as possible, if any that this thread has asked for
    /// wait for others to share their way. With none under way it applies to the next one.
    fn hurry(&self);

    /// How often something happened after which the store may lack what it had acknowledged. When a number has grown, presences
    /// have to be verified.
    fn disturbances(&self) -> Disturbances;

    /// Checks that any part of the store can be written to, for readiness: a node that reaches none of it should get no
    /// new clients, and one shard that fails is no reason to send away those of the others.
    fn reach(&self) -> Answer<()>;

    /// The same store, for the steps of a thread with a runtime of its own: the connections that they need belong to that
    /// runtime, so that a step wakes no other thread. [`Store::close`] of either closes both.
    fn on_runtime(self: Arc<Self>, runtime: &Handle) -> Arc<dyn Store>;

    /// Waits for the steps under way, and releases what the store holds: connections, or the lock of the data
    /// directory. Later steps fail with [`StoreError::Unavailable`].
    fn close(&self) -> Answer<()>;

    /// Ready when a thread of the store has ended, so that no step can succeed until the process starts again. That
    /// is also what [`Store::close`] does. A store without a thread of its own never is.
    fn ended(&self) -> BoxFuture<'static, ()>;
}
