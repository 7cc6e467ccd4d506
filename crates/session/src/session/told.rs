//! What is only counted.

/// What a Web Push user agent tells for the operator's eyes only (PROTOCOL.md sections 4.4 and 4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Told {
    /// `ack`, code 100, another one, or none: a message was delivered.
    Delivered,
    /// `ack`, code 101: a message could not be decrypted.
    NotDecrypted,
    /// `ack`, code 102: there is no receiver for a message.
    NoReceiver,
    /// `nack`, code 301: the push handler threw.
    HandlerThrew,
    /// `nack`, code 302: the promise of the push handler was rejected.
    HandlerRejected,
    /// `nack`, code 303: another failure.
    OtherFailure,
    /// `nack`, another code, or none.
    UnknownFailure,
    /// `unregister`, code 200, or none: by the user or the application.
    Unregistered,
    /// `unregister`, code 201: the quota is used up.
    QuotaExceeded,
    /// `unregister`, code 202: the user has withdrawn the permission.
    PermissionRevoked,
    /// `unregister`, another code.
    UnregisteredOtherwise,
}
