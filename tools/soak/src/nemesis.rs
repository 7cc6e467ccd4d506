//! Draws faults, one after the other or overlapping, begins them and ends them.

use crate::{
    census::Census,
    faults::{FAULTS, Fault, Ongoing, Part},
    growth::Growth,
    ledger::Ledger,
    settings::Settings,
    site::Site,
    verdict::RECOVERY,
};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};
use tokio::sync::watch;

/// How often it is checked whether something is due.
const TICK: Duration = Duration::from_millis(50);

/// Most faults at a time.
const AT_ONCE_MAX: usize = 3;

/// Sentinels make a replica of a former primary, and a replica follows, within this time, in milliseconds. After that it is up to the
/// programs to serve.
const CONSEQUENCES_MS: u64 = 60_000;

/// Attempts to draw one that does not undo those that go on.
const DRAWS: usize = 20;

/// What makes things fail.
#[derive(Debug)]
pub(crate) struct Nemesis<'a> {
    site: &'a Site,
    ledger: &'a Ledger,
    storm: &'a watch::Sender<u64>,
    /// Nothing that a failover loses is excused.
    fail_overs_lose_nothing: bool,
    choice: Vec<(Fault, &'static str)>,
    happened: BTreeMap<&'static str, u32>,
    overlapped: u32,
    /// With the times at which they are over.
    ongoing: Vec<(u64, Ongoing)>,
}

impl<'a> Nemesis<'a> {
    /// With the faults that the settings name and that can happen to the servers.
    pub(crate) fn new(
        settings: &Settings,
        site: &'a Site,
        ledger: &'a Ledger,
        storm: &'a watch::Sender<u64>,
    ) -> Self {
        let is_wanted = |name: &str| {
            settings.faults.is_empty()
                || settings.faults.iter().any(|beginning| name.starts_with(beginning.as_str()))
        };
        let fail_overs_lose_nothing = settings.store_replicas > 0;
        let choice: Vec<_> = FAULTS
            .into_iter()
            .filter(|(fault, name)| {
                is_wanted(name) && fault.applies(settings.topology, fail_overs_lose_nothing)
            })
            .collect();
        let happened = choice.iter().map(|(_, name)| (*name, 0)).collect();
        let (overlapped, ongoing) = (0, Vec::new());
        Self { site, ledger, storm, fail_overs_lose_nothing, choice, happened, overlapped, ongoing }
    }

    /// Makes things fail for as long as the settings say, and then until each fault has happened often enough. At the end
    /// none is going on. Now and then everything works for a while, and `growth` gets what there is then. `is_enough`: no longer.
    pub(crate) fn run(&mut self, settings: &Settings, growth: &mut Growth, is_enough: &AtomicBool) {
        let start = self.ledger.now();
        let pause_ms = u64::try_from(settings.pause.as_millis()).unwrap_or(u64::MAX);
        let mut next = start + 2_000;
        loop {
            let part = self.part(settings, self.ledger.now() - start);
            if part >= 1.0 || is_enough.load(Ordering::Relaxed) {
                break;
            }
            if growth.is_due(part) {
                self.rest();
                thread::sleep(RECOVERY);
                growth.add(self.ledger, Census::take(self.site));
            }
            thread::sleep(TICK);
            self.end_those_due();
            self.check_nodes();
            if self.ledger.now() < next || self.ongoing.len() >= AT_ONCE_MAX || self.choice.is_empty() {
                continue;
            }
            self.begin_one();
            // Half of them begin while another goes on.
            let now = self.ledger.now();
            let last = self.ongoing.iter().map(|(over, _)| *over).max().unwrap_or_default().max(now);
            next = if 2 * self.overlapped <= self.happened.values().sum() {
                now + fastrand::u64(..2_000)
            } else {
                last + fastrand::u64(..=pause_ms)
            };
        }
        self.rest();
    }

    /// How much of the run is over.
    fn part(&self, settings: &Settings, passed_ms: u64) -> f64 {
        let of = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 1.0 };
        let time = of(passed_ms as f64, settings.seconds as f64 * 1_000.0);
        time.min(of(f64::from(self.rarest()), f64::from(settings.each)))
    }

    /// Ends all faults, and waits until no consequence of them goes on.
    fn rest(&mut self) {
        let end = self.ledger.now() + CONSEQUENCES_MS;
        while !self.ongoing.is_empty() || (!self.ledger.is_calm() && self.ledger.now() < end) {
            thread::sleep(TICK);
            self.end_those_due();
            self.check_nodes();
        }
        self.ledger.set_calm(true);
    }

    /// How often each fault has happened, and how many began while another went on.
    pub(crate) fn summary(&self) -> (BTreeMap<&'static str, u32>, u32) {
        (self.happened.clone(), self.overlapped)
    }

    fn rarest(&self) -> u32 {
        self.happened.values().copied().min().unwrap_or(u32::MAX)
    }

    /// One of those that have happened least often, on a part that has no fault.
    fn begin_one(&mut self) {
        let rarest = self.rarest();
        let rare: Vec<_> =
            self.choice.iter().copied().filter(|(_, name)| self.happened[name] <= rarest + 1).collect();
        // Two failovers in a row lose what came between them, which is more than the time that is excused. A store that fails already
        // need not be asked, and might not answer.
        let is_store_well = self.ongoing.iter().all(|(_, other)| other.part != Part::Store);
        let may_fail_over = is_store_well && (self.fail_overs_lose_nothing || self.site.is_replicated());
        let draw = |_| {
            let (fault, name) = rare[fastrand::usize(..rare.len())];
            (fault, name, fault.draw(self.site))
        };
        let is_free = |(fault, _, (part, _)): &(Fault, &str, (Part, Duration))| {
            (may_fail_over || !fault.may_fail_over())
                && !self.ongoing.iter().any(|(_, other)| collide(&other.part, part))
        };
        let Some((fault, name, drawn)) = (0..DRAWS).map(draw).find(is_free) else { return };
        *self.happened.entry(name).or_default() += 1;
        self.overlapped += u32::from(!self.ongoing.is_empty());
        self.ledger.set_calm(false);
        self.ledger.fault(format!("{name} on {:?} for {:.1} s", drawn.0, drawn.1.as_secs_f64()));
        let storm = || self.storm.send_modify(|storms| *storms += 1);
        let ongoing = fault.begin(name, drawn, self.site, self.ledger, &storm);
        let over = self.ledger.now() + u64::try_from(ongoing.lasts.as_millis()).unwrap_or(u64::MAX);
        self.ongoing.push((over, ongoing));
    }

    fn end_those_due(&mut self) {
        let now = self.ledger.now();
        while let Some(at) = self.ongoing.iter().position(|(over, _)| *over <= now) {
            let (_, ongoing) = self.ongoing.swap_remove(at);
            self.ledger.fault(format!("{} on {:?} is over", ongoing.name, ongoing.part));
            ongoing.end(self.site);
        }
        let are_running = || self.site.nodes().iter().all(|node| node.ended().is_none());
        // Sentinels take their time. With `store_replicas`, nothing is accepted until then.
        if self.ongoing.is_empty() && !self.ledger.is_calm() && are_running() && self.site.is_replicated() {
            self.ledger.set_calm(true);
        }
    }

    /// A program that ends by itself breaks a promise. It is started again.
    fn check_nodes(&self) {
        for node in self.site.nodes() {
            let part = Part::Node(node.name().to_owned());
            if self.ongoing.iter().any(|(_, ongoing)| ongoing.part == part) {
                continue;
            }
            if let Some(status) = node.ended() {
                self.ledger.violation("a program ended by itself", &format!("{} with {status}", node.name()));
                node.launch();
            }
        }
    }
}

/// Whether two faults would undo each other, or leave nothing that could work.
fn collide(one: &Part, other: &Part) -> bool {
    one == other
        // A tier has three nodes; one at a time is away.
        || matches!((one, other), (Part::Node(_), Part::Node(_)))
}
