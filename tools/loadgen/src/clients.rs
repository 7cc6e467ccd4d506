//! All clients of a run. One that waits is a socket and a row here: no task, no timer, no buffer.

use crate::{
    book::Book,
    client::{Client, Reason, State},
    dialect::{self, Dialect, Said},
    frame::{self, Frame},
    http, route,
    route::{Server, Sources},
    schedule::Dice,
    settings::Settings,
    sockets::{Connection, Dialer},
};
use mio::{Registry, Token, event::Event};
use std::{collections::VecDeque, io::ErrorKind, net::IpAddr};

/// Time for a connection to give a client all its endpoints.
const CONNECT_LIMIT_US: u64 = 30_000_000;

/// Time that a client whose connection failed waits.
const RETRY_US: u64 = 1_000_000;

/// Time in which servers read an acknowledgement, also during a hand-over.
const ACK_LIMIT_US: u64 = 2_000_000;

/// How many connections may be begun at once to make up for a pause.
const BURST_US: u64 = 10_000;

/// Bytes read from a socket at a time, into a buffer that all share.
const READ_MAX: usize = 64 * 1024;

/// All clients, by number.
#[derive(Debug)]
pub struct Clients {
    clients: Vec<Client>,
    /// Paths of the endpoints, by slot. Here, and not with their clients, they are close together: whoever sends
    /// looks at another one each time.
    paths: Vec<Option<Box<str>>>,
    dialect: Dialect,
    channels: u32,
    acknowledges: bool,
    dialer: Dialer,
    servers: Vec<(Server, String)>,
    sources: Vec<Sources>,
    /// Endpoints may name any server: others are used.
    takes_any_authority: bool,
    /// The server that the endpoints name: scheme and authority.
    origin: Option<String>,
    /// The VAPID key that channels are restricted to.
    key: Option<String>,
    /// How many may connect; those from `begun` on have not yet.
    admitted: usize,
    begun: usize,
    returning: VecDeque<(u64, u32)>,
    connecting: usize,
    connecting_max: usize,
    ready: usize,
    begin_interval_us: f64,
    begin_at_us: f64,
    dice: Dice,
    buffer: Vec<u8>,
    ack: Vec<u8>,
    output: Vec<u8>,
}

impl Clients {
    /// Clients of which none is connected yet, what connects them, and the VAPID key that they restrict their channels to.
    pub fn new(settings: &Settings, dialer: Dialer, key: Option<String>) -> Self {
        let client = || Client {
            stream: None,
            state: State::Away,
            is_back: false,
            attempts: 0,
            uaid: None,
            registered: 0,
            unread: Vec::new(),
            unsent: Vec::new(),
            began_us: 0,
            greeted_us: 0,
            acked_us: 0,
        };
        let upgrade = |server: &Server| dialect::upgrade(&server.authority, &server.path);
        Self {
            clients: (0..settings.clients).map(|_| client()).collect(),
            paths: vec![None; settings.clients as usize * settings.channels as usize],
            dialect: settings.dialect,
            channels: settings.channels,
            acknowledges: settings.ack,
            dialer,
            servers: settings.ws.iter().map(|server| (server.clone(), upgrade(server))).collect(),
            sources: settings.source.clone(),
            takes_any_authority: !settings.http.is_empty(),
            origin: None,
            key,
            admitted: 0,
            begun: 0,
            returning: VecDeque::new(),
            connecting: 0,
            connecting_max: settings.connecting_max as usize,
            ready: 0,
            begin_interval_us: if settings.connect_rate > 0.0 { 1e6 / settings.connect_rate } else { 0.0 },
            begin_at_us: 0.0,
            dice: Dice::new(u64::from(settings.clients)),
            buffer: vec![0; READ_MAX],
            ack: Vec::new(),
            output: Vec::new(),
        }
    }

    /// Lets clients up to this number connect.
    pub fn admit(&mut self, count: u32) {
        self.admitted = (count as usize).min(self.clients.len());
    }

    /// Clients with all their endpoints.
    pub fn ready(&self) -> usize {
        self.ready
    }

    /// Whether all that may connect are ready.
    pub fn are_ready(&self) -> bool {
        self.ready == self.admitted
    }

    /// Scheme and authority of the server that the endpoints name.
    pub fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }

    /// The path of the endpoint of a slot. `None`: it has none.
    pub fn path(&self, slot: u32) -> Option<&str> {
        self.paths.get(slot as usize)?.as_deref()
    }

    /// When the next connection is to be begun. `None`: not before something else happens.
    pub fn due_us(&self, now_us: u64) -> Option<u64> {
        if self.connecting >= self.connecting_max {
            return None;
        }
        let someone_us =
            if self.begun < self.admitted { now_us } else { self.returning.front().map(|(at, _)| *at)? };
        Some(someone_us.max(self.begin_at_us as u64))
    }

    /// Begins the connections that are due.
    pub fn begin_due(&mut self, registry: &Registry, now_us: u64, book: &mut Book) {
        while self.due_us(now_us).is_some_and(|due_us| due_us <= now_us) {
            let number = match self.returning.front() {
                Some((at_us, number)) if *at_us <= now_us => {
                    let number = *number as usize;
                    self.returning.pop_front();
                    number
                }
                Some(_) | None => {
                    self.begun += 1;
                    self.begun - 1
                }
            };
            let earliest_us = now_us.saturating_sub(BURST_US) as f64;
            self.begin_at_us = self.begin_at_us.max(earliest_us) + self.begin_interval_us;
            self.begin(number, registry, now_us, book);
        }
    }

    /// Each client has another first server, and each attempt goes to the next: who comes back has moved.
    fn server_of(&self, number: usize) -> usize {
        (number + self.clients[number].attempts as usize) % self.servers.len()
    }

    fn begin(&mut self, number: usize, registry: &Registry, now_us: u64, book: &mut Book) {
        self.clients[number].attempts += 1;
        let (server, _) = &self.servers[self.server_of(number)];
        let source = match self.sources.len() {
            0 => None,
            count => Some(self.sources[number % count].of(number / count)),
        };
        let opened = self.dialer.open(server, source.map(IpAddr::from), registry, Token(number));
        let client = &mut self.clients[number];
        match opened {
            Ok(stream) => {
                client.stream = Some(stream);
                client.state = State::Connecting;
                client.began_us = now_us;
                self.connecting += 1;
            }
            Err(error) => {
                book.stats.failure(&format!("connect: {}", error.kind()));
                self.come_back(number, now_us + RETRY_US);
            }
        }
    }

    /// Deals with what has happened to a socket.
    pub fn event(&mut self, event: &Event, now_us: u64, book: &mut Book) {
        let number = event.token().0;
        if self.clients.get(number).is_none_or(|client| client.stream.is_none()) {
            return;
        }
        let result = if event.is_writable() { self.writable(number) } else { Ok(()) };
        let is_writable_alone =
            !(event.is_readable() || event.is_read_closed() || event.is_error() || event.is_write_closed());
        let result = match result {
            Ok(()) if is_writable_alone => Ok(()),
            Ok(()) => self
                .readable(number, event.is_read_closed(), now_us, book)
                // A handshake that has ended lets the first bytes go.
                .and_then(|()| self.send_unsent(number)),
            Err(reason) => Err(reason),
        };
        if let Err(reason) = result {
            book.stats.failure(&reason);
            self.end(number, now_us + RETRY_US);
        }
    }

    fn writable(&mut self, number: usize) -> Result<(), Reason> {
        let client = &mut self.clients[number];
        if client.state == State::Connecting {
            let Some(stream) = &client.stream else { return Ok(()) };
            if let Ok(Some(error)) | Err(error) = stream.tcp().take_error() {
                return Err(format!("connect: {}", error.kind()));
            }
            match stream.tcp().peer_addr() {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(format!("connect: {}", error.kind())),
            }
            client.state = State::Upgrading;
            let (_, upgrade) = &self.servers[self.server_of(number)];
            return self.clients[number].send(upgrade.as_bytes());
        }
        self.send_unsent(number)
    }

    fn send_unsent(&mut self, number: usize) -> Result<(), Reason> {
        let client = &mut self.clients[number];
        let unsent = std::mem::take(&mut client.unsent);
        client.send(&unsent)
    }

    fn readable(
        &mut self,
        number: usize,
        until_end: bool,
        now_us: u64,
        book: &mut Book,
    ) -> Result<(), Reason> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = loop {
            let Some(stream) = &mut self.clients[number].stream else { break Ok(()) };
            match stream.read(&mut buffer) {
                Ok(0) => break Err("closed without a Close".to_owned()),
                Ok(length) => {
                    if let Err(reason) = self.take(number, &buffer[..length], now_us, book) {
                        break Err(reason);
                    }
                    let stream = self.clients[number].stream.as_ref();
                    let is_empty = stream.is_none_or(Connection::is_emptied_by_a_short_read);
                    if is_empty && length < buffer.len() && !until_end {
                        break Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(format!("read: {}", error.kind())),
            }
        };
        self.buffer = buffer;
        result
    }

    /// Takes bytes from a socket, with those that were left over before.
    fn take(&mut self, number: usize, bytes: &[u8], now_us: u64, book: &mut Book) -> Result<(), Reason> {
        let mut unread = std::mem::take(&mut self.clients[number].unread);
        if unread.is_empty() {
            let taken = self.digest(number, bytes, now_us, book)?;
            unread.extend_from_slice(&bytes[taken..]);
        } else {
            unread.extend_from_slice(bytes);
            let taken = self.digest(number, &unread, now_us, book)?;
            unread.drain(..taken);
        }
        if !unread.is_empty() {
            self.clients[number].unread = unread;
        }
        Ok(())
    }

    /// Takes everything that is complete, and returns how many bytes that was.
    fn digest(&mut self, number: usize, bytes: &[u8], now_us: u64, book: &mut Book) -> Result<usize, Reason> {
        let mut taken = 0;
        if self.clients[number].state == State::Upgrading {
            let Some(head) = http::head(bytes).map_err(|error| error.to_string())? else { return Ok(0) };
            if head.status != 101 || !head.accepts {
                return Err(format!("upgrade answered with {}", head.status));
            }
            taken = head.length;
            self.greet(number, now_us)?;
        }
        while let Some((frame, length)) = frame::read(&bytes[taken..]).map_err(|error| error.to_string())? {
            taken += length;
            match frame {
                Frame::Message(message) => self.message(number, message, now_us, book)?,
                Frame::Ping(payload) => self.send(number, Frame::Pong(payload))?,
                Frame::Pong(_) => {}
                Frame::Close(code) => {
                    // The server waits for the answer; it may be gone already.
                    let _ = self.send(number, Frame::Close(code));
                    return Err(format!("closed with {code}"));
                }
            }
        }
        Ok(taken)
    }

    fn greet(&mut self, number: usize, now_us: u64) -> Result<(), Reason> {
        let client = &mut self.clients[number];
        client.state = State::Greeting;
        client.greeted_us = now_us;
        let text = self.dialect.hello(number as u32, client.uaid, client.registered);
        self.send(number, Frame::Message(text.as_bytes()))
    }

    fn message(&mut self, number: usize, message: &[u8], now_us: u64, book: &mut Book) -> Result<(), Reason> {
        let client = &mut self.clients[number];
        let first_slot = number as u32 * self.channels;
        match self.dialect.understand(number as u32, message) {
            Said::Hello(uaid) => {
                book.stats.hello.record(now_us.saturating_sub(client.greeted_us));
                if client.uaid.replace(uaid).is_some_and(|former| former != uaid) {
                    book.stats.renamed += 1;
                    client.registered = 0;
                    self.paths[first_slot as usize..][..self.channels as usize].fill(None);
                }
                self.register_next(number, now_us, book)
            }
            Said::Registered { channel, endpoint } => {
                if channel == client.registered && channel < self.channels {
                    let path = self.path_of(&endpoint)?;
                    self.paths[(first_slot + channel) as usize] = Some(path);
                    self.clients[number].registered += 1;
                }
                self.register_next(number, now_us, book)
            }
            Said::Notified(notified) => {
                for one in &notified {
                    let delivery =
                        book.ledger.delivered(one.number, first_slot + one.channel, &one.id, now_us);
                    book.stats.delivery(delivery);
                }
                if !self.acknowledges || notified.is_empty() {
                    return Ok(());
                }
                let mut ack = std::mem::take(&mut self.ack);
                ack.clear();
                self.dialect.ack(&mut ack, &notified);
                let result = self.send(number, Frame::Message(&ack));
                self.ack = ack;
                self.clients[number].acked_us = now_us;
                result
            }
            Said::Nothing => Ok(()),
            Said::Refused(reason) => Err(reason),
        }
    }

    /// Registers the next channel; with none left, the client is ready.
    fn register_next(&mut self, number: usize, now_us: u64, book: &mut Book) -> Result<(), Reason> {
        let client = &mut self.clients[number];
        let next = client.registered;
        if next < self.channels {
            client.state = State::Registering;
            let text = self.dialect.register(number as u32, next, self.key.as_deref());
            return self.send(number, Frame::Message(text.as_bytes()));
        }
        if client.state != State::Ready {
            client.state = State::Ready;
            let times = if client.is_back { &mut book.stats.reconnect } else { &mut book.stats.connect };
            times.record(now_us.saturating_sub(client.began_us));
            client.is_back = true;
            self.connecting -= 1;
            self.ready += 1;
        }
        Ok(())
    }

    /// The path of an endpoint. All endpoints name one server, unless others are used anyway.
    fn path_of(&mut self, endpoint: &str) -> Result<Box<str>, Reason> {
        let parts = route::split(endpoint, "http").or_else(|| route::split(endpoint, "https"));
        let (_, path) = parts.ok_or_else(|| "an endpoint that is no URL".to_owned())?;
        let origin = endpoint.strip_suffix(path).unwrap_or(endpoint);
        let known = self.origin.get_or_insert_with(|| origin.to_owned());
        if known != origin && !self.takes_any_authority {
            return Err("endpoints name several servers; --http says which to use".to_owned());
        }
        Ok(path.into())
    }

    fn send(&mut self, number: usize, frame: Frame<'_>) -> Result<(), Reason> {
        let mut output = std::mem::take(&mut self.output);
        output.clear();
        frame::write(&mut output, frame, self.dice.mask());
        let result = self.clients[number].send(&output);
        self.output = output;
        result
    }

    /// Drops the connection of a client, which then comes back at `back_us`. Whether there was one.
    pub fn end(&mut self, number: usize, back_us: u64) -> bool {
        let client = &mut self.clients[number];
        match client.state {
            State::Away => return false,
            State::Ready => self.ready -= 1,
            State::Connecting | State::Upgrading | State::Greeting | State::Registering => {
                self.connecting -= 1;
            }
        }
        client.state = State::Away;
        // The event queue forgets a socket that is closed.
        client.stream = None;
        client.unread = Vec::new();
        client.unsent = Vec::new();
        self.come_back(number, back_us);
        true
    }

    /// Whoever comes back at once goes before those that have to wait.
    fn come_back(&mut self, number: usize, at_us: u64) {
        match self.returning.front() {
            Some((first_us, _)) if at_us < *first_us => self.returning.push_front((at_us, number as u32)),
            Some(_) | None => self.returning.push_back((at_us, number as u32)),
        }
    }

    /// Drops the connection of one ready client, whichever, whose acknowledgements have been read: its next hello may overtake
    /// one that has not, and then it is sent the same again.
    pub fn drop_one(&mut self, now_us: u64, book: &mut Book) {
        // With nearly all of them ready, a few tries find one.
        for _ in 0..8 {
            let number = self.dice.below(self.clients.len());
            let client = &self.clients[number];
            if client.state == State::Ready && now_us.saturating_sub(client.acked_us) > ACK_LIMIT_US {
                book.stats.dropped += u64::from(self.end(number, now_us));
                return;
            }
        }
    }

    /// Drops the connections of `count` clients, whichever, for good.
    pub fn leave(&mut self, count: usize) {
        let mut staying: Vec<u32> = (0..self.clients.len() as u32).collect();
        for _ in 0..count.min(staying.len()) {
            let number = staying.swap_remove(self.dice.below(staying.len()));
            self.end(number as usize, u64::MAX);
        }
        self.admitted = staying.len();
        staying.sort_unstable();
        self.returning.retain(|(_, number)| staying.binary_search(number).is_ok());
    }

    /// Drops the connections of the first `count` clients.
    pub fn drop_many(&mut self, count: usize, now_us: u64, book: &mut Book) {
        for number in 0..count.min(self.clients.len()) {
            book.stats.dropped += u64::from(self.end(number, now_us));
        }
    }

    /// Gives connections up that take too long. To be called now and then.
    pub fn end_late(&mut self, now_us: u64, book: &mut Book) {
        if self.connecting == 0 {
            return;
        }
        for number in 0..self.begun {
            let client = &self.clients[number];
            let is_late = now_us.saturating_sub(client.began_us) > CONNECT_LIMIT_US;
            if is_late && !matches!(client.state, State::Ready | State::Away) {
                book.stats.failure(&format!("no answer while {:?}", client.state));
                self.end(number, now_us + RETRY_US);
            }
        }
    }
}
