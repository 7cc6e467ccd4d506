//! The device of the probe: one channel, in one dialect, on a socket that its owner opens and closes.

use beckon_client::{
    error::Error,
    message as simple_push,
    raw::{Frame, Options, RawSocket},
    user_agent::new_channel,
    webpush::{encryption::DeviceKeys, message as web_push},
};
use beckon_types::{Dialect, Spelling};
use std::{
    collections::{BTreeMap, VecDeque},
    future::pending,
    time::Duration,
};

/// How often a device is sent to another node before it gives up.
const REDIRECTS_MAX: usize = 3;

/// A device. It keeps its UAID and its channel from one socket to the next, so it is one client of the service.
#[derive(Debug)]
pub(super) struct Device {
    url: String,
    uaid: Option<String>,
    channel: String,
    language: Language,
    socket: Option<RawSocket>,
    /// What has arrived while something else was waited for.
    arrived: VecDeque<Arrived>,
}

/// What the device speaks.
#[derive(Debug)]
pub(super) enum Language {
    SimplePush,
    WebPush(Box<DeviceKeys>),
}

/// A notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arrived {
    /// By which it is acknowledged: a version, or the id of a message.
    pub(super) id: String,
    /// The number in it. `None`: it is not what the probe has sent.
    pub(super) number: Option<u64>,
}

/// What a server says, as far as a device of the probe cares.
enum Heard {
    Hello(String),
    Redirected(String),
    Registered(String),
    Unregistered,
    Arrived(Vec<Arrived>),
    Other,
}

/// What the sender puts beside a number, or encrypts.
pub(super) fn content_of(number: u64) -> String {
    format!("probe {number}")
}

impl Device {
    /// A device that no server knows.
    pub(super) fn new(url: &str, language: Language) -> Self {
        let channel = new_channel().to_text(Spelling::HYPHENATED);
        let (url, arrived) = (url.to_owned(), VecDeque::new());
        Self { url, uaid: None, channel, language, socket: None, arrived }
    }

    pub(super) fn dialect(&self) -> Dialect {
        match self.language {
            Language::SimplePush => Dialect::SimplePush,
            Language::WebPush(_) => Dialect::WebPush,
        }
    }

    pub(super) fn keys(&self) -> Option<&DeviceKeys> {
        match &self.language {
            Language::SimplePush => None,
            Language::WebPush(keys) => Some(keys),
        }
    }

    /// Whether it has a socket that is open as far as it knows.
    pub(super) fn is_connected(&self) -> bool {
        self.socket.is_some()
    }

    /// Opens a socket.
    pub(super) async fn connect(&mut self) -> Result<(), Error> {
        let url = self.url.clone();
        self.connect_to(&url).await
    }

    async fn connect_to(&mut self, url: &str) -> Result<(), Error> {
        let mut options = Options::default();
        if matches!(self.language, Language::WebPush(_)) {
            options.subprotocols = Vec::new();
        }
        self.arrived.clear();
        self.socket = Some(RawSocket::connect(url, &options).await?);
        Ok(())
    }

    /// Says hello, on another node if the first one wants that.
    pub(super) async fn hello(&mut self) -> Result<(), Error> {
        for _ in 0..=REDIRECTS_MAX {
            let uaid = self.uaid.as_deref();
            let text = match &self.language {
                Language::SimplePush => {
                    // A server asks for all channels of a UAID that it knows.
                    let channels: &[&str] = if uaid.is_some() { &[&self.channel] } else { &[] };
                    simple_push::Request::Hello { uaid, channels }.to_text()
                }
                Language::WebPush(_) => {
                    web_push::Request::Hello { use_webpush: true, uaid, broadcasts: BTreeMap::new() }
                        .to_text()
                }
            };
            self.send(text).await?;
            match self.answer(|heard| matches!(heard, Heard::Hello(_) | Heard::Redirected(_))).await? {
                Heard::Hello(uaid) => {
                    self.uaid = Some(uaid);
                    return Ok(());
                }
                Heard::Redirected(url) => self.connect_to(&url).await?,
                Heard::Registered(_) | Heard::Unregistered | Heard::Arrived(_) | Heard::Other => {}
            }
        }
        Err(Error::Unexpected(format!("more than {REDIRECTS_MAX} redirects")))
    }

    /// Registers its channel, or finds that it is registered. Returns the endpoint.
    pub(super) async fn register(&mut self) -> Result<String, Error> {
        let channel = &self.channel;
        let text = match &self.language {
            Language::SimplePush => simple_push::Request::Register { channel }.to_text(),
            Language::WebPush(_) => web_push::Request::Register { channel, key: None }.to_text(),
        };
        self.send(text).await?;
        match self.answer(|heard| matches!(heard, Heard::Registered(_))).await? {
            Heard::Registered(endpoint) => Ok(endpoint),
            Heard::Hello(_)
            | Heard::Redirected(_)
            | Heard::Unregistered
            | Heard::Arrived(_)
            | Heard::Other => Err(Error::Gone),
        }
    }

    /// Gives its channel up, if it has one.
    pub(super) async fn unregister(&mut self) -> Result<(), Error> {
        let channel = &self.channel;
        let text = match &self.language {
            Language::SimplePush => simple_push::Request::Unregister { channel }.to_text(),
            Language::WebPush(_) => web_push::Request::Unregister { channel, code: None }.to_text(),
        };
        self.send(text).await?;
        self.answer(|heard| matches!(heard, Heard::Unregistered)).await.map(drop)
    }

    /// Whether a server may have a record of it.
    pub(super) fn is_known(&self) -> bool {
        self.uaid.is_some()
    }

    /// The next notification.
    pub(super) async fn next(&mut self) -> Result<Arrived, Error> {
        loop {
            if let Some(arrived) = self.arrived.pop_front() {
                return Ok(arrived);
            }
            if let Heard::Arrived(all) = self.hear().await? {
                self.arrived.extend(all);
            }
        }
    }

    /// Confirms a notification.
    pub(super) async fn acknowledge(&mut self, arrived: &Arrived) -> Result<(), Error> {
        /// Delivered, and not decrypted.
        const CODES: [u16; 2] = [100, 101];
        let channel = &self.channel;
        let text = match &self.language {
            Language::SimplePush => {
                let version = arrived.id.parse().map_err(|_| Error::Unexpected("a version".to_owned()))?;
                let update = simple_push::Acknowledged { channel, version };
                simple_push::Request::Ack { updates: &[update] }.to_text()
            }
            Language::WebPush(_) => {
                let code = CODES[usize::from(arrived.number.is_none())];
                let update = web_push::Acknowledged { channel, version: &arrived.id, code };
                web_push::Request::Ack { updates: &[update] }.to_text()
            }
        };
        self.send(text).await
    }

    /// Answers what the server asks while nothing else happens, for as long as it is polled. A socket that ends is
    /// forgotten.
    pub(super) async fn stay(&mut self) {
        while self.is_connected() {
            match self.hear().await {
                Ok(Heard::Arrived(all)) => self.arrived.extend(all),
                Ok(_) => {}
                Err(_) => self.socket = None,
            }
        }
        pending().await
    }

    /// Closes its socket, and waits no longer than `limit` for the server to do the same.
    pub(super) async fn close(&mut self, limit: Duration) {
        if let Some(mut socket) = self.socket.take() {
            let farewell = async {
                socket.send_close(1000).await?;
                socket.close_within(limit).await.map(drop)
            };
            // What the server makes of it is not what is probed.
            let _ = tokio::time::timeout(limit, farewell).await;
        }
    }

    /// Forgets its socket, which may be of no use any more.
    pub(super) fn drop_socket(&mut self) {
        self.socket = None;
    }

    async fn send(&mut self, text: String) -> Result<(), Error> {
        self.socket.as_mut().ok_or(Error::Gone)?.send_text(text).await
    }

    /// Waits for an answer, and keeps what arrives before it.
    async fn answer(&mut self, is_it: impl Fn(&Heard) -> bool) -> Result<Heard, Error> {
        loop {
            match self.hear().await? {
                heard if is_it(&heard) => return Ok(heard),
                Heard::Arrived(all) => self.arrived.extend(all),
                Heard::Hello(_)
                | Heard::Redirected(_)
                | Heard::Registered(_)
                | Heard::Unregistered
                | Heard::Other => {}
            }
        }
    }

    async fn hear(&mut self) -> Result<Heard, Error> {
        let text = match self.socket.as_mut().ok_or(Error::Gone)?.receive().await? {
            Frame::Text(text) => text,
            Frame::Ping(_) | Frame::Pong(_) => return Ok(Heard::Other),
            Frame::Close(close) => return Err(Error::Closed(close)),
            Frame::End => return Err(Error::Gone),
            Frame::Binary(_) => return Err(Error::Unexpected("a binary message".to_owned())),
        };
        match &self.language {
            Language::SimplePush => in_simple_push(simple_push::Reply::parse(&text)?),
            Language::WebPush(keys) => in_web_push(web_push::Reply::parse(&text)?, keys),
        }
    }
}

fn in_simple_push(reply: simple_push::Reply) -> Result<Heard, Error> {
    use simple_push::{Reply, Update};
    let arrived = |Update { version, data, .. }: Update| {
        // Versions that are read from the store have no data.
        let is_ours = data.is_none_or(|data| data == content_of(version));
        Arrived { id: version.to_string(), number: is_ours.then_some(version) }
    };
    Ok(match reply {
        Reply::Hello { status: 200, uaid, .. } => Heard::Hello(uaid),
        Reply::Hello { status: 307, redirect: Some(url), .. } => Heard::Redirected(url),
        Reply::Hello { status, .. } => return Err(Error::Rejected { status, error: "no hello".to_owned() }),
        Reply::Registered { endpoint, .. } => Heard::Registered(endpoint),
        Reply::Unregistered { .. } => Heard::Unregistered,
        Reply::Notification(updates) => Heard::Arrived(updates.into_iter().map(arrived).collect()),
        Reply::Error { status, error, .. } => return Err(Error::Rejected { status, error }),
        Reply::Pong => Heard::Other,
    })
}

fn in_web_push(reply: web_push::Reply, keys: &DeviceKeys) -> Result<Heard, Error> {
    use web_push::{Received, Reply};
    let arrived = |Received { version: id, payload, .. }: Received| {
        let content = payload.and_then(|payload| keys.decrypt(&payload).ok());
        let number = content.as_deref().and_then(number_of);
        Arrived { id, number }
    };
    Ok(match reply {
        Reply::Hello { uaid, .. } => Heard::Hello(uaid),
        Reply::Registered { endpoint, .. } => Heard::Registered(endpoint),
        Reply::Unregistered { .. } => Heard::Unregistered,
        Reply::Notification(received) => Heard::Arrived(vec![arrived(received)]),
        Reply::Error { status, error, .. } => return Err(Error::Rejected { status, error }),
        Reply::Pong | Reply::Broadcast(_) | Reply::Urgency => Heard::Other,
    })
}

/// The number of which this is the content.
fn number_of(content: &[u8]) -> Option<u64> {
    let number = str::from_utf8(content).ok()?.strip_prefix("probe ")?.parse().ok()?;
    (content_of(number).as_bytes() == content).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sent_is_recognized() {
        assert_eq!(number_of(content_of(7).as_bytes()), Some(7));
        for other in ["", "probe", "probe x", "probe 07", "probe 7 ", "Probe 7"] {
            assert_eq!(number_of(other.as_bytes()), None, "{other}");
        }
        let update = |data: Option<&str>| {
            let data = data.map(str::to_owned);
            let updates = vec![simple_push::Update { channel: String::new(), version: 7, data }];
            match in_simple_push(simple_push::Reply::Notification(updates)) {
                Ok(Heard::Arrived(all)) => all[0].number,
                _ => panic!("a notification"),
            }
        };
        assert_eq!(
            [update(None), update(Some("probe 7")), update(Some("probe 8"))],
            [Some(7), Some(7), None]
        );
    }
}
