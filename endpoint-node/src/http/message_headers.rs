//! The headers of a message: `TTL`, `Topic` and `Urgency` (PROTOCOL.md sections 5.1 and 5.3).

use beckon_types::Urgency;
use std::{borrow::Cow, time::Duration};
use warp::http::{HeaderMap, HeaderName};

/// `TTL`.
pub(super) const TTL: HeaderName = HeaderName::from_static("ttl");

/// `Topic`.
pub(super) const TOPIC: HeaderName = HeaderName::from_static("topic");

/// `Urgency`.
pub(super) const URGENCY: HeaderName = HeaderName::from_static("urgency");

/// A longer time to live counts as this one, in seconds (RFC 8030 section 5.2).
const TTL_S_MAX: u64 = (1 << 31) - 1;

/// Why the time to live is not usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InvalidTtl {
    /// The header is missing or empty.
    Missing,
    /// It is not a number.
    NotANumber,
    /// It is below zero.
    Negative,
}

/// The urgency is given more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RepeatedUrgency;

/// The value of a header. The values of a repeated header are joined with `, `, which means the same (RFC 9110 section
/// 5.3); the headers that may not be repeated do not accept such a list. Bytes that are not UTF-8 become U+FFFD, which no
/// header accepts.
pub(super) fn value<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<Cow<'h, str>> {
    let mut values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let first = values.next()?;
    Some(values.fold(first, |joined, value| Cow::Owned(format!("{joined}, {value}"))))
}

/// The time to live that a header asks for, or `max` if it asks for more.
pub(super) fn ttl(value: Option<&str>, max: Duration) -> Result<Duration, InvalidTtl> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match value.unwrap_or_default() {
        "" => Err(InvalidTtl::Missing),
        // Only digits: parsing can only fail by overflow.
        digits if is_number(digits) => {
            let seconds = digits.parse().unwrap_or(TTL_S_MAX).min(TTL_S_MAX);
            Ok(Duration::from_secs(seconds).min(max))
        }
        text if text.strip_prefix('-').is_some_and(is_number) => Err(InvalidTtl::Negative),
        _ => Err(InvalidTtl::NotANumber),
    }
}

/// The urgency that a header asks for. An unknown one counts as `normal`.
pub(super) fn urgency(value: Option<&str>) -> Result<Urgency, RepeatedUrgency> {
    match value {
        Some(list) if list.contains(',') => Err(RepeatedUrgency),
        Some(name) => Ok(Urgency::parse(name).unwrap_or_default()),
        None => Ok(Urgency::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use warp::http::HeaderValue;

    const MOST: Duration = Duration::from_secs(1000);

    #[test]
    fn a_time_to_live_is_a_whole_number_of_seconds() {
        for (text, expected) in [
            (Some("0"), Ok(0)),
            (Some("007"), Ok(7)),
            (Some("1000"), Ok(1000)),
            (Some("1001"), Ok(1000)),
            (Some("99999999999"), Ok(1000)),
            (Some("99999999999999999999999999999999"), Ok(1000)),
            (None, Err(InvalidTtl::Missing)),
            (Some(""), Err(InvalidTtl::Missing)),
            (Some("soon"), Err(InvalidTtl::NotANumber)),
            (Some("+1"), Err(InvalidTtl::NotANumber)),
            (Some("1.5"), Err(InvalidTtl::NotANumber)),
            (Some("1, 2"), Err(InvalidTtl::NotANumber)),
            (Some("-"), Err(InvalidTtl::NotANumber)),
            (Some("-soon"), Err(InvalidTtl::NotANumber)),
            (Some("\u{661}"), Err(InvalidTtl::NotANumber)),
            (Some("-1"), Err(InvalidTtl::Negative)),
            (Some("-99999999999999999999999999999999"), Err(InvalidTtl::Negative)),
        ] {
            assert_eq!(ttl(text, MOST), expected.map(Duration::from_secs), "{text:?}");
        }
        let no_less_capped = Duration::from_secs(u64::MAX);
        assert_eq!(ttl(Some("99999999999"), no_less_capped), Ok(Duration::from_secs(TTL_S_MAX)));
    }

    #[test]
    fn an_urgency_is_one_of_four_and_given_once() {
        for (text, expected) in [
            (None, Ok(Urgency::Normal)),
            (Some("very-low"), Ok(Urgency::VeryLow)),
            (Some("low"), Ok(Urgency::Low)),
            (Some("normal"), Ok(Urgency::Normal)),
            (Some("high"), Ok(Urgency::High)),
            (Some("urgent"), Ok(Urgency::Normal)),
            (Some(""), Ok(Urgency::Normal)),
            (Some("high, low"), Err(RepeatedUrgency)),
            (Some("high,high"), Err(RepeatedUrgency)),
        ] {
            assert_eq!(urgency(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_values_of_a_repeated_header_are_joined() {
        let mut headers = HeaderMap::new();
        assert_eq!(value(&headers, &TTL), None);
        headers.append(TTL, HeaderValue::from_static("1"));
        assert_eq!(value(&headers, &TTL).as_deref(), Some("1"));
        headers.append(TTL, HeaderValue::from_static("2"));
        assert_eq!(value(&headers, &TTL).as_deref(), Some("1, 2"));
        headers.append(TOPIC, HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(value(&headers, &TOPIC).as_deref(), Some("\u{fffd}"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,40}", digits in "-?[0-9]{0,40}") {
            for text in [text, digits] {
                prop_assert!(ttl(Some(&text), MOST).is_ok_and(|ttl| ttl <= MOST) || ttl(Some(&text), MOST).is_err());
                prop_assert_eq!(urgency(Some(&text)).is_err(), text.contains(','));
            }
        }
    }
}
