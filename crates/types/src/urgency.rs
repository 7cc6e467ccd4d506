//! Urgency: how soon a message matters, in the opinion of the application server (RFC 8030 section 5.3).

/// The urgency of a Web Push message, and the lowest urgency that a user agent asks for. Ordered: `VeryLow` is least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Urgency {
    /// Deliver to a device on power and Wi-Fi.
    VeryLow,
    /// Deliver to a device on either power or Wi-Fi.
    Low,
    /// Deliver to a device on neither. The urgency of a message that names none.
    #[default]
    Normal,
    /// Deliver even if the battery is low.
    High,
}

impl Urgency {
    /// The urgency of that name, or `None` for a name that RFC 8030 does not define.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "very-low" => Some(Self::VeryLow),
            "low" => Some(Self::Low),
            "normal" => Some(Self::Normal),
            "high" => Some(Self::High),
            _ => None,
        }
    }

    /// Its name in RFC 8030.
    pub fn name(self) -> &'static str {
        match self {
            Self::VeryLow => "very-low",
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// Its number in records and between nodes, from 0.
    pub fn number(self) -> u8 {
        match self {
            Self::VeryLow => 0,
            Self::Low => 1,
            Self::Normal => 2,
            Self::High => 3,
        }
    }

    /// The urgency of a number.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::VeryLow),
            1 => Some(Self::Low),
            2 => Some(Self::Normal),
            3 => Some(Self::High),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urgencies_are_ordered_and_survive_as_names_and_numbers() {
        let all = ["very-low", "low", "normal", "high"].map(|name| Urgency::parse(name).unwrap());
        assert!(all.is_sorted());
        for urgency in all {
            assert_eq!(Urgency::parse(urgency.name()), Some(urgency));
            assert_eq!(Urgency::from_number(urgency.number()), Some(urgency));
        }
        assert_eq!((Urgency::parse("High"), Urgency::parse(""), Urgency::from_number(4)), (None, None, None));
    }
}
