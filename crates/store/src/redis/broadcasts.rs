//! Broadcasts in Redis: one hash of ids and versions, with the revision in the field with the empty name.

use super::answer::pairs;
use crate::{StoreError, codec::Unreadable};
use beckon_types::Broadcasts;
use redis::Value;
use std::sync::Arc;

/// Reads the whole hash. Without a hash, the revision is zero.
pub(super) fn read(fields: &[Value]) -> Result<Broadcasts, StoreError> {
    let mut broadcasts = Broadcasts::default();
    for (field, value) in pairs(fields) {
        if field.is_empty() {
            broadcasts.revision = text(value)?.parse().map_err(|_| Unreadable("revision is not a number"))?;
        } else {
            broadcasts.values.insert(Arc::from(text(field)?), Arc::from(text(value)?));
        }
    }
    Ok(broadcasts)
}

fn text(bytes: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(bytes).map_err(|_| Unreadable("broadcast is not text"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bulk(bytes: &[u8]) -> Value {
        Value::BulkString(bytes.to_vec())
    }

    #[test]
    fn the_field_with_the_empty_name_is_the_revision() {
        let fields = [&b""[..], b"1700000000000", b"a/b", b"1", b"c", "\u{e4}".as_bytes()].map(bulk);
        let read = read(&fields).unwrap();
        assert_eq!(read.revision, 1_700_000_000_000);
        assert_eq!(read.values, [("a/b".into(), "1".into()), ("c".into(), "\u{e4}".into())].into());
        assert_eq!(super::read(&[]), Ok(Broadcasts::default()));
    }

    proptest! {
        #[test]
        fn garbage_is_read_without_a_panic(field: Vec<u8>, value: Vec<u8>) {
            let _ = read(&[bulk(&field), bulk(&value)]);
            let _ = read(&[bulk(b""), bulk(&value)]);
        }
    }
}
