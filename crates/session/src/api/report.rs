//! What a user agent reports about messages and channels.

/// What a Web Push user agent reports with a code (PROTOCOL.md sections 4.4 and 4.6). It only feeds metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientReport {
    /// `ack` with code 100, with an unknown code, or without one: a message was delivered.
    Delivered,
    /// `ack` with code 101: a message could not be decrypted.
    NotDecrypted,
    /// `ack` with code 102: a message has no receiver.
    NoReceiver,
    /// `nack` with code 301: the push handler threw an exception.
    HandlerThrew,
    /// `nack` with code 302: the promise of the push handler was rejected.
    HandlerRejected,
    /// `nack` with code 303: another failure.
    OtherFailure,
    /// `nack` with an unknown code, or without one.
    UnknownFailure,
    /// `unregister` with code 200, or without one: unsubscribed by the user or the application.
    Unregistered,
    /// `unregister` with code 201: the quota is used up.
    QuotaExceeded,
    /// `unregister` with code 202: the user has revoked the permission.
    PermissionRevoked,
    /// `unregister` with an unknown code.
    UnregisteredOtherwise,
}
