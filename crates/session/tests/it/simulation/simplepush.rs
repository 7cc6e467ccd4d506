//! The SimplePush user agent.

use super::{
    agent::{CHANNELS, Dialect},
    event::Publication,
    network::Network,
    socket::Handed,
};
use crate::talk::{A, ack_text, channel, client, version};
use beckon_session::Step;
use beckon_types::{ChannelId, Notification, Spelling, Update, Version};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(super) struct SimplePush {
    /// The position of each write, by its version, which is unique.
    writes: BTreeMap<u64, usize>,
    /// Writes whose channel was unregistered afterwards.
    gone: BTreeSet<u64>,
    /// All versions that the user agent ever received.
    received: BTreeSet<u64>,
    /// The last version that was received for each channel, unless it was acknowledged.
    unacknowledged: BTreeMap<ChannelId, Version>,
    /// The channel of each write.
    channels: BTreeMap<u64, ChannelId>,
    /// How many writes there were when the store went back in time.
    lost: usize,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    /// The last version that was sent for each channel.
    sent: BTreeMap<ChannelId, Version>,
    /// Versions whose acknowledgement the session has read.
    acknowledged: BTreeSet<u64>,
    /// Whether the step under way is that of an acknowledgement.
    is_acknowledging: bool,
    has_failed_ack: bool,
}

impl Dialect for SimplePush {
    const UAID: &'static str = A;
    type Log = Log;

    fn hello(n: usize) -> String {
        // A list of channels may be out of date when the store gets it, which would cost the UAID.
        let naming = ["", r#","use_webpush":false"#][n % 2];
        format!(r#"{{"messageType":"hello","uaid":"{A}","channelIDs":[]{naming}}}"#)
    }

    fn publish(&mut self, network: &mut Network, publication: Publication) -> bool {
        let channel = channel(CHANNELS[publication.channel]);
        let position = self.writes.len();
        // Unique, and not in the order of the writes.
        let version = version((position as u64 * 7919) % 10_007);
        let put = network.store.put_version(network.now, client(A), channel, version);
        let Some((sequence, written)) = put else { return false };
        self.writes.insert(version.number(), position);
        self.channels.insert(version.number(), channel);
        let update = Update { channel, version, sequence, data: Some("data".into()) };
        network.deliver(written, Notification::Update(update));
        true
    }

    /// SimplePush has nothing to cancel.
    fn cancel(&mut self, _network: &mut Network, _n: usize) {}

    fn acknowledge(&mut self, log: &mut Log, n: usize) -> Option<String> {
        let id = CHANNELS[n % CHANNELS.len()];
        self.unacknowledged.remove(&channel(id));
        log.sent.get(&channel(id)).map(|version| ack_text(id, version.number()))
    }

    fn acknowledge_all(&mut self, _log: &mut Log) -> Vec<String> {
        let unacknowledged = std::mem::take(&mut self.unacknowledged);
        let ack = |(id, version): (ChannelId, Version)| {
            ack_text(&id.to_text(Spelling::HYPHENATED), version.number())
        };
        unacknowledged.into_iter().map(ack).collect()
    }

    /// A hello after the first.
    fn ask(&mut self, _log: &mut Log, _n: usize) -> String {
        r#"{"messageType":"hello","channelIDs":[]}"#.into()
    }

    fn on_read(&mut self, _network: &Network, log: &mut Log, message: &Value) {
        if message["messageType"] == "ack" {
            log.acknowledged.insert(message["updates"][0]["version"].as_u64().unwrap());
        }
    }

    fn on_step(&mut self, log: &mut Log, step: &Step) {
        log.is_acknowledging = matches!(step, Step::AckVersions(..));
    }

    fn on_performed(&mut self, network: &mut Network, _step: &Step) {
        let removed = network.store.acknowledged.drain(..);
        let unseen: Vec<Version> =
            removed.filter(|version| !self.received.contains(&version.number())).collect();
        assert_eq!(unseen, [], "removed without having been received");
    }

    fn on_failed(&mut self, log: &mut Log) {
        log.has_failed_ack |= log.is_acknowledging;
    }

    fn on_notification(
        &mut self,
        network: &Network,
        log: &mut Log,
        _handed: &Handed,
        is_newest: bool,
        notification: &Value,
    ) -> Vec<ChannelId> {
        let entry = |entry: &Value| {
            let id = channel(entry["channelID"].as_str().unwrap());
            let number = entry["version"].as_u64().unwrap();
            if let Some(before) = log.sent.insert(id, version(number)) {
                let (before, now) = (self.writes[&before.number()], self.writes[&number]);
                let is_in_order = network.has_gone_back || before <= now;
                assert!(is_in_order, "write {before} of the channel was sent, then {now}");
            }
            assert!(
                network.has_gone_back || log.has_failed_ack || !log.acknowledged.contains(&number),
                "{number} was sent again after its acknowledgement"
            );
            assert!(
                network.has_gone_back || !is_newest || !self.gone.contains(&number),
                "{number} was sent after its channel was unregistered"
            );
            self.received.insert(number);
            self.unacknowledged.insert(id, version(number));
            id
        };
        notification["updates"].as_array().unwrap().iter().map(entry).collect()
    }

    fn on_unregistered(&mut self, _log: &mut Log, channel: ChannelId, is_newest: bool) {
        if is_newest {
            self.unacknowledged.remove(&channel);
            self.gone
                .extend(self.channels.iter().filter(|(_, of)| **of == channel).map(|(number, _)| number));
        }
    }

    fn on_reply(&mut self, _log: &mut Log, kind: &str, reply: &Value) {
        panic!("unexpected {kind}: {reply}");
    }

    fn on_gone_back(&mut self) {
        self.lost = self.writes.len();
    }

    fn undelivered(&self, network: &Network, _log: &Log) -> Vec<ChannelId> {
        let mut pending = network.store.pending(client(A));
        pending.retain(|_, version| self.writes[&version.number()] >= self.lost);
        pending.into_keys().collect()
    }

    fn is_drained(&self, network: &Network) -> bool {
        network.store.pending(client(A)).is_empty()
    }
}
