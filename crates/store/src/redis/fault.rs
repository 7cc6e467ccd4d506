//! Everything that can go wrong with a step, and what follows: for the link, for the step, and for the operator.
//!
//! [`ROWS`] is the table for the errors of Redis. An error without a row fails the step with the cause `refused`. For
//! the network there are [`Fault::lost`], [`Fault::silent`] and [`Fault::from_dial`].
//!
//! A step is retried if Redis cannot have executed it, and once if that is unknown: every step is idempotent, or recognizes that it
//! has been executed. Scripts
//! read and check everything before they write, so an error means that nothing was written.

use super::{address::Node, slot::Slot};
use crate::{Cause, StoreError};
use redis::{ErrorKind, RedisError};
use std::{fmt, time::Duration};

/// Why a step has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The cause in metrics and logs.
    pub(super) cause: Cause,
    /// What the link does.
    pub(super) link: LinkAction,
    /// What the step does.
    pub(super) step: StepAction,
    /// Whether Redis may have executed the step, or may still do so until its deadline.
    pub(super) is_uncertain: bool,
    /// The error as Redis or the operating system worded it.
    pub(super) message: String,
}

/// What a link does after a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkAction {
    /// It keeps the connection.
    Keep,
    /// It keeps the connection and has the topology read again.
    RefreshTopology,
    /// It replaces the connection. For a new one the password is read, the name resolved and the primary looked up again,
    /// and it is used only if a write succeeds.
    Reconnect,
    /// It replaces the connection, and believes no answer that still comes on it.
    Leave,
}

/// What a step does after a fault, within its time limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StepAction {
    /// It fails.
    Fail,
    /// It fails because the record cannot be read.
    FailUnreadable,
    /// It is retried on the next connection, but not twice.
    RetryOnce,
    /// It is retried on the next connection.
    RetryOnNextConnection,
    /// It is retried on the same link after a pause.
    RetryLater,
    /// It is retried at once if its caller still waits. It was refused because its deadline had passed by the clock of
    /// Redis, which was this time since the Unix epoch. So the clock has jumped, or is another server's.
    RetryWithClock(Duration),
    /// It is retried with the text of its script.
    RetryWithText,
    /// It is retried at the node that serves the slot now.
    Redirect(Slot, Node),
    /// It is retried at this node with `ASKING`. Later steps are not.
    Ask(Node),
}

/// One row of the table.
struct Row {
    /// The first word of the error.
    code: &'static str,
    cause: Cause,
    link: LinkAction,
    step: StepAction,
}

const fn row(code: &'static str, cause: Cause, link: LinkAction, step: StepAction) -> Row {
    Row { code, cause, link, step }
}

use {LinkAction::*, StepAction::*};

/// The errors of Redis. `MOVED` and `ASK` also name a node, which [`Fault::from_redis`] reads.
const ROWS: &[Row] = &[
    // The slot is at another node, or moving there.
    row("MOVED", Cause::Cluster, RefreshTopology, Fail),
    row("ASK", Cause::Cluster, Keep, Fail),
    row("TRYAGAIN", Cause::Cluster, Keep, RetryLater),
    row("CLUSTERDOWN", Cause::Cluster, RefreshTopology, Fail),
    row("CROSSSLOT", Cause::Cluster, Keep, Fail),
    // Not a primary, perhaps not any more.
    row("READONLY", Cause::ReadOnly, Reconnect, RetryOnNextConnection),
    row("MASTERDOWN", Cause::ReadOnly, Reconnect, RetryOnNextConnection),
    // Temporarily busy.
    row("LOADING", Cause::Loading, Reconnect, RetryOnNextConnection),
    row("BUSY", Cause::Busy, Keep, Fail),
    // Authentication and authorization.
    row("NOAUTH", Cause::Denied, Reconnect, RetryOnNextConnection),
    row("WRONGPASS", Cause::Denied, Reconnect, RetryOnNextConnection),
    row("NOPERM", Cause::Denied, Keep, Fail),
    // Writes are refused.
    row("OOM", Cause::Full, Keep, Fail),
    row("MISCONF", Cause::NotDurable, Keep, Fail),
    row("NOREPLICAS", Cause::NotDurable, Keep, Fail),
    // The deadline of the step has passed (`scripts/late.lua`).
    row("LATE", Cause::Timeout, Keep, Fail),
    // The answer of the first attempt was lost (`scripts/repeated.lua`).
    row("UNSURE", Cause::Unreachable, Keep, Fail),
    // The script cache was emptied.
    row("NOSCRIPT", Cause::Refused, Keep, RetryWithText),
    // Something else than a record is stored under the key.
    row("WRONGTYPE", Cause::Unreadable, Keep, FailUnreadable),
];

/// Part of the error when a script accesses a key that is at another node, or has not moved here yet.
const NOT_LOCAL: &str = "non local key";

/// Parts of the errors in place of NOPERM when a script calls a command that its user may not: of Redis 7.0, and of later ones and
/// Valkey.
const DENIED_TO_SCRIPT: [&str; 2] = ["user executing the script", "ACL failure in script"];

impl Fault {
    /// The fault for an error on an established connection, answered by Redis or of the connection. `from` is the node
    /// that was asked, since a redirection may lack the host.
    pub(super) fn from_redis(error: &RedisError, from: &Node) -> Self {
        let Some(code) = error.code() else { return Self::lost(error.to_string()) };
        let detail = error.detail().unwrap_or_default();
        let (code, detail) = unwrapped(code, detail);
        let message = without_keys(&format!("{code} {detail}"));
        let Some(row) = ROWS.iter().find(|row| row.code == code) else {
            let (cause, step) = unlisted(detail);
            return Self { cause, link: Keep, step, is_uncertain: false, message };
        };
        let step = match code {
            "MOVED" => redirection(detail, from).map(|(slot, node)| Redirect(slot, node)),
            "ASK" => redirection(detail, from).map(|(_, node)| Ask(node)),
            "LATE" => detail.parse().ok().map(|millis| RetryWithClock(Duration::from_millis(millis))),
            _ => None,
        };
        // The step knows whether the map has to follow: a redirection can be what it has asked for.
        let link = if let Some(Redirect(..)) = step { Keep } else { row.link };
        let step = step.unwrap_or_else(|| row.step.clone());
        Self { cause: row.cause, link, step, is_uncertain: false, message }
    }

    /// The connection broke before the answer.
    pub(super) fn lost(message: String) -> Self {
        Self { cause: Cause::Unreachable, link: Reconnect, step: RetryOnce, is_uncertain: true, message }
    }

    /// Nothing was answered for this long.
    pub(super) fn silent(limit: Duration) -> Self {
        let message = format!("no answer within {limit:?}");
        Self { cause: Cause::Timeout, link: Reconnect, step: Fail, is_uncertain: true, message }
    }

    /// The fault for an attempt to connect that failed.
    pub(super) fn from_dial(error: &RedisError, at: &Node) -> Self {
        let cause = match error.kind() {
            ErrorKind::AuthenticationFailed
            | ErrorKind::InvalidClientConfig
            | ErrorKind::RESP3NotSupported => Cause::Denied,
            _ if is_misfit(error.detail().unwrap_or_default()) => Cause::Denied,
            _ if error.is_timeout() => Cause::Timeout,
            _ if error.code().is_some() => Self::from_redis(error, at).cause,
            _ => Cause::Unreachable,
        };
        let message = match error.code() {
            Some(code) => without_keys(&format!("{code} {}", error.detail().unwrap_or_default())),
            None => error.to_string(),
        };
        Self { cause, link: Reconnect, step: Fail, is_uncertain: false, message }
    }

    /// Another server is the primary. What this one says is not true any more, and what it stores will be lost.
    pub(super) fn deposed(primary: &Node) -> Self {
        let message = format!("the primary is {primary} now");
        Self {
            cause: Cause::ReadOnly,
            link: Leave,
            step: RetryOnNextConnection,
            is_uncertain: false,
            message,
        }
    }

    /// A server has said that something does not exist, and it is not certain that it is the primary.
    pub(super) fn unconfirmed(reason: &Self) -> Self {
        Self::refused(Cause::Unconfirmed, reason.message.clone())
    }

    /// The step is refused without being sent.
    pub(super) fn refused(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, link: Keep, step: Fail, is_uncertain: false, message: message.into() }
    }

    /// The same fault, for a step that is refused because of it.
    pub(super) fn unsent(&self) -> Self {
        Self { link: Keep, step: Fail, is_uncertain: false, ..self.clone() }
    }

    /// Whether it names another node to ask.
    pub(super) fn redirects(&self) -> bool {
        matches!(self.step, Redirect(..) | Ask(_))
    }

    /// Whether it names this node.
    pub(super) fn redirects_to(&self, node: &Node) -> bool {
        matches!(&self.step, Redirect(_, to) | Ask(to) if to == node)
    }

    /// Whether the user or the password is not accepted.
    pub(super) fn is_wrong_password(&self) -> bool {
        ["NOAUTH", "WRONGPASS"].iter().any(|code| self.message.contains(code))
    }

    /// Whether the user lacks a right.
    pub(super) fn is_lack_of_rights(&self) -> bool {
        self.cause == Cause::Denied
            && (self.message.contains("NOPERM")
                || is_denied_to_script(&self.message)
                || self.message.contains("no permissions"))
    }

    /// Whether the answer says that the primary cannot serve steps in general. Nothing announces when it can again.
    pub(super) fn is_degradation(&self) -> bool {
        match self.cause {
            Cause::Full | Cause::Denied | Cause::NotDurable | Cause::ReadOnly | Cause::Busy => true,
            Cause::Timeout
            | Cause::Unreachable
            | Cause::Overloaded
            | Cause::Loading
            | Cause::Cluster
            | Cause::Unconfirmed
            | Cause::Disk
            | Cause::Damaged
            | Cause::Refused
            | Cause::Unreadable
            | Cause::Closed => false,
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault.step {
            FailUnreadable => Self::Unreadable(fault.message),
            _ => Self::unavailable(fault.cause, fault.message),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Whether a server rejects the configuration when a connection begins: it has no such database, the user may not select
/// it, or the server does not know RESP3.
fn is_misfit(detail: &str) -> bool {
    let detail = detail.to_ascii_lowercase();
    detail.contains("db index")
        || detail.contains("no permissions")
        || detail.contains("unknown command") && detail.contains("hello")
}

/// The cause and the action for an error without a row.
fn unlisted(detail: &str) -> (Cause, StepAction) {
    if detail.contains(NOT_LOCAL) {
        // A slot is moving, and not all keys of the client have moved yet.
        (Cause::Cluster, Fail)
    } else if is_denied_to_script(detail) {
        (Cause::Denied, Fail)
    } else if detail.contains("user_script") {
        // A script fails by itself only when it cannot calculate with what is stored.
        (Cause::Unreadable, FailUnreadable)
    } else {
        (Cause::Refused, Fail)
    }
}

/// Whether a script has called a command that its user may not.
fn is_denied_to_script(detail: &str) -> bool {
    DENIED_TO_SCRIPT.iter().any(|part| detail.contains(part))
}

/// Extracts the error of a command inside a script, which Redis before 7.0 wraps:
/// `ERR Error running script (call to f_…): @user_script:1: @user_script: 1: -READONLY You can't write …`.
fn unwrapped<'a>(code: &'a str, detail: &'a str) -> (&'a str, &'a str) {
    let inner = (code == "ERR").then(|| detail.split_once(": -")).flatten();
    match inner.and_then(|(_, inner)| inner.split_once(' ')) {
        Some((inner_code, rest)) if ROWS.iter().any(|row| row.code == inner_code) => (inner_code, rest),
        _ => (code, detail),
    }
}

/// Reads `3999 127.0.0.1:6381`. A missing host is that of the node that was asked.
fn redirection(detail: &str, from: &Node) -> Option<(Slot, Node)> {
    let (slot, address) = detail.split_once(' ')?;
    let slot = Slot::new(slot.parse().ok()?)?;
    let address = address.split(' ').next()?;
    let (host, port) = address.rsplit_once(':')?;
    Some((slot, Node::beside(from, host, port.parse().ok()?)))
}

/// Removes hash tags, because they are UAIDs, which must not be logged.
fn without_keys(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    let mut rest = message;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((_, after)) = after.split_once('}') else { break };
        out.push_str(before);
        out.push_str("{…}");
        rest = after;
    }
    out.push_str(rest);
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: &str) -> Node {
        Node { host: host.into(), port: 7000 }
    }

    fn fault(answer: &str) -> Fault {
        let value = redis::parse_redis_value(format!("-{answer}\r\n").as_bytes()).unwrap();
        Fault::from_redis(&value.extract_error().unwrap_err(), &node("asked"))
    }

    #[test]
    fn every_row_is_found_by_its_code() {
        for row in ROWS {
            let fault = fault(&format!("{} message", row.code));
            assert_eq!(
                (fault.cause, fault.link, &fault.step),
                (row.cause, row.link, &row.step),
                "{}",
                row.code
            );
            assert_eq!(fault.message, format!("{} message", row.code));
        }
    }

    #[test]
    fn the_refusal_of_a_late_step_has_the_time() {
        let late = fault("LATE 1700000000123");
        assert_eq!(late.step, RetryWithClock(Duration::from_millis(1_700_000_000_123)));
        assert_eq!((late.cause, late.link), (Cause::Timeout, Keep));
    }

    #[test]
    fn a_redirection_names_the_slot_and_the_node() {
        let slot = Slot::new(3999).unwrap();
        for (answer, step) in [
            ("MOVED 3999 there:6381", Redirect(slot, Node { host: "there".into(), port: 6381 })),
            ("MOVED 3999 ::1:6381", Redirect(slot, Node { host: "::1".into(), port: 6381 })),
            ("MOVED 3999 :6381", Redirect(slot, Node { host: "asked".into(), port: 6381 })),
            ("MOVED 3999 ?:6381", Redirect(slot, Node { host: "asked".into(), port: 6381 })),
            ("ASK 3999 there:6381", Ask(Node { host: "there".into(), port: 6381 })),
            ("MOVED 16384 there:6381", Fail),
            ("MOVED 3999 there", Fail),
            ("ASK", Fail),
        ] {
            assert_eq!(fault(answer).step, step, "{answer}");
        }
    }

    #[test]
    fn an_error_that_an_older_redis_wraps_is_unwrapped() {
        const OLD: &str = "ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -";
        let full = fault(&format!("{OLD}OOM command not allowed when used memory > 'maxmemory'."));
        assert_eq!((full.cause, full.step), (Cause::Full, Fail));
        assert!(full.message.starts_with("OOM command"), "{}", full.message);
        let read_only = fault(&format!("{OLD}READONLY You can't write against a read only replica."));
        assert_eq!((read_only.cause, read_only.link), (Cause::ReadOnly, Reconnect));
    }

    #[test]
    fn an_error_without_a_row_is_refused_or_unreadable() {
        assert_eq!(fault("ERR unknown command").cause, Cause::Refused);
        assert_eq!(fault("WHATEVER it is").cause, Cause::Refused);
        assert_eq!(fault("ERR user_script:3: attempt to compare nil with number").step, FailUnreadable);
        let moving = "ERR Script attempted to access a non local key in a cluster node script: 1";
        assert_eq!((fault(moving).cause, fault(moving).step), (Cause::Cluster, Fail));
        for denied in [
            "NOPERM this user",
            "ERR The user executing the script can't run this command or subcommand script: 1, on @user_script:2.",
            "ERR ACL failure in script: User beckon has no permissions to run the 'set' command script: 1, on @user_script:2.",
        ] {
            assert!(fault(denied).is_lack_of_rights(), "{denied}");
        }
    }

    #[test]
    fn after_a_broken_connection_a_step_is_retried_once() {
        let broken = RedisError::from(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        let fault = Fault::from_redis(&broken, &node("asked"));
        assert_eq!((fault.cause, fault.link, fault.step), (Cause::Unreachable, Reconnect, RetryOnce));
    }

    #[test]
    fn no_key_is_shown() {
        let message = fault("ERR no such key c{AAAAAAAAAAAAAAAAAAAAAA} and m{B}x, {").message;
        assert_eq!(message, "ERR no such key c{…} and m{…}x, {");
    }
}
