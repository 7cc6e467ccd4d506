//! The books: every notification with its answer and its deliveries, and every promise that was broken.

use crate::{
    erasures::{Erasures, Loss},
    history::{Outcome, Reserved, Sent, Target},
};
use beckon_ops::clock::Clock;
use beckon_testbed::redis::Takeover;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// After a fault is over, senders are answered well within this time, in milliseconds.
const RECOVERY_MS: u64 = 15_000;

/// A request without an answer may wait in a node that is paused, and be carried out when that goes on. A sender waits so long before it
/// sends the next one, so that it is known which is newer, in milliseconds. Nodes are paused for less than this and the time limit for
/// an answer together.
const STILL_WAITING_MS: u64 = 10_000;

/// Most violations of one kind that are described; further ones are counted.
const DESCRIBED_MAX: u64 = 4;

/// The books of a run. All times are milliseconds since its start.
#[derive(Debug)]
pub(crate) struct Ledger {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    targets: Vec<Target>,
    /// The target of each number, and its place among what was sent there.
    numbers: HashMap<u64, (usize, usize)>,
    locations: HashSet<String>,
    erasures: Erasures,
    /// No fault has been going on since then.
    calm_since: Option<u64>,
    violations: Vec<String>,
    /// How many of each kind.
    kinds: BTreeMap<&'static str, u64>,
    counts: BTreeMap<String, u64>,
    faults: Vec<String>,
    /// The longest time from the end of a fault to the last failure of a sender, while no other fault went on.
    slowest_recovery: u64,
}

/// What is known at the end.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) sent: u64,
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    pub(crate) superseded: u64,
    pub(crate) again: u64,
    /// By a shard that was lost.
    pub(crate) erased: u64,
    /// By a failover.
    pub(crate) rolled_back: u64,
    pub(crate) lost: u64,
}

impl Ledger {
    /// `fail_overs_lose_nothing`: what a failover loses is not excused.
    pub(crate) fn new(targets: Vec<Target>, fail_overs_lose_nothing: bool) -> Self {
        let erasures = Erasures::new(fail_overs_lose_nothing);
        let state = State { targets, erasures, calm_since: Some(0), ..State::default() };
        Self { clock: Clock::start(), state: Mutex::new(state) }
    }

    pub(crate) fn now(&self) -> u64 {
        self.clock.now_ms()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts something that is not a violation.
    pub(crate) fn count(&self, what: &str) {
        *self.lock().counts.entry(what.to_owned()).or_default() += 1;
    }

    /// A promise was broken.
    pub(crate) fn violation(&self, kind: &'static str, what: &str) {
        let at = self.now();
        self.lock().violate(at, kind, what);
    }

    /// A fault has begun or ended. It is shown at once, for whoever watches.
    pub(crate) fn fault(&self, what: String) {
        let line = format!("{:>8.1} s  {what}", self.now() as f64 / 1000.0);
        eprintln!("soak: {line}");
        self.lock().faults.push(line);
    }

    /// Whether no fault is going on.
    pub(crate) fn is_calm(&self) -> bool {
        self.lock().calm_since.is_some()
    }

    /// Sets whether no fault is going on.
    pub(crate) fn set_calm(&self, is_calm: bool) {
        let at = self.now();
        let mut state = self.lock();
        state.calm_since = is_calm.then(|| state.calm_since.unwrap_or(at));
    }

    /// A shard loses everything while `lose` runs.
    pub(crate) fn while_losing(&self, lose: impl FnOnce()) {
        self.lock().erasures.shard_begins(self.now());
        lose();
        self.lock().erasures.shard_is_lost(self.now());
    }

    /// A primary was killed just now.
    pub(crate) fn primary_was_killed(&self) {
        self.lock().erasures.primary_was_killed(self.now());
    }

    /// Primaries stop and have replicas take their places while `fail_over` runs: nothing is lost.
    pub(crate) fn while_orderly(&self, fail_over: impl FnOnce()) {
        self.lock().erasures.set_orderly(true);
        fail_over();
        // It has been seen by then.
        std::thread::sleep(Duration::from_millis(500));
        self.lock().erasures.set_orderly(false);
    }

    /// Another server becomes primary.
    pub(crate) fn takeover(&self, takeover: Takeover) {
        let now = self.now();
        let is_lossy = {
            let mut state = self.lock();
            // It is a fault like any other, and the store is not what it was until replicas follow the new one.
            state.calm_since = None;
            state.erasures.takeover(now, takeover)
        };
        if is_lossy {
            self.fault(format!("{takeover:?}"));
        }
    }

    /// How often another server became primary and something may have been lost, and the longest time of which it is excused.
    pub(crate) fn takeovers(&self) -> (u64, u64) {
        let erasures = &self.lock().erasures;
        (erasures.taken_over, erasures.longest_ms)
    }

    /// A device has an endpoint: the same as before, unless a store forgot the device.
    pub(crate) fn endpoint(&self, target: usize, endpoint: &str) {
        let at = self.now();
        let mut state = self.lock();
        let known = &mut state.targets[target];
        let former = known.endpoint.replace(endpoint.to_owned());
        if former.as_deref() == Some(endpoint) {
            return;
        }
        let since = std::mem::replace(&mut known.endpoint_since, at);
        if former.is_some() && !state.erasures.explain_new_endpoint(since, at) {
            let shown = state.targets[target].history();
            state.violate(at, "a device got another endpoint without a reason", &shown);
        }
    }

    /// A device is connected to this node.
    pub(crate) fn connected(&self, target: usize, url: &str) {
        let at = self.now();
        let mut state = self.lock();
        state.targets[target].connected_since = Some(at);
        state.targets[target].happened(at, &format!("connected to {url}"));
    }

    /// A device is not connected.
    pub(crate) fn left(&self, target: usize, why: &str) {
        let at = self.now();
        let mut state = self.lock();
        state.targets[target].connected_since = None;
        state.targets[target].happened(at, why);
    }

    /// Something happened to a device.
    pub(crate) fn happened(&self, target: usize, what: &str) {
        let at = self.now();
        self.lock().targets[target].happened(at, what);
    }

    /// A device that has an endpoint and gets nothing at the moment. It is reserved until the answer is entered.
    pub(crate) fn reserve(&self, draw: impl Fn(usize) -> usize) -> Option<Reserved> {
        let now = self.now();
        let mut state = self.lock();
        let count = state.targets.len();
        // A few attempts: those that are busy are few.
        for _ in 0..8 {
            let at = draw(count);
            let target = &mut state.targets[at];
            if !target.is_busy && now >= target.quiet_until && target.endpoint.is_some() {
                return target.reserve(at);
            }
        }
        None
    }

    /// Reserves one device, for the last notification of all.
    pub(crate) fn reserve_this(&self, target: usize) -> Option<Reserved> {
        self.lock().targets[target].reserve(target)
    }

    /// A notification is about to be sent.
    pub(crate) fn sending(&self, to: &Reserved, number: u64, through: &str) {
        let sent_ms = self.now();
        let mut state = self.lock();
        let place = state.targets[to.target].sent.len();
        state.numbers.insert(number, (to.target, place));
        let sent = Sent::new(number, sent_ms, through.to_owned(), to.since);
        state.targets[to.target].sent.push(sent);
    }

    /// The answer to a notification, or that there was none. `location` is the name of a Web Push message.
    pub(crate) fn answered(&self, number: u64, outcome: Outcome, location: Option<String>) {
        let at = self.now();
        let mut state = self.lock();
        let Some(&(target, place)) = state.numbers.get(&number) else { return };
        state.targets[target].is_busy = false;
        if outcome == Outcome::Unknown {
            state.targets[target].quiet_until = at + STILL_WAITING_MS;
        }
        let sent = &mut state.targets[target].sent[place];
        sent.answered_ms = Some(at);
        sent.outcome = outcome;
        let (sent_ms, endpoint_since) = (sent.sent_ms, sent.endpoint_since);
        *state.counts.entry(format!("answers {outcome}")).or_default() += 1;
        match outcome {
            Outcome::Refused(404 | 410)
                if !state.erasures.explain_gone(
                    endpoint_since,
                    state.targets[target].connected_since,
                    at,
                ) =>
            {
                let shown = state.targets[target].history();
                state.violate(at, "a live subscription was answered with 404 or 410", &shown);
            }
            Outcome::Refused(500..) | Outcome::Unknown => state.failed(at, sent_ms, target, outcome),
            Outcome::InFlight | Outcome::Accepted | Outcome::Refused(_) => {}
        }
        if let Some(location) = location
            && !state.locations.insert(location)
        {
            let shown = state.targets[target].history();
            state.violate(at, "two messages have the same name", &format!("the second is {number}\n{shown}"));
        }
    }

    /// A device got a notification. `newest` is the newest number that this socket has got before.
    pub(crate) fn delivered(&self, target: usize, number: u64, newest: Option<u64>) {
        let at = self.now();
        let mut state = self.lock();
        let Some(&(meant, place)) = state.numbers.get(&number) else {
            return state.violate(at, "a device got what was never sent", &format!("number {number}"));
        };
        if meant != target {
            let shown = state.targets[meant].history();
            let what = format!("device {target} got number {number}\n{shown}");
            return state.violate(at, "a device got what was meant for another", &what);
        }
        state.targets[target].sent[place].delivered_ms.push(at);
        if newest.is_some_and(|newest| newest > number) {
            let newest = newest.unwrap_or_default();
            let shown = state.targets[target].history();
            let what = format!("{number} after {newest}\n{shown}");
            state.violate(at, "an older version came after a newer one on one socket", &what);
        }
    }

    /// Whether a device has got a notification.
    pub(crate) fn has_got(&self, number: u64) -> bool {
        let state = self.lock();
        let Some((target, place)) = state.numbers.get(&number) else { return false };
        !state.targets[*target].sent[*place].delivered_ms.is_empty()
    }

    /// How many devices have no endpoint.
    pub(crate) fn without_endpoint(&self) -> usize {
        self.lock().targets.iter().filter(|target| target.endpoint.is_none()).count()
    }

    pub(crate) fn targets(&self) -> usize {
        self.lock().targets.len()
    }

    /// How many notifications were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.lock().numbers.len() as u64
    }

    /// What was accepted and is still to be delivered.
    pub(crate) fn pending(&self) -> u64 {
        self.sum(|_, _, _| {}).lost
    }

    /// Closes the books: what was accepted and neither delivered nor replaced is lost, unless a store forgot it.
    pub(crate) fn close(&self) -> Totals {
        let at = self.now();
        self.sum(|state, index, lost| {
            let shown = state.targets[index].history();
            state.violate(at, "accepted and lost", &format!("{lost:?}\n{shown}"));
        })
    }

    /// Adds up the books; `lose` gets the numbers that each device has lost, if it has.
    fn sum(&self, lose: impl Fn(&mut State, usize, &[u64])) -> Totals {
        let mut state = self.lock();
        let mut totals = Totals::default();
        for index in 0..state.targets.len() {
            let target = &state.targets[index];
            let newest = target.newest_delivered();
            let mut lost = Vec::new();
            for sent in &target.sent {
                totals.sent += 1;
                totals.again += (sent.delivered_ms.len() as u64).saturating_sub(1);
                if sent.outcome != Outcome::Accepted {
                    continue;
                }
                totals.accepted += 1;
                if !sent.delivered_ms.is_empty() {
                    totals.delivered += 1;
                } else if target.replaces() && newest.is_some_and(|newest| newest > sent.number) {
                    totals.superseded += 1;
                } else {
                    match state.erasures.of(sent.sent_ms, sent.answered_ms.unwrap_or_default()) {
                        Some(Loss::Shard) => totals.erased += 1,
                        Some(Loss::FailOver) => totals.rolled_back += 1,
                        None => {
                            totals.lost += 1;
                            lost.push(sent.number);
                        }
                    }
                }
            }
            if !lost.is_empty() {
                lose(&mut state, index, &lost);
            }
        }
        totals
    }

    /// Everything that broke a promise: how many of each kind, and descriptions of the first.
    pub(crate) fn violations(&self) -> (BTreeMap<&'static str, u64>, Vec<String>) {
        let state = self.lock();
        (state.kinds.clone(), state.violations.clone())
    }

    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.lock().counts.clone()
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        self.lock().faults.clone()
    }

    pub(crate) fn slowest_recovery(&self) -> u64 {
        self.lock().slowest_recovery
    }
}

impl State {
    fn violate(&mut self, at: u64, kind: &'static str, what: &str) {
        let count = self.kinds.entry(kind).or_default();
        *count += 1;
        if *count <= DESCRIBED_MAX {
            let text = format!("at {:.1} s: {kind}: {what}", at as f64 / 1000.0);
            eprintln!("soak: VIOLATION {text}");
            self.violations.push(text);
        }
    }

    /// A sender was not served, though the last fault was over long before it asked.
    fn failed(&mut self, at: u64, sent_ms: u64, target: usize, outcome: Outcome) {
        let Some(since) = self.calm_since else { return };
        let after = sent_ms.saturating_sub(since);
        if sent_ms >= since {
            self.slowest_recovery = self.slowest_recovery.max(after);
        }
        if after > RECOVERY_MS {
            let shown = self.targets[target].history();
            let what = format!("{outcome}, {:.1} s after\n{shown}", after as f64 / 1000.0);
            self.violate(at, "a sender is not served long after the last fault was over", &what);
        }
    }
}
