//! Fuzz target for frames, with another implementation of RFC 6455 as a second opinion.

use super::{
    boundary::Boundary,
    inbound::{Inbound, MessageLimits, close_code_of},
};
use beckon_session::CloseCode;
use bytes::Bytes;
use soketto::{
    Parsing,
    base::{Codec, OpCode},
};
use std::{
    io::{self, Read, Write},
    time::Duration,
};
use tokio_tungstenite::tungstenite::{Error, Message, protocol::WebSocketContext};

const LIMITS: MessageLimits = MessageLimits { len_max: 4096, timeout: Duration::from_secs(1) };

/// What was read of the bytes of a peer.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    messages: Vec<Message>,
    /// How the conversation ended, if it did.
    end: Option<End>,
    /// Whether no part of a message is outstanding.
    is_clean: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Closed,
    Broken(Option<CloseCode>),
}

/// Frames of a user agent; the first byte is the length of the pieces in which they arrive. It does not matter how long the
/// pieces are, nor that the state of the protocol is dropped between messages. The messages are those that `soketto` reads.
pub fn frames(data: &[u8]) {
    let Some((piece_len, bytes)) = data.split_first() else { return };
    let whole = hear(bytes, bytes.len(), false);
    let in_pieces = hear(bytes, usize::from(*piece_len), true);
    assert_eq!(whole.messages, in_pieces.messages);
    assert_eq!(whole.end, in_pieces.end);
    let len: usize = whole.messages.iter().map(Message::len).sum();
    assert!(len <= bytes.len(), "{len} bytes of messages from {} bytes", bytes.len());
    if whole.end.is_some() {
        return;
    }
    assert_eq!(whole.is_clean, in_pieces.is_clean);
    let Some((messages, is_clean)) = second_opinion(bytes) else {
        return assert!(!whole.is_clean, "soketto refuses a whole frame");
    };
    let data_of = |message: &Message| {
        (message.is_text() || message.is_binary()).then(|| message.clone().into_data().to_vec())
    };
    assert_eq!(whole.messages.iter().filter_map(data_of).collect::<Vec<_>>(), messages);
    assert_eq!(whole.is_clean, is_clean);
}

/// What a socket reads of bytes that arrive in pieces. It may drop the state of the protocol when a piece ends with a message.
fn hear(bytes: &[u8], piece_len: usize, drops_state: bool) -> Heard {
    let mut heard = Heard { is_clean: true, ..Heard::default() };
    let mut inbound = None;
    for piece in bytes.chunks(piece_len.max(1)) {
        let Inbound { context, boundary, .. } =
            inbound.get_or_insert_with(|| Inbound::new(Bytes::new(), LIMITS));
        heard.end = take(context, &mut Pieces { piece, boundary }, &mut heard.messages);
        if heard.end.is_some() {
            return heard;
        }
        heard.is_clean = boundary.is_clean();
        if heard.is_clean && drops_state {
            inbound = None;
        }
    }
    heard
}

fn take(context: &mut WebSocketContext, pieces: &mut Pieces<'_>, messages: &mut Vec<Message>) -> Option<End> {
    loop {
        match context.read(pieces) {
            Ok(Message::Close(_)) => return Some(End::Closed),
            Ok(message) => messages.push(message),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(error) => return Some(End::Broken(close_code_of(&error))),
        }
    }
}

/// The data messages, and whether no part of one is outstanding. `None`: `soketto` refuses the bytes.
fn second_opinion(mut bytes: &[u8]) -> Option<(Vec<Vec<u8>>, bool)> {
    let codec = Codec::new();
    let (mut messages, mut fragments): (Vec<Vec<u8>>, Option<Vec<u8>>) = (Vec::new(), None);
    while !bytes.is_empty() {
        let Parsing::Done { value: header, offset } = codec.decode_header(bytes).ok()? else {
            return Some((messages, false));
        };
        let rest = &bytes[offset..];
        let Some((payload, after)) = rest.split_at_checked(header.payload_len()) else {
            return Some((messages, false));
        };
        bytes = after;
        let mut payload = payload.to_vec();
        Codec::apply_mask(&header, &mut payload);
        match (header.opcode(), &mut fragments) {
            (OpCode::Continue, Some(before)) => before.extend(payload),
            (OpCode::Text | OpCode::Binary, None) => fragments = Some(payload),
            (OpCode::Ping | OpCode::Pong | OpCode::Close, _) => continue,
            _ => return None,
        }
        if header.is_fin() {
            messages.extend(fragments.take());
        }
    }
    Some((messages, fragments.is_none()))
}

/// A piece of the peer's bytes. What is written is forgotten.
struct Pieces<'a> {
    piece: &'a [u8],
    boundary: &'a mut Boundary,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (taken, rest) = self.piece.split_at(self.piece.len().min(buffer.len()));
        buffer[..taken.len()].copy_from_slice(taken);
        self.boundary.pass(taken);
        self.piece = rest;
        Ok(taken.len())
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
