//! Draws faults, one after the other or overlapping, begins them and ends them.

use crate::{
    faults::{FAULTS, Fault, Ongoing, Part},
    ledger::Ledger,
    settings::Settings,
    site::Site,
};
use std::{collections::BTreeMap, thread, time::Duration};
use tokio::sync::watch;

/// How often it is checked whether something is due.
const TICK: Duration = Duration::from_millis(50);

/// Most faults at a time.
const AT_ONCE_MAX: usize = 3;

/// What makes things fail.
#[derive(Debug)]
pub(crate) struct Nemesis<'a> {
    site: &'a Site,
    ledger: &'a Ledger,
    storm: &'a watch::Sender<u64>,
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
        let choice: Vec<_> = FAULTS
            .into_iter()
            .filter(|(fault, name)| is_wanted(name) && fault.applies(settings.topology))
            .collect();
        let happened = choice.iter().map(|(_, name)| (*name, 0)).collect();
        Self { site, ledger, storm, choice, happened, overlapped: 0, ongoing: Vec::new() }
    }

    /// Makes things fail for as long as the settings say, and then until each fault has happened often enough. At the end
    /// none is going on.
    pub(crate) fn run(&mut self, settings: &Settings) {
        let end = self.ledger.now() + settings.seconds * 1_000;
        let pause_ms = u64::try_from(settings.pause.as_millis()).unwrap_or(u64::MAX);
        let mut next = self.ledger.now() + 2_000;
        while self.ledger.now() < end || self.rarest() < settings.each {
            thread::sleep(TICK);
            self.end_those_due();
            self.check_nodes();
            if self.ledger.now() < next || self.ongoing.len() >= AT_ONCE_MAX || self.choice.is_empty() {
                continue;
            }
            self.begin_one();
            // Half of them begin while the one before goes on.
            let last =
                self.ongoing.iter().map(|(over, _)| *over).max().unwrap_or_default().max(self.ledger.now());
            next = if fastrand::bool() {
                self.ledger.now() + fastrand::u64(..2_000)
            } else {
                last + fastrand::u64(..=pause_ms)
            };
        }
        while !self.ongoing.is_empty() {
            thread::sleep(TICK);
            self.end_those_due();
        }
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
        let (fault, name) = rare[fastrand::usize(..rare.len())];
        let drawn = fault.draw(self.site);
        if self.ongoing.iter().any(|(_, other)| collide(&other.part, &drawn.0)) {
            return;
        }
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
        if self.ongoing.is_empty() && self.site.nodes().iter().all(|node| node.ended().is_none()) {
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
