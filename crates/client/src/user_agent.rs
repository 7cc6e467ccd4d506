//! A user agent: says hello, registers channels, and keeps itself connected under the same UAID.

use crate::{
    backoff::Backoff,
    error::Error,
    keep_alive::{KeptAlive, text_of},
    message::{self, Acknowledged, Reply, Request},
    raw::{self, Frame, RawSocket},
};
use beckon_types::{ChannelId, Spelling, Uaid, Version};
use std::{collections::VecDeque, pin::Pin, time::Duration};
use tokio::time::{Sleep, sleep, timeout};

/// How many redirects in a row are followed. After one more, the user agent waits and starts again at its own URL.
const REDIRECTS_MAX: u32 = 3;

/// How a user agent behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// How to open the WebSocket.
    pub socket: raw::Options,
    /// The UAID of an earlier connection. None by default: the server assigns one.
    pub uaid: Option<Uaid>,
    /// The channels that were registered under that UAID. None by default.
    pub channels: Vec<ChannelId>,
    /// Time limit for each reply. 10 s by default. Without a reply the connection is closed with [`Error::TimedOut`].
    pub reply_limit: Duration,
    /// How long the connection may be quiet before a ping is sent. 30 minutes by default, as in browsers; not below the
    /// server's `ping_min_sp` (PROTOCOL.md section 1.8).
    pub ping_interval: Duration,
    /// How long to wait between attempts to reconnect.
    pub backoff: Backoff,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            socket: raw::Options::default(),
            uaid: None,
            channels: Vec::new(),
            reply_limit: Duration::from_secs(10),
            ping_interval: Duration::from_secs(30 * 60),
            backoff: Backoff::default(),
        }
    }
}

/// A version that an application server wrote to a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The channel.
    pub channel: ChannelId,
    /// The version.
    pub version: Version,
    /// The data that came with it, only in the first transmission.
    pub data: Option<String>,
}

/// What happens to a user agent.
#[derive(Debug)]
pub enum Event {
    /// Application servers wrote these versions. Confirm them with [`UserAgent::acknowledge`], or they are sent again.
    Notification(Vec<Update>),
    /// The user agent is connected again.
    Connected {
        /// Whether the server assigned another UAID. All channels have then been registered again, and an
        /// [`Event::NewEndpoint`] follows for each: the former endpoints no longer work.
        new_uaid: bool,
    },
    /// A channel has a new endpoint.
    NewEndpoint {
        /// The channel.
        channel: ChannelId,
        /// Where application servers send from now on.
        endpoint: String,
    },
    /// The connection was lost or could not be made. The next [`UserAgent::next_event`] waits and tries again.
    Disconnected {
        /// Why.
        error: Error,
        /// How long it waits.
        retry_in: Duration,
    },
}

impl TryFrom<message::Update> for Update {
    type Error = Error;

    fn try_from(update: message::Update) -> Result<Self, Error> {
        let unexpected = |what: String| Error::Unexpected(format!("an update with {what}"));
        let (channel, _) = ChannelId::parse(&update.channel)
            .map_err(|error| unexpected(format!("a channelID that is {error}")))?;
        let version = Version::new(update.version)
            .map_err(|_| unexpected(format!("the version {}", update.version)))?;
        Ok(Self { channel, version, data: update.data })
    }
}

#[derive(Debug)]
enum Link {
    Up(Box<KeptAlive>),
    Down { wait: Pin<Box<Sleep>> },
}

/// A SimplePush user agent (PROTOCOL.md section 2).
///
/// It makes progress only while one of its methods is awaited; call [`UserAgent::next_event`] in a loop. Dropping a
/// future loses no notification.
#[derive(Debug)]
pub struct UserAgent {
    url: String,
    /// Where the server has redirected the user agent to, if it has.
    redirected: Option<String>,
    redirects: u32,
    options: Options,
    uaid: Option<Uaid>,
    channels: Vec<ChannelId>,
    /// The server has assigned another UAID, under which not all channels are registered yet.
    registers_again: bool,
    link: Link,
    /// Attempts that failed since the last successful hello.
    failures: u32,
    events: VecDeque<Event>,
}

impl UserAgent {
    /// One that connects in [`UserAgent::next_event`], the first time, too.
    pub fn new(url: &str, options: Options) -> Self {
        Self {
            url: url.to_owned(),
            redirected: None,
            redirects: 0,
            uaid: options.uaid,
            channels: options.channels.clone(),
            registers_again: false,
            link: Link::Down { wait: Box::pin(sleep(Duration::ZERO)) },
            failures: 0,
            events: VecDeque::new(),
            options,
        }
    }

    /// Connects and says hello. Only the first connection can fail; [`UserAgent::next_event`] repeats later attempts.
    ///
    /// # Errors
    ///
    /// Those of [`RawSocket::connect`]; [`Error::Rejected`] if the server redirects the user agent too often or has no
    /// room for it; [`Error::TimedOut`], [`Error::Closed`], [`Error::Gone`] or [`Error::Unexpected`] if the hello gets no
    /// usable reply.
    pub async fn connect(url: &str, options: Options) -> Result<Self, Error> {
        let mut agent = Self::new(url, options);
        let new_uaid = loop {
            match agent.open().await {
                Ok(new_uaid) => break new_uaid,
                Err(_) if agent.redirected.is_some() => {}
                Err(error) => return Err(error),
            }
        };
        // The caller asked for this connection, so the only news is that its UAID was not accepted.
        if new_uaid && agent.options.uaid.is_some() {
            agent.events.push_front(Event::Connected { new_uaid });
        }
        Ok(agent)
    }

    /// The UAID, a secret: anyone who knows it can act as this user agent. `None` until the first hello has succeeded.
    pub fn uaid(&self) -> Option<Uaid> {
        self.uaid
    }

    /// The registered channels.
    pub fn channels(&self) -> &[ChannelId] {
        &self.channels
    }

    /// Registers a channel, which the user agent chooses ([`new_channel`]), and returns its endpoint. Registering a
    /// channel again returns the same endpoint.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] with status 500 if the server could not store the channel or has too many for this user
    /// agent; the connection stays open. After any other error the connection is closed, and [`UserAgent::next_event`]
    /// reconnects: [`Error::Rejected`], [`Error::TimedOut`], [`Error::Closed`], [`Error::Gone`], [`Error::Unexpected`]
    /// or [`Error::Failed`].
    pub async fn register(&mut self, channel: ChannelId) -> Result<String, Error> {
        let text = channel_text(channel);
        let reply = self.request(&Request::Register { channel: &text }, answers_register(&text)).await?;
        let endpoint = endpoint_of(reply)?;
        if !self.channels.contains(&channel) {
            self.channels.push(channel);
        }
        Ok(endpoint)
    }

    /// Unregisters a channel; nothing more is delivered for it.
    ///
    /// # Errors
    ///
    /// As for [`UserAgent::register`]; with status 500 the channel is still registered.
    pub async fn unregister(&mut self, channel: ChannelId) -> Result<(), Error> {
        let text = channel_text(channel);
        let is_reply = |reply: &Reply| matches!(reply, Reply::Unregistered { channel: of } if *of == text);
        self.request(&Request::Unregister { channel: &text }, is_reply).await?;
        self.channels.retain(|known| *known != channel);
        for event in &mut self.events {
            if let Event::Notification(updates) = event {
                updates.retain(|update| update.channel != channel);
            }
        }
        self.events.retain(|event| !matches!(event, Event::Notification(updates) if updates.is_empty()));
        Ok(())
    }

    /// Confirms updates, so that they are not sent again. The server does not reply, so success means only that the
    /// acknowledgement was sent.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Gone`] or [`Error::Failed`]: the updates will be sent again on the next connection.
    pub async fn acknowledge(&mut self, updates: &[Update]) -> Result<(), Error> {
        if updates.is_empty() {
            return Ok(());
        }
        let channels: Vec<_> = updates.iter().map(|update| channel_text(update.channel)).collect();
        let entries: Vec<_> = updates
            .iter()
            .zip(&channels)
            .map(|(update, channel)| Acknowledged { channel, version: update.version.number() })
            .collect();
        self.send(&Request::Ack { updates: &entries }).await
    }

    /// Sends a ping and waits for the answer. The server closes the connection if pings follow each other faster than
    /// its `ping_min_sp` (20 s by default).
    ///
    /// # Errors
    ///
    /// The connection is closed, and [`UserAgent::next_event`] reconnects: [`Error::Rejected`] after too many pings,
    /// [`Error::TimedOut`], [`Error::Closed`], [`Error::Gone`], [`Error::Unexpected`] or [`Error::Failed`].
    pub async fn ping(&mut self) -> Result<(), Error> {
        self.request(&Request::Ping, |reply| matches!(reply, Reply::Pong)).await.map(drop)
    }

    /// Waits for the next event, and reconnects if the connection is lost.
    pub async fn next_event(&mut self) -> Event {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            let step = match &mut self.link {
                Link::Down { wait } => {
                    wait.as_mut().await;
                    self.reopen().await
                }
                Link::Up { .. } => self.listen().await,
            };
            if let Err(error) = step {
                return self.lost(error);
            }
        }
    }

    /// Closes the WebSocket with 1000 and waits for the server's Close, within the reply limit.
    pub async fn close(mut self) {
        if let Link::Up(connection) = &mut self.link {
            let farewell = async {
                connection.socket.send_close(1000).await?;
                while connection.socket.receive().await? != Frame::End {}
                Ok::<(), Error>(())
            };
            // The connection is dropped in any case.
            let _ = timeout(self.options.reply_limit, farewell).await;
        }
    }

    /// Waits for one message, or sends the ping that is due.
    async fn listen(&mut self) -> Result<(), Error> {
        let (interval, limit) = (self.options.ping_interval, self.options.reply_limit);
        let Link::Up(connection) = &mut self.link else { return Err(Error::Gone) };
        match connection.next_text(interval, limit).await? {
            None => Ok(()),
            Some(text) => take_unasked(Reply::parse(&text)?, &mut self.events),
        }
    }

    async fn send(&mut self, request: &Request<'_>) -> Result<(), Error> {
        let limit = self.options.reply_limit;
        let Link::Up(connection) = &mut self.link else { return Err(Error::Gone) };
        let sent = match timeout(limit, connection.socket.send_text(request.to_text())).await {
            Ok(sent) => sent,
            Err(_) => Err(Error::TimedOut(limit)),
        };
        self.gone_after(sent)
    }

    /// Sends a request and waits for the reply that `is_reply` accepts. Anything else that arrives is kept for
    /// [`UserAgent::next_event`].
    async fn request(
        &mut self,
        request: &Request<'_>,
        is_reply: impl Fn(&Reply) -> bool,
    ) -> Result<Reply, Error> {
        self.send(request).await?;
        let limit = self.options.reply_limit;
        let Link::Up(connection) = &mut self.link else { return Err(Error::Gone) };
        let reply = reply_within(limit, &mut connection.socket, &mut self.events, is_reply).await;
        self.gone_after(reply)
    }

    /// Drops the connection after an error that it does not survive. The caller of the request gets the error;
    /// [`UserAgent::next_event`] reconnects.
    fn gone_after<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        // After a register or unregister that could not be stored, the server leaves the socket open.
        if let Err(error) = &result
            && !matches!(error, Error::Rejected { status: 500, .. })
        {
            let wait = self.options.backoff.wait(self.failures, chance());
            self.link = Link::Down { wait: Box::pin(sleep(wait)) };
        }
        result
    }

    async fn reopen(&mut self) -> Result<(), Error> {
        let new_uaid = self.open().await?;
        self.events.push_front(Event::Connected { new_uaid });
        Ok(())
    }

    /// Opens a socket, says hello, and registers the channels again if the server assigned another UAID; returns whether
    /// it did. An attempt that fails changes where the next one connects to, and the UAID if there was a reply: what was registered
    /// belongs to it.
    async fn open(&mut self) -> Result<bool, Error> {
        let limit = self.options.reply_limit;
        let url = self.redirected.take().unwrap_or_else(|| self.url.clone());
        let mut socket = RawSocket::connect(&url, &self.options.socket).await?;
        let texts: Vec<String> = self.channels.iter().copied().map(channel_text).collect();
        let channels: Vec<&str> = texts.iter().map(String::as_str).collect();
        let uaid = self.uaid.map(|uaid| uaid.to_text(Spelling::PLAIN));
        socket.send_text(Request::Hello { uaid: uaid.as_deref(), channels: &channels }.to_text()).await?;
        let mut events = VecDeque::new();
        let is_hello = |reply: &Reply| matches!(reply, Reply::Hello { .. });
        let uaid = match reply_within(limit, &mut socket, &mut events, is_hello).await? {
            Reply::Hello { status: 200, uaid, .. } => {
                let parsed = Uaid::parse(&uaid);
                parsed.map_err(|error| Error::Unexpected(format!("a UAID that is {error}")))?.0
            }
            Reply::Hello { status, redirect, .. } => {
                (self.redirected, self.redirects) = match redirect {
                    Some(url) if self.redirects < REDIRECTS_MAX => (Some(url), self.redirects + 1),
                    Some(_) | None => (None, 0),
                };
                return Err(Error::Rejected { status, error: "go to another node".to_owned() });
            }
            other @ (Reply::Pong
            | Reply::Registered { .. }
            | Reply::Unregistered { .. }
            | Reply::Notification(_)
            | Reply::Error { .. }) => return Err(Error::Unexpected(format!("{other:?}"))),
        };
        self.registers_again |= self.uaid.replace(uaid) != Some(uaid);
        let new_uaid = self.registers_again;
        if new_uaid {
            for (&channel, text) in self.channels.iter().zip(&texts) {
                socket.send_text(Request::Register { channel: text }.to_text()).await?;
                let reply = reply_within(limit, &mut socket, &mut events, answers_register(text)).await?;
                events.push_back(Event::NewEndpoint { channel, endpoint: endpoint_of(reply)? });
            }
            // Updates that arrived under the former UAID can no longer be acknowledged.
            self.events.retain(|event| !matches!(event, Event::Notification(_)));
            self.registers_again = false;
        }
        self.events.append(&mut events);
        self.link = Link::Up(Box::new(KeptAlive::new(socket, self.options.ping_interval)));
        (self.failures, self.redirects) = (0, 0);
        Ok(new_uaid)
    }

    /// The connection is lost, or could not be made.
    fn lost(&mut self, error: Error) -> Event {
        let retry_in = match (&self.redirected, &error) {
            (Some(_), _) => Duration::ZERO,
            (None, Error::Refused { retry_after: Some(wait), .. }) => {
                *wait + self.options.backoff.wait(self.failures, chance())
            }
            (None, _) => self.options.backoff.wait(self.failures, chance()),
        };
        self.failures = self.failures.saturating_add(1);
        self.link = Link::Down { wait: Box::pin(sleep(retry_in)) };
        Event::Disconnected { error, retry_in }
    }
}

/// A random channel, a UUIDv4.
pub fn new_channel() -> ChannelId {
    let mut bytes = [0; 16];
    fill_random(&mut bytes);
    ChannelId::from_random(bytes)
}

/// A channel as this user agent spells it; the server answers in the same spelling.
fn channel_text(channel: ChannelId) -> String {
    channel.to_text(Spelling::HYPHENATED)
}

pub(crate) fn chance() -> u64 {
    let mut bytes = [0; 8];
    fill_random(&mut bytes);
    u64::from_ne_bytes(bytes)
}

fn fill_random(bytes: &mut [u8]) {
    #[expect(clippy::expect_used, reason = "a system without randomness cannot run TLS either")]
    getrandom::fill(bytes).expect("the system's source of randomness");
}

/// Waits up to `limit` for the reply that `is_reply` accepts. Anything else that arrives goes to `events`.
async fn reply_within(
    limit: Duration,
    socket: &mut RawSocket,
    events: &mut VecDeque<Event>,
    is_reply: impl Fn(&Reply) -> bool,
) -> Result<Reply, Error> {
    let search = async {
        loop {
            let Some(text) = text_of(socket.receive().await?)? else { continue };
            let reply = Reply::parse(&text)?;
            if is_reply(&reply) {
                return Ok(reply);
            }
            take_unasked(reply, events)?;
        }
    };
    timeout(limit, search).await.map_err(|_| Error::TimedOut(limit))?
}

/// Handles a message that is not the reply to the current request.
fn take_unasked(reply: Reply, events: &mut VecDeque<Event>) -> Result<(), Error> {
    match reply {
        Reply::Notification(updates) => {
            let updates = updates.into_iter().map(Update::try_from).collect::<Result<_, _>>()?;
            events.push_back(Event::Notification(updates));
        }
        // The reply to a request whose future was dropped.
        Reply::Pong | Reply::Registered { .. } | Reply::Unregistered { .. } => {}
        Reply::Error { status, error, .. } => return Err(Error::Rejected { status, error }),
        Reply::Hello { .. } => return Err(Error::Unexpected("a second hello reply".to_owned())),
    }
    Ok(())
}

fn answers_register(channel: &str) -> impl Fn(&Reply) -> bool {
    move |reply| matches!(reply, Reply::Registered { channel: of, .. } if of == channel)
}

fn endpoint_of(reply: Reply) -> Result<String, Error> {
    match reply {
        Reply::Registered { endpoint, .. } => Ok(endpoint),
        other @ (Reply::Pong
        | Reply::Hello { .. }
        | Reply::Unregistered { .. }
        | Reply::Notification(_)
        | Reply::Error { .. }) => Err(Error::Unexpected(format!("{other:?}"))),
    }
}
