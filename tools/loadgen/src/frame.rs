//! WebSocket frames (RFC 6455) as a client with a million sockets needs them: one message at a time, in and out
//! of a buffer that all sockets share. The messages of this family of servers come in one frame each; a
//! fragmented one is an error here.

/// What goes over a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A message of text or of bytes; SimplePush makes no difference.
    Message(&'a [u8]),
    /// To be answered by a Pong with the same bytes.
    Ping(&'a [u8]),
    /// The answer to a Ping, or a sign of life.
    Pong(&'a [u8]),
    /// The end, with its code; 1005 if there was none.
    Close(u16),
}

/// The server has sent what this client does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A message in several frames.
    #[error("fragmented message")]
    Fragmented,
    /// Reserved bits, an unknown kind, or a mask, which only clients use.
    #[error("invalid frame")]
    Invalid,
    /// Longer than [`PAYLOAD_MAX`].
    #[error("frame too long")]
    TooLong,
}

/// The longest payload that is taken, bytes: a flush of 100 updates with data is about 500 KB.
pub const PAYLOAD_MAX: usize = 1 << 20;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// No close code was given (RFC 6455 section 7.1.5).
const CLOSE_WITHOUT_CODE: u16 = 1005;

/// Reads the first frame of `input`, and how many bytes it takes. `None`: more bytes are needed.
///
/// # Errors
/// The frame cannot be taken; the connection is of no more use.
pub fn read(input: &[u8]) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let &[first, second, ..] = input else { return Ok(None) };
    let (header, length) = match second {
        length @ 0..=125 => (2, u64::from(length)),
        126 => match input.get(2..4) {
            Some(&[a, b]) => (4, u64::from(u16::from_be_bytes([a, b]))),
            Some(_) | None => return Ok(None),
        },
        127 => match input.get(2..10).and_then(|bytes| bytes.try_into().ok()) {
            Some(bytes) => (10, u64::from_be_bytes(bytes)),
            None => return Ok(None),
        },
        _ => return Err(FrameError::Invalid),
    };
    let length = usize::try_from(length).ok().filter(|length| *length <= PAYLOAD_MAX);
    let end = header + length.ok_or(FrameError::TooLong)?;
    let kind = first & 0x0f;
    if first & FIN == 0 || kind == 0 {
        return Err(FrameError::Fragmented);
    }
    let Some(payload) = input.get(header..end) else { return Ok(None) };
    let frame = match (first & !FIN, payload) {
        (TEXT | BINARY, _) => Frame::Message(payload),
        (PING, _) => Frame::Ping(payload),
        (PONG, _) => Frame::Pong(payload),
        (CLOSE, [a, b, ..]) => Frame::Close(u16::from_be_bytes([*a, *b])),
        (CLOSE, _) => Frame::Close(CLOSE_WITHOUT_CODE),
        _ => return Err(FrameError::Invalid),
    };
    Ok(Some((frame, end)))
}

/// Appends a frame to `output`, masked as a client's has to be. A message goes out as text.
pub fn write(output: &mut Vec<u8>, frame: Frame<'_>, mask: [u8; 4]) {
    let code;
    let (kind, payload) = match frame {
        Frame::Message(payload) => (TEXT, payload),
        Frame::Ping(payload) => (PING, payload),
        Frame::Pong(payload) => (PONG, payload),
        Frame::Close(number) => {
            code = number.to_be_bytes();
            (CLOSE, &code[..])
        }
    };
    output.push(FIN | kind);
    match payload.len() {
        length @ 0..=125 => output.push(MASKED | length as u8),
        length @ 126..=0xffff => {
            output.push(MASKED | 126);
            output.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            output.push(MASKED | 127);
            output.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    output.extend_from_slice(&mask);
    let begin = output.len();
    output.extend_from_slice(payload);
    // Four bytes at a time, which a compiler makes more of.
    let (words, rest) = output[begin..].as_chunks_mut();
    let mask_word = u32::from_ne_bytes(mask);
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ mask_word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a server makes of a client's frame: the payload in clear, and a frame without a mask.
    fn unmask(frame: &[u8]) -> Vec<u8> {
        let header = match frame[1] & 0x7f {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        let mask: [u8; 4] = frame[header..header + 4].try_into().unwrap();
        let mut plain = frame[..header].to_vec();
        plain[1] &= 0x7f;
        plain.extend(frame[header + 4..].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        plain
    }

    #[test]
    fn frames_of_the_rfc_are_understood() {
        // RFC 6455 section 5.7.
        let hello = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
        assert_eq!(read(&hello), Ok(Some((Frame::Message(b"Hello"), 7))));
        let ping = [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
        assert_eq!(read(&ping), Ok(Some((Frame::Ping(b"Hello"), 7))));
        let mut masked = Vec::new();
        write(&mut masked, Frame::Message(b"Hello"), [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(masked, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn frames_that_cannot_be_read_are_refused_with_the_reason() {
        for (input, error) in [
            (&[0x01, 0x01, 0x48][..], FrameError::Fragmented),
            (&[0x80, 0x01, 0x48], FrameError::Fragmented),
            (&[0x81, 0x81, 1, 2, 3, 4, 0x48], FrameError::Invalid),
            (&[0xc1, 0x01, 0x48], FrameError::Invalid),
            (&[0x83, 0x01, 0x48], FrameError::Invalid),
            (&[0x81, 127, 0, 0, 0, 0, 0, 0x20, 0, 0], FrameError::TooLong),
        ] {
            assert_eq!(read(input), Err(error), "{input:?}");
        }
        assert_eq!(read(&[0x88, 0x00]), Ok(Some((Frame::Close(1005), 2))));
        assert_eq!(read(&[0x88, 0x02, 0x03, 0xe9]), Ok(Some((Frame::Close(1001), 4))));
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read_and_no_part_of_it(
            payload in prop::collection::vec(any::<u8>(), 0..70_000usize), mask: [u8; 4], cut: prop::sample::Index,
        ) {
            let mut masked = Vec::new();
            write(&mut masked, Frame::Message(&payload), mask);
            let frame = unmask(&masked);
            prop_assert_eq!(read(&frame), Ok(Some((Frame::Message(&payload), frame.len()))));
            prop_assert_eq!(read(&frame[..cut.index(frame.len())]), Ok(None));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(input in prop::collection::vec(any::<u8>(), 0..64usize)) {
            if let Ok(Some((_, length))) = read(&input) {
                prop_assert!(length <= input.len());
            }
        }
    }
}
