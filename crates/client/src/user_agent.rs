//! A user agent: says hello, registers channels, and stays connected under the same UAID.

use crate::{
    backoff::Backoff,
    error::{Close, Error},
    message::{Acknowledged, Reply, Request, Update},
    raw::{self, Frame, RawSocket},
};
use beckon_types::{ChannelId, Spelling};
use std::{collections::VecDeque, pin::Pin, time::Duration};
use tokio::time::{Sleep, sleep, timeout};

/// How many redirects in a row are followed before the user agent begins at its first URL again, after a wait.
const REDIRECTS_MAX: u32 = 3;

/// How a user agent behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// How to open the WebSocket.
    pub socket: raw::Options,
    /// A UAID from an earlier connection. None by default: the server gives one.
    pub uaid: Option<String>,
    /// The channels that were registered under that UAID.
    pub channels: Vec<String>,
    /// Time limit for each reply. 10 s by default; then the connection is given up with [`Error::TimedOut`].
    pub reply_limit: Duration,
    /// Send a ping after this long without traffic. 30 minutes by default, as browsers do; not below the
    /// server's `ping_min_sp`.
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

/// What happens to a user agent.
#[derive(Debug)]
pub enum Event {
    /// Application servers wrote these versions. Answer with [`UserAgent::acknowledge`], or they come again.
    Notification(Vec<Update>),
    /// The user agent is connected again.
    Connected {
        /// Whether the server gave it another UAID. Then all its channels have been registered anew, and an
        /// [`Event::NewEndpoint`] for each follows: the former endpoints are of no use any more.
        new_uaid: bool,
    },
    /// A channel has another endpoint than before.
    NewEndpoint {
        /// The channel.
        channel: String,
        /// Where application servers send from now on.
        endpoint: String,
    },
    /// The connection was lost or could not be made. The next [`UserAgent::next_event`] waits, and tries again.
    Disconnected {
        /// Why.
        error: Error,
        /// How long the wait is.
        retry_in: Duration,
    },
}

#[derive(Debug)]
enum Link {
    Up { socket: Box<RawSocket>, quiet: Pin<Box<Sleep>>, pinged: bool },
    Down { wait: Pin<Box<Sleep>> },
}

/// A SimplePush user agent (PROTOCOL.md section 2).
///
/// It does something only while one of its methods is awaited; call [`UserAgent::next_event`] in a loop. A
/// dropped future loses no notification.
#[derive(Debug)]
pub struct UserAgent {
    url: String,
    /// Where the server sent us, if it did.
    redirected: Option<String>,
    redirects: u32,
    options: Options,
    uaid: String,
    channels: Vec<String>,
    link: Link,
    /// Attempts that failed since the last hello that worked.
    failures: u32,
    events: VecDeque<Event>,
}

impl UserAgent {
    /// Connects and says hello. Fails if the first attempt does; later ones are repeated by
    /// [`UserAgent::next_event`].
    pub async fn connect(url: &str, options: Options) -> Result<Self, Error> {
        let mut agent = Self {
            url: url.to_owned(),
            redirected: None,
            redirects: 0,
            uaid: options.uaid.clone().unwrap_or_default(),
            channels: options.channels.clone(),
            link: Link::Down { wait: Box::pin(sleep(Duration::ZERO)) },
            failures: 0,
            events: VecDeque::new(),
            options,
        };
        let new_uaid = loop {
            match agent.open().await {
                Ok(new_uaid) => break new_uaid,
                Err(_) if agent.redirected.is_some() => {}
                Err(error) => return Err(error),
            }
        };
        // The caller asked for this connection; it is news only that the UAID it had was not accepted.
        if new_uaid && agent.options.uaid.is_some() {
            agent.events.push_front(Event::Connected { new_uaid });
        }
        Ok(agent)
    }

    /// The UAID. Whoever knows it can act as this user agent.
    pub fn uaid(&self) -> &str {
        &self.uaid
    }

    /// The registered channels.
    pub fn channels(&self) -> &[String] {
        &self.channels
    }

    /// Registers a channel, a name in UUID syntax that the user agent chooses ([`new_channel`]), and returns its
    /// endpoint. Registering again returns the same endpoint.
    pub async fn register(&mut self, channel: &str) -> Result<String, Error> {
        let reply = self.request(&Request::Register { channel }, answers_register(channel)).await?;
        let endpoint = endpoint_of(reply)?;
        if !self.channels.iter().any(|known| known == channel) {
            self.channels.push(channel.to_owned());
        }
        Ok(endpoint)
    }

    /// Unregisters a channel; nothing more is delivered for it.
    pub async fn unregister(&mut self, channel: &str) -> Result<(), Error> {
        let is_reply = |reply: &Reply| matches!(reply, Reply::Unregistered { channel: of } if of == channel);
        self.request(&Request::Unregister { channel }, is_reply).await?;
        self.channels.retain(|known| known != channel);
        for event in &mut self.events {
            if let Event::Notification(updates) = event {
                updates.retain(|update| update.channel != channel);
            }
        }
        self.events.retain(|event| !matches!(event, Event::Notification(updates) if updates.is_empty()));
        Ok(())
    }

    /// Confirms updates, so that they are not sent again.
    pub async fn acknowledge(&mut self, updates: &[Update]) -> Result<(), Error> {
        if updates.is_empty() {
            return Ok(());
        }
        let entries: Vec<_> = updates
            .iter()
            .map(|update| Acknowledged { channel: &update.channel, version: update.version })
            .collect();
        self.send(&Request::Ack { updates: &entries }).await
    }

    /// Sends a ping and waits for the answer. The server closes the connection if this is done more often than
    /// every `ping_min_sp` (20 s by default).
    pub async fn ping(&mut self) -> Result<(), Error> {
        self.request(&Request::Ping, |reply| matches!(reply, Reply::Pong)).await.map(drop)
    }

    /// Waits for the next thing to happen; reconnects if the connection is lost.
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

    /// Says goodbye: closes the WebSocket with 1000 and waits for the server's answer, within the reply limit.
    pub async fn close(mut self) {
        if let Link::Up { socket, .. } = &mut self.link {
            let farewell = async {
                socket.send_close(1000).await?;
                while socket.receive().await? != Frame::End {}
                Ok::<(), Error>(())
            };
            // The connection ends in any case.
            let _ = timeout(self.options.reply_limit, farewell).await;
        }
    }

    /// Waits for one message, or for the moment to ping.
    async fn listen(&mut self) -> Result<(), Error> {
        let (interval, limit) = (self.options.ping_interval, self.options.reply_limit);
        let Link::Up { socket, quiet, pinged } = &mut self.link else { return Err(Error::Gone) };
        let frame = tokio::select! {
            frame = socket.receive() => frame?,
            () = quiet.as_mut() => {
                if *pinged {
                    return Err(Error::TimedOut(limit));
                }
                (*quiet, *pinged) = (Box::pin(sleep(limit)), true);
                return socket.send_text("{}").await;
            }
        };
        (*quiet, *pinged) = (Box::pin(sleep(interval)), false);
        match text_of(frame)? {
            None => Ok(()),
            Some(text) => take_unasked(Reply::parse(&text)?, &mut self.events),
        }
    }

    async fn send(&mut self, request: &Request<'_>) -> Result<(), Error> {
        let limit = self.options.reply_limit;
        let Link::Up { socket, .. } = &mut self.link else { return Err(Error::Gone) };
        let sent = match timeout(limit, socket.send_text(request.to_text())).await {
            Ok(sent) => sent,
            Err(_) => Err(Error::TimedOut(limit)),
        };
        self.gone_after(sent)
    }

    /// Sends a request and waits for the reply that `is_reply` accepts. What else arrives is kept for
    /// [`UserAgent::next_event`].
    async fn request(
        &mut self,
        request: &Request<'_>,
        is_reply: impl Fn(&Reply) -> bool,
    ) -> Result<Reply, Error> {
        self.send(request).await?;
        let limit = self.options.reply_limit;
        let Link::Up { socket, .. } = &mut self.link else { return Err(Error::Gone) };
        let reply = reply_within(limit, socket, &mut self.events, is_reply).await;
        self.gone_after(reply)
    }

    /// Gives the connection up after an error that it cannot survive. The error goes to the caller of the
    /// request; [`UserAgent::next_event`] reconnects.
    fn gone_after<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        // A register or unregister that the store could not perform leaves the socket open.
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

    /// Opens a socket, says hello, and registers the channels again if the UAID is another one, which is
    /// returned. An attempt that does not come to its end changes nothing but where to go next.
    async fn open(&mut self) -> Result<bool, Error> {
        let limit = self.options.reply_limit;
        let url = self.redirected.take().unwrap_or_else(|| self.url.clone());
        let mut socket = RawSocket::connect(&url, &self.options.socket).await?;
        let channels: Vec<&str> = self.channels.iter().map(String::as_str).collect();
        let uaid = (!self.uaid.is_empty()).then_some(self.uaid.as_str());
        socket.send_text(Request::Hello { uaid, channels: &channels }.to_text()).await?;
        let mut events = VecDeque::new();
        let is_hello = |reply: &Reply| matches!(reply, Reply::Hello { .. });
        let uaid = match reply_within(limit, &mut socket, &mut events, is_hello).await? {
            Reply::Hello { status: 200, uaid, .. } => uaid,
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
        let new_uaid = self.uaid != uaid;
        if new_uaid {
            for channel in &self.channels {
                socket.send_text(Request::Register { channel }.to_text()).await?;
                let reply = reply_within(limit, &mut socket, &mut events, answers_register(channel)).await?;
                let (channel, endpoint) = (channel.clone(), endpoint_of(reply)?);
                events.push_back(Event::NewEndpoint { channel, endpoint });
            }
            // What arrived under the former UAID can no longer be acknowledged.
            self.events.retain(|event| !matches!(event, Event::Notification(_)));
        }
        self.events.append(&mut events);
        self.uaid = uaid;
        let quiet = Box::pin(sleep(self.options.ping_interval));
        self.link = Link::Up { socket: Box::new(socket), quiet, pinged: false };
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

/// A random name for a channel, a UUIDv4 with hyphens.
pub fn new_channel() -> String {
    let mut bytes = [0; 16];
    fill_random(&mut bytes);
    ChannelId::from_random(bytes).to_text(Spelling::HYPHENATED)
}

fn chance() -> u64 {
    let mut bytes = [0; 8];
    fill_random(&mut bytes);
    u64::from_ne_bytes(bytes)
}

fn fill_random(bytes: &mut [u8]) {
    #[expect(clippy::expect_used, reason = "a system without randomness cannot run TLS either")]
    getrandom::fill(bytes).expect("the system's source of randomness");
}

/// Waits for the reply that `is_reply` accepts, at most `limit`. What else arrives goes to `events`.
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

/// Takes a message that is not the reply to a request under way.
fn take_unasked(reply: Reply, events: &mut VecDeque<Event>) -> Result<(), Error> {
    match reply {
        Reply::Notification(updates) => events.push_back(Event::Notification(updates)),
        // The reply to a request whose caller no longer waits.
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

/// The text of a frame; the end of the connection is an error, Pings and Pongs are nothing.
fn text_of(frame: Frame) -> Result<Option<String>, Error> {
    match frame {
        Frame::Text(text) => Ok(Some(text.to_string())),
        Frame::Ping(_) | Frame::Pong(_) => Ok(None),
        Frame::Close(Close { code, reason }) => Err(Error::Closed(Close { code, reason })),
        Frame::End => Err(Error::Gone),
        Frame::Binary(_) => Err(Error::Unexpected("a binary message".to_owned())),
    }
}
