//! The words of Beckon's domain, without any input or output.
//!
//! Each word has a file of its own, and all of them are at the root of the crate:
//!
//! * names that a user agent chooses or is given: [`Uaid`], [`ChannelId`], [`Spelling`], [`Dialect`];
//! * where a user agent is connected: [`Presence`], [`NodeId`], [`ConnectionId`];
//! * SimplePush: [`Version`] and [`Update`];
//! * Web Push: [`Message`], [`Draft`], [`Payload`], [`Urgency`], [`TopicTag`], [`VapidKey`];
//! * the order of writes to a client: [`Sequence`], [`Place`], [`Position`];
//! * [`Notification`]: what is on its way to a socket;
//! * [`Cause`]: the request that it follows from, with its [`RequestId`] and its [`TraceContext`];
//! * [`Broadcasts`]: values that are common to all user agents;
//! * the URLs that are given out: [`EndpointUrl`], [`Endpoint`], [`MessageId`], and the [`KeyRing`] that seals them;
//! * the atomic steps that nodes ask of the store, and their outcomes, such as [`Hello`] and [`HelloOutcome`];
//! * [`Moment`]: a point on a node's monotonic clock.

mod broadcast;
mod cause;
mod channel_id;
mod client_id;
mod dialect;
mod draft;
mod endpoint;
mod endpoint_url;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod key_ring;
mod message;
mod message_id;
mod moment;
mod notification;
mod payload;
mod place;
mod presence;
mod request_id;
mod sequence;
mod spelling;
mod step;
mod topic;
mod trace_context;
mod uaid;
mod update;
mod urgency;
mod vapid_key;
mod version;

pub use broadcast::{
    BROADCAST_ID_LEN_MAX, BROADCAST_VERSION_LEN_MAX, BROADCASTS_MAX, BroadcastId, BroadcastVersion,
    Broadcasts, InvalidBroadcast, TooManyBroadcasts,
};
pub use cause::Cause;
pub use channel_id::ChannelId;
pub use client_id::{ClientId, InvalidClientId, InvalidUaidKey, UAID_KEY_LEN, UaidKey};
pub use dialect::Dialect;
pub use draft::Draft;
pub use endpoint::{Endpoint, InvalidEndpoint, UPDATE_PATH, WEB_PUSH_PATH};
pub use endpoint_url::{ENDPOINT_LEN_MAX, EndpointUrl, InvalidEndpointUrl};
pub use key_ring::{InvalidKeys, KeyId, KeyRing, TOKEN_KEY_LEN, TOKEN_KEYS_MAX};
pub use message::Message;
pub use message_id::{InvalidMessageId, MESSAGE_PATH, MessageId};
pub use moment::Moment;
pub use notification::Notification;
pub use payload::{Encoding, Payload};
pub use place::{Nonce, Place, Position};
pub use presence::{ConnectionId, NodeId, Presence};
pub use request_id::RequestId;
pub use sequence::Sequence;
pub use spelling::{InvalidUuid, Spelling};
pub use step::{
    Ack, AddChannel, AddChannelOutcome, Backlog, Channel, ChannelRecord, Claim, ClientPage, ClientRecord,
    Cursor, Fetch, FindChannel, FindChannelOutcome, FoundClient, Hello, HelloOutcome, Listed, NotOwner,
    PutMessage, PutMessageOutcome, PutVersion, PutVersionOutcome, Revoke, Revoked, Snapshot,
    UNREGISTERED_LIFETIME,
};
pub use topic::{InvalidTopic, TOPIC_LEN_MAX, TOPIC_TAG_LEN, TopicTag};
pub use trace_context::{SpanId, TRACESTATE_LEN_MAX, TraceContext, TraceId, TraceParent};
pub use uaid::Uaid;
pub use update::Update;
pub use urgency::Urgency;
pub use vapid_key::{InvalidVapidKey, KeyHash, Restriction, VAPID_KEY_LEN, VapidKey};
pub use version::{InvalidVersion, Version};

/// A page that explains the members of error bodies and the numbers in `errno` (PROTOCOL.md section 5.8).
pub const ERRORS_PAGE: &str = "https://mozilla-services.github.io/autopush-rs/http.html#error-codes";
