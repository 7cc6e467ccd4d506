//! The books: every notification with its answer and its deliveries, and every promise that was broken.

use crate::history::{Outcome, Sent, Target};
use beckon_ops::clock::Clock;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// After a fault is over, senders are answered well within this time, in milliseconds.
const RECOVERY_MS: u64 = 15_000;

/// What was accepted this long before a store lost what it knew may be lost with it, in milliseconds: replicas lag.
const LAG_MS: u64 = 2_000;

/// Most violations of one kind that are described; further ones are counted.
const DESCRIBED_MAX: u64 = 4;

/// After a store has lost what it knew, each connected device is told within this time, and has another endpoint, in
/// milliseconds: 60 s, and the time that a device takes.
const TOLD_MS: u64 = 75_000;

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
    /// From when to when the store forgot things.
    erasures: Vec<(u64, u64)>,
    /// It is forgetting now.
    is_erasing: bool,
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
    pub(crate) erased: u64,
    pub(crate) lost: u64,
}

impl Ledger {
    pub(crate) fn new(targets: Vec<Target>) -> Self {
        let state = State { targets, calm_since: Some(0), ..State::default() };
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

    /// Whether a fault is going on.
    pub(crate) fn set_calm(&self, is_calm: bool) {
        let at = self.now();
        let mut state = self.lock();
        state.calm_since = is_calm.then(|| state.calm_since.unwrap_or(at));
    }

    /// A store forgets what it knows while `erase` runs.
    pub(crate) fn while_erasing(&self, erase: impl FnOnce()) {
        let from = self.now();
        self.lock().is_erasing = true;
        erase();
        let until = self.now();
        let mut state = self.lock();
        state.is_erasing = false;
        state.erasures.push((from.saturating_sub(LAG_MS), until));
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
        if former.is_some() && !state.forgot_since(since) {
            let shown = state.targets[target].history();
            state.violate(at, "a device got another endpoint without a reason", &shown);
        }
    }

    /// Something happened to a device.
    pub(crate) fn happened(&self, target: usize, what: &str) {
        let at = self.now();
        self.lock().targets[target].happened(at, what);
    }

    /// A device that has an endpoint and gets nothing at the moment. It is reserved until the answer is entered.
    pub(crate) fn reserve(&self, draw: impl Fn(usize) -> usize) -> Option<(usize, String)> {
        let mut state = self.lock();
        let count = state.targets.len();
        // A few attempts: those that are busy are few.
        for _ in 0..8 {
            let at = draw(count);
            let target = &mut state.targets[at];
            if let (false, Some(endpoint)) = (target.is_busy, target.endpoint.clone()) {
                target.is_busy = true;
                return Some((at, endpoint));
            }
        }
        None
    }

    /// Reserves one device, for the last notification of all.
    pub(crate) fn reserve_this(&self, target: usize) -> Option<String> {
        let mut state = self.lock();
        let target = &mut state.targets[target];
        let endpoint = target.endpoint.clone()?;
        target.is_busy = true;
        Some(endpoint)
    }

    /// A notification is about to be sent.
    pub(crate) fn sending(&self, target: usize, number: u64, through: &str) {
        let sent_ms = self.now();
        let mut state = self.lock();
        let place = state.targets[target].sent.len();
        state.numbers.insert(number, (target, place));
        let since = state.targets[target].endpoint_since;
        state.targets[target].sent.push(Sent::new(number, sent_ms, through.to_owned(), since));
    }

    /// The answer to a notification, or that there was none. `location` is the name of a Web Push message.
    pub(crate) fn answered(&self, number: u64, outcome: Outcome, location: Option<String>) {
        let at = self.now();
        let mut state = self.lock();
        let Some(&(target, place)) = state.numbers.get(&number) else { return };
        state.targets[target].is_busy = false;
        let sent = &mut state.targets[target].sent[place];
        sent.answered_ms = Some(at);
        sent.outcome = outcome;
        let (sent_ms, endpoint_since) = (sent.sent_ms, sent.endpoint_since);
        *state.counts.entry(format!("answers {outcome}")).or_default() += 1;
        match outcome {
            Outcome::Refused(404 | 410) if !state.may_be_gone(endpoint_since, at) => {
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
                } else if state.forgot_since(sent.answered_ms.unwrap_or_default()) {
                    totals.erased += 1;
                } else {
                    totals.lost += 1;
                    lost.push(sent.number);
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
            self.violations.push(format!("at {:.1} s: {kind}: {what}", at as f64 / 1000.0));
        }
    }

    /// Whether a store forgot things at or after this moment.
    fn forgot_since(&self, moment: u64) -> bool {
        self.is_erasing || self.erasures.iter().any(|(_, until)| *until >= moment)
    }

    /// Whether an endpoint from `since` may be gone now, because a store has forgotten it, and the device does not know.
    fn may_be_gone(&self, since: u64, now: u64) -> bool {
        let is_recent = |until: u64| until >= since && until + TOLD_MS >= now;
        self.is_erasing || self.erasures.iter().any(|(_, until)| is_recent(*until))
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
