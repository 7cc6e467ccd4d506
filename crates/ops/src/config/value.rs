//! The types that a setting can have, and how each is written.

use std::{fmt, net::SocketAddr, ops::RangeInclusive, path::PathBuf, str::FromStr, time::Duration};

/// A type that is written in the same way in every setting.
pub trait Value: Sized {
    /// The flag alone, without a value, means `true`.
    const SWITCH: bool = false;

    /// Reads a value.
    ///
    /// # Errors
    /// The reason, which follows the name of the setting. It quotes the value only if that cannot be a secret.
    fn parse(text: &str) -> Result<Self, String>;
}

impl Value for bool {
    const SWITCH: bool = true;

    /// `true` or `false`.
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("`{text}` is not true or false"))
    }
}

impl Value for String {
    /// Any text but the empty one. The type of an optional text is `Option<String>`.
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(text.to_owned()) }
    }
}

impl Value for PathBuf {
    /// A path, relative to the directory in which the program was started.
    fn parse(text: &str) -> Result<Self, String> {
        String::parse(text).map(Self::from)
    }
}

impl Value for SocketAddr {
    /// An IP address and a port: `127.0.0.1:8080`, `[::]:8080`.
    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|_| format!("`{text}` is not an IP address and port; write 127.0.0.1:8080 or [::]:8080"))
    }
}

/// Implements [`Value`] for whole numbers, with the range in the reason.
macro_rules! whole_number {
    ($($type:ty),*) => { $(
        impl Value for $type {
            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| {
                    format!("`{text}` is not a whole number from {} to {}", <$type>::MIN, <$type>::MAX)
                })
            }
        }
    )* };
}

whole_number!(u8, u16, u32, u64, usize, i64);

impl Value for f64 {
    /// A finite number: `0.95`.
    fn parse(text: &str) -> Result<Self, String> {
        let number = Self::from_str(text).ok().filter(|number| number.is_finite());
        number.ok_or_else(|| format!("`{text}` is not a number; write 0.95"))
    }
}

impl Value for Duration {
    /// A whole number and its unit: `500ms`, `30s`, `5m`, `12h`, `90d`; or `0`. The longest is 10 000 days.
    fn parse(text: &str) -> Result<Self, String> {
        const MAX: Duration = Duration::from_secs(10_000 * 86_400);
        if text == "0" {
            return Ok(Self::ZERO);
        }
        let reason = || format!("`{text}` is not a duration; write 500ms, 30s, 5m, 12h, 90d or 0");
        let unit_at = text.find(|character: char| !character.is_ascii_digit()).ok_or_else(reason)?;
        let (number, unit) = text.split_at(unit_at);
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(reason()),
        };
        let number: u64 = number.parse().map_err(|_| reason())?;
        let duration = number.checked_mul(unit_ms).map(Self::from_millis).filter(|duration| *duration <= MAX);
        duration.ok_or_else(|| format!("`{text}` is longer than 10000d"))
    }
}

impl<T: Value> Value for Option<T> {
    const SWITCH: bool = T::SWITCH;

    /// The empty text means none.
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { T::parse(text).map(Some) }
    }
}

impl<T: Value> Value for Vec<T> {
    /// Separated by commas; space around an item is ignored. The empty text means none.
    fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::new());
        }
        text.split(',').map(|item| T::parse(item.trim())).collect()
    }
}

/// A parser for the `=> parser` of a field: the one that its type has.
///
/// # Errors
/// The reason that the type gives.
pub fn parsed<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|reason: T::Err| reason.to_string())
}

/// As [`parsed`]; the empty text means none.
///
/// # Errors
/// The reason that the type gives.
pub fn parsed_option<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<Option<T>, String> {
    if text.is_empty() { Ok(None) } else { parsed(text).map(Some) }
}

/// A parser for a duration that must not be zero.
///
/// # Errors
/// It is zero, or not a duration.
pub fn positive(text: &str) -> Result<Duration, String> {
    let duration = <Duration as Value>::parse(text)?;
    if duration.is_zero() { Err("must be greater than zero".to_owned()) } else { Ok(duration) }
}

/// Parses a whole number from a range; a field's parser names the range.
///
/// # Errors
/// It is outside the range, or not a whole number.
pub fn in_range<T: FromStr + PartialOrd + fmt::Display>(
    range: RangeInclusive<T>,
    text: &str,
) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("must be a whole number from {} to {}", range.start(), range.end()))
}

/// A text that is never shown, neither in logs nor in error messages.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text, for the code that uses it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Value for Secret {
    /// Any text but the empty one.
    fn parse(text: &str) -> Result<Self, String> {
        String::parse(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::{Secret, Value, in_range};
    use std::{net::SocketAddr, time::Duration};

    fn check<T: Value + PartialEq + std::fmt::Debug>(text: &str, expected: Option<T>) {
        assert_eq!(T::parse(text).ok(), expected, "{text}");
    }

    #[test]
    fn durations_have_a_unit() {
        check("0", Some(Duration::ZERO));
        check("0s", Some(Duration::ZERO));
        check("500ms", Some(Duration::from_millis(500)));
        check("30s", Some(Duration::from_secs(30)));
        check("5m", Some(Duration::from_secs(300)));
        check("12h", Some(Duration::from_secs(43_200)));
        check("90d", Some(Duration::from_secs(7_776_000)));
        for text in ["", "30", "s", "-1s", "1.5s", "30 s", "30S", "1w", "10001d", "99999999999999999999s"] {
            check::<Duration>(text, None);
        }
        check::<Duration>("18446744073709551615d", None);
    }

    #[test]
    fn numbers_stay_in_their_range() {
        check("255", Some(255_u8));
        check::<u8>("256", None);
        check::<u64>("-1", None);
        check("0.95", Some(0.95));
        check::<f64>("inf", None);
        check::<f64>("NaN", None);
        assert_eq!(in_range(1..=100_u32, "100"), Ok(100));
        for text in ["0", "101", "-1", "1.5", "", "many"] {
            let reason = "must be a whole number from 1 to 100";
            assert_eq!(in_range(1..=100_u32, text), Err(reason.to_owned()), "{text}");
        }
    }

    #[test]
    fn the_empty_text_is_a_value_of_optional_settings_only() {
        check::<String>("", None);
        check("", Some(None::<String>));
        check("a", Some(Some("a".to_owned())));
        check("", Some(Vec::<String>::new()));
        check(" a, b ", Some(vec!["a".to_owned(), "b".to_owned()]));
        check::<Vec<String>>("a,,b", None);
    }

    #[test]
    fn addresses_have_a_port() {
        check("[::1]:80", Some(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 80))));
        check::<SocketAddr>("127.0.0.1", None);
        check::<SocketAddr>("localhost:80", None);
    }

    #[test]
    fn switches_are_true_or_false() {
        check("true", Some(true));
        check("false", Some(false));
        check::<bool>("yes", None);
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::parse("0123456789abcdef").ok();
        assert!(!format!("{secret:?}").contains("0123"));
        assert_eq!(secret.as_ref().map(Secret::expose), Some("0123456789abcdef"));
    }
}
