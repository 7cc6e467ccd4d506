//! What a node says about itself in numbers: sums of its own metrics. So whatever the dashboard shows is what Prometheus
//! scrapes from `/metrics`, and a figure costs nothing while no operator looks.

use beckon_proto::admin::Histogram;
use std::collections::BTreeMap;

/// A figure: the sum of the samples of a metric that have this label, or of all.
struct Sum {
    name: &'static str,
    sample: &'static str,
    label: Option<(&'static str, &'static str)>,
}

const fn sum(name: &'static str, sample: &'static str) -> Sum {
    Sum { name, sample, label: None }
}

const fn sum_of(name: &'static str, sample: &'static str, label: &'static str, value: &'static str) -> Sum {
    Sum { name, sample, label: Some((label, value)) }
}

/// Those that only grow, so that their differences are rates.
pub(crate) const COUNTERS: [&str; 9] =
    ["accepted", "delivered", "refused", "hellos", "hellos_failed", "ends", "sent", "steps_failed", "cpu"];

/// The figures, by the names that they have in the API.
const SUMS: [Sum; 20] = [
    sum("accepted", "beckon_endpoint_notifications_total"),
    sum_of("delivered", "beckon_endpoint_notifications_total", "outcome", "delivered"),
    sum("refused", "beckon_endpoint_refusals_total"),
    sum_of("hellos", "beckon_hellos_total", "outcome", "claimed"),
    sum_of("hellos_failed", "beckon_hellos_total", "outcome", "failed"),
    sum("ends", "beckon_connection_ends_total"),
    sum("sent", "beckon_messages_sent_total"),
    sum("steps_failed", "beckon_steps_failed_total"),
    sum("steps_failed", "beckon_endpoint_steps_failed_total"),
    sum("cpu", "process_cpu_seconds_total"),
    sum("memory", "process_resident_memory_bytes"),
    sum("files", "process_open_fds"),
    sum("files_max", "process_max_fds"),
    sum("started", "process_start_time_seconds"),
    sum("buffered", "beckon_buffered_bytes"),
    sum("lease_age", "beckon_lease_age_seconds"),
    sum_of("streams_open", "beckon_endpoint_node_streams", "state", "open"),
    sum_of("streams_closed", "beckon_endpoint_node_streams", "state", "closed"),
    sum("nudges", "beckon_endpoint_nudges_pending"),
    sum("store_fullness", "beckon_store_fullness"),
];

/// The histograms.
const HISTOGRAMS: [Sum; 5] = [
    sum("request", "beckon_endpoint_request_duration_seconds_bucket"),
    sum("delivery", "beckon_endpoint_delivery_duration_seconds_bucket"),
    sum("mailbox", "beckon_mailbox_duration_seconds_bucket"),
    sum("ack", "beckon_ack_duration_seconds_bucket"),
    sum_of("hello", "beckon_step_duration_seconds_bucket", "step", "hello"),
];

/// The figures and the histograms in a text of metrics. What the text lacks is left out: an endpoint-node has no sockets.
pub(crate) fn read(metrics: &str) -> (BTreeMap<String, f64>, BTreeMap<String, Histogram>) {
    let mut figures = BTreeMap::new();
    let mut histograms: BTreeMap<String, Histogram> = BTreeMap::new();
    for sample in metrics.lines().filter_map(Sample::parse) {
        for sum in SUMS.iter().filter(|sum| sum.takes(&sample)) {
            *figures.entry(sum.name.to_owned()).or_default() += sample.value;
        }
        for sum in HISTOGRAMS.iter().filter(|sum| sum.takes(&sample)) {
            let Some(bound) = sample.label("le").and_then(bound) else { continue };
            add(histograms.entry(sum.name.to_owned()).or_default(), bound, sample.value as u64);
        }
    }
    (figures, histograms)
}

fn bound(text: &str) -> Option<f64> {
    if text == "+Inf" { Some(f64::INFINITY) } else { text.parse().ok() }
}

fn add(histogram: &mut Histogram, bound: f64, count: u64) {
    match histogram.bounds.iter().position(|known| *known >= bound) {
        Some(at) if histogram.bounds[at] <= bound => histogram.counts[at] += count,
        Some(at) => {
            histogram.bounds.insert(at, bound);
            histogram.counts.insert(at, count);
        }
        None => {
            histogram.bounds.push(bound);
            histogram.counts.push(count);
        }
    }
}

impl Sum {
    fn takes(&self, sample: &Sample<'_>) -> bool {
        self.sample == sample.name
            && self.label.is_none_or(|(label, value)| sample.label(label) == Some(value))
    }
}

/// A line of OpenMetrics text.
struct Sample<'a> {
    name: &'a str,
    /// What is between the braces.
    labels: &'a str,
    value: f64,
}

impl<'a> Sample<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        // A value of a label may have spaces and braces, but what follows the last brace does not.
        let (head, value) = line.rsplit_once(' ')?;
        let (name, labels) = match head.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}')?),
            None => (head, ""),
        };
        Some(Self { name, labels, value: value.parse().ok()? })
    }

    /// The value of a label, as it is in the text: with escapes.
    fn label(&self, wanted: &str) -> Option<&'a str> {
        let mut rest = self.labels;
        while let Some((name, after)) = rest.split_once("=\"") {
            let end = closing_quote(after)?;
            if name.trim_start_matches(',') == wanted {
                return Some(&after[..end]);
            }
            rest = &after[end + 1..];
        }
        None
    }
}

/// Where the first quote is that no backslash escapes.
fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_sums_of_samples() {
        let text = r#"# TYPE beckon_endpoint_notifications counter
beckon_endpoint_notifications_total{dialect="simplepush",outcome="delivered"} 3
beckon_endpoint_notifications_total{dialect="webpush",outcome="delivered"} 4
beckon_endpoint_notifications_total{dialect="webpush",outcome="offline"} 5
beckon_endpoint_node_streams{node="a \"quoted\" {state=\"open\"} name",state="closed"} 2
beckon_lease_age_seconds 0.25
process_cpu_seconds_total 1.5
beckon_endpoint_steps_failed_total{cause="timeout"} 6
beckon_steps_failed_total{cause="timeout"} 1
beckon_unknown_total 7
# EOF
"#;
        let (figures, histograms) = read(text);
        let expected = [
            ("accepted", 12.0),
            ("delivered", 7.0),
            ("streams_closed", 2.0),
            ("lease_age", 0.25),
            ("cpu", 1.5),
            ("steps_failed", 7.0),
        ];
        assert_eq!(figures, expected.map(|(name, value)| (name.to_owned(), value)).into());
        assert!(histograms.is_empty());
    }

    #[test]
    fn histograms_are_added_by_bound() {
        let text = r#"
beckon_endpoint_request_duration_seconds_bucket{le="0.1",dialect="simplepush"} 1
beckon_endpoint_request_duration_seconds_bucket{le="+Inf",dialect="simplepush"} 2
beckon_endpoint_request_duration_seconds_bucket{le="0.1",dialect="webpush"} 10
beckon_endpoint_request_duration_seconds_bucket{le="0.2",dialect="webpush"} 20
beckon_endpoint_request_duration_seconds_bucket{le="+Inf",dialect="webpush"} 30
beckon_step_duration_seconds_bucket{le="+Inf",step="fetch"} 7
beckon_step_duration_seconds_bucket{le="+Inf",step="hello"} 8
"#;
        let (_, histograms) = read(text);
        assert_eq!(histograms["request"].bounds, [0.1, 0.2, f64::INFINITY]);
        assert_eq!(histograms["request"].counts, [11, 20, 32]);
        assert_eq!(histograms["hello"].counts, [8]);
    }

    #[test]
    fn every_counter_is_a_figure() {
        for name in COUNTERS {
            assert!(SUMS.iter().any(|sum| sum.name == name), "{name}");
        }
    }
}
