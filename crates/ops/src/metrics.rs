//! The Prometheus registry. Each node declares its metrics in one documented struct and registers them under
//! `beckon_`; this module adds the metrics of the process, under the names that Prometheus' own clients use.

mod labelled;
mod striped;

pub use labelled::{Counters, Labelled};
pub use striped::{Counter, Durations, Long, Scale, Short, Stripes};

use crate::{listener, log_writer, logging, process};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text},
    metrics::{counter::ConstCounter, gauge::ConstGauge, info::Info},
    registry::Registry,
};
use std::fmt;

/// The content type of the text that [`encode`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A registry with the process' own metrics and `beckon_build_info`. Register a node's metrics under
/// `registry.sub_registry_with_prefix("beckon")`.
#[must_use]
pub fn registry(program: &'static str, version: &'static str, commit: &'static str) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Process));
    let labels = vec![("program", program), ("version", version), ("commit", commit)];
    let help = "What is running; always 1";
    registry.sub_registry_with_prefix("beckon").register("build", help, Info::new(labels));
    registry
}

/// All metrics in the OpenMetrics text format.
///
/// # Errors
/// A collector failed; the text would be cut short.
pub fn encode(registry: &Registry) -> Result<String, fmt::Error> {
    let mut text = String::new();
    text::encode(&mut text, registry)?;
    Ok(text)
}

/// Read from `/proc` at each scrape. A metric that is not available is left out.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let gauges = [
            ("process_open_fds", "Number of open file descriptors", process::open_files()),
            ("process_max_fds", "Maximum number of open file descriptors", process::open_files_max()),
            ("process_resident_memory_bytes", "Resident memory size in bytes", process::resident_bytes()),
            (
                "process_start_time_seconds",
                "Start time of the process since the Unix epoch in seconds",
                process::start_seconds(),
            ),
        ];
        for (name, help, value) in gauges {
            let Some(value) = value.and_then(|value| i64::try_from(value).ok()) else { continue };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        for (name, help, count) in [
            (
                "beckon_log_lines_dropped",
                "Lines of the log that were dropped, because stderr was blocked",
                log_writer::dropped(),
            ),
            (
                "beckon_accept_failures",
                "Connections that a listener could not accept, because files or memory were short",
                listener::accept_failures(),
            ),
            (
                "beckon_panics",
                "Panics of the program, each of which is a bug and an error in the log",
                logging::panics(),
            ),
        ] {
            let counter = ConstCounter::new(count);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        if let Some(seconds) = process::cpu_seconds() {
            let help = "Total user and system CPU time spent in seconds";
            let counter = ConstCounter::new(seconds);
            counter.encode(encoder.encode_descriptor(
                "process_cpu_seconds",
                help,
                None,
                counter.metric_type(),
            )?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    #[test]
    fn a_scrape_has_the_node_the_process_and_the_build() {
        let mut registry = super::registry("connection-node", "1.2.3", "abc");
        let hellos: Counter = Counter::default();
        registry.sub_registry_with_prefix("beckon").register(
            "hellos",
            "Clients that said hello",
            hellos.clone(),
        );
        hellos.inc();
        let text = super::encode(&registry).expect("nothing fails");
        for line in [
            "beckon_hellos_total 1",
            "beckon_build_info{program=\"connection-node\",version=\"1.2.3\",commit=\"abc\"} 1",
            "# TYPE process_open_fds gauge",
            "# TYPE process_cpu_seconds counter",
            "# EOF",
        ] {
            assert!(text.lines().any(|candidate| candidate == line), "{line} is not in\n{text}");
        }
        for name in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            assert!(name.starts_with("beckon_") || name.starts_with("process_"), "{name}");
        }
    }
}
