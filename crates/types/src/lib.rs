//! The words of Beckon's domain, one word per file, without any input or output.
//!
//! * [`uuid_text`]: how a 16-byte identifier is spelled, and keeping a user agent's own spelling;
//! * [`uaid`], [`channel_id`], [`version`], [`dialect`]: what a user agent calls things;
//! * [`presence`]: which connection of which node holds a user agent;
//! * [`notification`], [`message`]: what is on its way to a socket;
//! * [`topic`], [`urgency`], [`vapid_key`]: what an application server says of a message and of itself;
//! * [`broadcast`]: values that are common to all user agents;
//! * [`step`]: the atomic steps that the nodes ask of the store, and their outcomes;
//! * [`key_ring`], [`token`], [`message_id`], [`endpoint_url`]: what the URLs are made of that are given out;
//! * [`moment`]: a point on a node's monotonic clock.

pub mod broadcast;
pub mod channel_id;
pub mod dialect;
pub mod endpoint_url;
pub mod key_ring;
pub mod message;
pub mod message_id;
pub mod moment;
pub mod notification;
pub mod presence;
pub mod step;
pub mod token;
pub mod topic;
pub mod uaid;
pub mod urgency;
pub mod uuid_text;
pub mod vapid_key;
pub mod version;

/// A page that explains the members of error bodies and the numbers in `errno` (PROTOCOL.md section 5.8).
pub const ERRORS_PAGE: &str = "https://mozilla-services.github.io/autopush-rs/http.html#error-codes";
