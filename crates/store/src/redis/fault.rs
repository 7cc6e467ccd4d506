//! What a step met instead of an answer, and what follows: for the link, for the step, and for the operator.
//!
//! [`ROWS`] is the one table of it. An error that Redis answers and that has no row fails the step and is shown as
//! `refused`. What the network does has rows as well: [`Fault::lost`], [`Fault::silent`], [`Fault::from_dial`].
//!
//! A row says that a step may go again only if Redis cannot have executed it. The scripts keep their side: each reads
//! and checks everything before it writes, so an error means that nothing was written.

use super::{address::Node, slot::Slot};
use crate::{Cause, StoreError};
use redis::{ErrorKind, RedisError};
use std::{fmt, time::Duration};

/// Why a step was not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// What operators see.
    pub(super) cause: Cause,
    /// What the link does.
    pub(super) link: LinkAction,
    /// What the step does.
    pub(super) step: StepAction,
    /// Redis's own words, or those of the operating system.
    pub(super) words: String,
}

/// What a link does after a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkAction {
    /// The connection is good.
    Keep,
    /// The connection is good, but the slots are elsewhere: the topology is read again.
    ReadTopology,
    /// Another connection is made: with the password read again, the name resolved again, and the primary looked for
    /// again. It is used only if a write succeeds on it.
    Reconnect,
}

/// What a step does after a fault, within its time limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StepAction {
    /// It fails.
    Fail,
    /// It fails, because what is stored cannot be read.
    FailUnreadable,
    /// It fails unless it may be executed twice; then it goes again on the next connection.
    GoIfHarmless,
    /// It goes again on the link's next connection.
    GoOnNextConnection,
    /// It goes again on the same link after a pause.
    GoAfterPause,
    /// It goes again with the text of its script.
    GoWithText,
    /// It goes to the primary that has the slot now.
    GoTo(Slot, Node),
    /// It goes to this primary with `ASKING`, this time only.
    AskAt(Node),
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

/// The errors of Redis. `MOVED` and `ASK` name a node as well: [`Fault::from_redis`] reads it.
const ROWS: &[Row] = &[
    // The slot is elsewhere, or on its way.
    row("MOVED", Cause::Cluster, ReadTopology, Fail),
    row("ASK", Cause::Cluster, Keep, Fail),
    row("TRYAGAIN", Cause::Cluster, Keep, GoAfterPause),
    row("CLUSTERDOWN", Cause::Cluster, ReadTopology, Fail),
    row("CROSSSLOT", Cause::Cluster, Keep, Fail),
    // Not a primary: it was demoted, or never was one.
    row("READONLY", Cause::ReadOnly, Reconnect, GoOnNextConnection),
    row("MASTERDOWN", Cause::ReadOnly, Reconnect, GoOnNextConnection),
    // Not yet, or not now.
    row("LOADING", Cause::Loading, Reconnect, GoOnNextConnection),
    row("BUSY", Cause::Busy, Keep, Fail),
    // The user, the password, the rights.
    row("NOAUTH", Cause::Denied, Reconnect, GoOnNextConnection),
    row("WRONGPASS", Cause::Denied, Reconnect, GoOnNextConnection),
    row("NOPERM", Cause::Denied, Keep, Fail),
    // Writes are refused.
    row("OOM", Cause::Full, Keep, Fail),
    row("MISCONF", Cause::NotDurable, Keep, Fail),
    row("NOREPLICAS", Cause::NotDurable, Keep, Fail),
    // Ordinary.
    row("NOSCRIPT", Cause::Refused, Keep, GoWithText),
    // Something else is stored under the key.
    row("WRONGTYPE", Cause::Unreadable, Keep, FailUnreadable),
];

/// What Redis says when a script asks for a key that is on another node of the cluster, or not there yet.
const NOT_LOCAL: &str = "non local key";

impl Fault {
    /// What an error means that Redis answered on a good connection, or that ended the connection. `from` is the node
    /// that was asked: a redirection may leave the host out.
    pub(super) fn from_redis(error: &RedisError, from: &Node) -> Self {
        let Some(code) = error.code() else { return Self::lost(error.to_string()) };
        let detail = error.detail().unwrap_or_default();
        let (code, detail) = unwrapped(code, detail);
        let words = without_keys(&format!("{code} {detail}"));
        let Some(row) = ROWS.iter().find(|row| row.code == code) else {
            let (cause, step) = unlisted(detail);
            return Self { cause, link: Keep, step, words };
        };
        let step = match code {
            "MOVED" => redirection(detail, from).map(|(slot, node)| GoTo(slot, node)),
            "ASK" => redirection(detail, from).map(|(_, node)| AskAt(node)),
            _ => None,
        };
        Self { cause: row.cause, link: row.link, step: step.unwrap_or_else(|| row.step.clone()), words }
    }

    /// The connection broke before the answer: whether the step was executed is not known.
    pub(super) fn lost(words: String) -> Self {
        Self { cause: Cause::Unreachable, link: Reconnect, step: GoIfHarmless, words }
    }

    /// Nothing was answered for this long: whether the step was executed is not known.
    pub(super) fn silent(limit: Duration) -> Self {
        let words = format!("no answer within {limit:?}");
        Self { cause: Cause::Timeout, link: Reconnect, step: Fail, words }
    }

    /// No connection could be made.
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
        let words = match error.code() {
            Some(code) => without_keys(&format!("{code} {}", error.detail().unwrap_or_default())),
            None => error.to_string(),
        };
        Self { cause, link: Reconnect, step: Fail, words }
    }

    /// The step is refused: it has not been sent.
    pub(super) fn refused(cause: Cause, words: impl Into<String>) -> Self {
        Self { cause, link: Keep, step: Fail, words: words.into() }
    }

    /// The same fault, for a step that was not sent because of it.
    pub(super) fn unsent(&self) -> Self {
        Self { link: Keep, step: Fail, ..self.clone() }
    }

    /// Whether the primary cannot do what it is there for, as its own answer says, and will not tell when it can again.
    pub(super) fn is_complaint(&self) -> bool {
        match self.cause {
            Cause::Full | Cause::Denied | Cause::NotDurable | Cause::ReadOnly | Cause::Busy => true,
            Cause::Timeout
            | Cause::Unreachable
            | Cause::Overloaded
            | Cause::Loading
            | Cause::Cluster
            | Cause::Disk
            | Cause::Refused
            | Cause::Unreadable
            | Cause::Closed => false,
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault.step {
            FailUnreadable => Self::Unreadable(fault.words),
            _ => Self::unavailable(fault.cause, fault.words),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// Whether a server says to what begins every connection that it can never serve it: it has no such database, or does
/// not speak RESP3.
fn is_misfit(detail: &str) -> bool {
    let detail = detail.to_ascii_lowercase();
    detail.contains("db index") || detail.contains("unknown command") && detail.contains("hello")
}

/// What an error without a row means.
fn unlisted(detail: &str) -> (Cause, StepAction) {
    if detail.contains(NOT_LOCAL) {
        // A slot moves to another node of the cluster, and not all keys of the client are there yet.
        (Cause::Cluster, Fail)
    } else if detail.contains("user_script") {
        // A script fails by itself only on what it cannot count or compare.
        (Cause::Unreadable, FailUnreadable)
    } else {
        (Cause::Refused, Fail)
    }
}

/// Redis before 7.0 puts the error of a command in front of which a script stopped into a text of its own:
/// `ERR Error running script (call to f_…): @user_script:1: @user_script: 1: -READONLY You can't write …`.
fn unwrapped<'a>(code: &'a str, detail: &'a str) -> (&'a str, &'a str) {
    let inner = (code == "ERR").then(|| detail.split_once(": -")).flatten();
    match inner.and_then(|(_, inner)| inner.split_once(' ')) {
        Some((inner_code, rest)) if ROWS.iter().any(|row| row.code == inner_code) => (inner_code, rest),
        _ => (code, detail),
    }
}

/// Reads `3999 127.0.0.1:6381`. Without a host it is that of the node that was asked.
fn redirection(detail: &str, from: &Node) -> Option<(Slot, Node)> {
    let (slot, address) = detail.split_once(' ')?;
    let slot = Slot::new(slot.parse().ok()?)?;
    let address = address.split(' ').next()?;
    let (host, port) = address.rsplit_once(':')?;
    Some((slot, Node::beside(from, host, port.parse().ok()?)))
}

/// Takes the hash tags out, which are UAIDs: they stay out of the log.
fn without_keys(words: &str) -> String {
    let mut out = String::with_capacity(words.len());
    let mut rest = words;
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
    fn every_row_is_found_by_what_redis_says() {
        for row in ROWS {
            let fault = fault(&format!("{} words", row.code));
            assert_eq!(
                (fault.cause, fault.link, &fault.step),
                (row.cause, row.link, &row.step),
                "{}",
                row.code
            );
            assert_eq!(fault.words, format!("{} words", row.code));
        }
    }

    #[test]
    fn a_redirection_names_the_slot_and_the_node() {
        let slot = Slot::new(3999).unwrap();
        for (answer, step) in [
            ("MOVED 3999 there:6381", GoTo(slot, Node { host: "there".into(), port: 6381 })),
            ("MOVED 3999 ::1:6381", GoTo(slot, Node { host: "::1".into(), port: 6381 })),
            ("MOVED 3999 :6381", GoTo(slot, Node { host: "asked".into(), port: 6381 })),
            ("MOVED 3999 ?:6381", GoTo(slot, Node { host: "asked".into(), port: 6381 })),
            ("ASK 3999 there:6381", AskAt(Node { host: "there".into(), port: 6381 })),
            ("MOVED 16384 there:6381", Fail),
            ("MOVED 3999 there", Fail),
            ("ASK", Fail),
        ] {
            assert_eq!(fault(answer).step, step, "{answer}");
        }
    }

    #[test]
    fn the_error_inside_the_text_of_an_older_redis_counts() {
        const OLD: &str = "ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -";
        let full = fault(&format!("{OLD}OOM command not allowed when used memory > 'maxmemory'."));
        assert_eq!((full.cause, full.step), (Cause::Full, Fail));
        assert!(full.words.starts_with("OOM command"), "{}", full.words);
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
    }

    #[test]
    fn a_broken_connection_does_not_say_whether_the_step_was_executed() {
        let broken = RedisError::from(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        let fault = Fault::from_redis(&broken, &node("asked"));
        assert_eq!((fault.cause, fault.link, fault.step), (Cause::Unreachable, Reconnect, GoIfHarmless));
    }

    #[test]
    fn no_key_is_shown() {
        let words = fault("ERR no such key c{AAAAAAAAAAAAAAAAAAAAAA} and m{B}x, {").words;
        assert_eq!(words, "ERR no such key c{…} and m{…}x, {");
    }
}
