//! The connections of a port that are not upgraded, and which of them makes room for a new one.
//!
//! A connection changes its state with one atomic operation. The table is locked for a new connection and for a sweep
//! only, which comes four times a second.

mod state;

use crate::{
    metrics::{Count, Counted, Metrics, Reason},
    settings::PortSettings,
    source::Source,
};
use arc_swap::ArcSwap;
use beckon_ops::clock::Clock;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use rustls::{CommonState, HandshakeKind, ProtocolVersion};
use state::{State, Stated};
use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

/// How often connections whose time is over are looked for.
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

/// A connection is not closed for another one before it has had this long to send its request, in milliseconds, unless nothing
/// else can be: on a port full of connections that were answered once, it would be the only one without a request.
const GRACE_MS: u64 = 1_000;

/// Idle connections that one search for the oldest finds.
const FOUND_MAX: usize = 64;

/// Connections that are accepted while all others are busy. They get an answer to a health check only.
const SPARE: usize = 64;

/// What a port allows.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most connections that are not upgraded.
    pub connections_max: usize,
    /// Most connections of one source that have not sent the head of a request.
    pub source_opening_max: usize,
    /// Time limit for the head of a request, from the accepted connection or from the first byte of the head.
    pub head_timeout: Duration,
    /// Time limit for a connection without a request, from the end of the last response.
    pub idle_timeout: Duration,
    /// What limits TLS handshakes. `None`: there is no TLS.
    pub handshakes: Option<HandshakeLimits>,
}

/// What a port with TLS allows besides.
#[derive(Debug, Clone, Copy)]
pub struct HandshakeLimits {
    /// Most handshakes under way; beyond it, the one that began first ends.
    pub under_way_max: usize,
    /// Time limit for a handshake, from the accepted connection.
    pub timeout: Duration,
}

impl Limits {
    /// What an operator has set for all public ports, and for this one, as if it had TLS.
    pub fn new(settings: &PortSettings, connections_max: usize, idle_timeout: Duration) -> Self {
        Self {
            connections_max,
            source_opening_max: settings.source_max_pending,
            head_timeout: settings.head_timeout,
            idle_timeout,
            handshakes: Some(HandshakeLimits {
                under_way_max: settings.tls_max_handshakes,
                timeout: settings.tls_handshake_timeout,
            }),
        }
    }
}

#[derive(Debug)]
struct Entry {
    stated: AtomicU64,
    task: AtomicWaker,
    /// Set once, when it is known.
    source: OnceLock<Source>,
}

impl Entry {
    fn stated(&self) -> Stated {
        Stated(self.stated.load(Ordering::Acquire))
    }

    /// Ends the connection if it still is what it was. Returns whether it was.
    fn end(&self, was: Stated) -> bool {
        let ended = Stated::new(State::Ended, was.since_ms()).0;
        let is_ended =
            self.stated.compare_exchange(was.0, ended, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if is_ended {
            self.task.wake();
        }
        is_ended
    }
}

/// The connections of one port.
#[derive(Debug)]
pub struct Connections {
    port: &'static str,
    limits: ArcSwap<Limits>,
    clock: Clock,
    metrics: Metrics,
    /// Those that have not ended.
    open: AtomicUsize,
    /// Those of them whose TLS handshake is not over.
    handshakes: AtomicUsize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// In the order in which they were accepted: those that had not sent a head at the last sweep, or are newer.
    opening: VecDeque<Arc<Entry>>,
    /// The others.
    settled: Vec<Arc<Entry>>,
    /// The idle ones that the last search found, the oldest last.
    found: Vec<(Arc<Entry>, Stated)>,
}

impl Connections {
    /// No connections yet. `port` is the label of the metrics.
    pub fn new(port: &'static str, limits: Limits, clock: Clock, metrics: &Metrics) -> Arc<Self> {
        let connections = Arc::new(Self {
            port,
            limits: ArcSwap::from_pointee(limits),
            clock,
            metrics: metrics.clone(),
            open: AtomicUsize::new(0),
            handshakes: AtomicUsize::new(0),
            table: Mutex::default(),
        });
        metrics.watch(port, connections.clone());
        connections
    }

    /// How many have not ended.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Other limits. If there are too many connections now, those that come make room one by one.
    pub(crate) fn set_limits(&self, limits: Limits) {
        self.limits.store(Arc::new(limits));
    }

    /// The limits as they are now.
    pub(crate) fn limits(&self) -> Limits {
        **self.limits.load()
    }

    /// The label of the metrics.
    pub fn port(&self) -> &'static str {
        self.port
    }

    /// Counts a TLS handshake by what was agreed.
    pub(crate) fn handshake(&self, agreed: &CommonState) {
        let protocol = match agreed.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            Some(_) | None => "1.2",
        };
        let is_resumed = agreed.handshake_kind() == Some(HandshakeKind::Resumed);
        self.metrics.handshake(self.port, protocol, is_resumed);
    }

    /// Counts something that was not served.
    pub fn refused(&self, reason: Reason) {
        self.metrics.refused(self.port, reason);
    }

    /// A new connection. If there are too many, another one ends, as the [crate] says. `None` if none of them can.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Visit> {
        let connections_max = self.limits().connections_max;
        let is_spare = self.open() >= connections_max && !self.make_room();
        if is_spare && self.open() >= connections_max + SPARE {
            self.refused(Reason::Busy);
            return None;
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        let state = if self.limits().handshakes.is_some() { State::Handshake } else { State::Opening };
        if state == State::Handshake {
            self.begin_handshake();
        }
        let entry = Arc::new(Entry {
            stated: AtomicU64::new(Stated::new(state, self.clock.now_ms()).0),
            task: AtomicWaker::new(),
            source: OnceLock::new(),
        });
        self.table.lock().opening.push_back(entry.clone());
        Some(Visit {
            connections: self.clone(),
            entry,
            is_spare,
            has_unread_body: AtomicBool::new(false),
            is_blocked: AtomicBool::new(false),
        })
    }

    /// One more handshake. If there are too many, the one that began first ends.
    fn begin_handshake(&self) {
        let under_way = self.handshakes.fetch_add(1, Ordering::Relaxed);
        if self.limits().handshakes.is_some_and(|limits| under_way >= limits.under_way_max) {
            let mut table = self.table.lock();
            if self.end_first(&mut table.opening, |entry| entry.stated().state() == State::Handshake) {
                self.refused(Reason::Handshakes);
            }
        }
    }

    /// A connection is no longer what it was.
    fn left(&self, was: State) {
        if was == State::Handshake {
            self.handshakes.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A connection that was this has ended.
    fn ended(&self, was: State) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.left(was);
    }

    /// Ends a connection that asks for nothing. Returns whether there was one.
    fn make_room(&self) -> bool {
        let now_ms = self.clock.now_ms();
        let mut table = self.table.lock();
        let had_its_time = |entry: &Entry| now_ms.saturating_sub(entry.stated().since_ms()) >= GRACE_MS;
        if self.end_first(&mut table.opening, had_its_time) {
            self.refused(Reason::Crowded);
            return true;
        }
        for _ in 0..2 {
            while let Some((entry, was)) = table.found.pop() {
                if entry.end(was) {
                    self.ended(was.state());
                    self.refused(Reason::Idle);
                    return true;
                }
            }
            table.find_idle();
        }
        let is_ended = self.end_first(&mut table.opening, |_| true);
        if is_ended {
            self.refused(Reason::Crowded);
        }
        is_ended
    }

    /// Ends the first of these connections that has not sent a head. Forgets the ended ones before it.
    fn end_first(&self, opening: &mut VecDeque<Arc<Entry>>, matches: impl Fn(&Entry) -> bool) -> bool {
        while opening.front().is_some_and(|entry| entry.stated().state() == State::Ended) {
            opening.pop_front();
        }
        opening.iter().any(|entry| {
            let was = entry.stated();
            let is_ended = was.state().is_opening() && matches(entry) && entry.end(was);
            if is_ended {
                self.ended(was.state());
            }
            is_ended
        })
    }

    /// Whether a request is being answered that has come in whole.
    pub(crate) fn is_answering(&self) -> bool {
        let table = self.table.lock();
        table.opening.iter().chain(&table.settled).any(|entry| entry.stated().state() == State::Busy)
    }

    /// Wakes the tasks of all connections.
    pub(crate) fn wake_all(&self) {
        let table = self.table.lock();
        table.opening.iter().chain(&table.settled).for_each(|entry| entry.task.wake());
    }

    /// Ends the connections whose time is over.
    pub(crate) fn sweep(&self) {
        let (now_ms, limits) = (self.clock.now_ms(), self.limits());
        let mut table = self.table.lock();
        let Table { opening, settled, .. } = &mut *table;
        opening.retain(|entry| {
            let is_opening = entry.stated().state().is_opening();
            if !is_opening {
                settled.push(entry.clone());
            }
            is_opening && !self.end_if_over(entry, &limits, now_ms)
        });
        settled.retain(|entry| {
            entry.stated().state() != State::Ended && !self.end_if_over(entry, &limits, now_ms)
        });
    }

    fn end_if_over(&self, entry: &Entry, limits: &Limits, now_ms: u64) -> bool {
        let was = entry.stated();
        let (limit, reason) = match was.state() {
            State::Handshake => match limits.handshakes {
                Some(limits) => (limits.timeout, Some(Reason::SlowHandshake)),
                None => return false,
            },
            State::Opening | State::Head => (limits.head_timeout, Some(Reason::SlowHead)),
            State::Idle => (limits.idle_timeout, None),
            State::Busy | State::Receiving | State::Ended => return false,
        };
        if u128::from(now_ms.saturating_sub(was.since_ms())) < limit.as_millis() || !entry.end(was) {
            return false;
        }
        self.ended(was.state());
        if let Some(reason) = reason {
            self.refused(reason);
        }
        true
    }
}

impl Count for Connections {
    fn count(&self) -> Counted {
        let table = self.table.lock();
        let mut counted = Counted::default();
        for entry in table.opening.iter().chain(&table.settled) {
            match entry.stated().state() {
                State::Handshake => counted.handshake += 1,
                State::Opening => counted.opening += 1,
                State::Idle | State::Head => counted.idle += 1,
                State::Busy | State::Receiving => counted.busy += 1,
                State::Ended => {}
            }
        }
        counted
    }
}

impl Table {
    /// Finds the connections that have been idle longest.
    fn find_idle(&mut self) {
        let all = self.opening.iter().chain(&self.settled).map(|entry| (entry, entry.stated()));
        let mut idle: Vec<_> =
            all.filter(|(_, stated)| matches!(stated.state(), State::Idle | State::Head)).collect();
        if idle.len() > FOUND_MAX {
            idle.select_nth_unstable_by_key(FOUND_MAX, |(_, stated)| stated.since_ms());
            idle.truncate(FOUND_MAX);
        }
        idle.sort_unstable_by_key(|(_, stated)| std::cmp::Reverse(stated.since_ms()));
        self.found = idle.into_iter().map(|(entry, stated)| (entry.clone(), stated)).collect();
    }
}

/// A connection's place in the table. It leaves when this is dropped.
#[derive(Debug)]
pub struct Visit {
    connections: Arc<Connections>,
    entry: Arc<Entry>,
    is_spare: bool,
    /// Whether a part of a request's body was left unread.
    has_unread_body: AtomicBool,
    /// Whether the peer does not take what is written to it.
    is_blocked: AtomicBool,
}

impl Visit {
    /// Whether the port was full of connections at work, so that only a health check is to be answered.
    pub fn is_spare(&self) -> bool {
        self.is_spare
    }

    /// The connections of the port.
    pub(crate) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Says from whom it is. If the source has too many connections that have sent nothing, its oldest ends.
    pub(crate) fn belongs_to(&self, source: Source) {
        if self.entry.source.set(source).is_err() {
            return;
        }
        let mut table = self.connections.table.lock();
        let most = self.connections.limits().source_opening_max;
        if table.opening.len() <= most {
            return;
        }
        let is_of_source = |entry: &Entry| entry.source.get() == Some(&source);
        let of_source = table.opening.iter().filter(|entry| is_of_source(entry));
        let count = of_source.filter(|entry| entry.stated().state().is_opening()).count();
        if count > most && self.connections.end_first(&mut table.opening, is_of_source) {
            self.connections.refused(Reason::SourceCrowded);
        }
    }

    /// Does something until the connection has to end; `None` if that comes first.
    pub async fn until_ended<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|context| {
            if self.poll_ended(context) {
                return Poll::Ready(None);
            }
            work.as_mut().poll(context).map(Some)
        })
        .await
    }

    /// Whether the connection has to end; if not, the task is woken when it has to.
    pub(crate) fn poll_ended(&self, context: &mut Context<'_>) -> bool {
        self.entry.task.register(context.waker());
        self.entry.stated().state() == State::Ended
    }

    /// The TLS handshake is over. The time for the head of the first request begins.
    pub(crate) fn handshake_done(&self) {
        self.change(State::Opening, |was| was == State::Handshake);
    }

    /// A request has come in. Returns false if the connection has to end.
    pub fn begin(&self) -> bool {
        self.has_unread_body.store(false, Ordering::Relaxed);
        self.change(State::Busy, |_| true)
    }

    /// A part of the body of the request is to come.
    pub(crate) fn receives(&self) {
        self.change(State::Receiving, |was| was == State::Busy);
    }

    /// All of the body has come in, or none of it is read any more.
    pub(crate) fn received(&self) {
        self.change(State::Busy, |was| was == State::Receiving);
    }

    /// The request is answered, or one was before the connection came to rest.
    pub(crate) fn answered(&self) {
        self.change(State::Idle, |was| matches!(was, State::Opening | State::Busy | State::Receiving));
    }

    /// Whether no request has come in yet.
    pub(crate) fn is_opening(&self) -> bool {
        self.entry.stated().state().is_opening()
    }

    /// A part of the body of the request is left unread. Until the next request has come in, it may be anywhere.
    pub(crate) fn left_body_unread(&self) {
        self.has_unread_body.store(true, Ordering::Relaxed);
    }

    /// Whether the peer does not take what is written to it.
    pub(crate) fn set_blocked(&self, is_blocked: bool) {
        self.is_blocked.store(is_blocked, Ordering::Relaxed);
    }

    /// Whether the connection is between two requests: what it has read belongs to the next one, and nothing is left to write.
    pub(crate) fn is_at_rest(&self) -> bool {
        let is_between = matches!(self.entry.stated().state(), State::Opening | State::Idle | State::Head);
        is_between
            && !self.has_unread_body.load(Ordering::Relaxed)
            && !self.is_blocked.load(Ordering::Relaxed)
    }

    /// Bytes have come in.
    pub(crate) fn heard(&self) {
        if self.entry.stated().state() == State::Idle {
            self.change(State::Head, |was| was == State::Idle);
        }
    }

    fn change(&self, to: State, applies: impl Fn(State) -> bool) -> bool {
        let to = Stated::new(to, self.connections.clock.now_ms()).0;
        let changed = self.entry.stated.try_update(Ordering::AcqRel, Ordering::Acquire, |was| {
            let was = Stated(was).state();
            (was != State::Ended && applies(was)).then_some(to)
        });
        if let Ok(was) = changed {
            self.connections.left(Stated(was).state());
        }
        changed.is_ok()
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let was = self.entry.stated.swap(State::Ended as u64, Ordering::AcqRel);
        if Stated(was).state() != State::Ended {
            self.connections.ended(Stated(was).state());
        }
    }
}

#[cfg(test)]
mod tests;
