//! The names of the keys in Redis. Only this file has them. Scripts get all keys that they use from here.
//!
//! Every key of a client has its id as its hash tag, so all of them are on the same node of a Redis Cluster and one
//! script can use them together. The keys of the directory share a tag for the same reason.

use super::options::{KEY_PREFIX_LEN_MAX, KeyPrefix};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use beckon_types::{ClientId, NodeId};
use std::{ops::Deref, time::Duration};

/// Length of a client's key without the prefix: `c`, braces, and 22 characters for the 16 bytes of its id.
const CLIENT_LEN: usize = 25;

/// How long the key that checks write is kept after the last one. Its value changes only if the primary has lost its data, or
/// nobody has reached it for so long.
pub(super) const CHECK_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The name of a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    bytes: [u8; KEY_PREFIX_LEN_MAX + CLIENT_LEN],
    len: usize,
}

impl Key {
    fn new(prefix: &KeyPrefix, name: &[u8]) -> Self {
        let prefix = prefix.as_bytes();
        let mut bytes = [0; KEY_PREFIX_LEN_MAX + CLIENT_LEN];
        let len = prefix.len() + name.len();
        bytes[..prefix.len()].copy_from_slice(prefix);
        bytes[prefix.len()..len].copy_from_slice(name);
        Self { bytes, len }
    }
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The record of a client.
pub(super) fn record(prefix: &KeyPrefix, client: ClientId) -> Key {
    of_client(prefix, b'c', client)
}

/// The stored messages of a client.
pub(super) fn messages(prefix: &KeyPrefix, client: ClientId) -> Key {
    of_client(prefix, b'm', client)
}

/// The topics of a client's messages, and the reserves of its channels.
pub(super) fn topics(prefix: &KeyPrefix, client: ClientId) -> Key {
    of_client(prefix, b't', client)
}

/// The order of a client's messages, if there are many.
fn index(prefix: &KeyPrefix, client: ClientId) -> Key {
    of_client(prefix, b'i', client)
}

/// All keys of a client, in the order in which scripts that use all of them expect them.
pub(super) fn all(prefix: &KeyPrefix, client: ClientId) -> [Key; 4] {
    [record(prefix, client), messages(prefix, client), topics(prefix, client), index(prefix, client)]
}

fn of_client(prefix: &KeyPrefix, kind: u8, client: ClientId) -> Key {
    let mut name = *b".{......................}";
    name[0] = kind;
    #[expect(clippy::expect_used, reason = "16 bytes are 22 characters of base64")]
    URL_SAFE_NO_PAD.encode_slice(client.0, &mut name[2..CLIENT_LEN - 1]).expect("the id fits");
    Key::new(prefix, &name)
}

/// A pattern of the records of all clients. No character of a prefix has a meaning in a pattern.
pub(super) fn clients(prefix: &KeyPrefix) -> String {
    format!("{prefix}c{{{}}}", "?".repeat(CLIENT_LEN - 3))
}

/// The client whose record this is.
pub(super) fn client(prefix: &KeyPrefix, record: &[u8]) -> Option<ClientId> {
    let tag = record.strip_prefix(prefix.as_bytes())?.strip_prefix(b"c{")?.strip_suffix(b"}")?;
    let mut decoded = [0; 18];
    let len = URL_SAFE_NO_PAD.decode_slice(tag, &mut decoded).ok()?;
    decoded[..len].try_into().ok().map(ClientId)
}

/// The nodes: a hash of their entries, and the revision of the directory in the field with the empty name. Never expires.
pub(super) fn nodes(prefix: &KeyPrefix) -> Key {
    Key::new(prefix, b"{beckon}nodes")
}

/// The leases of the nodes: a sorted set of when each ends.
fn leases(prefix: &KeyPrefix) -> Key {
    Key::new(prefix, b"{beckon}leases")
}

/// The last changes of the directory: a sorted set of nodes by the revision with which each joined, changed or left.
fn changes(prefix: &KeyPrefix) -> Key {
    Key::new(prefix, b"{beckon}changes")
}

/// The keys of the nodes and of their leases.
pub(super) fn listed(prefix: &KeyPrefix) -> [Key; 2] {
    [nodes(prefix), leases(prefix)]
}

/// The keys of the directory.
pub(super) fn directory(prefix: &KeyPrefix) -> [Key; 3] {
    [nodes(prefix), leases(prefix), changes(prefix)]
}

/// The connections of a node that have missed something: a hash whose fields are their ids, and the empty one if there are
/// more. Expires.
pub(super) fn missed(prefix: &KeyPrefix, node: NodeId) -> Key {
    Key::new(prefix, format!("n{{{node}}}").as_bytes())
}

/// The random number that shows whether the store has lost all its data. Never expires.
pub(super) fn epoch(prefix: &KeyPrefix) -> Key {
    Key::new(prefix, b"{beckon}epoch")
}

/// What all programs that use the store have to agree on ([`super::format`]). Never expires.
pub(super) fn format(prefix: &KeyPrefix) -> Key {
    Key::new(prefix, b"{beckon}format")
}

/// The keys that an announcement uses.
pub(super) fn announced(prefix: &KeyPrefix) -> [Key; 5] {
    [nodes(prefix), leases(prefix), changes(prefix), epoch(prefix), format(prefix)]
}

/// The broadcasts: a hash of ids and versions, and the revision in the field with the empty name. Never expires.
pub(super) fn broadcasts(prefix: &KeyPrefix) -> Key {
    Key::new(prefix, b"{beckon}broadcasts")
}

/// Written by health checks. There is one for each primary: the tag is in one of its slots. Expires.
pub(super) fn check(prefix: &KeyPrefix, tag: u32) -> Key {
    Key::new(prefix, format!("check{{{tag}}}").as_bytes())
}

/// Keys that look like those of a client and of a node but belong to none, in the same slot as [`check`].
pub(super) fn probes(prefix: &KeyPrefix, tag: u32) -> [Key; 5] {
    ["c", "m", "t", "i", "n"].map(|kind| Key::new(prefix, format!("{kind}{{{tag}}}").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_tag_of_a_client_is_its_id() {
        let none = KeyPrefix::default();
        assert_eq!(&*record(&none, ClientId([0xff; 16])), b"c{_____________________w}");
        assert_eq!(&*record(&none, ClientId([0; 16])), b"c{AAAAAAAAAAAAAAAAAAAAAA}");
    }

    #[test]
    fn the_client_of_a_record_is_in_its_name() {
        for prefix in ["", "push:"] {
            let prefix: KeyPrefix = prefix.parse().unwrap();
            let key = record(&prefix, ClientId([7; 16]));
            assert_eq!(client(&prefix, &key), Some(ClientId([7; 16])));
            assert_eq!(clients(&prefix).len(), key.len());
            for other in
                [&check(&prefix, 7)[..], &nodes(&prefix), &key[1..], b"c{______________________}", b""]
            {
                assert_eq!(client(&prefix, other), None, "{other:?}");
            }
        }
    }

    #[test]
    fn every_key_begins_with_the_prefix_and_the_longest_fits() {
        let prefix: KeyPrefix = "p".repeat(KEY_PREFIX_LEN_MAX).parse().unwrap();
        let others = [
            nodes(&prefix),
            leases(&prefix),
            changes(&prefix),
            missed(&prefix, NodeId(u64::MAX)),
            epoch(&prefix),
            format(&prefix),
            broadcasts(&prefix),
            check(&prefix, u32::MAX),
        ];
        let of_clients = all(&prefix, ClientId([1; 16])).into_iter().chain(probes(&prefix, u32::MAX));
        for key in others.into_iter().chain(of_clients) {
            assert!(key.starts_with(prefix.as_bytes()), "{key:?}");
            assert!(key.contains(&b'{') && key.len() <= KEY_PREFIX_LEN_MAX + CLIENT_LEN);
        }
    }
}
