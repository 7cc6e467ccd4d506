//! How both stores write what a client has: the parts that their records share.
//!
//! * here: dialects, and reading bytes piece by piece;
//! * [`channel`]: a registered channel;
//! * [`message`]: a stored message.
//!
//! Numbers of more than a byte are big-endian. Garbage is [`Unreadable`] and never a panic.

pub(crate) mod channel;
pub(crate) mod message;

use crate::StoreError;
use beckon_types::Dialect;

/// Bytes that are not as this version writes them: written by another version, or damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreadable(pub(crate) &'static str);

impl From<Unreadable> for StoreError {
    fn from(unreadable: Unreadable) -> Self {
        Self::Unreadable(unreadable.to_string())
    }
}

/// The byte of a dialect.
pub(crate) fn dialect_byte(dialect: Dialect) -> u8 {
    match dialect {
        Dialect::SimplePush => 1,
        Dialect::WebPush => 2,
    }
}

/// The dialect of a byte.
pub(crate) fn dialect(byte: u8) -> Result<Dialect, Unreadable> {
    match byte {
        1 => Ok(Dialect::SimplePush),
        2 => Ok(Dialect::WebPush),
        _ => Err(Unreadable("unknown dialect")),
    }
}

/// Takes a fixed number of bytes off the front.
pub(crate) fn take<const LEN: usize>(rest: &mut &[u8]) -> Result<[u8; LEN], Unreadable> {
    let (taken, after) = rest.split_first_chunk().ok_or(Unreadable("too short"))?;
    *rest = after;
    Ok(*taken)
}

/// Appends a text: its length in four bytes, and UTF-8.
pub(crate) fn put_text(text: &str, out: &mut Vec<u8>) {
    // A text that is longer than the number can say does not fit into a record either.
    out.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(text.as_bytes());
}

/// Takes a text off the front.
pub(crate) fn take_text<'a>(rest: &mut &'a [u8]) -> Result<&'a str, Unreadable> {
    let len = u32::from_be_bytes(take(rest)?) as usize;
    let (bytes, after) = rest.split_at_checked(len).ok_or(Unreadable("too short"))?;
    *rest = after;
    str::from_utf8(bytes).map_err(|_| Unreadable("text is not UTF-8"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The lines of a fixture: bytes in hex, in as many columns as there are, and what they mean.
    pub(crate) fn fixture<const COLUMNS: usize>(text: &str) -> Vec<([Vec<u8>; COLUMNS], &str)> {
        let bytes = |hex: &str| -> Vec<u8> {
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
        };
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| {
                let mut columns = line.splitn(COLUMNS + 1, ' ');
                let hex = std::array::from_fn(|_| bytes(columns.next().unwrap()));
                (hex, columns.next().unwrap())
            })
            .collect()
    }

    #[test]
    fn a_dialect_survives() {
        for known in [Dialect::SimplePush, Dialect::WebPush] {
            assert_eq!(dialect(dialect_byte(known)), Ok(known));
        }
        assert_eq!(dialect(0), Err(Unreadable("unknown dialect")));
    }

    proptest! {
        #[test]
        fn a_text_survives(text: String, after: Vec<u8>) {
            let mut bytes = Vec::new();
            put_text(&text, &mut bytes);
            bytes.extend(&after);
            let mut rest = &bytes[..];
            prop_assert_eq!(take_text(&mut rest), Ok(&text[..]));
            prop_assert_eq!(rest, after);
        }
    }
}
