//! What was sent to one device, and what became of it.

use beckon_types::Dialect;
use std::fmt::{self, Write as _};

/// The last notifications of a device that a violation shows.
const SHOWN: usize = 12;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There is no answer yet.
    InFlight,
    /// 200, 201 or 202.
    Accepted,
    /// Another status.
    Refused(u16),
    /// No answer, or the connection broke: it may have been accepted.
    Unknown,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InFlight => f.write_str("in flight"),
            Self::Accepted => f.write_str("accepted"),
            Self::Refused(status) => write!(f, "{status}"),
            Self::Unknown => f.write_str("none"),
        }
    }
}

/// One notification.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) number: u64,
    pub(crate) sent_ms: u64,
    pub(crate) answered_ms: Option<u64>,
    pub(crate) outcome: Outcome,
    pub(crate) through: String,
    /// Since when the device had the endpoint to which this was sent.
    pub(crate) endpoint_since: u64,
    pub(crate) delivered_ms: Vec<u64>,
}

impl Sent {
    pub(crate) fn new(number: u64, sent_ms: u64, through: String, endpoint_since: u64) -> Self {
        let (answered_ms, outcome, delivered_ms) = (None, Outcome::InFlight, Vec::new());
        Self { number, sent_ms, answered_ms, outcome, through, endpoint_since, delivered_ms }
    }
}

/// An endpoint that a notification is sent to. The device may have another by the time that it is answered.
#[derive(Debug)]
pub(crate) struct Reserved {
    pub(crate) target: usize,
    pub(crate) endpoint: String,
    /// Since when the device has it.
    pub(crate) since: u64,
}

/// One device with its channel.
#[derive(Debug)]
pub(crate) struct Target {
    index: usize,
    dialect: Dialect,
    pub(crate) endpoint: Option<String>,
    pub(crate) endpoint_since: u64,
    /// Since when the device has been connected, if it is.
    pub(crate) connected_since: Option<u64>,
    /// A notification for it is in flight. There is one at a time, so that it is known which is newer.
    pub(crate) is_busy: bool,
    /// Until then nothing is sent to it.
    pub(crate) quiet_until: u64,
    pub(crate) sent: Vec<Sent>,
    /// What happened to the device: when, and what.
    life: Vec<(u64, String)>,
}

impl Target {
    pub(crate) fn new(index: usize, dialect: Dialect) -> Self {
        let (endpoint, sent, life) = (None, Vec::new(), Vec::new());
        let (endpoint_since, connected_since, is_busy, quiet_until) = (0, None, false, 0);
        Self { index, dialect, endpoint, endpoint_since, connected_since, is_busy, quiet_until, sent, life }
    }

    /// The endpoint, for one notification. The device gets no other until the answer is entered.
    pub(crate) fn reserve(&mut self, target: usize) -> Option<Reserved> {
        let endpoint = self.endpoint.clone()?;
        self.is_busy = true;
        Some(Reserved { target, endpoint, since: self.endpoint_since })
    }

    /// Whether a newer notification replaces an older one.
    pub(crate) fn replaces(&self) -> bool {
        self.dialect == Dialect::SimplePush
    }

    /// The newest notification that the device has got.
    pub(crate) fn newest_delivered(&self) -> Option<u64> {
        self.sent.iter().filter(|sent| !sent.delivered_ms.is_empty()).map(|sent| sent.number).max()
    }

    /// Something happened to the device. Only the last events are kept.
    pub(crate) fn happened(&mut self, at: u64, what: &str) {
        if self.life.len() >= 2 * SHOWN {
            self.life.drain(..SHOWN);
        }
        self.life.push((at, what.to_owned()));
    }

    /// The last notifications and events of the device, for a person.
    pub(crate) fn history(&self) -> String {
        let mut text = format!("  device {}, {:?}\n", self.index, self.dialect);
        for sent in &self.sent[self.sent.len().saturating_sub(SHOWN)..] {
            let Sent { number, sent_ms, answered_ms, outcome, through, delivered_ms, .. } = sent;
            let answered = answered_ms.map_or_else(|| "-".to_owned(), |at| at.to_string());
            let _ = writeln!(
                text,
                "    number {number}: sent {sent_ms} through {through}, answered {answered} ({outcome}), delivered \
                 {delivered_ms:?}"
            );
        }
        for (at, what) in &self.life[self.life.len().saturating_sub(SHOWN)..] {
            let _ = writeln!(text, "    {at}: {what}");
        }
        text
    }
}
