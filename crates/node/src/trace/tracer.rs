//! What makes spans.

use super::{
    outcome::Spans,
    sampler::Sampler,
    span::{Kind, Record, Recorder, Span, random},
};
use beckon_listener::rate::Rate;
use beckon_ops::clock::Clock;
use beckon_types::{RequestId, SpanId, TRACESTATE_LEN_MAX, TraceContext, TraceId, TraceParent};
use std::sync::Arc;
use tokio::sync::mpsc;

/// How many spans wait to be exported. One more is dropped.
const QUEUE_MAX: usize = 4096;

/// Makes spans. Without settings for traces, all of them are empty. Clones share everything.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    sampler: Sampler,
    recorder: Arc<Recorder>,
}

impl Tracer {
    /// A tracer whose spans end in the queue that is returned.
    pub fn new(sampler: Sampler, clock: Clock, spans: Spans) -> (Self, mpsc::Receiver<Record>) {
        let (queue, receiver) = mpsc::channel(QUEUE_MAX);
        let recorder = Arc::new(Recorder { clock, queue, spans });
        (Self(Some(Arc::new(Shared { sampler, recorder }))), receiver)
    }

    /// Whether any request is traced. If not, nothing has to be read of a request for [`Tracer::begin`].
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// From now on other requests are traced ([`Sampler::set`]).
    pub fn sample(&self, ratio: f64, rate: Rate) {
        if let Some(shared) = &self.0 {
            shared.sampler.set(ratio, rate);
        }
    }

    /// The first span of a request on this node, which begins now. `parent` and `state` are the request's headers
    /// `traceparent` and `tracestate`, if it has them. It is empty if the request is not traced.
    pub fn begin(
        &self,
        request: RequestId,
        parent: Option<TraceParent>,
        state: impl FnOnce() -> String,
        name: &'static str,
    ) -> Span {
        let Some(shared) = &self.0 else { return Span::NONE };
        let is_sampled = parent.map(|parent| parent.is_sampled);
        if !shared.sampler.samples(request, is_sampled, shared.recorder.clock.now_us()) {
            return Span::NONE;
        }
        let state = parent.map(|_| state()).filter(|state| state.len() <= TRACESTATE_LEN_MAX);
        let context = TraceContext {
            trace: parent.map_or_else(|| TraceId(random()), |parent| parent.trace),
            span: SpanId(random() as u64 | 1),
            state: state.unwrap_or_default().into(),
        };
        let mut span =
            Span::new(&shared.recorder, context, parent.map(|parent| parent.span), name, Kind::Server);
        span.set("beckon.request.id", request);
        span
    }

    /// A span that follows from another one, perhaps on another node, and begins now.
    pub fn child(&self, parent: Option<&TraceContext>, name: &'static str, kind: Kind) -> Span {
        match (&self.0, parent) {
            (Some(shared), Some(parent)) => Span::follow(&shared.recorder, parent, name, kind),
            (None, _) | (_, None) => Span::NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Value;
    use prometheus_client::registry::Registry;
    use std::time::Duration;

    fn tracer(ratio: f64) -> (Tracer, mpsc::Receiver<Record>, Registry) {
        let mut registry = Registry::default();
        let sampler = Sampler::new(ratio, Rate { count: 0, period: Duration::ZERO });
        let (tracer, queue) = Tracer::new(sampler, Clock::start(), Spans::register(&mut registry));
        (tracer, queue, registry)
    }

    fn parent() -> TraceParent {
        TraceParent { trace: TraceId(7), span: SpanId(8), is_sampled: true }
    }

    #[tokio::test(start_paused = true)]
    async fn a_trace_goes_on_where_its_sender_was() {
        let (tracer, mut queue, _) = tracer(0.0);
        let span = tracer.begin(RequestId(1), Some(parent()), || "a=1".to_owned(), "PUT");
        tokio::time::sleep(Duration::from_millis(5)).await;
        let child = tracer.child(span.context(), "store", Kind::Client);
        let context = span.context().unwrap().clone();
        assert_eq!((context.trace, &*context.state), (TraceId(7), "a=1"));
        drop((child, span));
        let (child, span) = (queue.recv().await.unwrap(), queue.recv().await.unwrap());
        assert_eq!((span.parent, span.name, span.context), (Some(SpanId(8)), "PUT", context.clone()));
        assert_eq!((child.parent, child.context.trace), (Some(context.span), TraceId(7)));
        assert_eq!((span.ended_ns - span.began_ns, child.ended_ns - child.began_ns), (5_000_000, 0));
        assert_eq!(span.attributes, [("beckon.request.id", Value::Request(RequestId(1)))]);
    }

    #[tokio::test]
    async fn nothing_follows_from_what_is_not_traced() {
        let (tracer, mut queue, _) = tracer(0.0);
        let mut span = tracer.begin(RequestId(1), None, String::new, "PUT");
        span.set("a", "b");
        span.fail("why");
        let child = tracer.child(span.context(), "store", Kind::Client);
        assert!(!span.is_traced() && !child.is_traced() && !span.child("x", Kind::Internal).is_traced());
        drop((span, child, tracer));
        assert_eq!(queue.recv().await, None);
    }

    #[tokio::test]
    async fn a_long_tracestate_is_dropped() {
        let (tracer, ..) = tracer(1.0);
        let span = tracer.begin(RequestId(1), Some(parent()), || "x".repeat(513), "PUT");
        assert_eq!(&*span.context().unwrap().state, "");
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_counts() {
        let (tracer, mut queue, registry) = tracer(1.0);
        for _ in 0..QUEUE_MAX + 3 {
            drop(tracer.begin(RequestId(1), None, String::new, "PUT"));
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("trace_spans_total{outcome=\"dropped\"} 3\n"), "{text}");
        drop(tracer);
        let mut found = 0;
        while queue.recv().await.is_some() {
            found += 1;
        }
        assert_eq!(found, QUEUE_MAX);
    }
}
