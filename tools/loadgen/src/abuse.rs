//! `loadgen abuse`: what one host can do to the others. Each attack runs for a while from one address, while another
//! address wants its service; the report says whether it got it.

mod attacks;
mod caller;
mod honest;
mod scene;

use attacks::ATTACKS;
use beckon_ops::{
    clock::Clock,
    config::{ConfigErrors, Source},
};
use caller::Caller;
use honest::Served;
pub use scene::AbuseSettings;
use scene::Scene;
use std::{
    fmt::Write as _,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

/// Reads the settings.
///
/// # Errors
/// Everything that is wrong, together.
pub fn read(mut source: Source) -> Result<AbuseSettings, ConfigErrors> {
    let settings = AbuseSettings::read(&mut source);
    for name in settings.iter().flat_map(|settings| &settings.only) {
        if !ATTACKS.iter().any(|attack| attack.name == name) {
            let names: Vec<_> = ATTACKS.iter().map(|attack| attack.name).collect();
            source.reject("only", format!("has an unknown attack; they are {}", names.join(", ")));
        }
    }
    source.finish(settings)
}

/// What became of the honest requests during one attack.
#[derive(Debug)]
pub struct Outcome {
    name: &'static str,
    what: &'static str,
    done: u64,
    served: Served,
}

/// What became of all.
#[derive(Debug)]
pub struct AbuseReport(Vec<Outcome>);

/// Runs one attack after the other.
pub fn run(settings: &AbuseSettings, clock: Clock) -> AbuseReport {
    let chosen = ATTACKS.iter().filter(|attack| {
        let is_possible = settings.admin.is_some() || !attack.needs_admin;
        is_possible && (settings.only.is_empty() || settings.only.iter().any(|name| name == attack.name))
    });
    let run = |attack: &attacks::Attack| {
        let scene = Scene {
            settings,
            stranger: Caller::new(settings.stranger),
            honest: Caller::new(settings.honest),
            is_over: AtomicBool::new(false),
            done: AtomicU64::new(0),
            harm: OnceLock::new(),
        };
        let mut served = thread::scope(|scope| {
            for _ in 0..attack.threads {
                scope.spawn(|| (attack.run)(&scene));
            }
            let served = honest::ask_for(&scene, &clock, settings.attack_for);
            scene.is_over.store(true, Ordering::Relaxed);
            served
        });
        if let Some(harm) = scene.harm.get() {
            served.failed(harm.clone());
        }
        Outcome { name: attack.name, what: attack.what, done: scene.done.into_inner(), served }
    };
    AbuseReport(chosen.map(run).collect())
}

impl AbuseReport {
    /// Whether every honest request was answered in time, whatever the stranger did.
    pub fn is_good(&self) -> bool {
        self.0.iter().all(|outcome| outcome.served.failures() == 0)
    }

    /// The report as text: a line for each attack, and what failed.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let head = ["attack", "done", "honest", "failed", "slowest"];
        let _ = writeln!(text, "{:<20}{:>10}{:>10}{:>10}{:>12}", head[0], head[1], head[2], head[3], head[4]);
        for Outcome { name, what, done, served } in &self.0 {
            let (asked, failures) = (served.asked(), served.failures());
            let slowest = format!("{} ms", served.slowest().as_millis());
            let _ = writeln!(text, "{name:<20}{done:>10}{asked:>10}{failures:>10}{slowest:>12}  {what}");
            if let Some(reason) = served.first_failure() {
                let _ = writeln!(text, "    {reason}");
            }
        }
        text
    }
}
