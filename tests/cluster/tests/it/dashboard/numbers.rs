//! Every number of the API is the one that follows from `/metrics` of the node.

use super::{known_as, named, node_of, overview, until_all_are};
use beckon_cluster_tests::stage::{Registered, Stage};
use beckon_testbed::{
    node::Node,
    plan::{Plan, Shape},
    until,
};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

/// The sum of samples: the names of metrics, and what their labels have to contain.
type Sum = (&'static str, &'static [&'static str], &'static str);

/// Figures that stand still when nothing is sent.
const COUNTED: [Sum; 8] = [
    ("accepted", &["beckon_endpoint_notifications_total"], ""),
    ("delivered", &["beckon_endpoint_notifications_total"], "outcome=\"delivered\""),
    ("refused", &["beckon_endpoint_refusals_total"], ""),
    ("hellos", &["beckon_hellos_total"], "outcome=\"claimed\""),
    ("hellos_failed", &["beckon_hellos_total"], "outcome=\"failed\""),
    ("ends", &["beckon_connection_ends_total"], ""),
    ("sent", &["beckon_messages_sent_total"], ""),
    ("steps_failed", &["beckon_steps_failed_total", "beckon_endpoint_steps_failed_total"], ""),
];

/// All others, and by how much they may change from one reading to the next: a share, and an amount.
const OTHERS: [(Sum, f64, f64); 11] = [
    (("cpu", &["process_cpu_seconds_total"], ""), 0.0, 2.0),
    (("memory", &["process_resident_memory_bytes"], ""), 0.2, 0.0),
    (("files", &["process_open_fds"], ""), 0.0, 8.0),
    (("files_max", &["process_max_fds"], ""), 0.0, 0.0),
    (("started", &["process_start_time_seconds"], ""), 0.0, 0.0),
    (("buffered", &["beckon_buffered_bytes"], ""), 0.0, 0.0),
    (("lease_age", &["beckon_lease_age_seconds"], ""), 0.0, 4.0),
    (("streams_open", &["beckon_endpoint_node_streams"], "state=\"open\""), 0.0, 0.0),
    (("streams_closed", &["beckon_endpoint_node_streams"], "state=\"closed\""), 0.0, 0.0),
    (("nudges", &["beckon_endpoint_nudges_pending"], ""), 0.0, 0.0),
    (("store_fullness", &["beckon_store_fullness"], ""), 0.1, 0.01),
];

/// The histograms, by the names of their buckets and what their labels have to contain.
const HISTOGRAMS: [(&str, &str, &str); 5] = [
    ("request", "beckon_endpoint_request_duration_seconds_bucket", ""),
    ("delivery", "beckon_endpoint_delivery_duration_seconds_bucket", ""),
    ("mailbox", "beckon_mailbox_duration_seconds_bucket", ""),
    ("ack", "beckon_ack_duration_seconds_bucket", ""),
    ("hello", "beckon_step_duration_seconds_bucket", "step=\"hello\""),
];

/// For so long a reading is shown to everybody, and a little longer.
const FRESH: Duration = Duration::from_millis(1100);

/// The samples of a metric whose labels contain this.
fn samples<'a>(text: &'a str, name: &'a str, label: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    text.lines().filter_map(move |line| {
        let is_of = line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let (head, value) = line.rsplit_once(' ').filter(|_| is_of)?;
        Some((head, value.parse().ok()?)).filter(|(head, _)| head.contains(label))
    })
}

/// The sum of the samples; `None` if there are none.
fn sum(text: &str, (_, names, label): Sum) -> Option<f64> {
    let found = names.iter().flat_map(|name| samples(text, name, label)).map(|(_, value)| value);
    found.reduce(|a, b| a + b)
}

/// The cumulative counts of a histogram by their bounds, added up over all other labels.
fn buckets(text: &str, name: &str, label: &str) -> BTreeMap<u64, (f64, f64)> {
    let mut sums = BTreeMap::new();
    for (head, count) in samples(text, name, label) {
        let bound = head.split("le=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
        // Bits of positive numbers sort as the numbers do.
        sums.entry(f64::to_bits(bound)).or_insert((bound, 0.0)).1 += count;
    }
    sums
}

/// What `histogram_quantile` of Prometheus makes of what came in between; `None` if nothing did.
fn quantile(
    before: &BTreeMap<u64, (f64, f64)>,
    after: &BTreeMap<u64, (f64, f64)>,
    share: f64,
) -> Option<f64> {
    let earlier = |bits: &u64| before.get(bits).map_or(0.0, |(_, count)| *count);
    let counts: Vec<_> = after.iter().map(|(bits, (bound, count))| (*bound, count - earlier(bits))).collect();
    let rank = share * counts.last()?.1;
    if rank == 0.0 {
        return None;
    }
    let at = counts.iter().position(|(_, count)| *count >= rank)?;
    let (lower, below) = at.checked_sub(1).map_or((0.0, 0.0), |before| counts[before]);
    let (upper, count) = counts[at];
    if upper.is_infinite() {
        Some(lower)
    } else {
        Some(lower + (upper - lower) * (rank - below) / (count - below))
    }
}

async fn scrape(stage: &Stage, node: &Node) -> String {
    let answer = stage.get(&format!("http://{}/metrics", node.addresses().admin)).await;
    String::from_utf8(answer.into_body().to_vec()).unwrap()
}

/// The metrics of all nodes, when what they count does not change any more.
async fn settled(stage: &Stage) -> Vec<String> {
    let mut last = Vec::new();
    until("the nodes come to rest", async || {
        let mut texts = Vec::new();
        for node in stage.nodes() {
            texts.push(scrape(stage, node).await);
        }
        let counted: Vec<_> = texts.iter().flat_map(|text| COUNTED.map(|figure| sum(text, figure))).collect();
        let is_settled = counted == std::mem::replace(&mut last, counted.clone());
        tokio::time::sleep(Duration::from_millis(300)).await;
        is_settled.then_some(texts)
    })
    .await
}

/// Compares the figures of a node with its metrics.
fn compare_figures(view: &Value, metrics: &str) {
    let counted = COUNTED.map(|figure| (figure, 0.0, 0.0));
    for (figure, share, amount) in counted.into_iter().chain(OTHERS) {
        let (shown, expected) = (view["figures"][figure.0].as_f64(), sum(metrics, figure));
        let is_same = match (shown, expected) {
            (Some(shown), Some(expected)) => (shown - expected).abs() <= expected * share + amount + 1e-6,
            (shown, expected) => shown == expected,
        };
        assert!(is_same, "{}: {shown:?} is shown, the metrics say {expected:?}", figure.0);
    }
    let known: Vec<_> =
        COUNTED.iter().chain(OTHERS.iter().map(|(figure, ..)| figure)).map(|(name, ..)| *name).collect();
    let unknown = view["figures"].as_object().unwrap().keys().find(|key| !known.contains(&key.as_str()));
    assert_eq!(unknown, None, "a figure that nothing compares");
    let open = samples(metrics, "beckon_connections", "").map(|(_, value)| value).sum::<f64>();
    assert_eq!(view["sockets"].as_f64(), Some(open), "{view}");
    let max = samples(metrics, "beckon_connections_max", "").next().map_or(0.0, |(_, max)| max);
    assert_eq!(view["sockets_max"].as_f64(), Some(max), "{view}");
}

/// Compares the rates of a node with what its figures have grown by in this time.
fn compare_rates(was: &Value, is: &Value, seconds: f64) {
    let rates = is["rates"].as_object().unwrap();
    assert!(
        rates.contains_key("cpu"),
        "the machine is too slow for this test: {seconds} s between two readings"
    );
    for (figure, rate) in rates {
        let grown = is["figures"][figure].as_f64().unwrap() - was["figures"][figure].as_f64().unwrap_or(0.0);
        // The clock of the node and that of the reading differ by the time of an answer.
        let (rate, expected) = (rate.as_f64().unwrap(), grown / seconds);
        assert!((rate - expected).abs() <= expected * 0.2 + 0.05, "{figure}: {rate}, not {expected}");
    }
}

fn compare_quantiles(view: &Value, before: &str, after: &str) {
    for (histogram, metric, label) in HISTOGRAMS {
        let (before, after) = (buckets(before, metric, label), buckets(after, metric, label));
        for (key, share) in [("p50", 0.5), ("p99", 0.99)] {
            let (shown, expected) =
                (view["quantiles"][histogram][key].as_f64(), quantile(&before, &after, share));
            let is_same = match (shown, expected) {
                (Some(shown), Some(expected)) => (shown - expected).abs() <= expected * 1e-6,
                (shown, expected) => shown == expected,
            };
            assert!(is_same, "{key} of {histogram}: {shown:?}, not {expected:?}");
        }
    }
}

#[tokio::test]
async fn every_number_is_the_one_that_follows_from_the_metrics() {
    for shape in [Shape::Cluster, Shape::Standalone] {
        let stage = named(Plan::new(shape));
        let Registered { client: mut device, endpoint, channel, .. } = stage.registered().await;
        let asked = stage.nodes().first().unwrap();
        until_all_are(&stage, asked, "ok").await;
        // The next reading is a new one, and nothing happens between it and the metrics.
        let quiet = async || {
            let texts = settled(&stage).await;
            tokio::time::sleep(FRESH).await;
            (overview(&stage, asked).await, texts)
        };
        let (before, texts_before) = quiet().await;
        for version in 1..=30 {
            assert_eq!(stage.put(&endpoint, version).await, 200);
            device.expect_update(&channel, version).await;
            device.ack(&channel, version).await;
        }
        let (after, texts_after) = quiet().await;
        let seconds = (after["at_ms"].as_f64().unwrap() - before["at_ms"].as_f64().unwrap()) / 1000.0;
        for ((node, text_before), text_after) in stage.nodes().iter().zip(&texts_before).zip(&texts_after) {
            let name = known_as(&stage, node);
            let (was, is) = (node_of(&before, &name).unwrap(), node_of(&after, &name).unwrap());
            compare_figures(is, text_after);
            compare_rates(was, is, seconds);
            compare_quantiles(is, text_before, text_after);
        }
        // What the charts show is the sum of what the nodes show.
        let point = after["history"].as_array().unwrap().last().unwrap();
        for (figure, sum) in point["rates"].as_object().unwrap() {
            let nodes = after["nodes"].as_array().unwrap().iter();
            let added: f64 = nodes.filter_map(|node| node["rates"][figure].as_f64()).sum();
            assert!((sum.as_f64().unwrap() - added).abs() < 1e-6, "{figure}: {sum}, not {added}");
        }
        assert!(point["quantiles"]["ack"].is_object(), "the acknowledgements are in the charts: {point}");
    }
}
