//! One part of what happens in a trace.

use super::outcome::{Outcome, Spans};
use beckon_ops::clock::Clock;
use beckon_types::{RequestId, SpanId, TraceContext};
use std::{fmt, sync::Arc};
use tokio::sync::mpsc;

/// On which side of a call a span is (OpenTelemetry's `SpanKind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request is answered.
    Server,
    /// Another system is asked.
    Client,
    /// Something is handed to another node.
    Producer,
    /// What another node has handed over is taken.
    Consumer,
    /// Within the node.
    Internal,
}

/// The value of an attribute. Making one allocates nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// A text that is in the source.
    Text(&'static str),
    /// A number.
    Number(i64),
    /// The id of a request.
    Request(RequestId),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text)
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<RequestId> for Value {
    fn from(request: RequestId) -> Self {
        Self::Request(request)
    }
}

/// A span that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its trace, and its own name.
    pub context: TraceContext,
    /// What comes before it. `None`: it is the first of its trace.
    pub parent: Option<SpanId>,
    /// What happened.
    pub name: &'static str,
    /// On which side of a call.
    pub kind: Kind,
    /// When it began, in nanoseconds since 1970.
    pub began_ns: u64,
    /// When it ended.
    pub ended_ns: u64,
    /// What is known of it.
    pub attributes: Vec<(&'static str, Value)>,
    /// Why it failed, if it did.
    pub error: Option<&'static str>,
}

/// Something that is being traced, or not: then it is empty, and every method does nothing. It ends when it is dropped.
#[derive(Default)]
#[must_use = "a span ends when it is dropped"]
pub struct Span(Option<Box<Recording>>);

struct Recording {
    recorder: Arc<Recorder>,
    record: Record,
    /// When it began, by the clock of the node.
    began_us: u64,
}

/// What spans need to begin and to end.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) clock: Clock,
    /// Where those that have ended wait to be exported.
    pub(super) queue: mpsc::Sender<Record>,
    pub(super) spans: Spans,
}

impl Span {
    /// A span that is not traced.
    pub const NONE: Self = Self(None);

    /// A span that begins now.
    pub(super) fn new(
        recorder: &Arc<Recorder>,
        context: TraceContext,
        parent: Option<SpanId>,
        name: &'static str,
        kind: Kind,
    ) -> Self {
        let (began_ns, began_us) = (recorder.clock.unix_ns(), recorder.clock.now_us());
        let (attributes, error) = (Vec::new(), None);
        let record = Record { context, parent, name, kind, began_ns, ended_ns: began_ns, attributes, error };
        Self(Some(Box::new(Recording { recorder: recorder.clone(), record, began_us })))
    }

    /// A span that follows from another one and begins now.
    pub(super) fn follow(
        recorder: &Arc<Recorder>,
        parent: &TraceContext,
        name: &'static str,
        kind: Kind,
    ) -> Self {
        let context = TraceContext { span: SpanId(random() as u64 | 1), ..parent.clone() };
        Self::new(recorder, context, Some(parent.span), name, kind)
    }

    /// Whether it is traced.
    pub fn is_traced(&self) -> bool {
        self.0.is_some()
    }

    /// Its trace, and its name in it.
    pub fn context(&self) -> Option<&TraceContext> {
        Some(&self.0.as_ref()?.record.context)
    }

    /// A span that follows from this one and begins now.
    pub fn child(&self, name: &'static str, kind: Kind) -> Self {
        let Some(recording) = &self.0 else { return Self::NONE };
        Self::follow(&recording.recorder, &recording.record.context, name, kind)
    }

    /// Adds what is known of it.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(recording) = &mut self.0 {
            recording.record.attributes.push((name, value.into()));
        }
    }

    /// It has failed.
    pub fn fail(&mut self, reason: &'static str) {
        if let Some(recording) = &mut self.0 {
            recording.record.error = Some(reason);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(recording) = self.0.take() {
            let Recording { recorder, record, began_us } = *recording;
            recorder.end(record, began_us);
        }
    }
}

impl Recorder {
    /// Takes a span that ends now. Its length is that by the node's clock, which does not jump.
    fn end(&self, mut record: Record, began_us: u64) {
        record.ended_ns = record.began_ns + self.clock.now_us().saturating_sub(began_us) * 1000;
        if self.queue.try_send(record).is_err() {
            self.spans.count(Outcome::Dropped, 1);
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Span").field(&self.0.as_ref().map(|recording| &recording.record)).finish()
    }
}

impl PartialEq for Span {
    fn eq(&self, other: &Self) -> bool {
        self.context() == other.context()
    }
}

/// A random number that is not zero.
pub(super) fn random() -> u128 {
    let mut bytes = [0; 16];
    #[expect(clippy::expect_used, reason = "the node has drawn its own name from it")]
    getrandom::fill(&mut bytes).expect("the system has a random source");
    u128::from_ne_bytes(bytes).max(1)
}
