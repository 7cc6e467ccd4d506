//! What clients have asked a server to register.

use crate::talk::Inspect;
use beckon_types::ChannelId;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

/// A user agent that a check was.
#[derive(Debug, Clone, Default)]
pub(crate) struct Agent {
    /// As the server spells it.
    pub(crate) uaid: String,
    /// Whether it has registered in the Web Push dialect.
    pub(crate) is_webpush: bool,
    /// Its channels.
    pub(crate) channels: BTreeMap<String, String>,
}

/// The channels that a server was asked to register and has not unregistered, by UAID. It may have registered a channel
/// although its reply was late or never came. Both are UUIDs, which can be spelled in several ways: the keys are their
/// digits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registrations {
    agents: Arc<Mutex<BTreeMap<String, Agent>>>,
}

impl Registrations {
    /// What notes the messages on one socket.
    pub(crate) fn ledger(&self) -> Box<dyn Inspect> {
        Box::new(Ledger { registrations: self.clone(), ..Ledger::default() })
    }

    /// Those that have channels.
    pub(crate) fn agents(&self) -> Vec<Agent> {
        self.with(|agents| agents.values().cloned().collect())
    }

    /// Forgets one, which has no channels any more.
    pub(crate) fn forget(&self, agent: &Agent) {
        self.with(|agents| agents.remove(&digits(&agent.uaid)));
    }

    fn with<T>(&self, change: impl FnOnce(&mut BTreeMap<String, Agent>) -> T) -> T {
        change(&mut self.agents.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The digits of a UUID in any spelling.
pub(crate) fn digits(uuid: &str) -> String {
    uuid.chars().filter(|letter| *letter != '-').map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Notes what one socket registers.
#[derive(Debug, Default)]
struct Ledger {
    registrations: Registrations,
    /// Empty before the reply to a hello.
    uaid: String,
    is_webpush: bool,
    /// Channels that were sent before that reply.
    early: Vec<String>,
}

impl Ledger {
    fn note(&self, channel: String) {
        self.registrations.with(|agents| {
            let agent = agents.entry(digits(&self.uaid)).or_default();
            (agent.uaid, agent.is_webpush) = (self.uaid.clone(), self.is_webpush);
            agent.channels.insert(digits(&channel), channel);
        });
    }
}

impl Inspect for Ledger {
    fn sent(&mut self, message: &Value) {
        if !message["messageType"].as_str().is_some_and(|name| name.eq_ignore_ascii_case("register")) {
            return;
        }
        match message["channelID"].as_str().filter(|channel| ChannelId::parse(channel).is_ok()) {
            Some(channel) if self.uaid.is_empty() => self.early.push(channel.to_owned()),
            Some(channel) => self.note(channel.to_owned()),
            None => {}
        }
    }

    fn inspect(&mut self, message: &Value) {
        let text = |member: &str| message[member].as_str().unwrap_or_default().to_owned();
        if message["status"] != 200 {
            return;
        }
        match &*text("messageType") {
            "hello" => {
                self.uaid = text("uaid");
                self.is_webpush = message["use_webpush"] == true;
                mem::take(&mut self.early).into_iter().for_each(|channel| self.note(channel));
            }
            "unregister" => self.registrations.with(|agents| {
                let uaid = digits(&self.uaid);
                if let Some(agent) = agents.get_mut(&uaid) {
                    agent.channels.remove(&digits(&text("channelID")));
                    if agent.channels.is_empty() {
                        agents.remove(&uaid);
                    }
                }
            }),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_asked_for_and_not_unregistered_is_left() {
        const CHANNELS: [&str; 3] = [
            "0d9f7b52-3c41-4e8a-9a57-51e0c2b7aa10",
            "0d9f7b52-3c41-4e8a-9a57-51e0c2b7aa11",
            "0d9f7b52-3c41-4e8a-9a57-51e0c2b7aa12",
        ];
        let [early, unregistered, unanswered] = CHANNELS;
        let register = |channel: &str| json!({"messageType": "register", "channelID": channel});
        let gone = |channel: &str| json!({"messageType": "unregister", "status": 200, "channelID": channel});
        let registrations = Registrations::default();
        let mut ledger = registrations.ledger();
        ledger.sent(&register(early));
        assert!(registrations.agents().is_empty());
        ledger.inspect(&json!({"messageType": "hello", "status": 200, "uaid": "u", "use_webpush": true}));
        for message in [
            register(unregistered),
            json!({"messageType": "registeR", "channelID": unanswered}),
            register("no-uuid"),
            gone(early),
        ] {
            ledger.sent(&message);
        }
        ledger.inspect(&gone(&unregistered.replace('-', "").to_uppercase()));
        ledger.inspect(&json!({"messageType": "unregister", "status": 500, "channelID": unanswered}));
        let agents = registrations.agents();
        assert_eq!(agents.len(), 1);
        assert!(agents[0].is_webpush && agents[0].channels.values().eq([early, unanswered]), "{agents:?}");
        ledger.inspect(&gone(early));
        ledger.inspect(&gone(unanswered));
        assert!(registrations.agents().is_empty());
    }
}
