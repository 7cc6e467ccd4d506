//! Every limit of a session that is not a setting.

use std::time::Duration;

/// Steps that may wait behind the one under way. At this many the socket is not read until one is done.
pub(crate) const STEPS_WAITING_MAX: usize = 256;

/// Bytes that the waiting steps may hold (above all the requests, which an error reply has to repeat). From
/// this many on the socket is not read, so that one message of `max_message` bytes may come on top.
pub(crate) const STEPS_WAITING_BYTES_MAX: usize = 64 * 1024;

/// Acknowledgements that are put together into one step while it waits. A single message may bring more.
pub(crate) const ACKS_MERGED_MAX: usize = 256;

/// Entries in one notification (PROTOCOL.md section 2.5).
pub(crate) const UPDATES_PER_NOTIFICATION_MAX: usize = 100;

/// Time after which the store is looked into again when a look failed, or when it could not keep an
/// acknowledgement.
pub(crate) const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// A connected client's record is renewed after this part of `uaid_idle`.
pub(crate) const RENEWALS_PER_UAID_IDLE: u32 = 3;

/// Shortest time between two renewals, whatever `uaid_idle` is.
pub(crate) const RENEWAL_MIN: Duration = Duration::from_secs(1);

/// Updates whose retry is due within this part of `sp_retry_interval` are sent again together, so that many
/// channels cause few looks into the store.
pub(crate) const RETRY_SLACK_PART: u32 = 8;

/// Messages that a Web Push client was sent and has not acknowledged, of which the session keeps a note. When there
/// are more, the oldest live ones are forgotten: they may be sent once more on the same socket.
pub(crate) const SENT_MAX: usize = 1024;

/// Broadcasts that one socket may subscribe to. Further ones are refused under `errors`.
pub(crate) const SUBSCRIPTIONS_MAX: usize = 100;
