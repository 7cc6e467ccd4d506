//! A run: one thread, one queue of events, all clients and all senders. More than one thread can do is for
//! several processes, which the limit of open files asks for anyway.

use crate::{
    book::Book,
    clients::Clients,
    console::{Console, Go},
    ledger::Ledger,
    measure::Sample,
    report::{Report, Spans},
    route::Server,
    schedule::Schedule,
    senders::Senders,
    settings::Settings,
    sockets::Dialer,
    stats::Stats,
    timer::Timer,
    vapid::{self, Vapid},
};
use beckon_client::vapid::Signer;
use beckon_ops::{clock::Clock, exit::Failure};
use mio::{Events, Poll, Token};
use std::{io::ErrorKind, time::Duration};

/// Events that are taken from the system at a time.
const EVENTS_MAX: usize = 1024;

/// The longest wait for events: what is looked after now and then is looked after that often.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// How often progress is printed and a second is added to the timeline.
const TICK_US: u64 = 1_000_000;

const TIMER: Token = Token(usize::MAX - 1);

/// A run under way.
#[derive(Debug)]
struct Load {
    settings: Settings,
    clock: Clock,
    poll: Poll,
    events: Events,
    timer: Timer,
    dialer: Dialer,
    clients: Clients,
    senders: Option<Senders>,
    /// Of the senders in turn, or of all.
    signers: Vec<Signer>,
    churn: Schedule,
    book: Book,
    console: Console,
    samples: Vec<Sample>,
    tick_us: u64,
    look_us: u64,
}

/// Runs a load to its end.
///
/// # Errors
/// The clients did not all become ready, or the system refuses.
pub fn run(settings: Settings, clock: Clock) -> Result<Report, Failure> {
    let poll = Poll::new().map_err(Failure::unavailable)?;
    let timer = Timer::new(&poll, TIMER).map_err(Failure::unavailable)?;
    let slots = settings.clients as usize * settings.channels as usize;
    // Later runs have higher numbers, and all are below 2^53, where SimplePush compares exactly.
    let started_unix_ms = clock.unix_ms();
    let base = started_unix_ms * 1000;
    let now_us = clock.now_us();
    let signer = || Signer::generate().map(|(signer, _)| signer).map_err(Failure::unavailable);
    let signers: Vec<Signer> = match settings.vapid {
        Vapid::None => Vec::new(),
        Vapid::Each => (0..settings.senders).map(|_| signer()).collect::<Result<_, _>>()?,
        Vapid::Restricted => vec![signer()?],
    };
    let is_restricted = settings.vapid == Vapid::Restricted;
    let restriction = signers.first().filter(|_| is_restricted).map(|signer| signer.public_key().to_owned());
    let dialer = settings.tls_ca.as_deref().map(Dialer::trusting).transpose().map_err(Failure::usage)?;
    let dialer = dialer.unwrap_or_default();
    let mut load = Load {
        clients: Clients::new(&settings, dialer.clone(), restriction),
        dialer,
        senders: None,
        signers,
        churn: Schedule::new(0, 0.0),
        book: Book {
            ledger: Ledger::new(base, slots, settings.dialect.latest_wins()),
            stats: Stats::default(),
        },
        console: Console::new(),
        samples: Vec::new(),
        tick_us: now_us + TICK_US,
        look_us: now_us,
        settings,
        clock,
        poll,
        events: Events::with_capacity(EVENTS_MAX),
        timer,
    };
    load.sample("start");
    let connect_us = load.connect()?;
    load.idle()?;
    let send_us = load.send()?;
    load.sample("end");
    if send_us > 0 {
        load.rest(load.settings.settle)?;
        load.sample("rested");
    }
    load.leave()?;
    load.console.finish();
    if load.settings.wait_stdin {
        load.wait_for_word("done")?;
    }
    Ok(Report::new(&load.settings, &load.book, load.samples, Spans { started_unix_ms, connect_us, send_us }))
}

impl Load {
    fn sample(&mut self, label: &str) {
        let (now_us, ready) = (self.clock.now_us(), self.clients.ready() as u64);
        self.samples.push(Sample::take(label, now_us, ready, &self.settings.pid));
    }

    /// Connects everybody, with a rest and a look at each number of clients that was asked for. Returns how
    /// long connecting took, microseconds.
    fn connect(&mut self) -> Result<u64, Failure> {
        let begin_us = self.clock.now_us();
        let limit_us = begin_us + micros(self.settings.connect_limit);
        let mut rested_us = 0;
        let mut steps = self.settings.measure_at.clone();
        steps.push(self.settings.clients);
        for count in steps {
            self.clients.admit(count);
            self.console.phase("connecting");
            while !self.clients.are_ready() {
                self.turn(limit_us)?;
                if self.clock.now_us() > limit_us {
                    return Err(self.not_ready());
                }
            }
            let rest_from_us = self.clock.now_us();
            self.sample("connected");
            self.rest(self.settings.settle)?;
            self.sample("settled");
            rested_us += self.clock.now_us() - rest_from_us;
        }
        Ok(self.clock.now_us() - begin_us - rested_us)
    }

    fn not_ready(&self) -> Failure {
        let failures = &self.book.stats.failures;
        let reasons: Vec<String> =
            failures.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let (ready, all) = (self.clients.ready(), self.settings.clients);
        Failure::unavailable(format!("{ready} of {all} clients are ready; failed: {}", reasons.join(", ")))
    }

    /// Holds everybody, first for the time that was asked for, then until it is time to send.
    fn idle(&mut self) -> Result<(), Failure> {
        if !self.settings.idle.is_zero() {
            self.console.phase("idle");
            self.rest(self.settings.idle)?;
            self.sample("idle");
        }
        if self.settings.wait_stdin {
            self.wait_for_word("ready")?;
        }
        Ok(())
    }

    /// Says how far it is, and holds everybody until a line has come.
    fn wait_for_word(&mut self, word: &str) -> Result<(), Failure> {
        self.console.phase("waiting");
        let go = Go::ask(word).map_err(Failure::unavailable)?;
        while !go.has_come().map_err(Failure::unavailable)? {
            self.turn(u64::MAX)?;
        }
        Ok(())
    }

    /// Has clients leave for good.
    fn leave(&mut self) -> Result<(), Failure> {
        let count = (f64::from(self.settings.clients) * self.settings.leave) as usize;
        if count > 0 {
            self.console.phase("leaving");
            self.clients.leave(count);
            self.rest(self.settings.settle)?;
            self.sample("left");
        }
        Ok(())
    }

    /// Sends, and waits until what was accepted has arrived. Returns how long sending took, microseconds.
    fn send(&mut self) -> Result<u64, Failure> {
        if self.settings.send_for.is_zero() {
            return Ok(0);
        }
        let servers = self.servers()?;
        self.sample("sending");
        self.console.phase("sending");
        let begin_us = self.clock.now_us();
        // Tokens of clients are their numbers.
        let first_token = self.settings.clients as usize;
        let origin = self.clients.origin().unwrap_or_default();
        let unix_s = self.clock.unix_seconds();
        let credential = |signer: &Signer| vapid::authorization(signer, origin, unix_s);
        let authorizations = self.signers.iter().map(credential).collect::<Result<_, _>>()?;
        self.senders = Some(Senders::new(
            &self.settings,
            self.dialer.clone(),
            servers,
            authorizations,
            first_token,
            begin_us,
        ));
        // They connect now, and not when they are looked after next: what is due meanwhile would wait.
        self.look_us = begin_us;
        self.churn = Schedule::new(begin_us, self.settings.churn * f64::from(self.settings.clients));
        let end_us = begin_us + micros(self.settings.send_for);
        let storm_us = begin_us + micros(self.settings.storm_at);
        let mut storm = (f64::from(self.settings.clients) * self.settings.storm) as usize;
        while self.clock.now_us() < end_us && !self.senders.as_ref().is_some_and(Senders::are_done) {
            self.turn(if storm > 0 { storm_us.min(end_us) } else { end_us })?;
            let now_us = self.clock.now_us();
            if storm > 0 && now_us >= storm_us {
                self.clients.drop_many(std::mem::take(&mut storm), now_us, &mut self.book);
            }
        }
        let sent_us = self.clock.now_us();
        if let Some(senders) = &mut self.senders {
            self.book.stats.overdue = senders.overdue(sent_us);
            senders.stop();
        }
        self.churn = Schedule::new(0, 0.0);
        self.console.phase("grace");
        let grace_us = sent_us + micros(self.settings.grace);
        while self.clock.now_us() < grace_us && !self.is_complete() {
            self.turn(grace_us)?;
        }
        self.senders = None;
        Ok(sent_us - begin_us)
    }

    /// Everything is answered, everything accepted has arrived, everybody is there.
    fn is_complete(&self) -> bool {
        self.book.ledger.missing() == 0
            && self.clients.are_ready()
            && self.senders.as_ref().is_none_or(Senders::are_idle)
    }

    /// Servers to send through.
    fn servers(&self) -> Result<Vec<Server>, Failure> {
        if !self.settings.http.is_empty() {
            return Ok(self.settings.http.clone());
        }
        let origin = self.clients.origin().unwrap_or_default();
        Server::of_http_url(origin).map(|server| vec![server]).map_err(Failure::usage)
    }

    /// Goes on for so long.
    fn rest(&mut self, time: Duration) -> Result<(), Failure> {
        let end_us = self.clock.now_us() + micros(time);
        while self.clock.now_us() < end_us {
            self.turn(end_us)?;
        }
        Ok(())
    }

    /// Does what is due, waits for events until something else is, at the latest `until_us`, and deals with them.
    fn turn(&mut self, until_us: u64) -> Result<(), Failure> {
        let now_us = self.clock.now_us();
        self.clients.begin_due(self.poll.registry(), now_us, &mut self.book);
        while self.churn.take(now_us).is_some() {
            self.clients.drop_one(now_us, &mut self.book);
        }
        if now_us >= self.look_us {
            self.look_us = now_us + WAIT_MAX.as_micros() as u64;
            if let Some(senders) = &mut self.senders {
                senders.look_after(self.poll.registry(), now_us, &mut self.book);
            }
        }
        if let Some(senders) = &mut self.senders {
            senders.send_due(&self.clients, now_us, &mut self.book);
        }
        if now_us >= self.tick_us {
            self.tick_us += TICK_US;
            self.clients.end_late(now_us, &mut self.book);
            let ready = self.clients.ready() as u64;
            let tick = self.book.stats.tick(now_us, ready, &self.book.ledger);
            self.console.progress(&tick, self.book.ledger.missing());
        }
        self.wait(until_us).map_err(Failure::unavailable)
    }

    fn wait(&mut self, until_us: u64) -> std::io::Result<()> {
        let now_us = self.clock.now_us();
        let senders_us = self.senders.as_ref().and_then(Senders::due_us);
        let due = [Some(until_us), self.clients.due_us(now_us), self.churn.due_us(), senders_us];
        let due_us = due.into_iter().flatten().min().unwrap_or(until_us);
        let wait = if due_us <= now_us {
            Duration::ZERO
        } else {
            if due_us < now_us + WAIT_MAX.as_micros() as u64 {
                self.timer.set(due_us, now_us)?;
            }
            WAIT_MAX
        };
        match self.poll.poll(&mut self.events, Some(wait)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        let clients = self.settings.clients as usize;
        for event in &self.events {
            let now_us = self.clock.now_us();
            match event.token() {
                TIMER => {}
                Token(token) if token < clients => self.clients.event(event, now_us, &mut self.book),
                Token(_) => {
                    if let Some(senders) = &mut self.senders {
                        senders.event(event, now_us, &mut self.book);
                    }
                }
            }
        }
        Ok(())
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX / 4)
}
