//! What a session depends on besides its inputs: the node's load and the operator's choices.

use beckon_types::{KeyRing, UaidKey};
use std::time::Duration;

/// Whether a node accepts another SimplePush client (PROTOCOL.md section 1.9, Balancing).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It does.
    Open,
    /// It does not, but the node at this URL does.
    Redirect(String),
    /// No node does.
    Full,
}

/// The settings of PROTOCOL.md section 1.10 that a session depends on.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Seals the tokens of registered channels; seals and opens message ids.
    pub keys: KeyRing,
    /// Makes client ids out of UAIDs.
    pub uaid_key: UaidKey,
    /// Scheme, host and port of endpoints, without a trailing slash.
    pub endpoint_url: String,
    /// Longest time from the upgrade to the first hello. Pings do not extend it.
    pub hello_timeout: Duration,
    /// Shortest time between two pings, before hello and in SimplePush.
    pub ping_min_sp: Duration,
    /// Shortest time between two pings, in Web Push.
    pub ping_min_wp: Duration,
    /// Inbound silence after which the server sends a Ping frame; zero for never.
    pub keepalive_interval: Duration,
    /// Time from that Ping frame until the socket is closed, if nothing comes in.
    pub keepalive_timeout: Duration,
    /// Most channels that a SimplePush client may have.
    pub channels_max_sp: u32,
    /// Most channels that a Web Push client may have.
    pub channels_max_wp: u32,
    /// Web Push: most messages of the backlog that are outstanding at once. At least 1.
    pub batch_size: usize,
    /// Time after which an unacknowledged update is sent again; zero for never.
    pub sp_retry_interval: Duration,
    /// Most requests of a socket that are read at once (PROTOCOL.md section 1.5); 0 for no limit.
    pub requests_max: u32,
    /// After that, one more is read each time this has passed.
    pub request_interval: Duration,
    /// Time after which the record of a disconnected client expires. A connected session renews it.
    pub uaid_idle: Duration,
    /// How to treat a hello that names no dialect.
    pub bare_hello: BareHello,
    /// How to treat a SimplePush hello with a malformed UAID.
    pub invalid_uaid: InvalidUaid,
}

/// How to treat a hello that has neither `use_webpush`, nor a stored UAID, nor a list of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BareHello {
    /// As Web Push. KUnifiedPush and Sunup send such hellos.
    WebPush,
    /// As SimplePush, which refuses it.
    Reject,
}

/// How to treat a SimplePush hello with a malformed UAID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidUaid {
    /// Give the user agent a new UAID.
    New,
    /// Send error reply 503 and close. The public test suite expects this.
    Refuse,
}
