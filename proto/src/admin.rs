//! What operators ask of a node of the cluster, and what it answers, in the types of the domain.

use crate::push_v1 as wire;
use beckon_types::ConnectionId;
use std::collections::BTreeMap;

/// What a node is asked by an operator, through any node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Question {
    /// How it is.
    Status,
    /// To drain, or to take its drain back.
    Drain {
        /// Whether it should drain.
        begin: bool,
    },
    /// To close some of its sockets.
    Shed(Quantity),
    /// What operators have changed through its own admin listener.
    Audit,
    /// How long this socket has been open.
    Find(ConnectionId),
    /// To close this socket with 1001, so that its client says hello again.
    Disconnect(ConnectionId),
    /// To let this socket re-read the store.
    Reread(ConnectionId),
    /// To close this socket, because its client was revoked.
    Evict(ConnectionId),
}

/// How many sockets to close.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Quantity {
    /// Of those that are open, from 0 to 1.
    Share(f64),
    /// All if there are fewer.
    Count(usize),
}

impl Quantity {
    /// A share; `None` unless it is from 0 to 1.
    pub fn share(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then_some(Self::Share(share))
    }

    /// How many of so many sockets that are.
    pub fn of(self, open: usize) -> usize {
        match self {
            Self::Share(share) => (open as f64 * share).round() as usize,
            Self::Count(count) => count.min(open),
        }
    }
}

/// What a node answers to a [`Question`].
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// How it is.
    Status(Box<Status>),
    /// It does what it was asked for.
    Done {
        /// The sockets that are being closed.
        sockets: u64,
    },
    /// What operators have changed.
    Audit(Vec<AuditLine>),
    /// It does not do it. The reason is for people.
    Refused(String),
    /// A socket.
    Socket {
        /// For how long it has been open, in milliseconds; `None` if the node has no such socket.
        open_ms: Option<u64>,
    },
}

/// A node as it is now.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Status {
    /// The name of the program.
    pub program: String,
    /// Its version.
    pub version: String,
    /// The commit it was built from, if that is known.
    pub commit: String,
    /// What operators call the node.
    pub name: String,
    /// The phase of its drain: `serving`, `leaving` or `closing`.
    pub phase: String,
    /// Why it is not ready for new clients; empty if it is.
    pub unready: String,
    /// Open WebSockets.
    pub sockets: u64,
    /// WebSockets that may be open; 0 if it has none.
    pub sockets_max: u64,
    /// The node's monotonic time, in microseconds.
    pub clock_us: u64,
    /// Sums of its metrics.
    pub figures: BTreeMap<String, f64>,
    /// Those of its histograms.
    pub histograms: BTreeMap<String, Histogram>,
}

/// A histogram of durations.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Histogram {
    /// The upper bounds of its buckets in seconds; the last one is infinite.
    pub bounds: Vec<f64>,
    /// How many durations were no longer than each bound.
    pub counts: Vec<u64>,
}

impl Histogram {
    /// A histogram that was read. `None` unless every bound has a count, the bounds are positive and grow, and the counts do
    /// not shrink.
    fn new(bounds: Vec<f64>, counts: Vec<u64>) -> Option<Self> {
        let is_histogram = bounds.len() == counts.len()
            && bounds.iter().all(|bound| *bound > 0.0)
            && bounds.is_sorted_by(|a, b| a < b)
            && counts.is_sorted();
        is_histogram.then_some(Self { bounds, counts })
    }
}

/// A change that an operator has made, or tried to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditLine {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// The name of the operator's token.
    pub operator: String,
    /// The address that it came from; empty if that is not known.
    pub peer: String,
    /// What was changed.
    pub change: String,
    /// The HTTP status of the answer.
    pub status: u16,
}

/// A newer node has sent something that this version does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a question or an answer of another version")]
pub struct Unknown;

impl From<Question> for wire::Question {
    fn from(question: Question) -> Self {
        use wire::question::About;
        let socket = |connection: ConnectionId| wire::Socket { connection: connection.0 };
        let about = match question {
            Question::Status => About::Status(wire::StatusQuestion {}),
            Question::Drain { begin } => About::Drain(wire::DrainQuestion { begin }),
            Question::Shed(quantity) => {
                use wire::shed_question::Quantity as Wire;
                let quantity = match quantity {
                    Quantity::Share(share) => Wire::Share(share),
                    Quantity::Count(count) => Wire::Count(count as u64),
                };
                About::Shed(wire::ShedQuestion { quantity: Some(quantity) })
            }
            Question::Audit => About::Audit(wire::AuditQuestion {}),
            Question::Find(connection) => About::Find(socket(connection)),
            Question::Disconnect(connection) => About::Disconnect(socket(connection)),
            Question::Reread(connection) => About::Reread(socket(connection)),
            Question::Evict(connection) => About::Evict(socket(connection)),
        };
        Self { about: Some(about) }
    }
}

impl TryFrom<wire::Question> for Question {
    type Error = Unknown;

    fn try_from(question: wire::Question) -> Result<Self, Unknown> {
        use wire::question::About;
        let connection = |socket: wire::Socket| ConnectionId(socket.connection);
        Ok(match question.about.ok_or(Unknown)? {
            About::Status(wire::StatusQuestion {}) => Self::Status,
            About::Drain(wire::DrainQuestion { begin }) => Self::Drain { begin },
            About::Shed(wire::ShedQuestion { quantity }) => {
                use wire::shed_question::Quantity as Wire;
                Self::Shed(match quantity.ok_or(Unknown)? {
                    Wire::Share(share) => Quantity::share(share).ok_or(Unknown)?,
                    Wire::Count(count) => Quantity::Count(usize::try_from(count).map_err(|_| Unknown)?),
                })
            }
            About::Audit(wire::AuditQuestion {}) => Self::Audit,
            About::Find(socket) => Self::Find(connection(socket)),
            About::Disconnect(socket) => Self::Disconnect(connection(socket)),
            About::Reread(socket) => Self::Reread(connection(socket)),
            About::Evict(socket) => Self::Evict(connection(socket)),
        })
    }
}

impl From<Answer> for wire::Answer {
    fn from(answer: Answer) -> Self {
        use wire::answer::About;
        let about = match answer {
            Answer::Status(status) => About::Status((*status).into()),
            Answer::Done { sockets } => About::Done(wire::Done { sockets }),
            Answer::Audit(lines) => {
                About::Audit(wire::Audit { lines: lines.into_iter().map(Into::into).collect() })
            }
            Answer::Refused(reason) => About::Refused(reason),
            Answer::Socket { open_ms } => About::Socket(wire::SocketState { open_ms }),
        };
        Self { about: Some(about) }
    }
}

impl TryFrom<wire::Answer> for Answer {
    type Error = Unknown;

    fn try_from(answer: wire::Answer) -> Result<Self, Unknown> {
        use wire::answer::About;
        Ok(match answer.about.ok_or(Unknown)? {
            About::Status(status) => Self::Status(Box::new(status.into())),
            About::Done(wire::Done { sockets }) => Self::Done { sockets },
            About::Audit(audit) => Self::Audit(audit.lines.into_iter().map(Into::into).collect()),
            About::Refused(reason) => Self::Refused(reason),
            About::Socket(wire::SocketState { open_ms }) => Self::Socket { open_ms },
        })
    }
}

impl From<Status> for wire::NodeStatus {
    fn from(status: Status) -> Self {
        let histogram = |(name, Histogram { bounds, counts })| (name, wire::Histogram { bounds, counts });
        Self {
            program: status.program,
            version: status.version,
            commit: status.commit,
            name: status.name,
            phase: status.phase,
            unready: status.unready,
            sockets: status.sockets,
            sockets_max: status.sockets_max,
            clock_us: status.clock_us,
            figures: status.figures.into_iter().collect(),
            histograms: status.histograms.into_iter().map(histogram).collect(),
        }
    }
}

impl From<wire::NodeStatus> for Status {
    fn from(status: wire::NodeStatus) -> Self {
        let histogram =
            |(name, wire::Histogram { bounds, counts })| Some((name, Histogram::new(bounds, counts)?));
        Self {
            program: status.program,
            version: status.version,
            commit: status.commit,
            name: status.name,
            phase: status.phase,
            unready: status.unready,
            sockets: status.sockets,
            sockets_max: status.sockets_max,
            clock_us: status.clock_us,
            figures: status.figures.into_iter().collect(),
            histograms: status.histograms.into_iter().filter_map(histogram).collect(),
        }
    }
}

impl From<AuditLine> for wire::AuditLine {
    fn from(line: AuditLine) -> Self {
        let AuditLine { at_ms, operator, peer, change, status } = line;
        Self { at_ms, operator, peer, change, status: status.into() }
    }
}

impl From<wire::AuditLine> for AuditLine {
    fn from(line: wire::AuditLine) -> Self {
        let wire::AuditLine { at_ms, operator, peer, change, status } = line;
        Self { at_ms, operator, peer, change, status: u16::try_from(status).unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_answers_survive_the_wire() {
        let socket = ConnectionId(7 << 40);
        for question in [
            Question::Status,
            Question::Drain { begin: true },
            Question::Drain { begin: false },
            Question::Shed(Quantity::Share(0.25)),
            Question::Shed(Quantity::Count(7)),
            Question::Audit,
            Question::Find(socket),
            Question::Disconnect(socket),
            Question::Reread(socket),
            Question::Evict(socket),
        ] {
            assert_eq!(Question::try_from(wire::Question::from(question)), Ok(question));
        }
        let histogram = Histogram { bounds: vec![0.1, f64::INFINITY], counts: vec![3, 4] };
        let status = Status {
            name: "east".into(),
            sockets: 7,
            figures: [("hellos".to_owned(), 2.5)].into(),
            histograms: [("acks".to_owned(), histogram)].into(),
            ..Status::default()
        };
        let line = AuditLine {
            at_ms: 7,
            operator: "alice".into(),
            peer: "::1".into(),
            change: "drain".into(),
            status: 200,
        };
        for answer in [
            Answer::Status(Box::new(status)),
            Answer::Done { sockets: 7 },
            Answer::Audit(vec![line]),
            Answer::Refused("the node is draining".into()),
            Answer::Socket { open_ms: Some(7) },
            Answer::Socket { open_ms: None },
        ] {
            assert_eq!(Answer::try_from(wire::Answer::from(answer.clone())), Ok(answer));
        }
    }

    #[test]
    fn what_cannot_be_a_histogram_is_left_out() {
        for (bounds, counts) in [
            (vec![0.1], vec![3, 4]),
            (vec![0.2, 0.1], vec![3, 4]),
            (vec![0.1, 0.2], vec![4, 3]),
            (vec![f64::NAN], vec![3]),
            (vec![-1.0], vec![3]),
        ] {
            let histogram = wire::Histogram { bounds, counts };
            let histograms = [("acks".to_owned(), histogram)].into();
            let status = Status::from(wire::NodeStatus { histograms, ..wire::NodeStatus::default() });
            assert_eq!(status, Status::default());
        }
    }

    #[test]
    fn what_a_newer_node_says_is_unknown() {
        assert_eq!(Question::try_from(wire::Question { about: None }), Err(Unknown));
        assert_eq!(Answer::try_from(wire::Answer { about: None }), Err(Unknown));
        let share = wire::ShedQuestion { quantity: Some(wire::shed_question::Quantity::Share(1.5)) };
        let shed = wire::question::About::Shed(share);
        assert_eq!(Question::try_from(wire::Question { about: Some(shed) }), Err(Unknown));
    }
}
