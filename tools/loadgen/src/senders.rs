//! The application servers of a run: connections that are kept, each with one request at a time.

use crate::{
    book::Book,
    clients::Clients,
    dialect::{Dialect, Notification},
    http,
    route::Server,
    schedule::{Schedule, Turns},
    settings::Settings,
    sockets::{Connection, Dialer},
};
use mio::{Registry, Token, event::Event};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    io::ErrorKind,
};

/// Time that a server has to answer; then the request counts as unanswered.
const ANSWER_LIMIT_US: u64 = 10_000_000;

/// Time that a sender whose connection failed waits.
const RETRY_US: u64 = 100_000;

/// The server has closed a connection.
const CLOSED: &str = "request: connection closed";

/// Bytes of an answer that are read at a time.
const READ_MAX: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not connected; to be connected at that time.
    Away { until_us: u64 },
    /// TCP is being connected.
    Connecting,
    /// Connected, nothing to do.
    Idle,
    /// Waits for the answer to a notification.
    Busy { request: Request, since_us: u64 },
}

/// A notification that is sent, perhaps not for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Request {
    number: u64,
    slot: u32,
    /// How often it was refused.
    refusals: u32,
}

/// Refusals after which the pause before the next attempt is not doubled any more.
const DOUBLINGS_MAX: u32 = 3;

/// A server that has answered so wants the notification later.
fn asks_to_try_again(status: u16) -> bool {
    matches!(status, 429 | 503)
}

#[derive(Debug)]
struct Sender {
    stream: Option<Connection>,
    state: State,
    /// The beginning of an answer whose end has not come.
    unread: Vec<u8>,
    /// What the socket did not take.
    unsent: Vec<u8>,
}

/// All senders, by number.
#[derive(Debug)]
pub struct Senders {
    senders: Vec<Sender>,
    /// The one that has been idle for the longest time is the next, so that servers close no connection as its request comes.
    idle: VecDeque<usize>,
    dialect: Dialect,
    dialer: Dialer,
    servers: Vec<Server>,
    data: u32,
    ttl: u32,
    /// The `Authorization` header of each sender in turn; empty if none signs.
    authorizations: Vec<String>,
    turns: Turns,
    /// `None`: each sender sends the next one when it has its answer.
    schedule: Option<Schedule>,
    /// Pause before the first attempt after a refusal; 0: there is none.
    retry_us: u64,
    /// What is sent again, and when.
    refused: BinaryHeap<Reverse<(u64, Request)>>,
    /// How many may still be sent.
    left: u64,
    /// The token of the first.
    first_token: usize,
    busy: usize,
    buffer: Vec<u8>,
    output: Vec<u8>,
}

impl Senders {
    /// Senders that begin at `now_us`, none connected yet, with their credentials. Their tokens begin with
    /// `first_token`.
    pub fn new(
        settings: &Settings,
        dialer: Dialer,
        servers: Vec<Server>,
        authorizations: Vec<String>,
        first_token: usize,
        now_us: u64,
    ) -> Self {
        let sender = |_| Sender {
            stream: None,
            state: State::Away { until_us: now_us },
            unread: Vec::new(),
            unsent: Vec::new(),
        };
        let slots = u64::from(settings.clients) * u64::from(settings.channels);
        Self {
            senders: (0..settings.senders).map(sender).collect(),
            idle: VecDeque::new(),
            dialect: settings.dialect,
            dialer,
            servers,
            data: settings.data(),
            ttl: settings.ttl,
            authorizations,
            turns: Turns::new(slots),
            schedule: (settings.rate > 0.0).then(|| Schedule::new(now_us, settings.rate)),
            retry_us: settings.retry.as_micros() as u64,
            refused: BinaryHeap::new(),
            left: if settings.sends == 0 { u64::MAX } else { settings.sends },
            first_token,
            busy: 0,
            buffer: vec![0; READ_MAX],
            output: Vec::new(),
        }
    }

    /// Sends nothing new; answers are still taken, and what was refused is sent again.
    pub fn stop(&mut self) {
        self.left = 0;
    }

    /// How many are due at a fixed rate and have not been sent, because no sender was free.
    pub fn overdue(&self, now_us: u64) -> u64 {
        match &self.schedule {
            Some(schedule) if self.left > 0 => schedule.overdue(now_us).min(self.left),
            Some(_) | None => 0,
        }
    }

    /// Whether everything that was to be sent has been.
    pub fn are_done(&self) -> bool {
        self.left == 0
    }

    /// Whether no answer is awaited, and nothing is to be sent again.
    pub fn are_idle(&self) -> bool {
        self.busy == 0 && self.refused.is_empty()
    }

    /// When something is to be sent by a sender that is idle now. `None`: not before something else happens.
    pub fn due_us(&self) -> Option<u64> {
        if self.idle.is_empty() {
            return None;
        }
        let again = self.refused.peek().map(|Reverse((due_us, _))| *due_us);
        [self.due_anew_us(), again].into_iter().flatten().min()
    }

    /// When a new one is to be sent.
    fn due_anew_us(&self) -> Option<u64> {
        match &self.schedule {
            _ if self.left == 0 || self.idle.is_empty() => None,
            Some(schedule) => schedule.due_us(),
            None => Some(0),
        }
    }

    /// Connects senders that are not, and gives requests up that take too long. To be called now and then.
    pub fn look_after(&mut self, registry: &Registry, now_us: u64, book: &mut Book) {
        for number in 0..self.senders.len() {
            match self.senders[number].state {
                State::Away { until_us }
                    if until_us <= now_us && (self.left > 0 || !self.refused.is_empty()) =>
                {
                    self.connect(number, registry, now_us, book);
                }
                State::Busy { since_us, .. } if now_us.saturating_sub(since_us) > ANSWER_LIMIT_US => {
                    self.end(number, "request: no answer", now_us, book);
                }
                State::Away { .. } | State::Connecting | State::Idle | State::Busy { .. } => {}
            }
        }
    }

    fn connect(&mut self, number: usize, registry: &Registry, now_us: u64, book: &mut Book) {
        let server = &self.servers[number % self.servers.len()];
        let opened = self.dialer.open(server, None, registry, Token(self.first_token + number));
        match opened {
            Ok(stream) => {
                self.senders[number].stream = Some(stream);
                self.senders[number].state = State::Connecting;
            }
            Err(error) => self.end(number, &format!("sender: {}", error.kind()), now_us, book),
        }
    }

    /// Sends what is due, as far as senders are idle.
    pub fn send_due(&mut self, clients: &Clients, now_us: u64, book: &mut Book) {
        self.send_again(clients, now_us, book);
        while self.due_anew_us().is_some_and(|due_us| due_us <= now_us) {
            let Some(slot) = self.next_slot(clients) else { return self.stop() };
            let due_us = self.schedule.as_mut().and_then(|schedule| schedule.take(now_us)).unwrap_or(now_us);
            let Some(number) = book.ledger.sent(slot, due_us) else { return self.stop() };
            let (Some(sender), Some(path)) = (self.idle.pop_front(), clients.path(slot)) else { return };
            book.stats.lateness.record(now_us.saturating_sub(due_us));
            self.left -= 1;
            self.send(sender, path, Request { number, slot, refusals: 0 }, now_us, book);
        }
    }

    /// Sends what was refused and is due again, unless a newer one has made it needless.
    fn send_again(&mut self, clients: &Clients, now_us: u64, book: &mut Book) {
        while let Some(Reverse((due_us, request))) = self.refused.peek().copied() {
            if due_us > now_us || self.idle.is_empty() {
                return;
            }
            self.refused.pop();
            if book.ledger.is_superseded(request.number) {
                continue;
            }
            let Some(path) = clients.path(request.slot) else { continue };
            let Some(sender) = self.idle.pop_front() else { return };
            book.stats.retried += 1;
            self.send(sender, path, request, now_us, book);
        }
    }

    /// The next slot that has an endpoint. `None`: there is none.
    fn next_slot(&mut self, clients: &Clients) -> Option<u32> {
        (0..self.turns.count()).find_map(|_| {
            let slot = u32::try_from(self.turns.take()?).ok()?;
            clients.path(slot).map(|_| slot)
        })
    }

    fn send(&mut self, index: usize, path: &str, request: Request, now_us: u64, book: &mut Book) {
        let server = &self.servers[index % self.servers.len()];
        self.output.clear();
        let authorization = match self.authorizations.len() {
            0 => "",
            count => &self.authorizations[index % count],
        };
        let (authority, data, ttl) = (server.authority.as_str(), self.data, self.ttl);
        let number = request.number;
        let notification = Notification { authority, path, number, data, ttl, authorization };
        self.dialect.notify(&mut self.output, &notification);
        let sender = &mut self.senders[index];
        sender.state = State::Busy { request, since_us: now_us };
        self.busy += 1;
        let Some(stream) = &mut sender.stream else { return };
        match stream.write(&self.output) {
            Ok(sent) => sender.unsent.extend_from_slice(&self.output[sent..]),
            Err(error) => self.end(index, &format!("request: {}", error.kind()), now_us, book),
        }
    }

    /// Deals with what has happened to a socket.
    pub fn event(&mut self, event: &Event, now_us: u64, book: &mut Book) {
        let number = event.token().0 - self.first_token;
        if self.senders.get(number).is_none_or(|sender| sender.stream.is_none()) {
            return;
        }
        let result = if event.is_writable() { self.writable(number) } else { Ok(()) };
        let result = match result {
            Ok(()) if event.is_readable() || event.is_read_closed() || event.is_error() => {
                self.readable(number, event.is_read_closed(), now_us, book)
                    // A handshake that has ended lets the first request go.
                    .and_then(|()| self.send_unsent(number))
            }
            Ok(()) => Ok(()),
            Err(reason) => Err(reason),
        };
        if let Err(reason) = result {
            self.end(number, &reason, now_us, book);
        }
    }

    fn writable(&mut self, number: usize) -> Result<(), String> {
        let sender = &mut self.senders[number];
        let Some(stream) = &mut sender.stream else { return Ok(()) };
        if sender.state == State::Connecting {
            if let Ok(Some(error)) | Err(error) = stream.tcp().take_error() {
                return Err(format!("sender: {}", error.kind()));
            }
            if stream.tcp().peer_addr().is_ok() {
                sender.state = State::Idle;
                self.idle.push_back(number);
            }
            return Ok(());
        }
        self.send_unsent(number)
    }

    fn send_unsent(&mut self, number: usize) -> Result<(), String> {
        let Sender { stream: Some(stream), unsent, .. } = &mut self.senders[number] else { return Ok(()) };
        let sent = stream.write(unsent).map_err(|error| format!("request: {}", error.kind()))?;
        unsent.drain(..sent);
        Ok(())
    }

    fn readable(
        &mut self,
        number: usize,
        until_end: bool,
        now_us: u64,
        book: &mut Book,
    ) -> Result<(), String> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = loop {
            let Some(stream) = &mut self.senders[number].stream else { break Ok(()) };
            match stream.read(&mut buffer) {
                Ok(0) => break Err(CLOSED.to_owned()),
                Ok(length) => {
                    if let Err(reason) = self.take(number, &buffer[..length], now_us, book) {
                        break Err(reason);
                    }
                    let stream = self.senders[number].stream.as_ref();
                    let is_empty = stream.is_none_or(Connection::is_emptied_by_a_short_read);
                    if is_empty && length < buffer.len() && !until_end {
                        break Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(format!("request: {}", error.kind())),
            }
        };
        self.buffer = buffer;
        result
    }

    fn take(&mut self, index: usize, bytes: &[u8], now_us: u64, book: &mut Book) -> Result<(), String> {
        let sender = &mut self.senders[index];
        let whole = if sender.unread.is_empty() {
            bytes
        } else {
            sender.unread.extend_from_slice(bytes);
            &sender.unread
        };
        let head = http::head(whole).map_err(|error| error.to_string())?;
        let Some(head) = head.filter(|head| whole.len() >= head.length + head.body) else {
            if sender.unread.is_empty() {
                sender.unread.extend_from_slice(bytes);
            }
            return Ok(());
        };
        sender.unread.clear();
        let State::Busy { request, .. } = sender.state else {
            return Err("an answer without a request".to_owned());
        };
        sender.state = State::Idle;
        self.busy -= 1;
        let took_us = book.ledger.answered(request.number, head.status, now_us);
        book.stats.answer.record(took_us);
        *book.stats.answers.entry(head.status).or_default() += 1;
        if self.retry_us > 0 && asks_to_try_again(head.status) {
            let due_us = now_us + (self.retry_us << request.refusals.min(DOUBLINGS_MAX));
            self.refused.push(Reverse((due_us, Request { refusals: request.refusals + 1, ..request })));
        }
        if head.closes {
            return Err("the server keeps no connections".to_owned());
        }
        self.idle.push_back(index);
        Ok(())
    }

    fn end(&mut self, number: usize, reason: &str, now_us: u64, book: &mut Book) {
        let sender = &mut self.senders[number];
        if matches!(sender.state, State::Busy { .. }) {
            self.busy -= 1;
            book.stats.unanswered += 1;
        }
        // A server may close a connection on which it has nothing to answer.
        if sender.state != State::Idle || reason != CLOSED {
            book.stats.failure(reason);
        }
        self.idle.retain(|idle| *idle != number);
        sender.stream = None;
        sender.unread.clear();
        sender.unsent.clear();
        sender.state = State::Away { until_us: now_us + RETRY_US };
    }
}
