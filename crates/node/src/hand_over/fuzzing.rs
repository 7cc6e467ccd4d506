//! Fuzz target for what two processes of a program say to each other.

use super::format::Frame;
use prost::Message as _;

/// A frame. What is read is read again when it is written.
pub fn hand_over(data: &[u8]) {
    let Ok(frame) = Frame::decode(data) else { return };
    assert_eq!(Frame::decode(frame.encode_to_vec().as_slice()), Ok(frame));
}
