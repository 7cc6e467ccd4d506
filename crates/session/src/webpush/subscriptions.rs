//! The broadcasts that a socket has subscribed to.

use crate::{
    limits::SUBSCRIPTIONS_MAX,
    message::webpush::{BroadcastsJson, NamedBroadcast, NamedBroadcasts},
    parked::ParkedSubscription,
};
use beckon_types::Broadcasts;
use std::sync::Arc;

/// The error for an id that no broadcast has.
const NOT_FOUND: &str = "Broadcast not found";

/// The error for one more id on a socket with [`SUBSCRIPTIONS_MAX`] subscriptions.
const TOO_MANY: &str = "Too many broadcasts";

/// The subscriptions of a socket, at most one for each broadcast.
#[derive(Debug, Clone, Default)]
pub(super) struct Subscriptions(Vec<Subscription>);

/// A broadcast and the version that its subscriber knows. Both texts are shared with the node's own.
#[derive(Debug, Clone)]
struct Subscription {
    id: Arc<str>,
    version: Arc<str>,
}

impl Subscriptions {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The subscriptions as data.
    pub(super) fn park(&self) -> Vec<ParkedSubscription> {
        let park = |Subscription { id, version }: &Subscription| ParkedSubscription {
            id: id.as_ref().to_owned(),
            version: version.as_ref().to_owned(),
        };
        self.0.iter().map(park).collect()
    }

    /// The subscriptions that were parked. Their texts are shared with those of the node, as far as it has the same.
    pub(super) fn resume(parked: Vec<ParkedSubscription>, broadcasts: &Broadcasts) -> Self {
        let resume = |ParkedSubscription { id, version }| match broadcasts.values.get_key_value(&*id) {
            Some((id, current)) if **current == *version => {
                Subscription { id: id.clone(), version: current.clone() }
            }
            Some((id, _)) => Subscription { id: id.clone(), version: version.into() },
            None => Subscription { id: id.into(), version: version.into() },
        };
        Self(parked.into_iter().take(SUBSCRIPTIONS_MAX).map(resume).collect())
    }

    /// Subscribes to the named broadcasts. Returns the answer: versions that the user agent does not have, and errors.
    pub(super) fn add(&mut self, named: &NamedBroadcasts, broadcasts: &Broadcasts) -> BroadcastsJson {
        let mut answer = BroadcastsJson::default();
        for (id, NamedBroadcast { raw_id, version: known }) in named {
            let Some((id, version)) = broadcasts.values.get_key_value(&**id) else {
                answer.error(raw_id, NOT_FOUND);
                continue;
            };
            match self.0.iter().position(|subscription| subscription.id == *id) {
                Some(at) => self.0[at].version = version.clone(),
                None if self.0.len() >= SUBSCRIPTIONS_MAX => {
                    answer.error(raw_id, TOO_MANY);
                    continue;
                }
                None => {
                    // Most sockets subscribe to a few broadcasts in the hello and keep them for days.
                    self.0.reserve_exact(1);
                    self.0.push(Subscription { id: id.clone(), version: version.clone() });
                }
            }
            if **known != **version {
                answer.value(id, version);
            }
        }
        answer
    }

    /// The broadcasts whose version is not the one that their subscriber knows. A broadcast that was removed keeps its
    /// last version.
    pub(super) fn changes(&mut self, broadcasts: &Broadcasts) -> BroadcastsJson {
        let mut changes = BroadcastsJson::default();
        for Subscription { id, version } in &mut self.0 {
            if let Some(current) = broadcasts.values.get(&**id)
                && current != version
            {
                *version = current.clone();
                changes.value(id, current);
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Request;

    #[test]
    fn subscriptions_take_no_more_memory_than_they_need() {
        let values = ["a", "b", "c", "d", "e"].map(|id| (id.into(), "1".into()));
        let broadcasts = Broadcasts { revision: 1, values: values.into() };
        let mut subscriptions = Subscriptions::default();
        for (text, count) in [(r#"{"a":"1"}"#, 1), (r#"{"a":"1","b":"1","c":"1"}"#, 3), (r#"{"e":"1"}"#, 4)] {
            let message = format!(r#"{{"broadcasts":{text}}}"#);
            let named = Request::parse(&message).unwrap().broadcasts().unwrap().unwrap();
            subscriptions.add(&named, &broadcasts);
            assert_eq!((subscriptions.0.len(), subscriptions.0.capacity()), (count, count));
        }
    }
}
