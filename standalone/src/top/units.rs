//! Numbers as people read them, as short as the columns of a table want them.

/// Shown in place of a number that is not known.
pub(super) const NONE: &str = "-";

/// A whole number, with its thousands apart.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How often something happens in a second.
pub(super) fn rate(value: Option<f64>) -> String {
    match value {
        None => NONE.to_owned(),
        Some(value) if value <= 0.0 => "0".to_owned(),
        Some(value) if value < 10.0 => format!("{value:.1}"),
        Some(value) => count(value.round() as u64),
    }
}

/// A time in seconds.
pub(super) fn duration(seconds: Option<f64>) -> String {
    match seconds {
        None => NONE.to_owned(),
        Some(seconds) if seconds < 0.001 => format!("{:.0}us", seconds * 1e6),
        Some(seconds) if seconds < 0.01 => format!("{:.1}ms", seconds * 1e3),
        Some(seconds) if seconds < 1.0 => format!("{:.0}ms", seconds * 1e3),
        Some(seconds) => format!("{seconds:.1}s"),
    }
}

/// A long time in seconds, in its largest unit.
pub(super) fn age(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    for (unit, length) in [("d", 86_400), ("h", 3600), ("min", 60)] {
        if seconds >= length {
            return format!("{}{unit}", seconds / length);
        }
    }
    format!("{seconds}s")
}

/// A number of bytes.
pub(super) fn bytes(value: Option<f64>) -> String {
    let Some(value) = value else { return NONE.to_owned() };
    let (mut value, mut unit) = (value.max(0.0), "B");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    if unit != "B" && value < 10.0 { format!("{value:.1}{unit}") } else { format!("{value:.0}{unit}") }
}

/// A share in percent.
pub(super) fn percent(share: Option<f64>) -> String {
    match share {
        None => NONE.to_owned(),
        Some(share) if share < 0.1 => format!("{:.1}%", share * 100.0),
        Some(share) => format!("{:.0}%", share * 100.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        let rates = [None, Some(0.0), Some(0.25), Some(12.4), Some(20_000.0)];
        assert_eq!(rates.map(rate), ["-", "0", "0.2", "12", "20,000"]);
        let times = [None, Some(0.000_12), Some(0.0034), Some(0.25), Some(2.5)];
        assert_eq!(times.map(duration), ["-", "120us", "3.4ms", "250ms", "2.5s"]);
        assert_eq!([-1.0, 59.0, 60.0, 7300.0, 200_000.0].map(age), ["0s", "59s", "1min", "2h", "2d"]);
        let sizes = [None, Some(17.0), Some(2048.0), Some(5e7), Some(3e9)];
        assert_eq!(sizes.map(bytes), ["-", "17B", "2.0KiB", "48MiB", "2.8GiB"]);
        assert_eq!([None, Some(0.012), Some(0.5)].map(percent), ["-", "1.2%", "50%"]);
    }
}
