//! One round of the probe: a device is there, is sent something, and hears it, once.

use super::device::{Arrived, Device, content_of};
use beckon_client::{
    app_server::{AppServer, Options},
    error::Error,
    webpush::post::Post,
};
use beckon_ops::clock::Clock;
use beckon_proto::transport::chain;
use beckon_types::{Dialect, Version};
use http::{Uri, uri::Parts};
use std::{collections::BTreeSet, mem, time::Duration};
use tokio::time::timeout;

/// How long a message is stored for a device that does not hear it.
const TTL: Duration = Duration::from_secs(60);

/// Time limit for the closing handshake of a socket that was good.
const FAREWELL: Duration = Duration::from_millis(500);

/// For so many rounds a socket is used: in the last one after it was idle.
const ROUNDS_PER_SOCKET: u32 = 2;

/// The parts of a round, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// TCP, TLS and the upgrade.
    Connect,
    /// The answer to the hello.
    Hello,
    /// The channel has an endpoint.
    Register,
    /// The request of the sender is answered.
    Send,
    /// The device hears it; from the beginning of the request.
    Arrival,
    /// What it hears is what was sent, once.
    Content,
}

impl Stage {
    pub(super) const ALL: [Self; 6] =
        [Self::Connect, Self::Hello, Self::Register, Self::Send, Self::Arrival, Self::Content];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Hello => "hello",
            Self::Register => "register",
            Self::Send => "send",
            Self::Arrival => "arrival",
            Self::Content => "content",
        }
    }
}

/// What a round has found.
#[derive(Debug)]
pub(super) struct Round {
    /// How long the stages took that succeeded, in microseconds.
    pub(super) took: Vec<(Stage, u64)>,
    /// The stage that failed, and why.
    pub(super) failure: Option<(Stage, String)>,
}

/// A device and who sends to it.
#[derive(Debug)]
pub(super) struct Prober {
    device: Device,
    sender: AppServer,
    /// Where endpoints are, instead of where they say.
    endpoints_at: Option<Uri>,
    limit: Duration,
    clock: Clock,
    /// The number that was sent last; each is greater than those before.
    number: u64,
    /// Rounds on the socket of the device.
    rounds: u32,
    /// What the device has acknowledged on its socket.
    acknowledged: BTreeSet<String>,
    /// The stage under way, when it began, and what those before it took.
    stage: Stage,
    began_us: u64,
    took: Vec<(Stage, u64)>,
}

impl Prober {
    /// Each round ends within `limit`.
    pub(super) fn new(device: Device, endpoints_at: Option<Uri>, limit: Duration, clock: Clock) -> Self {
        // Each request makes a connection of its own: the way through the balancer is what is probed.
        let sender = AppServer::new(Options { limit, idle_max: 0, ..Options::default() });
        Self {
            device,
            sender,
            endpoints_at,
            limit,
            clock,
            number: 0,
            rounds: 0,
            acknowledged: BTreeSet::new(),
            stage: Stage::Connect,
            began_us: 0,
            took: Vec::new(),
        }
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.device.dialect()
    }

    /// Takes a round.
    pub(super) async fn round(&mut self) -> Round {
        let error = match timeout(self.limit, self.pass()).await {
            Ok(result) => result.err(),
            Err(_) => Some(format!("not done within {} s", self.limit.as_secs_f64())),
        };
        self.rounds += 1;
        if error.is_some() {
            self.device.drop_socket();
        } else if self.rounds >= ROUNDS_PER_SOCKET {
            self.device.close(FAREWELL).await;
        }
        Round { failure: error.map(|error| (self.stage, error)), took: mem::take(&mut self.took) }
    }

    /// Waits for the next round, for as long as it is polled.
    pub(super) async fn stay(&mut self) {
        self.device.stay().await;
    }

    /// Leaves nothing behind but a record without channels, which the store drops by itself.
    pub(super) async fn leave(&mut self) -> Result<(), String> {
        if !self.device.is_known() {
            return Ok(());
        }
        let leaving = async {
            // Whatever the socket was in the middle of.
            self.device.connect().await?;
            self.device.hello().await?;
            self.device.unregister().await
        };
        let left = timeout(self.limit, leaving).await;
        self.device.close(FAREWELL).await;
        left.map_err(|_| format!("not done within {} s", self.limit.as_secs_f64()))?.map_err(text)
    }

    fn begin(&mut self, stage: Stage) {
        (self.stage, self.began_us) = (stage, self.clock.now_us());
    }

    /// The stage under way has succeeded.
    fn passed(&mut self) {
        self.took.push((self.stage, self.clock.now_us() - self.began_us));
    }

    async fn pass(&mut self) -> Result<(), String> {
        if !self.device.is_connected() {
            self.begin(Stage::Connect);
            (self.rounds, self.acknowledged) = (0, BTreeSet::new());
            self.device.connect().await.map_err(text)?;
            self.passed();
            self.begin(Stage::Hello);
            self.device.hello().await.map_err(text)?;
            self.passed();
        }
        self.begin(Stage::Register);
        let endpoint = self.device.register().await.map_err(text)?;
        self.passed();
        self.begin(Stage::Send);
        self.send(&endpoint).await?;
        self.passed();
        // The time of the arrival is from the beginning of the request.
        self.stage = Stage::Arrival;
        loop {
            let arrived = self.device.next().await.map_err(text)?;
            if self.take(&arrived).await? {
                break;
            }
        }
        self.passed();
        Ok(())
    }

    async fn send(&mut self, endpoint: &str) -> Result<(), String> {
        self.number = self.clock.unix_ms().max(self.number + 1);
        let endpoint = match &self.endpoints_at {
            Some(place) => moved(endpoint, place)?,
            None => endpoint.to_owned(),
        };
        let content = content_of(self.number);
        let sent = match self.device.keys() {
            None => {
                let version = Version::new(self.number).map_err(|error| error.to_string())?;
                self.sender.put(&endpoint, Some(version), Some(&content)).await.map(drop)
            }
            Some(keys) => {
                let payload = keys.recipient().encrypt(content.as_bytes());
                let payload = Some(payload.map_err(|error| error.to_string())?);
                self.sender.post(&endpoint, &Post { ttl: TTL, payload, ..Post::default() }).await.map(drop)
            }
        };
        sent.map_err(|error| chain(&error))
    }

    /// Takes what has arrived. Returns whether it is what this round has sent.
    async fn take(&mut self, arrived: &Arrived) -> Result<bool, String> {
        self.device.acknowledge(arrived).await.map_err(text)?;
        let fault = match arrived.number {
            _ if !self.acknowledged.insert(arrived.id.clone()) => "a notification came twice",
            Some(number) if number == self.number => return Ok(true),
            // Of a round that has failed.
            Some(number) if number < self.number => return Ok(false),
            Some(_) | None => "a notification is not what was sent",
        };
        self.stage = Stage::Content;
        Err(fault.to_owned())
    }
}

/// The endpoint at another place.
fn moved(endpoint: &str, place: &Uri) -> Result<String, String> {
    let uri: Uri = endpoint.parse().map_err(|_| format!("the endpoint {endpoint} is not a URL"))?;
    let Parts { scheme, authority, .. } = place.clone().into_parts();
    let mut parts = uri.into_parts();
    (parts.scheme, parts.authority) = (scheme, authority);
    Uri::from_parts(parts).map(|uri| uri.to_string()).map_err(|error| error.to_string())
}

fn text(error: Error) -> String {
    chain(&error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_keeps_its_path_at_another_place() {
        let place: Uri = "http://127.0.0.1:8081".parse().unwrap();
        assert_eq!(
            moved("https://push.example/wpush/v1/abc", &place),
            Ok("http://127.0.0.1:8081/wpush/v1/abc".to_owned())
        );
        assert!(moved("no url", &place).is_err());
    }
}
