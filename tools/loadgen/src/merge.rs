//! One report of several processes that ran at the same time, each with its own clients.

use crate::{
    cost::costs,
    measure::Sample,
    report::{Report, per_second},
    stats::{Buckets, Quantiles, Tick, Times},
};
use std::collections::BTreeMap;

/// The name under which each process measures itself; all others are the same servers, seen by each.
const OWN: &str = "loadgen";

/// Adds reports up. `None`: there are none.
///
/// Times are added exactly. In the timeline only the rates are: the median of a second is the mean of the
/// processes' medians, the other quantiles are those of the slowest process.
pub fn merge(reports: &[Report]) -> Option<Report> {
    let mut whole = reports.iter().min_by_key(|report| report.started_unix_ms)?.clone();
    whole.plan.clients = reports.iter().map(|report| report.plan.clients).sum();
    whole.plan.senders = reports.iter().map(|report| report.plan.senders).sum();
    whole.plan.rate = reports.iter().map(|report| report.plan.rate).sum();
    whole.plan.ws = union(reports, |report| &report.plan.ws);
    whole.plan.http = union(reports, |report| &report.plan.http);
    add_connects(&mut whole, reports);
    add_sends(&mut whole, reports);
    whole.failures = BTreeMap::new();
    for (reason, count) in reports.iter().flat_map(|report| &report.failures) {
        *whole.failures.entry(reason.clone()).or_default() += count;
    }
    whole.samples = samples(reports);
    whole.processes = costs(&whole.samples, whole.send.delivered);
    whole.timeline = timeline(reports);
    Some(whole)
}

fn union(reports: &[Report], list: impl Fn(&Report) -> &Vec<String>) -> Vec<String> {
    let mut all: Vec<String> = reports.iter().flat_map(|report| list(report).clone()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn add_connects(whole: &mut Report, reports: &[Report]) {
    let (connect, buckets) = (&mut whole.connect, &mut whole.buckets);
    connect.took_us = reports.iter().map(|report| report.connect.took_us).max().unwrap_or(0);
    connect.per_second = per_second(u64::from(whole.plan.clients), connect.took_us);
    connect.dropped = reports.iter().map(|report| report.connect.dropped).sum();
    connect.renamed = reports.iter().map(|report| report.connect.renamed).sum();
    (connect.hello, buckets.hello) = added(reports, |report| &report.buckets.hello);
    (connect.connect, buckets.connect) = added(reports, |report| &report.buckets.connect);
    (connect.reconnect, buckets.reconnect) = added(reports, |report| &report.buckets.reconnect);
}

fn add_sends(whole: &mut Report, reports: &[Report]) {
    let (send, buckets) = (&mut whole.send, &mut whole.buckets);
    let sum = |count: fn(&Report) -> u64| reports.iter().map(count).sum::<u64>();
    send.took_us = reports.iter().map(|report| report.send.took_us).max().unwrap_or(0);
    send.sent = sum(|report| report.send.sent);
    send.answers = BTreeMap::new();
    for (status, count) in reports.iter().flat_map(|report| &report.send.answers) {
        *send.answers.entry(*status).or_default() += count;
    }
    send.retried = sum(|report| report.send.retried);
    send.refused = sum(|report| report.send.refused);
    send.unanswered = sum(|report| report.send.unanswered);
    send.overdue = sum(|report| report.send.overdue);
    send.delivered = sum(|report| report.send.delivered);
    send.delivered_per_second = per_second(send.delivered, send.took_us);
    send.lost = sum(|report| report.send.lost);
    send.replaced = sum(|report| report.send.replaced);
    send.duplicated = sum(|report| report.send.duplicated);
    send.stored_twice = sum(|report| report.send.stored_twice);
    send.disordered = sum(|report| report.send.disordered);
    send.foreign = sum(|report| report.send.foreign);
    (send.answer, buckets.answer) = added(reports, |report| &report.buckets.answer);
    (send.lateness, buckets.lateness) = added(reports, |report| &report.buckets.lateness);
    (send.delivery, buckets.delivery) = added(reports, |report| &report.buckets.delivery);
}

fn added(reports: &[Report], buckets: impl Fn(&Report) -> &Buckets) -> (Quantiles, Buckets) {
    let mut times = Times::default();
    reports.iter().for_each(|report| times.add(buckets(report)));
    (times.quantiles(), times.buckets())
}

/// Each process takes the same samples in the same order. Its own memory is added to that of the others.
fn samples(reports: &[Report]) -> Vec<Sample> {
    let Some((first, others)) = reports.split_first() else { return Vec::new() };
    let mut samples = first.samples.clone();
    for (index, sample) in samples.iter_mut().enumerate() {
        for other in others.iter().filter_map(|report| report.samples.get(index)) {
            sample.clients += other.clients;
            for (name, usage) in &other.processes {
                match sample.processes.get_mut(name) {
                    Some(own) if name == OWN => own.add(usage),
                    Some(_) => {}
                    None => {
                        sample.processes.insert(name.clone(), usage.clone());
                    }
                }
            }
        }
    }
    samples
}

/// Seconds of the wall clock, counted from the beginning of the first process.
fn timeline(reports: &[Report]) -> Vec<Tick> {
    let start_ms = reports.iter().map(|report| report.started_unix_ms).min().unwrap_or(0);
    let mut seconds = BTreeMap::<u64, Vec<Tick>>::new();
    for report in reports {
        for tick in &report.timeline {
            let at_us = (report.started_unix_ms - start_ms) * 1000 + tick.at_us;
            seconds.entry(at_us / 1_000_000).or_default().push(*tick);
        }
    }
    let add = |(second, ticks): (u64, Vec<Tick>)| Tick {
        at_us: second * 1_000_000,
        clients: ticks.iter().map(|tick| tick.clients).sum(),
        sent: ticks.iter().map(|tick| tick.sent).sum(),
        delivered: ticks.iter().map(|tick| tick.delivered).sum(),
        latency: worst(&ticks),
    };
    seconds.into_iter().map(add).collect()
}

fn worst(ticks: &[Tick]) -> Quantiles {
    let most =
        |value: fn(&Quantiles) -> u64| ticks.iter().map(|tick| value(&tick.latency)).max().unwrap_or(0);
    let count: u64 = ticks.iter().map(|tick| tick.latency.count).sum();
    let weighted: u64 = ticks.iter().map(|tick| tick.latency.p50_us * tick.latency.count).sum();
    Quantiles {
        count,
        p50_us: weighted.checked_div(count).unwrap_or(0),
        p90_us: most(|latency| latency.p90_us),
        p99_us: most(|latency| latency.p99_us),
        p999_us: most(|latency| latency.p999_us),
        max_us: most(|latency| latency.max_us),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        book::Book,
        ledger::Ledger,
        measure::{Kernel, Usage},
        report::Spans,
        settings::Settings,
        stats::Stats,
    };
    use beckon_ops::config::Source;

    /// A process with one client, one delivery of that latency, and a server that every process sees.
    fn report(started_unix_ms: u64, latency_us: u64) -> Report {
        let source = Source::new(["--ws", "ws://127.0.0.1:1/", "--clients", "1"], [("", ""); 0]);
        let settings = Settings::read_all(source).unwrap();
        let mut book = Book { ledger: Ledger::new(0, 1, true), stats: Stats::default() };
        book.ledger.sent(0, 0);
        book.ledger.answered(0, 200, latency_us);
        book.stats.answers.insert(200, 1);
        book.stats.delivery(book.ledger.delivered(0, 0, "", latency_us));
        book.stats.tick(1_000_000, 1, &book.ledger);
        book.stats.failure("closed");
        let usage = |rss| Usage { rss, ..Usage::default() };
        let sample = |label: &str, clients, rss| Sample {
            label: label.to_owned(),
            at_us: 0,
            clients,
            processes: BTreeMap::from([("node".to_owned(), usage(rss)), (OWN.to_owned(), usage(rss))]),
            kernel: Kernel::default(),
        };
        let samples = vec![sample("start", 0, 1_000), sample("settled", 1, 5_000)];
        Report::new(
            &settings,
            &book,
            samples,
            Spans { started_unix_ms, connect_us: 1_000_000, send_us: 2_000_000 },
        )
    }

    #[test]
    fn reports_are_added_up() {
        let whole = merge(&[report(5_000, 700), report(6_000, 100)]).unwrap();
        assert_eq!(
            (whole.plan.clients, whole.send.sent, whole.send.delivered, whole.send.lost),
            (2, 2, 2, 0)
        );
        assert_eq!(whole.send.answers, BTreeMap::from([(200, 2)]));
        assert_eq!(whole.failures, BTreeMap::from([("closed".to_owned(), 2)]));
        let delivery = whole.send.delivery;
        assert_eq!((delivery.count, delivery.p50_us, delivery.max_us), (2, 100, 700));
        assert_eq!(whole.buckets.delivery, [(100, 1), (700, 1)]);
        let seconds: Vec<(u64, u64)> =
            whole.timeline.iter().map(|tick| (tick.at_us, tick.delivered)).collect();
        assert_eq!(seconds, [(1_000_000, 1), (2_000_000, 1)], "by the clock on the wall");
    }

    #[test]
    fn servers_are_counted_once_and_load_generators_together() {
        let whole = merge(&[report(0, 1), report(0, 1)]).unwrap();
        assert_eq!(whole.processes["node"].rss_per_client, Some(2_000.0));
        assert_eq!(whole.processes[OWN].rss_per_client, Some(4_000.0));
    }

    #[test]
    fn a_report_survives_its_json_and_one_alone_is_itself() {
        assert_eq!(merge(&[]), None);
        let one = report(7_000, 300);
        let text = serde_json::to_string(&one).unwrap();
        let read: Report = serde_json::from_str(&text).unwrap();
        assert_eq!(read, one);
        assert_eq!(merge(&[read]), Some(one));
    }
}
