//! The scripts: one for each step, named by their SHA-1 so that a call does not carry their text.

use redis::{Arg, Cmd};
use std::sync::LazyLock;

/// A Lua script.
#[derive(Debug)]
pub(super) struct Script {
    text: &'static str,
    sha: String,
}

/// All scripts.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) hello: Script,
    pub(super) release: Script,
    pub(super) snapshot: Script,
    pub(super) add_channel: Script,
    pub(super) remove_channel: Script,
    pub(super) put_version: Script,
    pub(super) ack_versions: Script,
    pub(super) announce: Script,
    pub(super) nodes: Script,
}

/// Hashed once.
pub(super) static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| Scripts {
    hello: Script::new(concat!(include_str!("scripts/read_all.lua"), include_str!("scripts/hello.lua"))),
    release: Script::new(include_str!("scripts/release.lua")),
    snapshot: Script::new(concat!(
        include_str!("scripts/read_all.lua"),
        include_str!("scripts/snapshot.lua")
    )),
    add_channel: Script::new(include_str!("scripts/add_channel.lua")),
    remove_channel: Script::new(include_str!("scripts/remove_channel.lua")),
    put_version: Script::new(include_str!("scripts/put_version.lua")),
    ack_versions: Script::new(include_str!("scripts/ack_versions.lua")),
    announce: Script::new(include_str!("scripts/announce.lua")),
    nodes: Script::new(include_str!("scripts/nodes.lua")),
});

impl Script {
    fn new(text: &'static str) -> Self {
        Self { text, sha: redis::Script::new(text).get_hash().to_owned() }
    }

    /// A call without its arguments yet. `arguments` and `bytes` are how much will be added to it.
    pub(super) fn call(&self, keys: &[&[u8]], arguments: usize, bytes: usize) -> Cmd {
        let fixed = "EVALSHA".len() + self.sha.len() + 1;
        let keys_len: usize = keys.iter().map(|key| key.len()).sum();
        let mut call = Cmd::with_capacity(3 + keys.len() + arguments, fixed + keys_len + bytes);
        call.arg("EVALSHA").arg(&self.sha).arg(keys.len());
        for key in keys {
            call.arg(*key);
        }
        call
    }

    /// The same call with the script's text, for a server that does not have it yet. The server keeps it.
    pub(super) fn with_text(&self, call: &Cmd) -> Cmd {
        let mut whole = Cmd::new();
        whole.arg("EVAL").arg(self.text);
        for argument in call.args_iter().skip(2) {
            if let Arg::Simple(bytes) = argument {
                whole.arg(bytes);
            }
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_with_the_text_has_the_same_keys_and_arguments() {
        let script = Script::new("return ARGV[1]");
        let mut call = script.call(&[b"key"], 1, 1);
        call.arg(7);
        let whole = String::from_utf8(script.with_text(&call).get_packed_command()).unwrap();
        assert_eq!(whole, "*5\r\n$4\r\nEVAL\r\n$14\r\nreturn ARGV[1]\r\n$1\r\n1\r\n$3\r\nkey\r\n$1\r\n7\r\n");
    }
}
