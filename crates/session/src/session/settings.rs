//! What a conversation is told of its node and of the operator's choices.

use beckon_types::KeyRing;
use std::time::Duration;

/// Whether a node takes further SimplePush clients (PROTOCOL.md section 1.9, Balancing).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// There is room.
    Open,
    /// This node is above its threshold; the node at this URL has room.
    Redirect(String),
    /// No node has room.
    Full,
}

/// The settings of PROTOCOL.md section 1.10 that a conversation depends on.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Seals the tokens of registered channels; seals and opens the ids of messages.
    pub keys: KeyRing,
    /// Scheme, host and port of endpoints, without a slash at the end.
    pub endpoint_url: String,
    /// Time from the upgrade until the first hello. Pings do not extend it.
    pub hello_timeout: Duration,
    /// Shortest time between two pings, before hello and in SimplePush.
    pub ping_min_sp: Duration,
    /// Shortest time between two pings, in Web Push.
    pub ping_min_wp: Duration,
    /// Inbound silence after which the server sends a Ping frame; zero for never.
    pub keepalive_interval: Duration,
    /// Time from that Ping frame until the socket is closed, if nothing comes in.
    pub keepalive_timeout: Duration,
    /// How many channels a SimplePush client may have.
    pub channels_max_sp: u32,
    /// How many channels a Web Push client may have.
    pub channels_max_wp: u32,
    /// Web Push: how many stored messages are sent before one is acknowledged. At least 1.
    pub batch_size: usize,
    /// Time after a transmission until an unacknowledged update is sent again; zero for never.
    pub sp_retry_interval: Duration,
    /// Time after which the record of a client that is not connected expires. A connected session renews it.
    pub uaid_idle: Duration,
    /// What a hello is that names no dialect in any way.
    pub bare_hello: BareHello,
    /// What a SimplePush hello with a malformed UAID gets.
    pub invalid_uaid: InvalidUaid,
}

/// The dialect of a hello that has neither `use_webpush`, nor a stored UAID, nor a list of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BareHello {
    /// Web Push, as KUnifiedPush and Sunup send it.
    WebPush,
    /// SimplePush, which then refuses it.
    Reject,
}

/// What a SimplePush hello with a malformed UAID gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidUaid {
    /// A new UAID.
    New,
    /// Error reply 503 and close, for runs of the public test suite.
    Refuse,
}
