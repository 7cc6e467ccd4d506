//! The program `soak`; `cargo xtask soak` builds it with all others and starts it.
//!
//! Devices of both dialects and application servers use a cluster whose parts fail at random, and every notification is
//! in the books:
//!
//! ```text
//!   history    what was sent to one device, and what became of it
//!   erasures   what the store has forgotten, and when
//!     └─▶ ledger     the books, and every promise that was broken
//!   site       the servers and their store
//!     └─▶ device     devices that come and go
//!     └─▶ sender     application servers
//!     └─▶ faults     how each fault begins and ends
//!           └─▶ nemesis    draws them
//!   verdict    the quiet end: everybody connected, everything delivered
//!   census     and nothing left behind
//!     └─▶ growth     what there was meanwhile
//! ```
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool for people at a terminal")]

mod census;
mod device;
mod erasures;
mod faults;
mod growth;
mod history;
mod ledger;
mod nemesis;
mod sender;
mod settings;
mod site;
mod verdict;

use crate::{
    census::Census,
    device::{Phase, World},
    growth::Growth,
    history::Target,
    ledger::Ledger,
    nemesis::Nemesis,
    sender::Senders,
    settings::{Servers, Settings},
    site::Site,
};
use beckon_client::webpush::encryption::{DeviceKeys, Recipient};
use beckon_ops::{
    config::{Part, Request, Source, help, program_arguments},
    exit::{Failure, report},
    program::print,
};
use beckon_testbed::programs::Programs;
use beckon_types::Dialect;
use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

fn main() -> ExitCode {
    report("soak", run())
}

fn run() -> Result<(), Failure> {
    beckon_ops::process::raise_open_files_max();
    let mut source = Source::new(program_arguments(), [("", ""); 0]);
    if matches!(source.request(), Some(Request::Help | Request::Summary)) {
        return print(&format!(
            "usage: cargo xtask soak [--name VALUE]\n\n{}",
            help(&[Part { heading: "Settings", fields: Settings::FIELDS }], &[])
        ));
    }
    let settings = Settings::read(&mut source);
    let settings = source.finish(settings)?;
    if settings.topology == Servers::Beckon && settings.store_replicas > 0 {
        return Err(Failure::usage("the embedded store has no replicas"));
    }
    let seed = settings.seed.unwrap_or_else(|| fastrand::u64(..));
    fastrand::seed(seed);
    eprintln!("soak: {}, {} devices, seed {seed}", settings.topology.name(), settings.clients);
    let programs = Programs::beside_this().map_err(Failure::usage)?;
    let site = Arc::new(Site::start(settings.topology, settings.store_replicas, programs));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(Failure::unavailable)?.block_on(conduct(&settings, seed, site))
}

/// The devices, with what senders know of them.
fn make_devices(clients: u32) -> Result<Vec<Option<(DeviceKeys, Recipient)>>, Failure> {
    let keys = |index: u32| match index % 2 {
        0 => Ok(None),
        _ => device::keys().map(Some).ok_or_else(|| Failure::unavailable("no random numbers")),
    };
    (0..clients).map(keys).collect()
}

/// Becomes true at SIGTERM.
fn at_signal(tasks: &mut JoinSet<()>) -> Result<Arc<AtomicBool>, Failure> {
    let is_enough = Arc::new(AtomicBool::new(false));
    let mut stopped = signal(SignalKind::terminate()).map_err(Failure::unavailable)?;
    let stop = Arc::clone(&is_enough);
    tasks.spawn(async move {
        stopped.recv().await;
        stop.store(true, Ordering::Relaxed);
    });
    Ok(is_enough)
}

async fn conduct(settings: &Settings, seed: u64, site: Arc<Site>) -> Result<(), Failure> {
    let devices = make_devices(settings.clients)?;
    let dialect = |is_webpush| if is_webpush { Dialect::WebPush } else { Dialect::SimplePush };
    let targets = devices.iter().enumerate().map(|(index, keys)| Target::new(index, dialect(keys.is_some())));
    let ledger = Arc::new(Ledger::new(targets.collect(), settings.store_replicas > 0));
    let takeovers = ledger.clone();
    let _watch = site.watch(move |takeover| takeovers.takeover(takeover));
    let (phase, watch_phase) = watch::channel(Phase::Calm);
    let (storm, watch_storm) = watch::channel(0);
    let world = World { site: site.clone(), ledger: ledger.clone(), phase: watch_phase, storm: watch_storm };
    let mut lives = JoinSet::new();
    let mut recipients = Vec::new();
    for (target, keys) in devices.into_iter().enumerate() {
        match keys {
            None => {
                recipients.push(None);
                lives.spawn(device::simplepush(world.clone(), target));
            }
            Some((keys, recipient)) => {
                recipients.push(Some(recipient));
                lives.spawn(device::webpush(world.clone(), target, keys));
            }
        }
    }
    let take_census = || tokio::task::block_in_place(|| Census::take(&site));
    let everybody = || ledger.without_endpoint() == 0 && take_census().sockets() == ledger.targets() as f64;
    if !device::until(verdict::HEARING, everybody).await {
        let missing = ledger.without_endpoint();
        return Err(Failure::unavailable(format!(
            "{missing} devices cannot register, or others cannot connect, before any fault\n{}",
            site.logs()
        )));
    }
    let senders = Arc::new(Senders::new(site.clone(), ledger.clone(), recipients));
    // Programs make their connections when they need them.
    verdict::expect_everybody_to_hear(&ledger, &senders).await;
    let mut growth = Growth::default();
    growth.add(&ledger, take_census());
    phase.send_replace(Phase::Restless);
    let mut sending = JoinSet::new();
    sending.spawn(Arc::clone(&senders).run(settings.rate));
    let is_enough = at_signal(&mut lives)?;
    let (happened, overlapped) = tokio::task::block_in_place(|| {
        let mut nemesis = Nemesis::new(settings, &site, &ledger, &storm);
        nemesis.run(settings, &mut growth, &is_enough);
        nemesis.summary()
    });
    phase.send_replace(Phase::Calm);
    tokio::time::sleep(verdict::RECOVERY).await;
    sending.shutdown().await;
    verdict::expect_all_to_arrive(&ledger).await;
    verdict::expect_everybody_to_hear(&ledger, &senders).await;
    verdict::expect_nothing_to_be_left(&site, &mut growth, &ledger).await;
    let totals = ledger.close();
    lives.shutdown().await;
    let text = verdict::report(settings, seed, &ledger, &totals, (&happened, overlapped), &growth);
    println!("{text}");
    if let Some(path) = &settings.out {
        std::fs::write(path, &text)
            .map_err(|error| Failure::unavailable(format!("{}: {error}", path.display())))?;
    }
    let violations: u64 = ledger.violations().0.values().sum();
    if violations == 0 {
        return Ok(());
    }
    eprintln!("{}", site.logs());
    Err(Failure::unavailable(format!("{violations} violations; run it again with --seed {seed}")))
}
