//! The quiet end: every device is connected, gets everything that was accepted for it, and hears one more notification.

use crate::{
    census::Census,
    device::until,
    growth::Growth,
    ledger::{Ledger, Totals},
    sender::Senders,
    settings::Settings,
    site::Site,
};
use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};
use tokio::{
    task::{JoinSet, block_in_place},
    time::sleep,
};

/// After the last fault, everything works again within this time.
pub(crate) const RECOVERY: Duration = Duration::from_secs(15);

/// After that, each device hears what is accepted within this time.
pub(crate) const HEARING: Duration = Duration::from_secs(60);

/// Attempts to send the last notification to a device; one is enough if everything works.
const ATTEMPTS: u32 = 15;

/// Everything that was accepted reaches its device, without another notification that reminds a node of it.
pub(crate) async fn expect_all_to_arrive(ledger: &Ledger) {
    if !until(HEARING, || ledger.pending() == 0).await {
        let what = format!("{} within {HEARING:?}", ledger.pending());
        ledger.violation("accepted, and not delivered to a connected device", &what);
    }
}

/// Sends one more notification to every device, which has to be accepted and to arrive in time.
pub(crate) async fn expect_everybody_to_hear(ledger: &Arc<Ledger>, senders: &Arc<Senders>) {
    let mut probes = JoinSet::new();
    for target in 0..ledger.targets() {
        let (ledger, senders) = (Arc::clone(ledger), Arc::clone(senders));
        probes.spawn(async move { probe(target, &ledger, &senders).await });
        // As many at once as a busy service gets.
        if target % 50 == 49 {
            sleep(Duration::from_millis(100)).await;
        }
    }
    let numbers: Vec<Option<u64>> = probes.join_all().await;
    let numbers: Vec<u64> = numbers.into_iter().flatten().collect();
    let arrived = until(HEARING, || numbers.iter().all(|number| ledger.has_got(*number)));
    if !arrived.await {
        let missing = numbers.iter().filter(|number| !ledger.has_got(**number)).count();
        let what = format!("{missing} of {} within {HEARING:?}", numbers.len());
        ledger.violation("connected devices did not hear the last notification", &what);
    }
}

/// The number of the notification that was accepted for a device.
async fn probe(target: usize, ledger: &Ledger, senders: &Senders) -> Option<u64> {
    for _ in 0..ATTEMPTS {
        if let Some(reserved) = ledger.reserve_this(target) {
            let (number, is_accepted) = senders.send(&reserved).await;
            if is_accepted {
                return Some(number);
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
    ledger.violation("nothing is accepted for a device after the last fault", &format!("device {target}"));
    None
}

/// Everything is back to what was there before, within the time that a device has to wait for a notification, and nothing has kept
/// growing.
pub(crate) async fn expect_nothing_to_be_left(site: &Site, growth: &mut Growth, ledger: &Ledger) {
    let take = || block_in_place(|| Census::take(site));
    let differences = |after: &Census| {
        growth.first().map(|before| after.differences(before, ledger.targets())).unwrap_or_default()
    };
    until(HEARING, || differences(&take()).is_empty()).await;
    let after = take();
    for (what, numbers) in differences(&after) {
        ledger.violation(what, &numbers);
    }
    growth.add(ledger, after);
    for program in growth.found() {
        ledger.violation("the memory of a program keeps growing", &program);
    }
}

/// The report of a run.
pub(crate) fn report(
    settings: &Settings,
    seed: u64,
    ledger: &Ledger,
    totals: &Totals,
    (happened, overlapped): (&BTreeMap<&'static str, u32>, u32),
    growth: &Growth,
) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "soak: {}, store_replicas {}, {} devices, {} notifications per second, seed {seed}, {:.0} s",
        settings.topology.name(),
        settings.store_replicas,
        settings.clients,
        settings.rate,
        ledger.now() as f64 / 1000.0
    );
    let faults: u32 = happened.values().sum();
    let _ = writeln!(text, "faults: {faults}, of which {overlapped} began while another went on");
    for (name, count) in happened {
        let _ = writeln!(text, "  {name:<24}{count:>6}");
    }
    let Totals { sent, accepted, delivered, superseded, again, erased, rolled_back, lost } = totals;
    let _ = writeln!(
        text,
        "notifications: {sent} sent, {accepted} accepted, {delivered} delivered, {superseded} replaced by a newer one \
         before, {again} delivered again, {erased} erased by a lost shard, {rolled_back} by a failover, {lost} LOST"
    );
    let (taken_over, longest_ms) = ledger.takeovers();
    let _ = writeln!(
        text,
        "other primaries, with which something may have been lost: {taken_over}; at most {:.1} s of each are excused",
        longest_ms as f64 / 1000.0
    );
    let slowest = ledger.slowest_recovery() as f64 / 1000.0;
    let _ = writeln!(text, "last failure of a sender after the last fault was over: {slowest:.1} s");
    for (what, count) in ledger.counts() {
        let _ = writeln!(text, "  {what:<64}{count:>8}");
    }
    let _ = write!(text, "{growth}");
    let (kinds, described) = ledger.violations();
    let _ = writeln!(text, "violations: {}", kinds.values().sum::<u64>());
    for (kind, count) in &kinds {
        let _ = writeln!(text, "  {kind:<64}{count:>8}");
    }
    for violation in described {
        let _ = writeln!(text, "VIOLATION {violation}");
    }
    if !kinds.is_empty() {
        let _ = writeln!(text, "faults:\n{}", ledger.faults().join("\n"));
    }
    text
}
