//! What a trace costs a notification: `cargo bench -p beckon-node --bench trace`. A request that is not traced allocates nothing,
//! and its time is that of a few comparisons.

use beckon_listener::rate::Rate;
use beckon_node::trace::{Kind, Sampler, Span, Spans, Tracer};
use beckon_ops::clock::Clock;
use beckon_types::{RequestId, SpanId, TraceId, TraceParent};
use divan::{AllocProfiler, Bencher, black_box};
use prometheus_client::registry::Registry;
use std::time::Duration;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn tracer(ratio: f64) -> Tracer {
    let sampler = Sampler::new(ratio, Rate { count: 0, period: Duration::ZERO });
    let (tracer, _) = Tracer::new(sampler, Clock::start(), Spans::register(&mut Registry::default()));
    tracer
}

/// All spans of a notification, on both nodes.
fn notification(tracer: &Tracer, parent: Option<TraceParent>) {
    let mut request = tracer.begin(RequestId(1 << 60), parent, String::new, "PUT /update/{token}");
    request.set("http.request.method", "PUT");
    let mut store = tracer.child(request.context(), "store", Kind::Client);
    store.set("db.operation.name", "put_version");
    drop(black_box(store));
    let deliver = tracer.child(request.context(), "deliver", Kind::Producer);
    let trace = deliver.context().cloned().map(Box::new);
    let receive = tracer.child(trace.as_deref(), "receive", Kind::Consumer);
    let write: Span = receive.child("write", Kind::Internal);
    let acknowledge = write.child("acknowledge", Kind::Internal);
    drop(black_box((receive, write, acknowledge, deliver, request)));
}

#[divan::bench]
fn without_a_collector(bencher: Bencher<'_, '_>) {
    let tracer = Tracer::default();
    bencher.bench_local(|| notification(black_box(&tracer), None));
}

#[divan::bench]
fn by_the_ratio_not_traced(bencher: Bencher<'_, '_>) {
    let tracer = tracer(0.01);
    bencher.bench_local(|| notification(black_box(&tracer), None));
}

#[divan::bench]
fn by_the_sender_not_traced(bencher: Bencher<'_, '_>) {
    let tracer = tracer(0.01);
    let parent = TraceParent { trace: TraceId(1), span: SpanId(1), is_sampled: false };
    bencher.bench_local(|| notification(black_box(&tracer), Some(parent)));
}

#[divan::bench]
fn traced(bencher: Bencher<'_, '_>) {
    let tracer = tracer(1.0);
    bencher.bench_local(|| notification(black_box(&tracer), None));
}
