//! Where messages end in the bytes of a peer.

/// Follows the frames in a peer's bytes (RFC 6455 section 5.2), to know when no part of a message is outstanding.
#[derive(Debug, Default)]
pub(super) struct Boundary {
    /// The part of the current frame's header that has arrived.
    header: [u8; 14],
    header_len: u8,
    /// Bytes of the current frame's payload that have not arrived yet.
    payload_left: u64,
    /// A message has begun and its last fragment has not arrived.
    fragmented: bool,
    /// Lengths of the frames of the current message, together.
    begun: u64,
}

impl Boundary {
    /// Whether the bytes so far end at the end of a message.
    pub(super) fn is_clean(&self) -> bool {
        self.header_len == 0 && self.payload_left == 0 && !self.fragmented
    }

    /// How long the message is that has begun, as far as its frames say. Also while the last one is not used up.
    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    /// Takes the next bytes of the peer into account.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let skipped =
                    usize::try_from(self.payload_left).map_or(bytes.len(), |left| left.min(bytes.len()));
                self.payload_left -= skipped as u64;
                bytes = &bytes[skipped..];
                continue;
            }
            self.header[usize::from(self.header_len)] = bytes[0];
            self.header_len += 1;
            bytes = &bytes[1..];
            if self.header_len >= 2 && self.header_len == self.full_header_len() {
                self.end_of_header();
            }
        }
    }

    /// Length of the whole header, from its first two bytes.
    fn full_header_len(&self) -> u8 {
        let length = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
        2 + length + mask
    }

    fn end_of_header(&mut self) {
        self.payload_left = match self.header[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            127 => self.header[2..10].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
            length => u64::from(length),
        };
        let is_control = self.header[0] & 0x08 != 0;
        if !is_control {
            // Opcode 0 continues a message.
            let before = if self.header[0] & 0x0f == 0 { self.begun } else { 0 };
            self.begun = before.saturating_add(self.payload_left);
            self.fragmented = self.header[0] & 0x80 == 0;
        }
        self.header_len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A masked frame as a client sends it.
    fn frame(first: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![first];
        match length {
            0..126 => bytes.push(0x80 | length as u8),
            126..65_536 => {
                bytes.push(0x80 | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend([0; 4]);
        bytes.extend(vec![0x80; length]);
        bytes
    }

    #[test]
    fn only_the_end_of_a_whole_message_is_clean() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let bytes = frame(0x81, length);
            for chunk in [1, 2, 7, bytes.len()] {
                let mut boundary = Boundary::default();
                let mut passed = 0;
                for part in bytes.chunks(chunk) {
                    boundary.pass(part);
                    passed += part.len();
                    assert_eq!(boundary.is_clean(), passed == bytes.len(), "{length} {chunk} {passed}");
                }
            }
        }
    }

    #[test]
    fn a_message_in_fragments_is_clean_after_the_last_one() {
        let mut boundary = Boundary::default();
        for (first, clean) in [(0x01, false), (0x00, false), (0x89, false), (0x80, true), (0x89, true)] {
            boundary.pass(&frame(first, 5));
            assert_eq!(boundary.is_clean(), clean, "{first:x}");
        }
    }
}
