//! What a run has found out: for programs as JSON, for people as a table.

use crate::{
    book::Book,
    measure::{Sample, Usage},
    settings::Settings,
    stats::{Quantiles, Tick},
};
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write as _};

/// Everything about a run. The names in the JSON are those of the fields.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Of this program.
    pub version: &'static str,
    /// What the run was made of.
    pub plan: Plan,
    /// How clients became ready.
    pub connect: Connect,
    /// What became of notifications.
    pub send: Send,
    /// What each watched process costs, by name.
    pub processes: BTreeMap<String, Cost>,
    /// Connections that failed or were closed, by reason.
    pub failures: BTreeMap<String, u64>,
    /// Looks at the processes and the kernel, in the order of time.
    pub samples: Vec<Sample>,
    /// Second by second.
    pub timeline: Vec<Tick>,
    /// All latencies of deliveries: microseconds, and how often.
    pub delivery_buckets: Vec<(u64, u64)>,
}

/// What a run was made of.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "these are settings; their help says what they are")]
pub struct Plan {
    pub ws: Vec<String>,
    pub http: Vec<String>,
    pub clients: u32,
    pub channels: u32,
    pub senders: u32,
    pub rate: f64,
    pub ack: bool,
    pub churn: f64,
    pub storm: f64,
}

/// How clients became ready.
#[derive(Debug, Serialize)]
pub struct Connect {
    /// Time in which all did, pauses for measurements left out, microseconds.
    pub took_us: u64,
    /// Connections with hello and all registers, per second.
    pub per_second: f64,
    /// From hello to its answer.
    pub hello: Quantiles,
    /// From the beginning of the connection to the last endpoint.
    pub connect: Quantiles,
    /// The same, of clients that came back.
    pub reconnect: Quantiles,
    /// Connections that were dropped on purpose.
    pub dropped: u64,
    /// Clients that were given another UAID when they came back.
    pub renamed: u64,
}

/// What became of notifications.
#[derive(Debug, Serialize)]
pub struct Send {
    /// Time of sending, microseconds.
    pub took_us: u64,
    /// Requests that were made.
    pub sent: u64,
    /// Answers by status.
    pub answers: BTreeMap<u16, u64>,
    /// Requests whose connection ended, or that took too long.
    pub unanswered: u64,
    /// Notifications delivered, each counted once.
    pub delivered: u64,
    /// The same per second of sending.
    pub delivered_per_second: f64,
    /// Accepted, and not delivered within the grace.
    pub lost: u64,
    /// Not delivered because a newer one of the channel was.
    pub replaced: u64,
    /// Deliveries after the first.
    pub duplicated: u64,
    /// Deliveries after a newer one of the channel.
    pub disordered: u64,
    /// Deliveries of what this run has not sent.
    pub foreign: u64,
    /// From due to answered.
    pub answer: Quantiles,
    /// From due to sent.
    pub lateness: Quantiles,
    /// From due to delivered.
    pub delivery: Quantiles,
}

/// What a process costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Cost {
    /// Growth of its memory, bytes: from the first rest to the last one before sending; with one rest only,
    /// from the start.
    pub rss_per_client: Option<f64>,
    /// The same, to the rest after sending.
    pub rss_per_client_after: Option<f64>,
    /// CPU from the start until all clients were ready, microseconds.
    pub cpu_us_per_connect: Option<f64>,
    /// CPU of a second in which nothing was sent, microseconds.
    pub cpu_us_per_idle_second: Option<f64>,
    /// CPU of sending and delivering, microseconds.
    pub cpu_us_per_notification: Option<f64>,
}

impl Report {
    /// Draws the conclusions.
    pub fn new(
        settings: &Settings,
        book: &Book,
        samples: Vec<Sample>,
        connect_us: u64,
        send_us: u64,
    ) -> Self {
        let stats = &book.stats;
        let authorities = |servers: &[crate::place::Server]| {
            servers.iter().map(|server| server.authority.clone()).collect()
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            plan: Plan {
                ws: authorities(&settings.ws),
                http: authorities(&settings.http),
                clients: settings.clients,
                channels: settings.channels,
                senders: settings.senders,
                rate: settings.rate,
                ack: settings.ack,
                churn: settings.churn,
                storm: settings.storm,
            },
            connect: Connect {
                took_us: connect_us,
                per_second: per_second(u64::from(settings.clients), connect_us),
                hello: stats.hello.quantiles(),
                connect: stats.connect.quantiles(),
                reconnect: stats.reconnect.quantiles(),
                dropped: stats.dropped,
                renamed: stats.renamed,
            },
            send: Send {
                took_us: send_us,
                sent: book.ledger.len(),
                answers: stats.answers.clone(),
                unanswered: stats.unanswered,
                delivered: stats.delivered,
                delivered_per_second: per_second(stats.delivered, send_us),
                lost: book.ledger.missing(),
                replaced: book.ledger.replaced(),
                duplicated: stats.duplicated,
                disordered: stats.disordered,
                foreign: stats.foreign,
                answer: stats.answer.quantiles(),
                lateness: stats.lateness.quantiles(),
                delivery: stats.delivery.quantiles(),
            },
            processes: costs(&samples, stats.delivered),
            failures: stats.failures.clone(),
            samples,
            timeline: stats.timeline.clone(),
            delivery_buckets: stats.delivery.buckets(),
        }
    }

    /// The report as people read it.
    pub fn table(&self) -> String {
        let mut text = String::new();
        // A string takes every write.
        let _ = self.write_table(&mut text);
        text
    }

    fn write_table(&self, text: &mut String) -> std::fmt::Result {
        let Self { plan, connect, send, .. } = self;
        writeln!(
            text,
            "clients {}  channels {}  connected in {:.1} s  ({:.0}/s)",
            plan.clients,
            plan.channels,
            seconds(connect.took_us),
            connect.per_second
        )?;
        writeln!(
            text,
            "\n{:<22}{:>10}{:>11}{:>11}{:>11}{:>11}",
            "ms", "count", "p50", "p99", "p99.9", "max"
        )?;
        for (name, times) in [
            ("hello", &connect.hello),
            ("connect to ready", &connect.connect),
            ("reconnect to ready", &connect.reconnect),
            ("due to sent", &send.lateness),
            ("due to answered", &send.answer),
            ("due to delivered", &send.delivery),
        ] {
            if times.count > 0 {
                let [p50, p99, p999, max] =
                    [times.p50_us, times.p99_us, times.p999_us, times.max_us].map(|us| us as f64 / 1000.0);
                writeln!(text, "{name:<22}{:>10}{p50:>11.2}{p99:>11.2}{p999:>11.2}{max:>11.2}", times.count)?;
            }
        }
        if send.sent > 0 {
            let answers: Vec<String> =
                send.answers.iter().map(|(status, count)| format!("{status}: {count}")).collect();
            writeln!(
                text,
                "\nsent {}  answers {{{}}}  unanswered {}\ndelivered {} ({:.0}/s)  lost {}  replaced {}  duplicated {}  \
                 disordered {}  foreign {}",
                send.sent,
                answers.join(", "),
                send.unanswered,
                send.delivered,
                send.delivered_per_second,
                send.lost,
                send.replaced,
                send.duplicated,
                send.disordered,
                send.foreign,
            )?;
        }
        if connect.dropped > 0 {
            writeln!(text, "dropped and back {}  given another UAID {}", connect.dropped, connect.renamed)?;
        }
        for (reason, count) in &self.failures {
            writeln!(text, "failed: {count} {reason}")?;
        }
        self.write_costs(text)
    }

    fn write_costs(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "\n{:<22}{:>12}{:>12}{:>12}{:>14}{:>16}",
            "process", "RSS/client", "after", "CPU/connect", "CPU/idle s", "CPU/notification"
        )?;
        writeln!(
            text,
            "{:<22}{:>12}{:>12}{:>12}{:>14}{:>16}",
            "", "bytes", "bytes", "us", "us per client", "us"
        )?;
        let show = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
        };
        for (name, cost) in &self.processes {
            writeln!(
                text,
                "{name:<22}{:>12}{:>12}{:>12}{:>14}{:>16}",
                show(cost.rss_per_client, 0),
                show(cost.rss_per_client_after, 0),
                show(cost.cpu_us_per_connect, 1),
                show(cost.cpu_us_per_idle_second, 2),
                show(cost.cpu_us_per_notification, 1),
            )?;
        }
        Ok(())
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn per_second(count: u64, us: u64) -> f64 {
    if us == 0 { 0.0 } else { count as f64 / seconds(us) }
}

fn costs(samples: &[Sample], delivered: u64) -> BTreeMap<String, Cost> {
    let Some(start) = samples.first() else { return BTreeMap::new() };
    let names = start.processes.keys();
    names.map(|name| (name.clone(), cost(name, samples, delivered))).collect()
}

fn cost(name: &str, samples: &[Sample], delivered: u64) -> Cost {
    let look = |label: &'static str| {
        move |sample: &&Sample| sample.label == label && sample.processes.contains_key(name)
    };
    let first = |label| samples.iter().find(look(label));
    let last = |label| samples.iter().rfind(look(label));
    let usage = |sample: &Sample| sample.processes.get(name).cloned().unwrap_or_default();
    let share = |amount: f64, count: u64| (count > 0).then(|| amount / count as f64);
    let growth = |from: Option<&Sample>, to: Option<&Sample>| {
        let (from, to) = (from?, to?);
        let grown = usage(to).rss as f64 - usage(from).rss as f64;
        share(grown, to.clients.saturating_sub(from.clients))
    };
    let spent = |from: Option<&Sample>, to: Option<&Sample>| {
        let cpu = |sample: &Sample| Usage::cpu_us(&usage(sample)) as f64;
        Some(cpu(to?) - cpu(from?))
    };

    let settled = last("settled");
    let base = first("settled").filter(|first| settled.is_some_and(|last| last.clients > first.clients));
    let base = base.or_else(|| first("start"));
    let clients = settled.map_or(0, |settled| settled.clients);
    let idle_us = last("idle").zip(settled).map_or(0, |(idle, settled)| idle.at_us - settled.at_us);
    let idle = spent(settled, last("idle")).and_then(|spent| share(spent * 1e6, idle_us));
    Cost {
        rss_per_client: growth(base, settled),
        rss_per_client_after: growth(base, last("rested")),
        cpu_us_per_connect: spent(first("start"), last("connected")).and_then(|spent| share(spent, clients)),
        cpu_us_per_idle_second: idle.and_then(|idle| share(idle, clients)),
        cpu_us_per_notification: spent(last("sending"), last("end"))
            .and_then(|spent| share(spent, delivered)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Kernel;

    fn sample(label: &str, at_us: u64, clients: u64, rss: u64, user_us: u64) -> Sample {
        let usage = Usage { rss, user_us, ..Usage::default() };
        let processes = BTreeMap::from([("node".to_owned(), usage)]);
        Sample { label: label.to_owned(), at_us, clients, processes, kernel: Kernel::default() }
    }

    #[test]
    fn costs_are_differences_between_samples() {
        let samples = [
            sample("start", 0, 0, 1_000_000, 0),
            sample("connected", 1, 2_000, 0, 200_000),
            sample("settled", 2, 2_000, 3_000_000, 200_000),
            sample("connected", 3, 18_000, 0, 1_800_000),
            sample("settled", 4_000_000, 18_000, 35_000_000, 1_800_000),
            sample("idle", 14_000_000, 18_000, 35_000_000, 1_980_000),
            sample("sending", 14_000_000, 18_000, 35_000_000, 2_000_000),
            sample("end", 20_000_000, 18_000, 0, 3_000_000),
            sample("rested", 21_000_000, 18_000, 43_000_000, 3_000_000),
        ];
        let expected = Cost {
            rss_per_client: Some(2_000.0),
            rss_per_client_after: Some(2_500.0),
            cpu_us_per_connect: Some(100.0),
            cpu_us_per_idle_second: Some(1.0),
            cpu_us_per_notification: Some(50.0),
        };
        assert_eq!(costs(&samples, 20_000)["node"], expected);
    }

    #[test]
    fn what_was_not_measured_is_missing() {
        let samples = [
            sample("start", 0, 0, 1_000_000, 0),
            sample("connected", 1, 1_000, 0, 0),
            sample("settled", 2, 1_000, 3_000_000, 0),
        ];
        let cost = costs(&samples, 0)["node"];
        assert_eq!(cost.rss_per_client, Some(2_000.0));
        assert_eq!((cost.cpu_us_per_notification, cost.cpu_us_per_idle_second), (None, None));
    }
}
