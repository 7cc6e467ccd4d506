//! What a run has found out: for programs as JSON, for people as a table.

use crate::{
    book::Book,
    cost::{Cost, costs},
    measure::Sample,
    settings::Settings,
    stats::{Buckets, Quantiles, Tick},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt::Write as _};

/// Everything about a run. The names in the JSON are those of the fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Of this program.
    pub version: String,
    /// When it began, milliseconds since 1970.
    pub started_unix_ms: u64,
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
    /// All times: microseconds, and how often each was.
    pub buckets: AllBuckets,
}

/// All times of a run, so that several runs can be added up.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the quantiles")]
pub struct AllBuckets {
    pub hello: Buckets,
    pub connect: Buckets,
    pub reconnect: Buckets,
    pub answer: Buckets,
    pub lateness: Buckets,
    pub delivery: Buckets,
}

/// When a run was, and how long its parts took.
#[derive(Debug, Clone, Copy)]
pub struct Spans {
    /// Its beginning, milliseconds since 1970.
    pub started_unix_ms: u64,
    /// Connecting, microseconds.
    pub connect_us: u64,
    /// Sending, microseconds.
    pub send_us: u64,
}

/// What a run was made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "these are settings; their help says what they are")]
pub struct Plan {
    pub ws: Vec<String>,
    pub http: Vec<String>,
    pub dialect: String,
    pub clients: u32,
    pub channels: u32,
    pub data: u32,
    pub senders: u32,
    pub rate: f64,
    pub ack: bool,
    pub churn: f64,
    pub storm: f64,
}

/// How clients became ready.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Send {
    /// Time of sending, microseconds.
    pub took_us: u64,
    /// Requests that were made.
    pub sent: u64,
    /// Answers by status.
    pub answers: BTreeMap<u16, u64>,
    /// Requests that were made again after a 429 or 503.
    pub retried: u64,
    /// Notifications that were refused at last, and neither arrived nor were replaced by a newer one.
    pub refused: u64,
    /// Requests whose connection ended, or that took too long.
    pub unanswered: u64,
    /// Due before the end and not sent, because no sender was free: with an open loop, how far the servers were from
    /// keeping up.
    pub overdue: u64,
    /// Notifications delivered, each counted once.
    pub delivered: u64,
    /// The same per second of sending.
    pub delivered_per_second: f64,
    /// Accepted, and not delivered within the grace.
    pub lost: u64,
    /// Not delivered because a newer one of the channel was.
    pub replaced: u64,
    /// Deliveries after the first, with the same id: they had not been acknowledged.
    pub duplicated: u64,
    /// Deliveries after the first, with another id: the server has stored one request twice.
    pub stored_twice: u64,
    /// Deliveries after a newer one of the channel. Not the server's fault if there are fewer channels than senders,
    /// so that two of them send to one channel at a time.
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

impl Report {
    /// Draws the conclusions.
    pub fn new(settings: &Settings, book: &Book, samples: Vec<Sample>, spans: Spans) -> Self {
        let Spans { started_unix_ms, connect_us, send_us } = spans;
        let stats = &book.stats;
        let authorities = |servers: &[crate::route::Server]| {
            servers.iter().map(|server| server.authority.clone()).collect()
        };
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_unix_ms,
            plan: Plan {
                ws: authorities(&settings.ws),
                http: authorities(&settings.http),
                dialect: settings.dialect.name().to_owned(),
                clients: settings.clients,
                channels: settings.channels,
                data: settings.data(),
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
                retried: stats.retried,
                refused: book.ledger.refused(),
                unanswered: stats.unanswered,
                overdue: stats.overdue,
                delivered: stats.delivered,
                delivered_per_second: per_second(stats.delivered, send_us),
                lost: book.ledger.missing(),
                replaced: book.ledger.replaced(),
                duplicated: stats.duplicated,
                stored_twice: stats.stored_twice,
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
            buckets: AllBuckets {
                hello: stats.hello.buckets(),
                connect: stats.connect.buckets(),
                reconnect: stats.reconnect.buckets(),
                answer: stats.answer.buckets(),
                lateness: stats.lateness.buckets(),
                delivery: stats.delivery.buckets(),
            },
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
            "{}  clients {}  channels {}  connected in {:.1} s  ({:.0}/s)",
            plan.dialect,
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
                "\nsent {}  answers {{{}}}  sent again {}  refused {}  unanswered {}  overdue {}\ndelivered {} ({:.0}/s)  lost {}  replaced {}  duplicated {}  \
                 stored twice {}  disordered {}  foreign {}",
                send.sent,
                answers.join(", "),
                send.retried,
                send.refused,
                send.unanswered,
                send.overdue,
                send.delivered,
                send.delivered_per_second,
                send.lost,
                send.replaced,
                send.duplicated,
                send.stored_twice,
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

pub(crate) fn per_second(count: u64, us: u64) -> f64 {
    if us == 0 { 0.0 } else { count as f64 / seconds(us) }
}
