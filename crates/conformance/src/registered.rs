//! What clients have registered, as the server's replies tell.

use crate::talk::Inspect;
use serde_json::Value;
use std::{
    collections::BTreeMap,
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

/// The registered channels, by UAID, as the server's replies tell. Both are UUIDs, which can be spelled in several ways:
/// the keys are their digits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registrations {
    agents: Arc<Mutex<BTreeMap<String, Agent>>>,
}

impl Registrations {
    /// What notes the replies on one socket.
    pub(crate) fn ledger(&self) -> Box<dyn Inspect> {
        Box::new(Ledger { registrations: self.clone(), uaid: String::new(), is_webpush: false })
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
#[derive(Debug)]
struct Ledger {
    registrations: Registrations,
    uaid: String,
    is_webpush: bool,
}

impl Inspect for Ledger {
    fn inspect(&mut self, message: &Value) {
        let text = |member: &str| message[member].as_str().unwrap_or_default().to_owned();
        if message["status"] != 200 {
            return;
        }
        match &*text("messageType") {
            "hello" => {
                self.uaid = text("uaid");
                self.is_webpush = message["use_webpush"] == true;
            }
            "register" => self.registrations.with(|agents| {
                let agent = agents.entry(digits(&self.uaid)).or_default();
                (agent.uaid, agent.is_webpush) = (self.uaid.clone(), self.is_webpush);
                let channel = text("channelID");
                agent.channels.insert(digits(&channel), channel);
            }),
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
    fn what_is_registered_and_not_unregistered_is_left() {
        let registrations = Registrations::default();
        let mut ledger = registrations.ledger();
        for message in [
            json!({"messageType": "hello", "status": 200, "uaid": "u", "use_webpush": true}),
            json!({"messageType": "register", "status": 200, "channelID": "a"}),
            json!({"messageType": "register", "status": 200, "channelID": "b"}),
            json!({"messageType": "register", "status": 401, "channelID": "c"}),
            json!({"messageType": "unregister", "status": 200, "channelID": "-A"}),
            json!({"messageType": "notification", "channelID": "b", "version": "m"}),
        ] {
            ledger.inspect(&message);
        }
        let agents = registrations.agents();
        assert_eq!(agents.len(), 1);
        assert!(agents[0].is_webpush && agents[0].channels.values().eq(["b"]), "{agents:?}");
        ledger.inspect(&json!({"messageType": "unregister", "status": 200, "channelID": "b"}));
        assert!(registrations.agents().is_empty());
    }
}
