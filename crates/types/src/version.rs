//! Version: the integer that an application server writes to a SimplePush channel.

/// An integer from 0 to 2^63-1 that an application server writes (PROTOCOL.md section 1.1). Only its value is
/// compared; a smaller one written later replaces a larger one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version(u64);

/// The text is not a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a decimal number from 0 to 9223372036854775807")]
pub struct InvalidVersion;

impl Version {
    /// The largest version, 2^63-1.
    pub const MAX: u64 = i64::MAX as u64;

    /// The version with this number.
    ///
    /// # Errors
    ///
    /// The number is greater than [`Version::MAX`].
    pub fn new(number: u64) -> Result<Self, InvalidVersion> {
        if number <= Self::MAX { Ok(Self(number)) } else { Err(InvalidVersion) }
    }

    /// Reads decimal digits, without sign, space or fraction.
    ///
    /// # Errors
    ///
    /// There is anything else, or the number is greater than [`Version::MAX`].
    pub fn parse(text: &str) -> Result<Self, InvalidVersion> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidVersion);
        }
        text.parse().map_err(|_| InvalidVersion).and_then(Self::new)
    }

    /// The number.
    pub fn number(self) -> u64 {
        self.0
    }

    /// Whether an acknowledgement of `number` means this version. They are compared as IEEE doubles, because user
    /// agents in JavaScript round numbers above 2^53 (PROTOCOL.md section 2.6).
    pub fn equals_double(self, number: f64) -> bool {
        self.0 as f64 == number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_decimal_digits_up_to_the_maximum_are_a_version() {
        for (text, number) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("9223372036854775807", Some(Version::MAX)),
            ("9223372036854775808", None),
            ("99999999999999999999999", None),
            ("", None),
            ("+1", None),
            ("-1", None),
            (" 1", None),
            ("1.5", None),
            ("0x1", None),
            ("\u{0661}", None),
        ] {
            assert_eq!(Version::parse(text).ok().map(Version::number), number, "{text}");
        }
    }

    #[test]
    fn an_acknowledgement_is_compared_as_a_double() {
        let version = Version::parse("9007199254740993").unwrap();
        assert!(version.equals_double(9_007_199_254_740_992.0));
        assert!(!version.equals_double(9_007_199_254_740_996.0));
    }
}
