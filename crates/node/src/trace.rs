//! Traces: where the time of a single notification goes, from the request of its application server to the acknowledgement of
//! its user agent, on all nodes that it passes. They go to a collector over OTLP/gRPC ([`OtlpEndpoint`]).
//!
//! Only some requests are traced ([`Tracer::begin`]). For all others every [`Span`] is empty: it costs a comparison, and
//! allocates nothing. A span that has ended waits in a queue, and nothing waits for the queue: if it is full, the span is
//! dropped and counted.
//!
//! No span has a payload, a UAID, a token or an id of a message.

#[cfg(any(test, not(feature = "otlp")))]
#[cfg_attr(
    feature = "otlp",
    expect(dead_code, unreachable_pub, reason = "with the feature, only its tests are of use")
)]
mod no_otlp;
#[cfg(feature = "otlp")]
mod otlp;
mod outcome;
mod sampler;
mod span;
mod tracer;

#[cfg(not(feature = "otlp"))]
pub(crate) use no_otlp::Exporter;
#[cfg(not(feature = "otlp"))]
pub use no_otlp::OtlpEndpoint;
#[cfg(feature = "otlp")]
pub(crate) use otlp::Exporter;
#[cfg(feature = "otlp")]
pub use otlp::OtlpEndpoint;
pub use outcome::Spans;
pub use sampler::Sampler;
pub use span::{Kind, Record, Span, Value};
pub use tracer::Tracer;

use crate::config::CommonSettings;
use beckon_ops::{clock::Clock, program::Build};
use prometheus_client::registry::Registry;

/// What traces the requests of a node as its settings say, and what takes the spans to the collector, unless they name none.
/// Must be called inside a tokio runtime. The metrics are registered in `registry`.
pub(crate) fn start(
    common: &CommonSettings,
    build: &Build,
    clock: Clock,
    registry: &mut Registry,
) -> (Tracer, Option<Exporter>) {
    let spans = Spans::register(registry);
    let Some(endpoint) = &common.otlp_endpoint else { return (Tracer::default(), None) };
    let sampler = Sampler::new(common.trace_ratio, common.trace_rate);
    let (tracer, queue) = Tracer::new(sampler, clock, spans.clone());
    (tracer, Some(Exporter::new(endpoint, build, queue, spans, clock)))
}
