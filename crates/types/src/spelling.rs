//! The spelling of identifiers: UUID syntax as in PROTOCOL.md section 1.2, which is 32 hex digits, or 36 characters
//! with hyphens.
//!
//! Identifiers are compared by their 16 bytes but echoed in the spelling that the user agent chose, so the spelling
//! is kept beside the bytes: it takes five bytes, where the text would take 36.

/// Bytes of an identifier.
pub(crate) const ID_LEN: usize = 16;

/// Hex digits of an identifier.
const DIGITS: usize = ID_LEN * 2;

/// Numbers of digits after which the hyphenated form has a hyphen.
const HYPHEN_AFTER: [usize; 4] = [8, 12, 16, 20];

/// How a user agent wrote an identifier: with or without hyphens, and which letters were in upper case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Spelling {
    /// Whether it has the four hyphens.
    pub hyphens: bool,
    /// Bit `i` is set if hex digit `i` (0 is the leftmost) is one of `A` to `F`.
    pub upper: u32,
}

impl Spelling {
    /// 36 characters in lower case, as nearly every client sends it.
    pub const HYPHENATED: Self = Self { hyphens: true, upper: 0 };
    /// 32 characters in lower case, as the server generates it.
    pub const PLAIN: Self = Self { hyphens: false, upper: 0 };
}

/// The text is not in UUID syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither 32 hex digits nor 36 characters with hyphens at offsets 8, 13, 18 and 23")]
pub struct InvalidUuid;

/// A UUIDv4 made of 16 random bytes.
pub(crate) fn version_4(mut bytes: [u8; ID_LEN]) -> [u8; ID_LEN] {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}

/// Reads the 16 bytes and the spelling. Version and variant bits are not checked.
pub(crate) fn parse(text: &str) -> Result<([u8; ID_LEN], Spelling), InvalidUuid> {
    let text = text.as_bytes();
    let hyphens = match text.len() {
        32 => false,
        36 => true,
        _ => return Err(InvalidUuid),
    };
    let mut bytes = [0; ID_LEN];
    let mut upper = 0;
    let mut rest = text.iter();
    for digit in 0..DIGITS {
        if hyphens && HYPHEN_AFTER.contains(&digit) && rest.next() != Some(&b'-') {
            return Err(InvalidUuid);
        }
        let &character = rest.next().ok_or(InvalidUuid)?;
        let value = match character {
            b'0'..=b'9' => character - b'0',
            b'a'..=b'f' => character - b'a' + 10,
            b'A'..=b'F' => {
                upper |= 1 << digit;
                character - b'A' + 10
            }
            _ => return Err(InvalidUuid),
        };
        bytes[digit / 2] = bytes[digit / 2] << 4 | value;
    }
    Ok((bytes, Spelling { hyphens, upper }))
}

/// Appends the identifier in the given spelling.
pub(crate) fn write(bytes: &[u8; ID_LEN], spelling: Spelling, out: &mut String) {
    for digit in 0..DIGITS {
        if spelling.hyphens && HYPHEN_AFTER.contains(&digit) {
            out.push('-');
        }
        let byte = bytes[digit / 2];
        let value = if digit % 2 == 0 { byte >> 4 } else { byte & 15 };
        let upper = spelling.upper >> digit & 1 == 1;
        out.push(char::from(match value {
            0..=9 => b'0' + value,
            _ if upper => b'A' + value - 10,
            _ => b'a' + value - 10,
        }));
    }
}

/// The identifier in the given spelling.
pub(crate) fn to_text(bytes: &[u8; ID_LEN], spelling: Spelling) -> String {
    let mut out = String::with_capacity(36);
    write(bytes, spelling, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_uuid_syntax_is_accepted() {
        let plain = "0d9f7b523c414e8a9a5751e0c2b7aa10";
        for (text, good) in [
            (plain, true),
            ("0d9f7b52-3c41-4e8a-9a57-51e0c2b7aa10", true),
            ("0D9F7B52-3C41-4E8A-9A57-51E0C2B7AA10", true),
            ("", false),
            ("0d9f7b523c414e8a9a5751e0c2b7aa1", false),
            ("0d9f7b523c414e8a9a5751e0c2b7aa1g", false),
            ("0d9f7b523c414e8a9a5751e0c2b7aa1012", false),
            ("0d9f7b523-c41-4e8a-9a57-51e0c2b7aa10", false),
            ("0d9f7b52-3c41-4e8a-9a57-51e0c2b7aa1-", false),
            ("-d9f7b52-3c41-4e8a-9a57-51e0c2b7aa10", false),
            ("0d9f7b52\u{e9}3c41-4e8a-9a57-51e0c2b7aa1", false),
        ] {
            assert_eq!(parse(text).is_ok(), good, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_spelling_survives(text in "[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}") {
            let (bytes, spelling) = parse(&text).unwrap();
            prop_assert_eq!(to_text(&bytes, spelling), text);
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
