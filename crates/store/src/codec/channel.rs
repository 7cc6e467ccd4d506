//! How a registered channel begins: how its id is spelled, and what it is restricted to.
//!
//! ```text
//! form | mask, 4 bytes, if the form has bit 1 | restriction, 16 bytes, if it has bit 2
//!   form bit 0: no hyphens; bit 1: the mask says which letters are in upper case;
//!   bit 2: the channel is restricted to an application server's key
//! ```
//!
//! The script `channel.lua` reads the same format.

use super::{Unreadable, take};
use beckon_types::{Restriction, Spelling};

/// Form: written without hyphens.
const PLAIN: u8 = 1;

/// Form: a mask of upper-case letters follows.
const MASK: u8 = 2;

/// Form: a restriction follows.
const RESTRICTED: u8 = 4;

/// Bytes of a start that has everything.
pub(crate) const START_LEN_MAX: usize = 1 + 4 + Restriction::LEN;

/// The beginning of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    /// How the latest register spelled its id.
    pub(crate) spelling: Spelling,
    /// The application server's key, if only one may send to it.
    pub(crate) restricted: Option<Restriction>,
}

impl Start {
    /// Appends the bytes.
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        let Self { spelling, restricted } = self;
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let is_masked = spelling.upper != 0;
        out.push(
            flag(!spelling.hyphens, PLAIN) | flag(is_masked, MASK) | flag(restricted.is_some(), RESTRICTED),
        );
        if is_masked {
            out.extend(spelling.upper.to_be_bytes());
        }
        out.extend(restricted.iter().flat_map(|restriction| restriction.0));
    }

    /// Takes a start off the front.
    pub(crate) fn decode(rest: &mut &[u8]) -> Result<Self, Unreadable> {
        let [form] = take(rest)?;
        if form & !(PLAIN | MASK | RESTRICTED) != 0 {
            return Err(Unreadable("unknown form of a channel"));
        }
        let upper = if form & MASK == 0 { 0 } else { u32::from_be_bytes(take(rest)?) };
        let restricted = if form & RESTRICTED == 0 { None } else { Some(Restriction(take(rest)?)) };
        Ok(Self { spelling: Spelling { hyphens: form & PLAIN == 0, upper }, restricted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_start_of_another_form_is_unreadable() {
        for form in 8..=u8::MAX {
            let bytes = [form; START_LEN_MAX];
            assert_eq!(
                Start::decode(&mut &bytes[..]),
                Err(Unreadable("unknown form of a channel")),
                "{form}"
            );
        }
        for (form, len) in [(2, 4), (4, 16), (6, 20)] {
            assert_eq!(
                Start::decode(&mut &[form; START_LEN_MAX][..len]),
                Err(Unreadable("too short")),
                "{form}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_start_survives(
            hyphens: bool,
            upper in prop_oneof![Just(0), any::<u32>()],
            restricted in proptest::option::of(any::<[u8; Restriction::LEN]>()),
            after: Vec<u8>,
        ) {
            let start = Start { spelling: Spelling { hyphens, upper }, restricted: restricted.map(Restriction) };
            let mut bytes = Vec::new();
            start.encode(&mut bytes);
            prop_assert!(bytes.len() <= START_LEN_MAX);
            bytes.extend(&after);
            let mut rest = &bytes[..];
            prop_assert_eq!(Start::decode(&mut rest), Ok(start));
            prop_assert_eq!(rest, after);
        }
    }
}
