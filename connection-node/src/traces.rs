//! The traced notifications on a worker's sockets: being written, or waiting for the acknowledgement of a user agent.
//!
//! They are kept beside the connections, which have no room for them: nearly all sockets at nearly all times have none. While
//! the worker has none at all, every call is one load of a counter that only this worker writes.

use beckon_node::trace::{Kind, Span};
use beckon_session::Step;
use beckon_types::{ChannelId, ConnectionId, Moment, Notification, Sequence};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// How many notifications are followed on one worker. The spans of one more end at its socket.
const FOLLOWED_MAX: usize = 1024;

/// How long an acknowledgement is waited for before another notification may take its place.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// By what an acknowledgement names a notification.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Key {
    Update(ChannelId, u64),
    Message(Sequence),
}

impl Key {
    fn of(notification: &Notification) -> Option<Self> {
        match notification {
            Notification::Update(update) => Some(Self::Update(update.channel, update.version.number())),
            Notification::Message(message) => Some(Self::Message(message.place.sequence)),
            Notification::Missed => None,
        }
    }

    /// Whether this step tells the store that the user agent has acknowledged it.
    fn is_acknowledged_by(self, step: &Step) -> bool {
        match (self, step) {
            (Self::Update(channel, version), Step::AckVersions(_, acks)) => acks.iter().any(|ack| {
                ack.channel == channel
                    && ack.version.is_none_or(|acknowledged| acknowledged == version as f64)
            }),
            (Self::Message(sequence), Step::RemoveMessages(_, places)) => {
                places.iter().any(|place| place.sequence == sequence)
            }
            _ => false,
        }
    }
}

/// A notification that is traced.
#[derive(Debug)]
pub(crate) struct Followed {
    key: Key,
    since: Moment,
    phase: Phase,
}

/// What is being waited for, as a span.
#[derive(Debug)]
enum Phase {
    /// The kernel takes the message.
    Write(Span),
    /// The user agent acknowledges it.
    Acknowledge(Span),
    /// The store performs what follows from that.
    Store(Span),
}

impl Followed {
    /// A notification that a connection has taken out of its mailbox, which ends `received`. `None` if it is not traced.
    pub(crate) fn begin(received: Span, notification: &Notification, now: Moment) -> Option<Self> {
        let key = Key::of(notification).filter(|_| received.is_traced())?;
        let write = received.child("write", Kind::Internal);
        Some(Self { key, since: now, phase: Phase::Write(write) })
    }
}

/// The traced notifications of a worker, by their connections.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    /// How many connections have some.
    connections: AtomicUsize,
    followed: Mutex<HashMap<ConnectionId, Vec<Followed>>>,
}

impl Traces {
    fn is_idle(&self) -> bool {
        self.connections.load(Ordering::Relaxed) == 0
    }

    /// Follows a notification that its session has handled: `is_sent` says whether it goes to the socket.
    pub(crate) fn follow(&self, id: ConnectionId, mut followed: Followed, is_sent: bool) {
        if !is_sent && let Phase::Write(span) = &mut followed.phase {
            span.set("beckon.outcome", "dropped");
            return;
        }
        let now = followed.since;
        let count = |all: &HashMap<_, Vec<_>>| all.values().map(Vec::len).sum::<usize>();
        self.change(|all| {
            if count(all) >= FOLLOWED_MAX {
                all.retain(|_, of_one| {
                    of_one.retain(|followed: &Followed| now.since(followed.since) < WAIT_MAX);
                    !of_one.is_empty()
                });
            }
            if count(all) < FOLLOWED_MAX {
                all.entry(id).or_default().push(followed);
            }
        });
    }

    /// The kernel has taken all that was to be written to a socket.
    pub(crate) fn written(&self, id: ConnectionId) {
        self.of(id, |followed| {
            if let Phase::Write(span) = &followed.phase {
                followed.phase = Phase::Acknowledge(span.child("acknowledge", Kind::Internal));
            }
            true
        });
    }

    /// The session of a connection asks for a step.
    pub(crate) fn asked(&self, id: ConnectionId, step: &Step) {
        let name = match step {
            Step::AckVersions(..) => "ack_versions",
            Step::RemoveMessages(..) => "remove_messages",
            Step::Hello(_)
            | Step::AddChannel(_)
            | Step::RemoveChannel(..)
            | Step::Fetch(_)
            | Step::Snapshot(..)
            | Step::Verify(..)
            | Step::Release(..)
            | Step::NoteMissed(_) => return,
        };
        self.of(id, |followed| {
            let (Phase::Write(span) | Phase::Acknowledge(span)) = &followed.phase else { return true };
            if followed.key.is_acknowledged_by(step) {
                let mut store = span.child("store", Kind::Client);
                store.set("db.operation.name", name);
                followed.phase = Phase::Store(store);
            }
            true
        });
    }

    /// The step of a connection has ended. `error` says why it failed, if it did.
    pub(crate) fn stepped(&self, id: ConnectionId, error: Option<&'static str>) {
        self.of(id, |followed| {
            let Phase::Store(span) = &mut followed.phase else { return true };
            if let Some(error) = error {
                span.fail(error);
            }
            false
        });
    }

    /// A connection has ended.
    pub(crate) fn ended(&self, id: ConnectionId) {
        self.of(id, |followed| {
            let (Phase::Write(span) | Phase::Acknowledge(span) | Phase::Store(span)) = &mut followed.phase;
            span.fail("the connection has ended");
            false
        });
    }

    /// Goes through the notifications of a connection, and keeps those for which `keep` returns true.
    fn of(&self, id: ConnectionId, keep: impl FnMut(&mut Followed) -> bool) {
        if self.is_idle() {
            return;
        }
        self.change(|all| {
            if let Some(of_one) = all.get_mut(&id) {
                of_one.retain_mut(keep);
                if of_one.is_empty() {
                    all.remove(&id);
                }
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<ConnectionId, Vec<Followed>>)) {
        let mut all = self.followed.lock();
        change(&mut all);
        self.connections.store(all.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use beckon_listener::rate::Rate;
    use beckon_node::trace::{Record, Sampler, Spans, Tracer};
    use beckon_ops::clock::Clock;
    use beckon_types::{Ack, ClientId, RequestId, Update, Version};
    use prometheus_client::registry::Registry;
    use tokio::sync::mpsc;

    const CONNECTION: ConnectionId = ConnectionId(5);
    const CHANNEL: ChannelId = ChannelId([1; 16]);

    fn tracer() -> (Tracer, mpsc::Receiver<Record>) {
        let sampler = Sampler::new(1.0, Rate { count: 0, period: Duration::ZERO });
        Tracer::new(sampler, Clock::start(), Spans::register(&mut Registry::default()))
    }

    fn update(number: u64) -> Notification {
        let (version, sequence) = (Version::new(number).unwrap(), Sequence(number));
        Notification::Update(Update { channel: CHANNEL, version, sequence, data: None })
    }

    fn follow(traces: &Traces, tracer: &Tracer, version: u64, at: Moment, is_sent: bool) {
        let span = tracer.begin(RequestId(1), None, String::new, "receive");
        let followed = Followed::begin(span, &update(version), at).unwrap();
        traces.follow(CONNECTION, followed, is_sent);
    }

    fn ack(version: u64) -> Step {
        Step::AckVersions(ClientId([1; 16]), vec![Ack { channel: CHANNEL, version: Some(version as f64) }])
    }

    fn ended(queue: &mut mpsc::Receiver<Record>) -> Vec<(&'static str, Option<&'static str>)> {
        let mut names = Vec::new();
        while let Ok(record) = queue.try_recv() {
            names.push((record.name, record.error));
        }
        names
    }

    #[tokio::test]
    async fn a_notification_is_followed_until_the_store_has_its_acknowledgement() {
        let ((tracer, mut queue), traces) = (tracer(), Traces::default());
        follow(&traces, &tracer, 1, Moment(0), true);
        follow(&traces, &tracer, 2, Moment(0), true);
        assert_eq!(ended(&mut queue), [("receive", None); 2]);
        traces.written(ConnectionId(6));
        traces.asked(CONNECTION, &ack(3));
        assert_eq!(ended(&mut queue), []);
        traces.written(CONNECTION);
        assert_eq!(ended(&mut queue), [("write", None); 2]);
        traces.asked(CONNECTION, &ack(2));
        traces.stepped(ConnectionId(6), None);
        assert_eq!(ended(&mut queue), [("acknowledge", None)]);
        traces.stepped(CONNECTION, Some("timeout"));
        assert_eq!(ended(&mut queue), [("store", Some("timeout"))]);
        assert!(!traces.is_idle());
        traces.ended(CONNECTION);
        assert_eq!(ended(&mut queue), [("acknowledge", Some("the connection has ended"))]);
        assert!(traces.is_idle());
    }

    #[tokio::test]
    async fn what_is_not_sent_is_not_followed() {
        let ((tracer, mut queue), traces) = (tracer(), Traces::default());
        follow(&traces, &tracer, 1, Moment(0), false);
        assert!(traces.is_idle());
        assert_eq!(ended(&mut queue), [("receive", None), ("write", None)]);
        assert!(Followed::begin(Span::NONE, &update(1), Moment(0)).is_none());
    }

    #[tokio::test]
    async fn those_that_wait_for_long_make_room() {
        let ((tracer, _queue), traces) = (tracer(), Traces::default());
        let count = || traces.followed.lock().values().map(Vec::len).sum::<usize>();
        for version in 0..FOLLOWED_MAX as u64 + 5 {
            follow(&traces, &tracer, version, Moment(0), true);
        }
        assert_eq!(count(), FOLLOWED_MAX);
        follow(&traces, &tracer, 1, Moment(0) + WAIT_MAX, true);
        assert_eq!(count(), 1);
    }
}
