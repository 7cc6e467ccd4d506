//! Traces: one notification, from the request of its application server to the acknowledgement of its user agent, as a
//! collector receives it from both nodes; and collectors that are no good.

mod collector;

use beckon_cluster_tests::{
    requests::FORM,
    stage::{Registered, Stage},
    webpush::{KEPT, Subscribed, id_of},
};
use beckon_testbed::{
    folder,
    plan::{Plan, Shape},
    ports::Port,
    process::Signal,
    programs::Programs,
    until,
};
use bytes::Bytes;
use collector::{Collector, Manner, Span};
use futures_util::future::join_all;
use http::{Method, Response};
use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};
use tokio::{io::AsyncWriteExt as _, net::TcpListener, task::JoinSet};

const SPAN: &str = "00f067aa0ba902b7";

#[expect(clippy::disallowed_methods, reason = "these tests say what has to happen in time")]
fn now() -> Instant {
    Instant::now()
}

/// A fleet of programs that were built with traces, all of which send them there.
fn fleet(shape: Shape, collector: &str) -> Plan {
    Plan::new(shape).build(Programs::with_otlp()).all("BECKON_OTLP_ENDPOINT", collector)
}

/// A trace of a sender, as the value of `traceparent`. Each has another number.
fn traceparent(number: u32, is_sampled: bool) -> String {
    format!("00-{:032x}-{SPAN}-0{}", trace_of(number), u8::from(is_sampled))
}

fn trace_of(number: u32) -> u128 {
    0x4bf9_2f35_77b3_4da6_a3ce_929d_0000_0000 + u128::from(number)
}

/// The spans of a trace, by their names; those of the store by the step, too.
fn spans_of(collector: &Collector, trace: u128) -> BTreeMap<String, Span> {
    let mut found = BTreeMap::new();
    for span in collector.spans().into_iter().filter(|span| span.span.trace_id == trace.to_be_bytes()) {
        let step = span.attribute("db.operation.name");
        let name = [Some(span.span.name.clone()), step].into_iter().flatten().collect::<Vec<_>>().join(" ");
        let again = found.insert(name, span);
        assert!(again.is_none(), "two spans of a name: {again:?}");
    }
    found
}

async fn whole_trace(collector: &Collector, trace: u128, names: &[&str]) -> BTreeMap<String, Span> {
    let found = until("the collector has the trace", async || {
        let found = spans_of(collector, trace);
        (found.len() >= names.len()).then_some(found)
    })
    .await;
    let mut names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    names.sort();
    assert_eq!(found.keys().cloned().collect::<Vec<_>>(), names);
    found
}

fn request_id(answer: &Response<Bytes>) -> &str {
    answer.headers()["x-request-id"].to_str().unwrap()
}

/// Checks the tree of a notification that was delivered and acknowledged.
fn expect_tree(spans: &BTreeMap<String, Span>, root: &str, put: &str, ack: &str, answer: &Response<Bytes>) {
    let (put, ack) = (format!("store {put}"), format!("store {ack}"));
    for (name, parent) in [
        (&*put, root),
        ("deliver", root),
        ("receive", "deliver"),
        ("write", "receive"),
        ("acknowledge", "write"),
        (&*ack, "acknowledge"),
    ] {
        let (span, of_parent) = (&spans[name].span, &spans[parent].span);
        assert_eq!(span.parent_span_id, of_parent.span_id, "{name} follows from {parent}");
        assert!(span.start_time_unix_nano >= of_parent.start_time_unix_nano, "{name} begins after {parent}");
    }
    assert_eq!(spans[root].span.parent_span_id, u64::from_str_radix(SPAN, 16).unwrap().to_be_bytes());
    for (name, span) in spans {
        assert_eq!(span.span.trace_state, "vendor=1", "{name}");
        assert!(span.span.end_time_unix_nano >= span.span.start_time_unix_nano, "{name}");
        assert_eq!(span.span.status, None, "{name}");
    }
    let root = &spans[root];
    assert_eq!(root.attribute("beckon.request.id").as_deref(), Some(request_id(answer)));
    let status = answer.status().as_u16().to_string();
    assert_eq!(root.attribute("http.response.status_code"), Some(status));
    assert_eq!(spans["deliver"].attribute("beckon.outcome").as_deref(), Some("delivered"));
    assert!(root.span.end_time_unix_nano >= spans["deliver"].span.end_time_unix_nano);
}

async fn one_trace_from_the_request_to_the_acknowledgement(shape: Shape) {
    let collector = Collector::start(Manner::Takes).await;
    let stage = Stage::own(fleet(shape, &collector.url()).all("BECKON_TRACE_RATIO", "0"));
    let sampled = traceparent(1, true);
    let headers = [FORM, ("traceparent", &*sampled), ("tracestate", "vendor=1")];
    let Registered { mut client, uaid, channel, endpoint } = stage.registered().await;
    let answer = stage.request(Method::PUT, &endpoint, &headers, "version=7").await;
    client.expect_update(&channel, 7).await;
    client.ack(&channel, 7).await;
    let rest = ["deliver", "receive", "write", "acknowledge"];
    let names = [&["PUT /update/{token}", "store put_version", "store ack_versions"], &rest[..]].concat();
    let spans = whole_trace(&collector, trace_of(1), &names).await;
    expect_tree(&spans, names[0], "put_version", "ack_versions", &answer);
    let sampled = traceparent(2, true);
    let headers = [KEPT, ("traceparent", &*sampled), ("tracestate", "vendor=1")];
    let Subscribed { client: mut other, channel: other_channel, endpoint: other_endpoint, .. } =
        stage.subscribed().await;
    let answer = stage.post(&other_endpoint, &headers, "").await;
    let id = id_of(&answer);
    other.expect_ids(&other_channel, std::slice::from_ref(&id)).await;
    other.ack(&other_channel, &id).await;
    let names = [&["POST /wpush/{token}", "store put_message", "store remove_messages"], &rest[..]].concat();
    let spans = whole_trace(&collector, trace_of(2), &names).await;
    expect_tree(&spans, names[0], "put_message", "remove_messages", &answer);
    let services: Vec<_> = ["deliver", "receive"].iter().map(|name| spans[*name].service.as_str()).collect();
    let expected = match shape {
        Shape::Standalone => ["beckon"; 2],
        Shape::Cluster => ["endpoint-node", "connection-node"],
    };
    assert_eq!(services, expected);
    let all = format!("{:?}", collector.spans());
    let token = |endpoint: &str| endpoint.rsplit_once('/').unwrap().1.to_owned();
    for secret in [uaid, channel, other_channel, token(&endpoint), token(&other_endpoint), id] {
        assert!(!all.contains(&secret), "a span has {secret}");
    }
}

#[tokio::test]
async fn one_trace_from_the_request_to_the_acknowledgement_in_a_cluster() {
    one_trace_from_the_request_to_the_acknowledgement(Shape::Cluster).await;
}

#[tokio::test]
async fn one_trace_from_the_request_to_the_acknowledgement_in_one_process() {
    one_trace_from_the_request_to_the_acknowledgement(Shape::Standalone).await;
}

#[tokio::test]
async fn the_sender_and_then_the_ratio_decide_what_is_traced_within_the_rate() {
    let collector = Collector::start(Manner::Takes).await;
    let plan = fleet(Shape::Standalone, &collector.url());
    let stage = Stage::own(plan.all("BECKON_TRACE_RATIO", "1").all("BECKON_TRACE_RATE", "40/h"));
    let Registered { endpoint, .. } = stage.registered().await;
    let put = async |headers: &[(&str, &str)]| {
        let answer = stage.request(Method::PUT, &endpoint, headers, "version=1").await;
        request_id(&answer).to_owned()
    };
    let unsampled = put(&[FORM, ("traceparent", &traceparent(1, false))]).await;
    let by_ratio = put(&[FORM]).await;
    let malformed = put(&[FORM, ("traceparent", "nonsense")]).await;
    for _ in 0..40 {
        put(&[FORM]).await;
    }
    let limited = put(&[FORM, ("traceparent", &traceparent(2, true))]).await;
    let traced = until("the traces have arrived", async || {
        let roots = collector.spans().into_iter().filter(|span| span.span.name.starts_with("PUT"));
        let ids: Vec<_> = roots.filter_map(|span| span.attribute("beckon.request.id")).collect();
        // Those that waited for the server have been traced as well.
        (ids.len() >= 30).then_some(ids)
    })
    .await;
    assert!(traced.len() <= 41, "{} traces", traced.len());
    for (id, is_traced) in [(unsampled, false), (by_ratio, true), (malformed, true), (limited, false)] {
        assert_eq!(traced.contains(&id), is_traced, "{id}");
    }
}

/// How many spans have ended, by what became of them.
async fn outcomes(stage: &Stage) -> BTreeMap<String, u64> {
    let answer = stage.get(&format!("http://{}/metrics", stage.nodes()[0].addresses().admin)).await;
    let mut outcomes = BTreeMap::new();
    for line in str::from_utf8(answer.body()).unwrap().lines() {
        if let Some(rest) = line.strip_prefix("beckon_trace_spans_total{outcome=\"") {
            let (outcome, count) = rest.split_once("\"} ").unwrap();
            outcomes.insert(outcome.to_owned(), count.parse().unwrap());
        }
    }
    outcomes
}

/// Notifications arrive as if nothing was traced, and what becomes of the spans is counted.
async fn expect_no_delay(collector: &str, notifications: u64, outcome: &str) -> Stage {
    let plan = fleet(Shape::Standalone, collector);
    let stage = Stage::own(plan.all("BECKON_TRACE_RATIO", "1").all("BECKON_TRACE_RATE", "0"));
    let Registered { mut client, channel, endpoint, .. } = stage.registered().await;
    let mut slowest = Duration::ZERO;
    for version in 1..=notifications {
        let began = now();
        assert_eq!(stage.put(&endpoint, version).await, 200);
        client.expect_update(&channel, version).await;
        client.ack(&channel, version).await;
        slowest = slowest.max(began.elapsed());
    }
    // The time limit of an export is 5 s.
    assert!(slowest < Duration::from_secs(3), "a notification took {slowest:?}");
    until(&format!("{outcome} spans are counted"), async || {
        outcomes(&stage).await.get(outcome).is_some_and(|count| *count > 0).then_some(())
    })
    .await;
    stage
}

#[tokio::test]
async fn a_collector_that_is_away_delays_nothing_and_is_used_when_it_comes() {
    let port = Port::free();
    let closed = port.address();
    let stage = expect_no_delay(&format!("http://{closed}"), 20, "failed").await;
    let log = stage.nodes()[0].log();
    assert_eq!(log.matches("the collector did not take traces").count(), 1, "{log}");
    let collector = Collector::start_at(closed, Manner::Takes).await;
    let Registered { endpoint, .. } = stage.registered().await;
    until("the collector has spans", async || {
        stage.put(&endpoint, 1).await;
        (!collector.spans().is_empty() && outcomes(&stage).await["exported"] > 0).then_some(())
    })
    .await;
    assert!(stage.nodes()[0].terminate().success());
}

#[tokio::test]
async fn a_collector_that_refuses_or_rejects_delays_nothing() {
    for (manner, outcome) in [(Manner::Refuses, "failed"), (Manner::Rejects, "rejected")] {
        let collector = Collector::start(manner).await;
        let stage = expect_no_delay(&collector.url(), 20, outcome).await;
        assert_eq!(outcomes(&stage).await["exported"], 0, "{manner:?}");
    }
}

#[tokio::test]
async fn a_collector_that_talks_nonsense_delays_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut talking = JoinSet::new();
    talking.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // It may be gone by now.
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOK").await;
        }
    });
    expect_no_delay(&url, 20, "failed").await;
}

#[tokio::test]
async fn a_collector_that_sleeps_delays_nothing_and_takes_no_memory_without_end() {
    let collector = Collector::start(Manner::Sleeps).await;
    let stage = expect_no_delay(&collector.url(), 20, "failed").await;
    // Their device has left.
    let Registered { endpoint, .. } = stage.registered().await;
    until("the queue is full", async || {
        let answers = join_all((0..200).map(|version| stage.put(&endpoint, version))).await;
        assert!(answers.iter().all(|status| *status == 202), "{answers:?}");
        (outcomes(&stage).await["dropped"] > 0).then_some(())
    })
    .await;
    // What waits when the program stops does not keep it from stopping.
    assert!(stage.nodes()[0].terminate().success());
}

// The collector goes on while the test waits for the end of the program.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_been_traced_is_exported_before_the_end() {
    let collector = Collector::start(Manner::Takes).await;
    let stage = Stage::own(fleet(Shape::Standalone, &collector.url()).all("BECKON_TRACE_RATIO", "0"));
    let Registered { endpoint, .. } = stage.registered().await;
    let sampled = traceparent(9, true);
    stage.request(Method::PUT, &endpoint, &[FORM, ("traceparent", &sampled)], "version=1").await;
    assert!(stage.nodes()[0].terminate().success());
    let spans = spans_of(&collector, trace_of(9));
    assert!(spans.contains_key("PUT /update/{token}"), "{:?}", spans.keys());
}

#[tokio::test]
async fn what_is_traced_changes_with_a_reload() {
    let collector = Collector::start(Manner::Takes).await;
    let folder = folder::temporary();
    let file = folder.path().join("node.toml");
    let write = |ratio| fs::write(&file, format!("trace_ratio = {ratio}\ntrace_rate = \"0\"\n")).unwrap();
    write(0);
    let plan = fleet(Shape::Standalone, &collector.url()).all("BECKON_CONFIG", &file.to_string_lossy());
    let stage = Stage::own(plan);
    let Registered { endpoint, .. } = stage.registered().await;
    let put =
        async || request_id(&stage.request(Method::PUT, &endpoint, &[FORM], "version=1").await).to_owned();
    let before = put().await;
    write(1);
    stage.nodes()[0].signal(Signal::HUP);
    let traced = until("a trace arrives", async || {
        put().await;
        let ids: Vec<_> =
            collector.spans().iter().filter_map(|span| span.attribute("beckon.request.id")).collect();
        (!ids.is_empty()).then_some(ids)
    })
    .await;
    assert!(!traced.contains(&before));
}
