//! The way to the collector: OTLP over gRPC.
//!
//! One task takes what has waited for a second and sends it in one call, which has a time limit. What the collector does not
//! take is dropped and counted: a trace is not worth the memory of a node whose collector is away.

use super::{Kind, Record, Spans, Value, outcome::Outcome};
use beckon_ops::{
    clock::Clock,
    log_throttle::{self, LogThrottle},
    program::Build,
    stage::Stage,
};
use beckon_proto::transport::chain;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span::SpanKind, status::StatusCode},
};
use std::{str::FromStr, time::Duration};
use tokio::{sync::mpsc, time::sleep};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

/// How long spans wait for others that are sent with them.
const BATCH_DELAY: Duration = Duration::from_secs(1);

/// How many spans are sent in one call.
const BATCH_MAX: usize = 512;

/// Time limit to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// After how long an idle connection is kept from being forgotten on its way.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Time limit for one call, connecting included.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time limit for the call that is under way when the node stops, and for the last one after it.
const LAST_TIMEOUT: Duration = Duration::from_millis(400);

/// The bits of [`Span::flags`] of a span whose trace is sampled.
const SAMPLED: u32 = 1;

/// Where a collector takes traces over gRPC.
#[derive(Debug, Clone)]
pub struct OtlpEndpoint(Endpoint);

impl OtlpEndpoint {
    /// A client that connects with its first call.
    fn client(&self) -> TraceServiceClient<Channel> {
        TraceServiceClient::new(self.0.connect_lazy())
    }
}

impl FromStr for OtlpEndpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let reason = "must be http:// or https:// with a host and a port, such as http://127.0.0.1:4317";
        let endpoint = Endpoint::from_shared(text.to_owned()).map_err(|_| reason)?;
        let uri = endpoint.uri();
        let is_bare = uri.path() == "/" && uri.query().is_none() && uri.port().is_some();
        let endpoint = match uri.scheme_str() {
            _ if !is_bare || text.contains('@') => Err(reason.to_owned()),
            Some("http") => Ok(endpoint),
            Some("https") => endpoint
                .tls_config(ClientTlsConfig::new().with_native_roots())
                .map_err(|error| format!("cannot be used: {}", chain(&error))),
            _ => Err(reason.to_owned()),
        };
        let endpoint = endpoint?.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true);
        // Not by pings of HTTP/2: a gRPC server closes connections that ping while no call is under way.
        Ok(Self(endpoint.tcp_keepalive(Some(KEEPALIVE))))
    }
}

/// Takes spans to the collector.
#[derive(Debug)]
pub(crate) struct Exporter {
    endpoint: OtlpEndpoint,
    client: TraceServiceClient<Channel>,
    resource: Resource,
    scope: InstrumentationScope,
    queue: mpsc::Receiver<Record>,
    spans: Spans,
    clock: Clock,
    failures: LogThrottle<()>,
}

impl Exporter {
    /// Takes the spans from `queue` to a collector. `build` is which program they come from. Must be called inside a tokio
    /// runtime.
    pub(crate) fn new(
        endpoint: &OtlpEndpoint,
        build: &Build,
        queue: mpsc::Receiver<Record>,
        spans: Spans,
        clock: Clock,
    ) -> Self {
        let scope = InstrumentationScope {
            name: "beckon".to_owned(),
            version: build.version.to_owned(),
            ..InstrumentationScope::default()
        };
        Self {
            endpoint: endpoint.clone(),
            client: endpoint.client(),
            resource: resource(build),
            scope,
            queue,
            spans,
            clock,
            failures: LogThrottle::new(log_throttle::INTERVAL),
        }
    }

    /// Exports until the stage is asked to stop, and then what is left.
    pub(crate) async fn run(mut self, stage: Stage) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while let Some(1..) = stage.run_until_stopping(self.queue.recv_many(&mut batch, BATCH_MAX)).await {
            if batch.len() < BATCH_MAX {
                let _ = stage.run_until_stopping(sleep(BATCH_DELAY)).await;
                self.top_up(&mut batch);
            }
            let limit = async {
                tokio::select! {
                    () = sleep(EXPORT_TIMEOUT) => {}
                    () = async { stage.stopping().await; sleep(LAST_TIMEOUT).await } => {}
                }
            };
            self.export(std::mem::take(&mut batch), limit).await;
        }
        self.queue.close();
        self.top_up(&mut batch);
        if !batch.is_empty() {
            self.export(batch, sleep(LAST_TIMEOUT)).await;
        }
    }

    fn top_up(&mut self, batch: &mut Vec<Record>) {
        while batch.len() < BATCH_MAX
            && let Ok(record) = self.queue.try_recv()
        {
            batch.push(record);
        }
    }

    /// Sends spans in one call, which ends when `limit` does.
    async fn export(&mut self, batch: Vec<Record>, limit: impl Future<Output = ()>) {
        let count = batch.len();
        let spans = ScopeSpans {
            scope: Some(self.scope.clone()),
            spans: batch.into_iter().map(Span::from).collect(),
            schema_url: String::new(),
        };
        let resource_spans = ResourceSpans {
            resource: Some(self.resource.clone()),
            scope_spans: vec![spans],
            schema_url: String::new(),
        };
        let request = ExportTraceServiceRequest { resource_spans: vec![resource_spans] };
        let answer = tokio::select! {
            answer = self.client.export(request) => Some(answer),
            () = limit => None,
        };
        match answer {
            Some(Ok(response)) => {
                let rejected =
                    response.into_inner().partial_success.map_or(0, |partial| partial.rejected_spans);
                let rejected = usize::try_from(rejected).unwrap_or(0).min(count);
                self.spans.count(Outcome::Rejected, rejected);
                self.spans.count(Outcome::Exported, count - rejected);
            }
            Some(Err(status)) => self.failed(count, &chain(&status)),
            None => {
                // The other end of this connection may be gone without a word.
                self.client = self.endpoint.client();
                self.failed(count, "no answer in time");
            }
        }
    }

    fn failed(&self, spans: usize, error: &str) {
        self.spans.count(Outcome::Failed, spans);
        if let Some(suppressed) = self.failures.admit((), self.clock.now_ms()) {
            tracing::warn!(error, spans, suppressed, "the collector did not take traces, which are lost");
        }
    }
}

impl From<Record> for Span {
    fn from(record: Record) -> Self {
        let Record { context, parent, name, kind, began_ns, ended_ns, attributes, error } = record;
        let kind = match kind {
            Kind::Server => SpanKind::Server,
            Kind::Client => SpanKind::Client,
            Kind::Producer => SpanKind::Producer,
            Kind::Consumer => SpanKind::Consumer,
            Kind::Internal => SpanKind::Internal,
        };
        Self {
            trace_id: context.trace.0.to_be_bytes().to_vec(),
            span_id: context.span.0.to_be_bytes().to_vec(),
            trace_state: context.state.into(),
            parent_span_id: parent.map(|parent| parent.0.to_be_bytes().to_vec()).unwrap_or_default(),
            flags: SAMPLED,
            name: name.to_owned(),
            kind: kind.into(),
            start_time_unix_nano: began_ns,
            end_time_unix_nano: ended_ns,
            attributes: attributes.into_iter().map(|(key, value)| attribute(key, value.into())).collect(),
            status: error.map(|reason| Status { message: reason.to_owned(), code: StatusCode::Error.into() }),
            ..Self::default()
        }
    }
}

impl From<Value> for any_value::Value {
    fn from(value: Value) -> Self {
        match value {
            Value::Text(text) => Self::StringValue(text.to_owned()),
            Value::Number(number) => Self::IntValue(number),
            Value::Request(request) => Self::StringValue(request.to_string()),
        }
    }
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// Which process the spans come from, by the names of OpenTelemetry's semantic conventions.
fn resource(build: &Build) -> Resource {
    let text = |text: String| any_value::Value::StringValue(text);
    let mut attributes = vec![
        attribute("service.namespace", text("beckon".to_owned())),
        attribute("service.name", text(build.source.to_owned())),
        attribute("service.version", text(build.version.to_owned())),
        attribute("process.pid", any_value::Value::IntValue(std::process::id().into())),
    ];
    if let Ok(name) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
        attributes.push(attribute("host.name", text(name.trim().to_owned())));
    }
    Resource { attributes, ..Resource::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Sampler, Tracer};
    use beckon_listener::rate::Rate;
    use beckon_ops::shutdown::Shutdown;
    use beckon_types::RequestId;
    use prometheus_client::registry::Registry;
    use std::net::SocketAddr;
    use tokio::{io::AsyncReadExt as _, net::TcpListener, time::timeout};

    /// An exporter to this address, in a stage of its own, and what makes spans for it.
    fn start(collector: SocketAddr) -> (Stage, Tracer, Clock, Registry) {
        let endpoint: OtlpEndpoint = format!("http://{collector}").parse().unwrap();
        let (clock, mut registry) = (Clock::start(), Registry::default());
        let counted = Spans::register(&mut registry);
        let unlimited = Rate { count: 0, period: Duration::ZERO };
        let (tracer, queue) = Tracer::new(Sampler::new(1.0, unlimited), clock, counted.clone());
        let build = Build { source: "test", version: "1", commit: "", build: "" };
        let exporter = Exporter::new(&endpoint, &build, queue, counted, clock);
        let stage = Stage::new(&Shutdown::default(), "traces");
        stage.spawn_vital("traces", exporter.run(stage.clone()));
        (stage, tracer, clock, registry)
    }

    /// Takes the time that a stop needs while the collector takes connections and says nothing: with spans that wait, and with a
    /// call that is under way.
    async fn stop_beside_a_silent_collector(wait: Duration, spans: usize) -> (Duration, String) {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (stage, tracer, clock, registry) = start(silent.local_addr().unwrap());
        for _ in 0..spans {
            drop(tracer.begin(RequestId(1), None, String::new, "PUT"));
        }
        sleep(wait).await;
        let began_us = clock.now_us();
        stage.stop(Duration::from_secs(60)).await;
        let took = Duration::from_micros(clock.now_us() - began_us);
        (took, beckon_ops::metrics::encode(&registry).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_collector_delays_no_stop() {
        for (wait, spans) in [
            (Duration::ZERO, 1),
            (BATCH_DELAY / 2, 1),
            (BATCH_DELAY * 2, 1),
            (BATCH_DELAY * 2, BATCH_MAX + 1),
        ] {
            let (took, metrics) = stop_beside_a_silent_collector(wait, spans).await;
            assert!(took <= LAST_TIMEOUT * 2, "{took:?} after {wait:?} with {spans} spans");
            assert!(metrics.contains(&format!("{{outcome=\"failed\"}} {spans}\n")), "{metrics}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_nothing_is_answered_is_replaced() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (stage, tracer, ..) = start(silent.local_addr().unwrap());
        for _ in 0..2 {
            drop(tracer.begin(RequestId(1), None, String::new, "PUT"));
            let accepted = timeout(BATCH_DELAY * 2, silent.accept()).await;
            let (mut connection, _) = accepted.expect("a call makes a connection").unwrap();
            sleep(BATCH_DELAY + EXPORT_TIMEOUT).await;
            let closed = timeout(BATCH_DELAY, connection.read_to_end(&mut Vec::new())).await;
            closed.expect("the connection is closed").unwrap();
        }
        stage.stop(Duration::from_secs(60)).await;
    }

    #[tokio::test]
    async fn a_collector_is_a_scheme_a_host_and_a_port() {
        for (text, good) in [
            ("http://127.0.0.1:4317", true),
            ("http://collector.internal:4317/", true),
            ("https://[::1]:4317", true),
            ("127.0.0.1:4317", false),
            ("http://collector", false),
            ("http://collector:4317/v1/traces", false),
            ("http://user@collector:4317", false),
            ("grpc://collector:4317", false),
            ("collector", false),
            ("http://", false),
        ] {
            assert_eq!(text.parse::<OtlpEndpoint>().is_ok(), good, "{text}");
        }
    }
}
