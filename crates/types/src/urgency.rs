//! Urgency: how soon an application server thinks that its message matters (RFC 8030 section 5.3).

/// The urgency of a Web Push message, and the least that a user agent asks for. Ordered: `VeryLow` is least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Urgency {
    /// On power and Wi-Fi.
    VeryLow,
    /// On either power or Wi-Fi.
    Low,
    /// On neither. What a request means that says nothing.
    #[default]
    Normal,
    /// Low battery.
    High,
}

impl Urgency {
    /// The urgency of that name. Nothing for a name that RFC 8030 does not have.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "very-low" => Some(Self::VeryLow),
            "low" => Some(Self::Low),
            "normal" => Some(Self::Normal),
            "high" => Some(Self::High),
            _ => None,
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
        [Self::VeryLow, Self::Low, Self::Normal, Self::High].into_iter().find(|one| one.number() == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urgencies_are_ordered_and_survive_as_numbers() {
        let all = ["very-low", "low", "normal", "high"].map(|name| Urgency::parse(name).unwrap());
        assert!(all.is_sorted());
        for urgency in all {
            assert_eq!(Urgency::from_number(urgency.number()), Some(urgency));
        }
        assert_eq!((Urgency::parse("High"), Urgency::parse(""), Urgency::from_number(4)), (None, None, None));
    }
}
