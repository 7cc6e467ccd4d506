//! The dialect that a user agent speaks.

/// The dialect that the first hello on a socket fixes (PROTOCOL.md section 1.9). A UAID keeps its dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Version numbers: the latest one is delivered at least once.
    SimplePush,
    /// Encrypted payloads with a time to live.
    WebPush,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::SimplePush, Self::WebPush];

    /// What it is called in metrics, and wherever an operator names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SimplePush => "simplepush",
            Self::WebPush => "webpush",
        }
    }
}
