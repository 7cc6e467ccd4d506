//! Limits of a session that are not settings.

use std::time::Duration;

/// Most steps that wait behind the one under way. At this many, the socket is not read until one is done.
pub(crate) const STEPS_WAITING_MAX: usize = 256;

/// Bytes that the waiting steps may hold, mostly requests that an error reply would have to repeat. At this many, the
/// socket is not read, so one message of `max_message` bytes can come on top.
pub(crate) const STEPS_WAITING_BYTES_MAX: usize = 64 * 1024;

/// Acknowledgements that are merged into one step while it waits. A single message may bring more.
pub(crate) const ACKS_MERGED_MAX: usize = 256;

/// Acknowledged messages that a session remembers because the store failed to remove them. Beyond this many it forgets
/// the oldest; the next hello then sends those again.
pub(crate) const UNREMOVED_MAX: usize = 1024;

/// Entries in one notification (PROTOCOL.md section 2.5).
pub(crate) const UPDATES_PER_NOTIFICATION_MAX: usize = 100;

/// Shortest wait before a read that failed is repeated, or an acknowledgement that could not be stored. The longest is half
/// as long again.
pub(crate) const REPEAT_AFTER: Duration = Duration::from_secs(10);

/// Longest wait before a claim is verified again because the store failed to do so; the shortest is [`REPEAT_AFTER`]. While the store
/// is away all connections wait for this, and when it has lost its data all of them are closed then.
pub(crate) const VERIFY_AGAIN_MAX: Duration = Duration::from_secs(40);

/// Shortest wait before a claim is verified because a write has come and one before it has not, which may still be on its way
/// from another endpoint-node. The longest is half as long again.
pub(crate) const GAP_WAIT: Duration = Duration::from_secs(1);

/// Time between two verifications of a claim, or about `keepalive_interval` if that is shorter. With what is added at
/// random it is less than half of [`beckon_types::UNREGISTERED_LIFETIME`].
pub(crate) const VERIFY_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// How often a connected client's record is renewed within `uaid_idle`.
pub(crate) const RENEWALS_PER_UAID_IDLE: u32 = 3;

/// Shortest time between two renewals, whatever `uaid_idle` is.
pub(crate) const RENEWAL_MIN: Duration = Duration::from_secs(1);

/// Updates whose retries are due within this part of `sp_retry_interval` are sent again together, so that a client with
/// many channels reads the store rarely.
pub(crate) const RETRY_SLACK_PART: u32 = 8;

/// Unacknowledged Web Push messages that a session remembers. Beyond this many it forgets the oldest live ones, which
/// may then be sent a second time on the same socket.
pub(crate) const SENT_MAX: usize = 1024;

/// Broadcasts that one socket may subscribe to. Further ones are reported in `errors`.
pub(crate) const SUBSCRIPTIONS_MAX: usize = 100;

/// Ids of broadcasts that are read of one message; further ones are ignored. So a message is not answered with more than a
/// few times its own length, and takes little more memory while its hello waits for the store.
pub(crate) const BROADCASTS_NAMED_MAX: usize = 256;
