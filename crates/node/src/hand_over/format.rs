//! What two processes of a program say to each other, in Protocol Buffers.
//!
//! | from | frame | means |
//! | --- | --- | --- |
//! | new | [`Greeting`] | which formats the new process reads |
//! | old | [`Offer`] | the format that the old one will write; the ports are its files |
//! | old | [`Refusal`] | no |
//! | new | [`Ready`] | it can take everything; nothing has changed yet, and from now on the old one stands still |
//! | old | [`Batch`] | connections; their sockets are its files |
//! | old | [`Complete`] | that were all |
//! | new | [`Prepared`] | everything is there and can be used |
//! | old | [`Commit`] | the new one serves from now on; the lock is its file |
//! | new | [`Serving`] | it does |
//! | both | [`Abort`] | everything stays as it was; instead of any frame before [`Commit`] |
//!
//! [`Greeting`], [`Offer`] and [`Refusal`] are the same in all formats, so that versions that have none in common can say so.
//! The other frames may differ. A field may be added without another format if its default means what was so before.
//!
//! What a program says of itself and of its connections is bytes here, and has the same rules.

use beckon_ops::hand_over::Channel;
use prost::{Message, Oneof};
use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

/// The formats that this version reads and writes, the best first: its own and that of the version before it.
#[cfg(not(feature = "next-format"))]
pub(super) const FORMATS: &[u32] = &[1];
#[cfg(feature = "next-format")]
pub(super) const FORMATS: &[u32] = &[next::FORMAT, 1];

/// A frame.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Frame {
    #[cfg_attr(not(feature = "next-format"), prost(oneof = "Said", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10"))]
    #[cfg_attr(feature = "next-format", prost(oneof = "Said", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11"))]
    pub(super) said: Option<Said>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Said {
    #[prost(message, tag = "1")]
    Greeting(Greeting),
    #[prost(message, tag = "2")]
    Offer(Offer),
    #[prost(message, tag = "3")]
    Refusal(Refusal),
    #[prost(message, tag = "4")]
    Ready(Ready),
    #[prost(message, tag = "5")]
    Batch(Batch),
    #[prost(message, tag = "6")]
    Complete(Complete),
    #[prost(message, tag = "7")]
    Prepared(Prepared),
    #[prost(message, tag = "8")]
    Commit(Commit),
    #[prost(message, tag = "9")]
    Serving(Serving),
    #[prost(message, tag = "10")]
    Abort(Abort),
    /// In [`next::FORMAT`] it comes before [`Complete`].
    #[cfg(feature = "next-format")]
    #[prost(message, tag = "11")]
    Added(next::Added),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Greeting {
    /// The formats that the new process reads, the best first.
    #[prost(uint32, repeated, tag = "1")]
    pub(super) reads: Vec<u32>,
    /// The version of the program, for the log.
    #[prost(string, tag = "2")]
    pub(super) version: String,
    /// Which program it is.
    #[prost(string, tag = "3")]
    pub(super) program: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Offer {
    #[prost(uint32, tag = "1")]
    pub(super) format: u32,
    #[prost(string, tag = "2")]
    pub(super) version: String,
    /// What the program says of itself.
    #[prost(bytes = "vec", tag = "3")]
    pub(super) about: Vec<u8>,
    /// The ports that are the files of this frame, in their order.
    #[prost(string, repeated, tag = "4")]
    pub(super) ports: Vec<String>,
    /// The clock of the program now, in milliseconds.
    #[prost(uint64, tag = "5")]
    pub(super) clock_ms: u64,
    /// The round of the lock.
    #[prost(uint64, tag = "6")]
    pub(super) round: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Refusal {
    /// For the operator.
    #[prost(string, tag = "1")]
    pub(super) reason: String,
    /// The old process stops, so its lock becomes free.
    #[prost(bool, tag = "2")]
    pub(super) is_stopping: bool,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Ready {}

/// What connections are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Kind {
    /// WebSockets.
    Socket = 0,
    /// HTTP connections.
    Request = 1,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Batch {
    #[prost(enumeration = "Kind", tag = "1")]
    pub(super) kind: i32,
    /// As many as the frame has files.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(super) connections: Vec<Vec<u8>>,
    /// A field that the other format does not have, and that may be ignored.
    #[cfg(feature = "next-format")]
    #[prost(string, tag = "90")]
    pub(super) added: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Complete {
    /// How many connections there were.
    #[prost(uint64, tag = "1")]
    pub(super) connections: u64,
    /// What the program says besides.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) rest: Vec<u8>,
    /// When the old process began to stand still, in milliseconds of the clock.
    #[prost(uint64, tag = "3")]
    pub(super) frozen_ms: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Prepared {}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Commit {}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Serving {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Abort {
    /// For the log of the other process.
    #[prost(string, tag = "1")]
    pub(super) reason: String,
    /// The old process stops, so its lock becomes free.
    #[prost(bool, tag = "2")]
    pub(super) is_stopping: bool,
}

/// What the format after this one may add, as far as a test can imagine it.
#[cfg(feature = "next-format")]
pub(super) mod next {
    /// The format that has [`Added`].
    pub(crate) const FORMAT: u32 = 2;

    /// What new fields and frames have in them.
    pub(crate) const ADDED: &str = "of the next version";

    /// A kind of frame that the other format does not have.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Added {
        #[prost(string, tag = "1")]
        pub(crate) text: String,
    }
}

/// Sends a frame with files, which stay open here.
pub(super) async fn send(channel: &mut Channel, said: Said, files: &[BorrowedFd<'_>]) -> io::Result<()> {
    channel.send(&Frame { said: Some(said) }.encode_to_vec(), files).await
}

/// The next frame; `None` if the other process is gone. Cancel safe.
pub(super) async fn receive(channel: &mut Channel) -> io::Result<Option<(Said, Vec<OwnedFd>)>> {
    let Some(received) = channel.receive().await? else { return Ok(None) };
    let frame = Frame::decode(received.frame.as_slice()).map_err(io::Error::other)?;
    let said = frame.said.ok_or_else(|| io::Error::other("a frame of another version"))?;
    Ok(Some((said, received.files)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_a_later_version_is_read_without_what_is_new_in_it() {
        #[derive(Clone, PartialEq, Message)]
        struct Later {
            #[prost(message, optional, tag = "3")]
            refusal: Option<LaterRefusal>,
        }
        #[derive(Clone, PartialEq, Message)]
        struct LaterRefusal {
            #[prost(string, tag = "1")]
            reason: String,
            #[prost(string, tag = "90")]
            new: String,
        }
        let refusal = LaterRefusal { reason: "no".into(), new: "more".into() };
        let frame = Frame::decode(Later { refusal: Some(refusal) }.encode_to_vec().as_slice()).unwrap();
        let said = Said::Refusal(Refusal { reason: "no".into(), is_stopping: false });
        assert_eq!(frame.said, Some(said));
        assert!(Frame::decode(&b"GET / HTTP/1.1"[..]).is_err());
    }
}
