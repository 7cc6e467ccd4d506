//! The scripts: one for each step, named by their SHA-1 so that a call does not carry their text.

use redis::{Arg, Cmd, Value};
use std::{ops::Deref, sync::LazyLock};

/// Digits of a deadline.
const DEADLINE_LEN: usize = 13;

/// The first line of a script that may write although Redis is full (Redis 7.0).
const ALLOW_OOM: &str = "#!lua flags=allow-oom\n";

/// A Lua script.
#[derive(Debug)]
pub(super) struct Script {
    text: String,
    sha: String,
    is_timed: bool,
    notes_repetition: bool,
    is_replicated: bool,
    /// Which answers say that something is not stored.
    denies: fn(&Value) -> bool,
    /// The same script, allowed to write although Redis is full.
    when_full: Option<Box<Script>>,
}

/// All scripts.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) hello: Script,
    pub(super) release: Script,
    pub(super) snapshot: Script,
    pub(super) verify: Script,
    pub(super) add_channel: Script,
    pub(super) remove_channel: Script,
    pub(super) put_version: Script,
    pub(super) ack_versions: Script,
    pub(super) put_message: Script,
    pub(super) find_channel: Script,
    pub(super) fetch: Script,
    pub(super) remove_messages: Script,
    pub(super) set_broadcast: Script,
    pub(super) remove_broadcast: Script,
    pub(super) broadcasts: Script,
    pub(super) list_clients: Script,
    pub(super) read_client: Script,
    pub(super) add_client: Script,
    pub(super) revoke: Script,
    pub(super) announce: Script,
    pub(super) retire: Script,
    pub(super) note_missed: Script,
    pub(super) take_missed: Script,
    pub(super) nodes: Script,
    pub(super) check: Script,
    pub(super) compare_format: Script,
    pub(super) rights: Script,
}

/// The text of a script: the parts that it shares with others, and its own.
#[cfg(not(feature = "next-format"))]
macro_rules! text {
    ($($file:literal),+) => {
        concat!($(include_str!(concat!("scripts/", $file, ".lua"))),+)
    };
}

/// The same, as a next version could have it.
#[cfg(feature = "next-format")]
macro_rules! text {
    ($($file:literal),+) => {
        concat!(include_str!("scripts/next.lua"), $(include_str!(concat!("scripts/", $file, ".lua"))),+)
    };
}

/// Hashed once.
pub(super) static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| Scripts {
    hello: Script::timed(text!("has_room", "late", "channel", "messages", "read_all", "backlog", "hello"))
        .denying(|answer| matches!(answer, Value::Int(11 | 12) | Value::BulkString(_)))
        .also_when_full(),
    release: Script::new(text!("release")).also_when_full(),
    snapshot: Script::new(text!("channel", "read_all", "lifetime", "snapshot")),
    verify: Script::new(text!("lifetime", "verify")),
    add_channel: Script::timed(text!("late", "channel", "add_channel")).replicated(),
    remove_channel: Script::timed(text!("late", "remove_channel")),
    put_version: Script::noting_repetition(text!("late", "repeated", "put_version"))
        .replicated()
        .denying(is_gone),
    ack_versions: Script::new(text!("channel", "ack_versions")).also_when_full(),
    put_message: Script::noting_repetition(text!("late", "repeated", "channel", "messages", "put_message"))
        .replicated()
        .denying(is_gone),
    find_channel: Script::new(text!("channel", "find_channel")).denying(is_gone),
    fetch: Script::new(text!("now", "channel", "messages", "backlog", "lifetime", "fetch")).also_when_full(),
    remove_messages: Script::new(text!("remove_messages")),
    set_broadcast: Script::timed(text!("late", "set_broadcast")),
    remove_broadcast: Script::timed(text!("late", "remove_broadcast")),
    broadcasts: Script::new(text!("broadcasts")),
    list_clients: Script::new(text!("list_clients")),
    read_client: Script::new(text!("now", "channel", "messages", "read_all", "backlog", "read_client")),
    add_client: Script::timed(text!("late", "channel", "messages", "add_client")),
    revoke: Script::timed(text!("late", "revoke")).also_when_full(),
    announce: Script::timed(text!("late", "directory", "format", "announce")).also_when_full(),
    retire: Script::new(text!("now", "directory", "retire")),
    note_missed: Script::new(text!("note_missed")).also_when_full(),
    take_missed: Script::timed(text!("late", "take_missed")),
    nodes: Script::new(text!("now", "nodes")),
    check: Script::new(text!("check")).replicated(),
    compare_format: Script::new(text!("format", "compare_format")),
    rights: Script::new(text!("rights")),
});

impl Script {
    fn new(text: &str) -> Self {
        let sha = redis::Script::new(text).get_hash().to_owned();
        Self {
            text: text.to_owned(),
            sha,
            is_timed: false,
            notes_repetition: false,
            is_replicated: false,
            denies: |_| false,
            when_full: None,
        }
    }

    /// A script that is called again if Redis is full, because it frees memory in the end, or takes next to none.
    fn also_when_full(self) -> Self {
        let text = [ALLOW_OOM, &self.text.replacen("is_full = false", "is_full = true", 1)].concat();
        let when_full = Self { is_timed: self.is_timed, denies: self.denies, ..Self::new(&text) };
        Self { when_full: Some(Box::new(when_full)), ..self }
    }

    /// The same script, allowed to write although Redis is full, if it has to work then. It takes the same call.
    pub(super) fn when_full(&self) -> Option<&Self> {
        self.when_full.as_deref()
    }

    /// A script that begins with `late.lua`.
    fn timed(text: &str) -> Self {
        Self { is_timed: true, ..Self::new(text) }
    }

    /// A timed script that has to know whether it may have been performed already.
    fn noting_repetition(text: &str) -> Self {
        Self { notes_repetition: true, ..Self::timed(text) }
    }

    /// A script whose caller relies on what it has written. It waits for [`super::Access::replicas`].
    fn replicated(self) -> Self {
        Self { is_replicated: true, ..self }
    }

    /// A script with answers that say that something is not stored, after which a peer forgets a subscription. Only a primary
    /// gives such an answer, and it is believed only if the server still is the primary when it has been given.
    fn denying(self, denies: fn(&Value) -> bool) -> Self {
        Self { denies, ..self }
    }

    /// Whether an answer says that something is not stored.
    pub(super) fn denies(&self, answer: &Value) -> bool {
        (self.denies)(answer)
    }

    /// Whether replicas have to have what it has written before it counts as performed.
    pub(super) fn is_replicated(&self) -> bool {
        self.is_replicated
    }

    /// Whether it takes one more argument in front of the deadline if its answer has been lost once: when it was called first.
    pub(super) fn notes_repetition(&self) -> bool {
        self.notes_repetition
    }

    /// Whether its last argument is the deadline of the step, which the link adds when it sends the call.
    pub(super) fn is_timed(&self) -> bool {
        self.is_timed
    }

    /// A call that its arguments have yet to be added to: this number of `arguments` with this number of `bytes`.
    pub(super) fn call<K: Deref<Target = [u8]>>(&self, keys: &[K], arguments: usize, bytes: usize) -> Cmd {
        let fixed = "EVALSHA".len() + self.sha.len() + 1;
        let keys_len: usize = keys.iter().map(|key| key.len()).sum();
        let deadline = if self.is_timed { DEADLINE_LEN } else { 0 };
        let mut call = Cmd::with_capacity(4 + keys.len() + arguments, fixed + keys_len + bytes + deadline);
        call.arg("EVALSHA").arg(&self.sha).arg(keys.len());
        for key in keys {
            call.arg(&**key);
        }
        call
    }

    /// A call of this or another script, with the text of this one, for a server that does not have it yet. The server
    /// keeps it.
    pub(super) fn with_text(&self, call: &Cmd) -> Cmd {
        readdressed("EVAL", &self.text, call)
    }

    /// A call of another script, as a call of this one.
    pub(super) fn instead(&self, call: &Cmd) -> Cmd {
        readdressed("EVALSHA", &self.sha, call)
    }
}

/// The answers of scripts that look for a client or a channel and find none.
fn is_gone(answer: &Value) -> bool {
    matches!(answer, Value::Int(0 | 1))
}

/// A call with another command and script.
fn readdressed(command: &str, script: &str, call: &Cmd) -> Cmd {
    let mut whole = Cmd::new();
    whole.arg(command).arg(script);
    for argument in call.args_iter().skip(2) {
        if let Arg::Simple(bytes) = argument {
            whole.arg(bytes);
        }
    }
    whole
}

/// The first key of a call.
pub(super) fn first_key(call: &Cmd) -> Option<&[u8]> {
    match call.args_iter().nth(3) {
        Some(Arg::Simple(key)) => Some(key),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_with_the_text_has_the_same_keys_and_arguments() {
        let script = Script::new("return ARGV[1]");
        let mut call = script.call(&[b"key".to_vec()], 1, 1);
        call.arg(7);
        let whole = String::from_utf8(script.with_text(&call).get_packed_command()).unwrap();
        assert_eq!(first_key(&call), Some(&b"key"[..]));
        assert_eq!(whole, "*5\r\n$4\r\nEVAL\r\n$14\r\nreturn ARGV[1]\r\n$1\r\n1\r\n$3\r\nkey\r\n$1\r\n7\r\n");
    }
}
