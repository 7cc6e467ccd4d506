//! The names of the keys in Redis. Nothing outside this file names one, but for those of messages: only scripts use
//! them, and make them of the client's key and the message's field (`scripts/messages.lua`).
//!
//! Every key of a client has the UAID as its hash tag, so all of them are on the same node of a Redis Cluster
//! and one script can use them together. The keys of the directory share a tag for the same reason.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use beckon_types::Uaid;

/// Length of a client's key: `c`, braces, and 22 characters for the 16 bytes of the UAID.
pub(super) const CLIENT_LEN: usize = 25;

/// The nodes and their leases.
pub(super) const NODES: &[u8] = b"{beckon}nodes";

/// The random number that shows whether the store has lost all its data. Never expires.
pub(super) const EPOCH: &[u8] = b"{beckon}epoch";

/// The broadcasts: a hash of ids and versions, and the revision in the field without a name. Never expires.
pub(super) const BROADCASTS: &[u8] = b"{beckon}broadcasts";

/// Written by health checks; expires.
pub(super) const CHECK: &[u8] = b"{beckon}check";

/// The record of a client.
pub(super) fn client(uaid: Uaid) -> [u8; CLIENT_LEN] {
    let mut key = *b"c{......................}";
    #[expect(clippy::expect_used, reason = "16 bytes are 22 characters of base64")]
    URL_SAFE_NO_PAD.encode_slice(uaid.0, &mut key[2..CLIENT_LEN - 1]).expect("the UAID fits");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_tag_of_a_client_is_its_uaid() {
        assert_eq!(&client(Uaid([0xff; 16])), b"c{_____________________w}");
        assert_eq!(&client(Uaid([0; 16])), b"c{AAAAAAAAAAAAAAAAAAAAAA}");
    }
}
