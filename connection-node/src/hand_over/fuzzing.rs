//! Fuzz target for what two processes of a node say to each other.

use super::format::{Frame, Said};
use beckon_listener::source::Source;
use beckon_session::Session;
use beckon_types::{Broadcasts, ConnectionId, NodeId, Presence};
use prost::Message as _;

/// A frame. What is read is read again when it is written, and its connections become sessions or are refused.
pub fn hand_over(data: &[u8]) {
    let Ok(frame) = Frame::decode(data) else { return };
    assert_eq!(Frame::decode(frame.encode_to_vec().as_slice()).as_ref(), Ok(&frame));
    let Some(Said::Batch(batch)) = frame.said else { return };
    for connection in batch.connections {
        let presence = Presence { node: NodeId(1), connection: ConnectionId(connection.id) };
        if let Some(source) = Source::from_number(connection.source) {
            assert_eq!(Source::of(source.address()), Some(source));
        }
        if let Ok(session) = Session::resume(presence, connection.session, &Broadcasts::default()) {
            assert!(session.park().is_some());
        }
    }
}
