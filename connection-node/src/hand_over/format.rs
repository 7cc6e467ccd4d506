//! What two processes of a node say to each other, in Protocol Buffers.
//!
//! | from | frame | means |
//! | --- | --- | --- |
//! | new | [`Greeting`] | which formats the new process reads |
//! | old | [`Offer`] | the format that the old one will write; the ports are its files |
//! | old | [`Refusal`] | no |
//! | new | [`Ready`] | it has a node without sockets; nothing has changed yet, and from now on the old one stands still |
//! | old | [`Batch`] | connections; their sockets are its files |
//! | old | [`Complete`] | that were all |
//! | new | [`Prepared`] | everything is there and can be used |
//! | old | [`Commit`] | the new one serves from now on; the lock is its file |
//! | new | [`Serving`] | it does |
//! | both | [`Abort`] | everything stays as it was; instead of any frame before [`Commit`] |
//!
//! [`Greeting`], [`Offer`] and [`Refusal`] are the same in all formats, so that versions that have none in common can say so.
//! The other frames may differ. A field may be added without another format if its default means what was so before.

use beckon_ops::hand_over::Channel;
use beckon_session::Parked;
use prost::{Message, Oneof};
use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

/// The formats that this version reads and writes, the best first: its own and that of the version before it.
pub(super) const FORMATS: &[u32] = &[1];

/// The version of this program, for logs.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A frame.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Frame {
    #[prost(oneof = "Said", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10")]
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
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Greeting {
    /// The formats that the new process reads, the best first.
    #[prost(uint32, repeated, tag = "1")]
    pub(super) reads: Vec<u32>,
    /// The program and its version, for the log.
    #[prost(string, tag = "2")]
    pub(super) version: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Offer {
    #[prost(uint32, tag = "1")]
    pub(super) format: u32,
    #[prost(string, tag = "2")]
    pub(super) version: String,
    /// The run of the node, which goes on.
    #[prost(fixed64, tag = "3")]
    pub(super) node: u64,
    /// Where other nodes reach it.
    #[prost(string, tag = "4")]
    pub(super) grpc_address: String,
    /// The ports that are the files of this frame, in their order.
    #[prost(string, repeated, tag = "5")]
    pub(super) ports: Vec<String>,
    /// The clock of the node now, in milliseconds.
    #[prost(uint64, tag = "6")]
    pub(super) clock_ms: u64,
    /// The epoch of the store as the old process knows it; 0 if it does not.
    #[prost(uint64, tag = "7")]
    pub(super) epoch: u64,
    /// The round of the lock.
    #[prost(uint64, tag = "8")]
    pub(super) round: u64,
    /// The tables of its connections.
    #[prost(uint32, tag = "9")]
    pub(super) tables: u32,
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

#[derive(Clone, PartialEq, Message)]
pub(super) struct Batch {
    /// As many as the frame has files.
    #[prost(message, repeated, tag = "1")]
    pub(super) connections: Vec<Connection>,
}

/// A WebSocket between two messages.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Connection {
    #[prost(fixed64, tag = "1")]
    pub(super) id: u64,
    /// Whom it is from, for limits; 0 if it has none.
    #[prost(uint64, tag = "2")]
    pub(super) source: u64,
    /// Whether it has to re-read the store.
    #[prost(bool, tag = "3")]
    pub(super) missed: bool,
    /// When it was upgraded, in seconds of the clock.
    #[prost(uint32, tag = "4")]
    pub(super) entered_s: u32,
    #[prost(message, required, tag = "5")]
    pub(super) session: Parked,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Complete {
    /// How many connections there were.
    #[prost(uint64, tag = "1")]
    pub(super) connections: u64,
    /// For each table of connections, a generation that no id has.
    #[prost(uint32, repeated, tag = "2")]
    pub(super) generations: Vec<u32>,
    #[prost(message, required, tag = "3")]
    pub(super) left: Left,
    /// When the old process began to stand still, in milliseconds of the clock.
    #[prost(uint64, tag = "4")]
    pub(super) frozen_ms: u64,
}

/// The sockets that stay in the old process, which closes them.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct Left {
    /// They have TLS.
    #[prost(uint64, tag = "1")]
    pub(super) tls: u64,
    /// In the middle of a message, or of a step of the store.
    #[prost(uint64, tag = "2")]
    pub(super) busy: u64,
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
