//! Devices: they connect to any node, stay for a while, acknowledge at once, late or not at all, go, sleep, and come back.

use crate::{ledger::Ledger, site::Site};
use beckon_client::{
    user_agent::{self, UserAgent, new_channel},
    webpush::{
        device::{self, Content, Device, Identity},
        encryption::{DeviceKeys, Recipient},
    },
};
use beckon_types::{ChannelId, Uaid};
use std::{pin::Pin, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Sleep, sleep, timeout},
};

/// Time limit for a reply. Longer than a step of the store may take.
const REPLY: Duration = Duration::from_secs(10);

/// How the devices behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// As devices do.
    Restless,
    /// They connect, stay, and acknowledge at once.
    Calm,
}

/// What every device knows.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) site: Arc<Site>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) phase: watch::Receiver<Phase>,
    /// Changes when all devices lose their connections at once.
    pub(crate) storm: watch::Receiver<u64>,
}

/// How a device deals with what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    AtOnce,
    Late(Duration),
    NotAtAll,
}

/// Why a device leaves its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    /// It moves to another node at once.
    Moves,
    /// It was cut off.
    Lost,
    /// It sleeps.
    Sleeps(Duration),
}

impl World {
    fn is_calm(&self) -> bool {
        *self.phase.borrow() == Phase::Calm
    }

    fn url(&self) -> &str {
        &self.site.sockets[fastrand::usize(..self.site.sockets.len())]
    }

    /// How long the device stays before it leaves by itself.
    fn stay(&self) -> Duration {
        if self.is_calm() {
            Duration::from_secs(86_400)
        } else {
            Duration::from_millis(fastrand::u64(2_000..90_000))
        }
    }

    fn mood(&self) -> Mood {
        match fastrand::u8(..100) {
            _ if self.is_calm() => Mood::AtOnce,
            0..4 => Mood::NotAtAll,
            4..20 => Mood::Late(Duration::from_millis(fastrand::u64(50..3_000))),
            _ => Mood::AtOnce,
        }
    }

    fn leaving(&self) -> Leaving {
        match fastrand::u8(..4) {
            0 => Leaving::Sleeps(Duration::from_millis(fastrand::u64(500..15_000))),
            1 => Leaving::Lost,
            _ => Leaving::Moves,
        }
    }

    /// Waits for an event, unless the device leaves before.
    async fn attend<E>(
        &mut self,
        event: impl Future<Output = E>,
        mut stay: Pin<&mut Sleep>,
    ) -> Result<E, Leaving> {
        tokio::pin!(event);
        loop {
            tokio::select! {
                event = &mut event => return Ok(event),
                () = &mut stay => return Err(self.leaving()),
                _ = self.storm.changed() => return Err(Leaving::Lost),
                _ = self.phase.changed() => stay.set(sleep(self.stay())),
            }
        }
    }

    /// Waits as a device does before it connects again.
    async fn pause(&self, leaving: Leaving, failures: u32) {
        let wait = match leaving {
            Leaving::Moves => Duration::ZERO,
            Leaving::Sleeps(wait) if !self.is_calm() => wait,
            Leaving::Sleeps(_) | Leaving::Lost => {
                Duration::from_millis(fastrand::u64(..(250 << failures.min(5))))
            }
        };
        sleep(wait).await;
    }
}

/// What a SimplePush device keeps.
#[derive(Debug)]
struct Kept {
    channel: ChannelId,
    uaid: Option<Uaid>,
    /// The UAID under which the channel has the endpoint that senders know.
    registered_as: Option<Uaid>,
}

/// The life of a SimplePush device.
pub(crate) async fn simplepush(mut world: World, target: usize) {
    let mut kept = Kept { channel: new_channel(), uaid: None, registered_as: None };
    let mut failures = 0_u32;
    loop {
        let is_registered = kept.uaid.is_some() && kept.uaid == kept.registered_as;
        let channels = if is_registered { vec![kept.channel] } else { Vec::new() };
        let options =
            user_agent::Options { uaid: kept.uaid, channels, reply_limit: REPLY, ..Default::default() };
        let url = world.url().to_owned();
        let mut agent = UserAgent::new(&url, options);
        let leaving = stay_simplepush(&mut world, target, &mut agent, &mut kept, (&url, &mut failures)).await;
        kept.uaid = agent.uaid();
        world.ledger.left(target, &format!("{leaving:?}"));
        world.pause(leaving, failures).await;
    }
}

async fn stay_simplepush(
    world: &mut World,
    target: usize,
    agent: &mut UserAgent,
    kept: &mut Kept,
    (url, failures): (&str, &mut u32),
) -> Leaving {
    let mut newest: Option<u64> = None;
    let stay = sleep(world.stay());
    tokio::pin!(stay);
    loop {
        let event = match world.attend(agent.next_event(), stay.as_mut()).await {
            Ok(event) => event,
            Err(leaving) => return leaving,
        };
        match event {
            user_agent::Event::Notification(updates) => {
                for update in &updates {
                    world.ledger.delivered(target, update.version.number(), newest);
                    newest = newest.max(Some(update.version.number()));
                }
                match world.mood() {
                    Mood::NotAtAll => return Leaving::Lost,
                    Mood::Late(wait) => sleep(wait).await,
                    Mood::AtOnce => {}
                }
                if agent.acknowledge(&updates).await.is_err() {
                    return Leaving::Lost;
                }
            }
            user_agent::Event::NewEndpoint { endpoint, .. } => {
                kept.registered_as = agent.uaid();
                world.ledger.endpoint(target, &endpoint);
            }
            user_agent::Event::Connected { .. } => {
                *failures = 0;
                world.ledger.connected(target, url);
                if !agent.channels().is_empty() {
                    continue;
                }
                match agent.register(kept.channel).await {
                    Ok(endpoint) => {
                        kept.registered_as = agent.uaid();
                        world.ledger.endpoint(target, &endpoint);
                    }
                    Err(error) => {
                        world.ledger.count(&format!("SimplePush, register: {}", kind(&error)));
                        return Leaving::Lost;
                    }
                }
            }
            user_agent::Event::Disconnected { error, .. } => {
                world.ledger.count(&format!("SimplePush, lost: {}", kind(&error)));
                *failures += 1;
                return Leaving::Lost;
            }
        }
    }
}

/// The life of a Web Push device with these keys.
pub(crate) async fn webpush(mut world: World, target: usize, keys: DeviceKeys) {
    let mut identity = Identity::new(keys, None);
    let mut failures = 0_u32;
    loop {
        let options = device::Options { reply_limit: REPLY, ..Default::default() };
        let url = world.url().to_owned();
        let mut device = Device::new(&url, identity, options);
        let leaving = stay_webpush(&mut world, target, &mut device, &url, &mut failures).await;
        identity = device.into_identity();
        world.ledger.left(target, &format!("{leaving:?}"));
        world.pause(leaving, failures).await;
    }
}

async fn stay_webpush(
    world: &mut World,
    target: usize,
    device: &mut Device,
    url: &str,
    failures: &mut u32,
) -> Leaving {
    let stay = sleep(world.stay());
    tokio::pin!(stay);
    loop {
        let event = match world.attend(device.next_event(), stay.as_mut()).await {
            Ok(event) => event,
            Err(leaving) => return leaving,
        };
        match event {
            device::Event::Message(Content::Decrypted(content)) => {
                match std::str::from_utf8(&content).ok().and_then(|text| text.parse().ok()) {
                    Some(number) => world.ledger.delivered(target, number, None),
                    None => world.ledger.violation(
                        "a device got a message that was never sent",
                        &format!("{target}: {content:?}"),
                    ),
                }
                match world.mood() {
                    Mood::NotAtAll => return Leaving::Lost,
                    Mood::Late(wait) => sleep(wait).await,
                    Mood::AtOnce => {}
                }
            }
            device::Event::Message(content @ (Content::Empty | Content::Undecryptable)) => {
                world.ledger.violation("a device cannot read a message", &format!("{target}: {content:?}"));
            }
            device::Event::Connected { endpoint } => {
                *failures = 0;
                world.ledger.connected(target, url);
                world.ledger.endpoint(target, &endpoint);
            }
            device::Event::Disconnected { error, .. } => {
                world.ledger.count(&format!("Web Push, lost: {}", kind(&error)));
                *failures += 1;
                return Leaving::Lost;
            }
        }
    }
}

/// Keys of a device, and what senders know of them.
pub(crate) fn keys() -> Option<(DeviceKeys, Recipient)> {
    let keys = DeviceKeys::generate().ok()?;
    let recipient = keys.recipient().clone();
    Some((keys, recipient))
}

/// The kind of an error, without what differs from one to the next.
fn kind(error: &beckon_client::error::Error) -> String {
    let text = error.to_string();
    text.split([':', ';']).next().unwrap_or_default().to_owned()
}

/// Waits until `is_so`, for `limit`. Whether it was so in time.
pub(crate) async fn until(limit: Duration, is_so: impl Fn() -> bool) -> bool {
    let waiting = async {
        while !is_so() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(limit, waiting).await.is_ok()
}
