//! A Web Push user agent with one channel: keeps itself connected under the same UAID, and decrypts what arrives.

use super::{
    encryption::DeviceKeys,
    message::{Acknowledged, Received, Reply, Request},
};
use crate::{
    backoff::Backoff,
    error::Error,
    keep_alive::{KeptAlive, text_of},
    raw::{self, RawSocket},
    user_agent::{chance, new_channel},
};
use beckon_types::Spelling;
use std::{
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    time::Duration,
};
use tokio::time::{Sleep, sleep, timeout};

/// What a device has to remember to be the same one after a restart.
#[derive(Debug)]
pub struct Identity {
    /// The UAID, a secret. `None` before the first hello.
    pub uaid: Option<String>,
    /// The channel, in UUID syntax.
    pub channel: String,
    /// The keys.
    pub keys: DeviceKeys,
    /// The one application server that may send: its VAPID key in base64url. `None`: anyone who has the endpoint.
    pub restricted_to: Option<String>,
}

impl Identity {
    /// A device that no server knows yet.
    pub fn new(keys: DeviceKeys, restricted_to: Option<String>) -> Self {
        let channel = new_channel().to_text(Spelling::HYPHENATED);
        Self { uaid: None, channel, keys, restricted_to }
    }
}

/// How a device behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// How to open the WebSocket.
    pub socket: raw::Options,
    /// Time limit for each reply. 10 s by default.
    pub reply_limit: Duration,
    /// How long the connection may be quiet before a ping is sent. 30 minutes by default, as in browsers; not below the
    /// server's `ping_min_wp` (PROTOCOL.md section 1.8).
    pub ping_interval: Duration,
    /// How long to wait between attempts to reconnect.
    pub backoff: Backoff,
}

impl Default for Options {
    fn default() -> Self {
        let socket = raw::Options { subprotocols: Vec::new(), ..raw::Options::default() };
        Self {
            socket,
            reply_limit: Duration::from_secs(10),
            ping_interval: Duration::from_secs(30 * 60),
            backoff: Backoff::default(),
        }
    }
}

/// What happens to a device.
#[derive(Debug)]
pub enum Event {
    /// A message has arrived and is acknowledged with the next call.
    Message(Content),
    /// The device is connected. `endpoint` has changed if the server no longer knew its UAID.
    Connected {
        /// Where application servers send.
        endpoint: String,
    },
    /// The connection was lost or could not be made. The next call waits and tries again.
    Disconnected {
        /// Why.
        error: Error,
        /// How long it waits.
        retry_in: Duration,
    },
}

/// What a message says.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    /// Its content.
    Decrypted(Vec<u8>),
    /// It has none, and only wakes the device.
    Empty,
    /// It is damaged, or encrypted with keys of another device.
    Undecryptable,
}

impl Content {
    /// The code of its acknowledgement (PROTOCOL.md section 4.6).
    fn code(&self) -> u16 {
        match self {
            Self::Decrypted(_) | Self::Empty => 100,
            Self::Undecryptable => 101,
        }
    }
}

/// A device. It makes progress only while [`Device::next_event`] is awaited; dropping that future loses nothing.
#[derive(Debug)]
pub struct Device {
    url: String,
    options: Options,
    identity: Identity,
    link: Link,
    /// Attempts that failed since the last successful register.
    failures: u32,
    /// Messages that arrived before the reply to the register.
    early: VecDeque<Received>,
    /// The message of the last event: version and code. The caller has it now, so it is acknowledged.
    handled: Option<(String, u16)>,
}

#[derive(Debug)]
enum Link {
    Up(Box<KeptAlive>),
    Down { wait: Pin<Box<Sleep>> },
}

impl Device {
    /// A device that connects to this WebSocket URL when it is first asked for an event.
    pub fn new(url: &str, identity: Identity, options: Options) -> Self {
        let link = Link::Down { wait: Box::pin(sleep(Duration::ZERO)) };
        Self {
            url: url.to_owned(),
            options,
            identity,
            link,
            failures: 0,
            early: VecDeque::new(),
            handled: None,
        }
    }

    /// What to remember.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Ends the connection without a farewell. The identity can connect elsewhere.
    pub fn into_identity(self) -> Identity {
        self.identity
    }

    /// Acknowledges the message of the last event, waits for the next one, and reconnects if the connection is lost.
    pub async fn next_event(&mut self) -> Event {
        match self.step().await {
            Ok(event) => event,
            Err(error) => {
                let mut asked = Duration::ZERO;
                if let Error::Refused { retry_after: Some(wait), .. } = &error {
                    asked = *wait;
                }
                let retry_in = asked + self.options.backoff.wait(self.failures, chance());
                self.failures = self.failures.saturating_add(1);
                self.link = Link::Down { wait: Box::pin(sleep(retry_in)) };
                // What was not acknowledged is sent again.
                self.handled = None;
                Event::Disconnected { error, retry_in }
            }
        }
    }

    async fn step(&mut self) -> Result<Event, Error> {
        if let Link::Down { wait } = &mut self.link {
            wait.as_mut().await;
            let endpoint = self.open().await?;
            return Ok(Event::Connected { endpoint });
        }
        self.acknowledge().await?;
        loop {
            let received = match self.early.pop_front() {
                Some(received) => Some(received),
                None => self.listen().await?,
            };
            if let Some(received) = received {
                let content = self.read(&received);
                self.handled = Some((received.version, content.code()));
                return Ok(Event::Message(content));
            }
        }
    }

    fn read(&self, received: &Received) -> Content {
        match &received.payload {
            None => Content::Empty,
            Some(payload) => {
                self.identity.keys.decrypt(payload).map_or(Content::Undecryptable, Content::Decrypted)
            }
        }
    }

    async fn acknowledge(&mut self) -> Result<(), Error> {
        let (Some((version, code)), Link::Up(connection)) = (&self.handled, &mut self.link) else {
            return Ok(());
        };
        let update = Acknowledged { channel: &self.identity.channel, version, code: *code };
        let sent = connection.socket.send_text(Request::Ack { updates: &[update] }.to_text());
        within(self.options.reply_limit, sent).await?;
        self.handled = None;
        Ok(())
    }

    /// Waits for one message, or sends the ping that is due.
    async fn listen(&mut self) -> Result<Option<Received>, Error> {
        let (interval, limit) = (self.options.ping_interval, self.options.reply_limit);
        let Link::Up(connection) = &mut self.link else { return Err(Error::Gone) };
        let Some(text) = connection.next_text(interval, limit).await? else { return Ok(None) };
        match Reply::parse(&text)? {
            Reply::Notification(received) => Ok(Some(received)),
            Reply::Error { status, error, .. } => Err(Error::Rejected { status, error }),
            Reply::Pong
            | Reply::Hello { .. }
            | Reply::Registered { .. }
            | Reply::Unregistered { .. }
            | Reply::Broadcast(_)
            | Reply::Urgency => Ok(None),
        }
    }

    /// Opens a socket, says hello and registers the channel, which returns the endpoint that it has already if the server
    /// knows it.
    async fn open(&mut self) -> Result<String, Error> {
        let limit = self.options.reply_limit;
        let mut socket = RawSocket::connect(&self.url, &self.options.socket).await?;
        let uaid = self.identity.uaid.as_deref();
        let hello = Request::Hello { use_webpush: true, uaid, broadcasts: BTreeMap::new() };
        socket.send_text(hello.to_text()).await?;
        let greeting = within(limit, reply(&mut socket)).await?;
        let Reply::Hello { uaid, .. } = greeting else { return Err(unexpected(greeting)) };
        // Also if nothing more comes: what is registered then belongs to it.
        self.identity.uaid = Some(uaid);
        let Identity { channel, restricted_to, .. } = &self.identity;
        let register = Request::Register { channel, key: restricted_to.as_deref() };
        socket.send_text(register.to_text()).await?;
        let mut early = VecDeque::new();
        let registered = async {
            loop {
                let reply = reply(&mut socket).await?;
                if let Reply::Registered { endpoint, .. } = reply {
                    return Ok(endpoint);
                }
                let Reply::Notification(received) = reply else { return Err(unexpected(reply)) };
                early.push_back(received);
            }
        };
        let endpoint = within(limit, registered).await?;
        self.early = early;
        self.link = Link::Up(Box::new(KeptAlive::new(socket, self.options.ping_interval)));
        self.failures = 0;
        Ok(endpoint)
    }
}

/// The next message of the server.
async fn reply(socket: &mut RawSocket) -> Result<Reply, Error> {
    loop {
        if let Some(text) = text_of(socket.receive().await?)? {
            return Reply::parse(&text);
        }
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(limit, work).await.unwrap_or(Err(Error::TimedOut(limit)))
}

fn unexpected(reply: Reply) -> Error {
    if let Reply::Error { status, error, .. } = reply {
        return Error::Rejected { status, error };
    }
    Error::Unexpected(format!("{reply:?}"))
}
