//! What operators have changed through this node, for the log and for other operators.

use hyper::{Response, StatusCode};
use parking_lot::Mutex;
use std::{collections::VecDeque, net::SocketAddr};

/// The target of the log lines that say who has changed what.
pub const AUDIT: &str = "beckon_audit";

/// So many changes are remembered; the log has all.
pub const REMEMBERED_MAX: usize = 100;

/// A change that an operator has made, or tried to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// The name of the operator's token.
    pub operator: String,
    /// Where it came from, if that is known.
    pub peer: Option<SocketAddr>,
    /// What was changed.
    pub change: String,
    /// The answer.
    pub status: StatusCode,
}

/// What was changed, in an answer whose path does not say it.
#[derive(Debug, Clone)]
struct Detail(String);

/// Says in the audit what a request has changed. Never with a UAID, a token or an endpoint.
pub fn describe<B>(response: &mut Response<B>, change: String) {
    response.extensions_mut().insert(Detail(change));
}

/// What a handler has said of its answer with [`describe`].
pub(crate) fn description<B>(response: &Response<B>) -> Option<String> {
    response.extensions().get::<Detail>().map(|Detail(change)| change.clone())
}

/// The last changes, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Audit(Mutex<VecDeque<Entry>>);

impl Audit {
    /// Remembers a change, and forgets the oldest if there are too many.
    pub(crate) fn add(&self, entry: Entry) {
        let mut entries = self.0.lock();
        if entries.len() >= REMEMBERED_MAX {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.0.lock().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_changes_are_remembered() {
        let audit = Audit::default();
        for at_ms in 0..REMEMBERED_MAX as u64 + 3 {
            let (operator, change) = (String::new(), String::new());
            audit.add(Entry { at_ms, operator, peer: None, change, status: StatusCode::OK });
        }
        let entries = audit.entries();
        assert_eq!((entries.len(), entries[0].at_ms), (REMEMBERED_MAX, 3));
    }
}
