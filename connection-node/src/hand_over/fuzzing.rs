//! Fuzz target for the sockets of a node as data.

use super::format::{About, Connection, Rest};
use crate::node::Former;
use beckon_listener::source::Source;
use beckon_session::Session;
use beckon_types::{Broadcasts, ConnectionId, NodeId, Presence};
use prost::Message as _;

/// A node, a socket of it, or the rest. What is read is read again when it is written, and a socket becomes a session or is
/// refused.
pub fn hand_over_sockets(data: &[u8]) {
    if let Ok(about) = About::decode(data) {
        assert_eq!(About::decode(about.encode_to_vec().as_slice()), Ok(about));
        assert!(Former::read(data).is_ok());
    }
    if let Ok(rest) = Rest::decode(data) {
        assert_eq!(Rest::decode(rest.encode_to_vec().as_slice()), Ok(rest));
    }
    let Ok(connection) = Connection::decode(data) else { return };
    assert_eq!(Connection::decode(connection.encode_to_vec().as_slice()).as_ref(), Ok(&connection));
    let presence = Presence { node: NodeId(1), connection: ConnectionId(connection.id) };
    if let Some(source) = Source::from_number(connection.source) {
        assert_eq!(Source::of(source.address()), Some(source));
    }
    if let Ok(session) = Session::resume(presence, connection.session, &Broadcasts::default()) {
        assert!(session.park().is_some());
    }
}
