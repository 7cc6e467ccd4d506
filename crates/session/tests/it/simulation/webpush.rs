//! The Web Push user agent.

use super::{
    BATCH_SIZE,
    agent::{CHANNELS, Dialect},
    event::Publication,
    network::Network,
    socket::Handed,
};
use crate::{
    talk::{A, X, channel, client},
    webpush::talk::message,
};
use beckon_session::Step;
use beckon_types::{ChannelId, Message, MessageId, Moment, Notification, Place, TopicTag, Urgency};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

/// The UAID of the user agent.
const UAID: &str = "7fa1c3e2d40b4f5a8c7e9b1032a4d5f6";

const URGENCIES: [&str; 4] = ["very-low", "low", "normal", "high"];

#[derive(Debug, Default)]
pub(super) struct WebPush {
    /// Ids that the user agent has received and not acknowledged.
    received: Vec<String>,
    /// The sequences of all messages that it ever received.
    seen: BTreeSet<u64>,
    /// When the messages expire that are or were stored, by sequence.
    expiries: BTreeMap<u64, Moment>,
    /// The channel of each message, by sequence.
    channels: BTreeMap<u64, ChannelId>,
    /// Messages whose channel was unregistered afterwards, by sequence.
    gone: BTreeSet<u64>,
    /// Messages that were sent before the store went back in time, by sequence.
    lost: BTreeSet<u64>,
}

#[derive(Debug)]
pub(super) struct Log {
    /// The urgencies that were asked for, oldest first. The session has confirmed the first one.
    min: VecDeque<Urgency>,
    /// What was sent, by sequence.
    sent: BTreeMap<u64, Sent>,
    /// What the acknowledgement under way removes.
    removing: Vec<Place>,
    /// What failed acknowledgements should have removed.
    not_removed: Vec<Place>,
}

#[derive(Debug)]
struct Sent {
    channel: ChannelId,
    expires: Moment,
    is_in_batch: bool,
    /// Whether the session has read an acknowledgement of it.
    is_acknowledged: bool,
    /// Whether the step of that acknowledgement has begun.
    is_removing: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            min: VecDeque::from([Urgency::VeryLow]),
            sent: BTreeMap::new(),
            removing: Vec::new(),
            not_removed: Vec::new(),
        }
    }
}

impl Log {
    /// Notes that a message is being sent, which the session was handed like this.
    fn send(&mut self, network: &Network, handed: &Message, is_backlog: bool) {
        let now = network.now;
        let sequence = handed.place.sequence.0;
        if let Some(before) = self.sent.get(&sequence) {
            let is_forgotten =
                network.has_gone_back || now >= before.expires || self.not_removed.contains(&handed.place);
            // A notification that comes so late is not recognised.
            assert!(
                is_forgotten || before.is_removing && !is_backlog,
                "{handed:?} was sent before: {before:?}"
            );
        }
        assert!(handed.draft.urgency >= self.min[0], "{handed:?} is not urgent enough");
        let sent = Sent {
            channel: handed.channel,
            expires: now + handed.draft.ttl,
            is_in_batch: is_backlog,
            is_acknowledged: false,
            is_removing: false,
        };
        self.sent.insert(sequence, sent);
        let is_outstanding = |sent: &&Sent| sent.is_in_batch && !sent.is_acknowledged && now < sent.expires;
        let outstanding = self.sent.values().filter(is_outstanding).count();
        assert!(network.has_gone_back || outstanding <= BATCH_SIZE, "too many are outstanding");
    }
}

/// An ack of the message with this id.
fn ack(id: &str) -> String {
    format!(r#"{{"messageType":"ack","updates":[{{"channelID":"{X}","version":"{id}"}}]}}"#)
}

impl Dialect for WebPush {
    const UAID: &'static str = UAID;
    type Log = Log;

    fn hello(n: usize) -> String {
        // The last of them has the UAID of a SimplePush client, and therefore gets a new one.
        let members = [
            format!(r#""uaid":"{UAID}","use_webpush":true"#),
            format!(r#""uaid":"{UAID}""#),
            format!(r#""uaid":"{A}","use_webpush":true"#),
        ];
        format!(r#"{{"messageType":"hello",{}}}"#, members[n % members.len()])
    }

    fn publish(&mut self, network: &mut Network, publication: Publication) -> bool {
        let Publication { channel, ttl, topic, urgency } = publication;
        let mut message = message(CHANNELS[channel], 0);
        message.draft.ttl = Duration::from_secs(ttl);
        message.draft.urgency = Urgency::from_number(urgency).unwrap();
        message.place.topic = topic.map(|n| TopicTag::parse(message.channel, ["a", "b"][n]).unwrap());
        let now = network.now;
        let put = network.store.put_message(now, client(UAID), message);
        let Some((message, written)) = put else { return false };
        if !message.draft.ttl.is_zero() {
            self.expiries.insert(message.place.sequence.0, now + message.draft.ttl);
        }
        self.channels.insert(message.place.sequence.0, message.channel);
        self.lost.remove(&message.place.sequence.0);
        network.deliver(written, Notification::Message(message));
        true
    }

    fn cancel(&mut self, network: &mut Network, n: usize) {
        let stored = network.store.messages(network.now, client(UAID));
        let place = stored.get(n % stored.len().max(1)).map(|message| message.place);
        network.store.remove_messages(client(UAID), place.as_slice());
    }

    /// On whatever socket it has received the message.
    fn acknowledge(&mut self, _log: &mut Log, n: usize) -> Option<String> {
        let index = n % self.received.len().max(1);
        (index < self.received.len()).then(|| ack(&self.received.swap_remove(index)))
    }

    fn acknowledge_all(&mut self, _log: &mut Log) -> Vec<String> {
        self.received.drain(..).map(|id| ack(&id)).collect()
    }

    /// A minimum urgency.
    fn ask(&mut self, log: &mut Log, n: usize) -> String {
        let n = n % URGENCIES.len();
        log.min.extend(Urgency::from_number(n as u8));
        format!(r#"{{"messageType":"urgency","min":"{}"}}"#, URGENCIES[n])
    }

    fn on_read(&mut self, network: &Network, log: &mut Log, message: &Value) {
        if message["messageType"] == "ack" {
            let id = message["updates"][0]["version"].as_str().unwrap();
            let place = MessageId::open(&network.settings.keys, id).unwrap().place;
            log.sent.entry(place.sequence.0).and_modify(|sent| sent.is_acknowledged = true);
        }
    }

    fn on_step(&mut self, log: &mut Log, step: &Step) {
        log.removing.clear();
        if let Step::RemoveMessages(_, places) = step {
            for place in places {
                log.sent.entry(place.sequence.0).and_modify(|sent| sent.is_removing = true);
            }
            log.removing.clone_from(places);
        }
    }

    fn on_performed(&mut self, _network: &mut Network, step: &Step) {
        if let Step::RemoveMessages(_, places) = step {
            let unseen = places.iter().find(|place| !self.seen.contains(&place.sequence.0));
            assert_eq!(unseen, None, "removed without having been received");
        }
    }

    fn on_failed(&mut self, log: &mut Log) {
        log.not_removed.append(&mut log.removing);
    }

    fn on_notification(
        &mut self,
        network: &Network,
        log: &mut Log,
        handed: &Handed,
        is_newest: bool,
        notification: &Value,
    ) -> Vec<ChannelId> {
        let id = channel(notification["channelID"].as_str().unwrap());
        let version = notification["version"].as_str().unwrap();
        let opened = MessageId::open(&network.settings.keys, version).unwrap();
        let message = handed.messages.iter().find(|message| message.place == opened.place);
        let message = message.expect("only what was handed over is sent");
        assert_eq!((opened.client, id), (client(UAID), message.channel));
        let sequence = message.place.sequence.0;
        let expires = self.expiries.get(&sequence);
        assert!(expires.is_none_or(|expires| handed.at < *expires), "{message:?} has expired");
        log.send(network, message, handed.is_backlog);
        assert!(
            network.has_gone_back || !is_newest || !self.gone.contains(&sequence),
            "{message:?} was sent after its channel was unregistered"
        );
        self.seen.insert(sequence);
        if !self.received.iter().any(|received| received == version) {
            self.received.push(version.to_owned());
        }
        vec![id]
    }

    fn on_unregistered(&mut self, log: &mut Log, channel: ChannelId, is_newest: bool) {
        log.sent.retain(|_, sent| sent.channel != channel);
        if is_newest {
            let of_channel = self.channels.iter().filter(|(_, of)| **of == channel);
            self.gone.extend(of_channel.map(|(sequence, _)| sequence));
        }
    }

    fn on_reply(&mut self, log: &mut Log, kind: &str, reply: &Value) {
        assert_eq!((kind, reply["status"].as_u64()), ("urgency", Some(200)));
        log.min.pop_front();
    }

    fn on_gone_back(&mut self) {
        self.lost.extend(self.channels.keys());
    }

    /// What the store could not remove is left to the next hello.
    fn undelivered(&self, network: &Network, log: &Log) -> Vec<ChannelId> {
        let mut messages = network.store.messages(network.now, client(UAID));
        messages.retain(|message| message.draft.urgency >= log.min[0]);
        messages.retain(|message| !self.lost.contains(&message.place.sequence.0));
        messages.retain(|message| !log.not_removed.contains(&message.place));
        messages.into_iter().map(|message| message.channel).collect()
    }

    fn is_drained(&self, network: &Network) -> bool {
        network.store.messages(network.now, client(UAID)).is_empty()
    }
}
