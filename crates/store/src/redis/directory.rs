//! How a node is written in the directory, version 3.
//!
//! ```text
//! version 0x03 | flags (bit 0 room, bit 1 has a WebSocket URL) | workers, one byte | name | gRPC address |
//! WebSocket URL, if any | number of keys, one byte | 8 bytes for each key
//! ```
//!
//! What is behind that was added by a newer version, and is ignored.

use super::answer::pairs;
use crate::{
    Missed, NodeEntry, StoreError,
    codec::{Unreadable, put_text, take, take_text},
};
use beckon_types::{ConnectionId, NodeId};
use redis::Value;

/// The version of the format that this file writes and reads.
const VERSION: u8 = 3;

/// Flag: the node has room.
const ROOM: u8 = 1;

/// Flag: there is a WebSocket URL.
const WS_URL: u8 = 2;

/// The field of a node.
pub(super) fn field(node: NodeId) -> [u8; 8] {
    node.0.to_be_bytes()
}

/// The node of a field.
pub(super) fn node(field: &[u8]) -> Result<NodeId, Unreadable> {
    field.try_into().map(u64::from_be_bytes).map(NodeId).map_err(|_| Unreadable("node is not 8 bytes"))
}

/// Writes an entry.
pub(super) fn encode(entry: &NodeEntry) -> Vec<u8> {
    let room = if entry.room { ROOM } else { 0 };
    let ws_url = if entry.ws_url.is_some() { WS_URL } else { 0 };
    let mut out = vec![VERSION, room | ws_url, entry.workers];
    for text in [Some(&entry.name), Some(&entry.grpc_address), entry.ws_url.as_ref()].into_iter().flatten() {
        put_text(text, &mut out);
    }
    // A ring has up to `TOKEN_KEYS_MAX` keys.
    out.push(u8::try_from(entry.keys.len()).unwrap_or(u8::MAX));
    out.extend(entry.keys.iter().flat_map(|key| key.to_be_bytes()));
    #[cfg(feature = "next-format")]
    out.extend(b"of the next version");
    out
}

/// Reads an entry.
pub(super) fn decode(field: &[u8], value: &[u8]) -> Result<NodeEntry, Unreadable> {
    let node = node(field)?;
    let mut rest = value;
    let [version, flags, workers] = take(&mut rest)?;
    if version != VERSION {
        return Err(Unreadable("directory entry of another version"));
    }
    if workers == 0 {
        return Err(Unreadable("directory entry without workers"));
    }
    let name = take_text(&mut rest)?.to_owned();
    let grpc_address = take_text(&mut rest)?.to_owned();
    let ws_url = if flags & WS_URL != 0 { Some(take_text(&mut rest)?.to_owned()) } else { None };
    let [number] = take(&mut rest)?;
    let keys = (0..number).map(|_| take(&mut rest).map(u64::from_be_bytes)).collect::<Result<_, _>>()?;
    Ok(NodeEntry { node, name, grpc_address, workers, ws_url, room: flags & ROOM != 0, keys })
}

/// Reads the answer of the script that takes what connections have missed.
pub(super) fn missed(connections: &[Value]) -> Result<Missed, StoreError> {
    let mut ids = Vec::with_capacity(connections.len());
    for connection in connections {
        match connection {
            Value::BulkString(bytes) if bytes.is_empty() => return Ok(Missed::Any),
            Value::BulkString(bytes) => match bytes.as_slice().try_into() {
                Ok(bytes) => ids.push(ConnectionId(u64::from_be_bytes(bytes))),
                Err(_) => return Err(StoreError::Unreadable("connection is not 8 bytes".into())),
            },
            _ => return Err(StoreError::Unreadable("answer of take_missed".into())),
        }
    }
    Ok(Missed::These(ids))
}

/// Reads directory entries.
pub(super) fn entries(fields: &[Value]) -> Vec<NodeEntry> {
    pairs(fields).filter_map(|(field, value)| entry(field, value)).collect()
}

/// Reads a directory entry. One that this version cannot read is left out, so that the others can still be used.
pub(super) fn entry(field: &[u8], value: &[u8]) -> Option<NodeEntry> {
    decode(field, value).inspect_err(|error| tracing::warn!(%error, "directory entry left out")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_entry_survives(
            node: u64,
            name: String,
            grpc_address: String,
            workers in 1_u8..,
            ws_url: Option<String>,
            room: bool,
            keys: Vec<u64>,
            newer: Vec<u8>,
        ) {
            let entry = NodeEntry { node: NodeId(node), name, grpc_address, workers, ws_url, room, keys };
            let bytes = [encode(&entry), newer].concat();
            prop_assert_eq!(decode(&field(entry.node), &bytes), Ok(entry));
        }

        #[test]
        fn garbage_is_read_without_a_panic(mut value: Vec<u8>) {
            let _ = decode(&[0; 8], &value);
            value.insert(0, VERSION);
            let _ = decode(&[0; 8], &value);
        }
    }
}
