//! `loadgen abuse`: what one host can do to the others. Each attack runs for a while from one address, while another
//! address wants its service; the report says whether it got it.

mod attacks;
mod caller;
mod honest;

use attacks::ATTACKS;
use beckon_ops::{
    clock::Clock,
    config::{ConfigErrors, Source, parsed_option, positive},
};
use caller::Caller;
use honest::Served;
use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

beckon_ops::settings! {
    /// Who attacks what.
    pub struct AbuseSettings {
        /// Address and port on which WebSockets are accepted. Required.
        ws: SocketAddr,
        /// Address and port on which application servers send. Required.
        http: SocketAddr,
        /// Address and port of the admin listener, which must refuse what shows no token. Empty: it is not tried.
        admin: Option<SocketAddr> = "",
        /// Address that the attacks come from: one of this machine. Empty: the system's choice.
        stranger: Option<IpAddr> = "" => parsed_option,
        /// Address that the honest requests come from: another one of this machine. Empty: the system's choice. With
        /// limits by source it has to be another source than the stranger.
        honest: Option<IpAddr> = "" => parsed_option,
        /// Attacks to run, separated by commas. Empty: all.
        only: Vec<String> = "",
        /// Connections of an attack that holds connections.
        connections: u32 = "600",
        /// Time of each attack.
        attack_for: Duration = "10s" => positive,
        /// Time limit for each answer to an honest request.
        limit: Duration = "1s" => positive,
    }
}

impl AbuseSettings {
    /// Reads everything.
    ///
    /// # Errors
    /// Everything that is wrong, together.
    pub fn read_all(mut source: Source) -> Result<Self, ConfigErrors> {
        let settings = Self::read(&mut source);
        for name in settings.iter().flat_map(|settings| &settings.only) {
            if !ATTACKS.iter().any(|attack| attack.name == name) {
                let names: Vec<_> = ATTACKS.iter().map(|attack| attack.name).collect();
                source.reject("only", format!("has an unknown attack; they are {}", names.join(", ")));
            }
        }
        source.finish(settings)
    }
}

/// What attacks and honest requests are made with.
struct Scene<'a> {
    settings: &'a AbuseSettings,
    stranger: Caller,
    honest: Caller,
    /// The attack should end.
    is_over: AtomicBool,
    /// What the attack has done.
    done: AtomicU64,
}

impl Scene<'_> {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Counts one connection, request or message of the attack.
    fn count(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }
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
        };
        let mut served = thread::scope(|scope| {
            for _ in 0..attack.threads {
                scope.spawn(|| (attack.run)(&scene));
            }
            let served = honest::ask_for(&scene, &clock, settings.attack_for);
            scene.is_over.store(true, Ordering::Relaxed);
            served
        });
        if let Some(reason) = (attack.check)(&scene) {
            served.failed(reason);
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
