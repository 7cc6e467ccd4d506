//! The mailbox of one connection: what other tasks want it to know.
//!
//! It is made to be empty: no queue is allocated until something is put in, and the queue is given away whole when
//! the connection empties it.

use beckon_node::trace::Span;
use beckon_proto::delivery::Receipt;
use beckon_types::{Moment, Notification, RequestId, Sequence};
use parking_lot::Mutex;
use std::{
    mem,
    task::{Context, Poll, Waker},
};
use tokio::sync::oneshot;

/// Notifications that a mailbox holds. A full one answers [`Receipt::Busy`]; the notification waits in the store, and
/// the connection re-reads the store once it has emptied its mailbox.
pub(crate) const MAILBOX_LEN_MAX: usize = 64;

/// Bytes of data and payloads with which a mailbox is full as well, so that clients that do not read take a bounded
/// part of the node's memory. The last notification may exceed the limit. A full mailbox stays full until it is
/// emptied, so that nothing overtakes what was refused.
pub(crate) const MAILBOX_BYTES_MAX: usize = 128 * 1024;

/// What is put into a mailbox.
#[derive(Debug, PartialEq)]
pub(crate) struct Post {
    pub(crate) notification: Notification,
    /// The write before it, if that is known.
    pub(crate) previous: Option<Sequence>,
    /// The request that it follows from, if that is known.
    pub(crate) request: Option<RequestId>,
    /// Ends when the connection takes it.
    pub(crate) span: Span,
}

impl From<Notification> for Post {
    fn from(notification: Notification) -> Self {
        Self { notification, previous: None, request: None, span: Span::NONE }
    }
}

/// A notification in a mailbox.
#[derive(Debug, PartialEq)]
pub(crate) struct Arrival {
    /// When it was put in.
    pub(crate) at: Moment,
    /// What was put in.
    pub(crate) post: Post,
}

/// Signals carry no content. Each is set once, however often it is signalled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Signals {
    /// A deadline may have come, or the connection may have to end because it holds too much ([`crate::memory`]).
    pub(crate) timer: bool,
    /// A newer hello has claimed the UAID.
    pub(crate) evicted: bool,
    /// The node shuts down.
    pub(crate) drain: bool,
    /// Something was stored and not handed over.
    pub(crate) missed: bool,
    /// The store may have forgotten that the connection has its client, or another node may have taken it for offline.
    pub(crate) verify: bool,
    /// The node has other broadcasts.
    pub(crate) broadcasts: bool,
    /// The connection should be suspended if it is at rest.
    pub(crate) suspend: bool,
}

impl Signals {
    fn any(self) -> bool {
        self != Self::default()
    }

    /// Signals that cause output: they are held back while the connection takes no notifications.
    fn deferrable(self) -> Self {
        Self { missed: self.missed, verify: self.verify, broadcasts: self.broadcasts, ..Self::default() }
    }

    /// All other signals.
    fn urgent(self) -> Self {
        Self { missed: false, verify: false, broadcasts: false, ..self }
    }
}

/// What the connection still takes. One byte, so that an idle mailbox has a size of the allocator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Interest {
    /// Everything except broadcasts.
    #[default]
    Notifications,
    /// Broadcasts as well.
    Broadcasts,
    /// No notifications: the connection is closing.
    Closed,
}

/// What a suspended connection has not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    Nothing,
    /// Something for which it has to re-read the store.
    Missed,
}

/// Hellos that wait for an eviction. There are hardly ever any, so a mailbox has only a pointer for them.
#[derive(Debug, Default)]
struct Evictors(Vec<oneshot::Sender<()>>);

/// What one connection gets from other tasks.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The connection's task.
    waker: Option<Waker>,
    notifications: Vec<Arrival>,
    signals: Signals,
    interest: Interest,
    /// Dropped when the Close frame of an evicted socket is on its way.
    evictors: Option<Box<Evictors>>,
}

impl Mailbox {
    /// Puts a notification in.
    pub(crate) fn post(&self, now: Moment, post: impl Into<Post>) -> Receipt {
        let post = post.into();
        let mut state = self.state.lock();
        if state.interest == Interest::Closed {
            return Receipt::NotHere;
        }
        let receipt = match &post.notification {
            Notification::Missed => {
                state.signals.missed = true;
                Receipt::Delivered
            }
            Notification::Update(_) | Notification::Message(_) if state.is_full() => {
                state.signals.missed = true;
                Receipt::Busy
            }
            Notification::Update(_) | Notification::Message(_) => {
                state.notifications.push(Arrival { at: now, post });
                Receipt::Delivered
            }
        };
        state.wake();
        receipt
    }

    /// Signals that a deadline may have come.
    pub(crate) fn signal_timer(&self) {
        self.signal(|signals| signals.timer = true);
    }

    /// Signals that the node shuts down.
    pub(crate) fn signal_drain(&self) {
        self.signal(|signals| signals.drain = true);
    }

    /// Signals that the connection has to verify that it has its client, and that it has missed nothing.
    pub(crate) fn signal_verify(&self) {
        self.signal(|signals| signals.verify = true);
    }

    /// Signals that the broadcasts have changed.
    pub(crate) fn signal_broadcasts(&self) {
        self.signal(|signals| signals.broadcasts = true);
    }

    /// Signals that the connection should be suspended if it is at rest.
    pub(crate) fn signal_suspend(&self) {
        self.signal(|signals| signals.suspend = true);
    }

    /// As [`Mailbox::signal_suspend`]. Returns false, and does nothing, if the connection has no task.
    pub(crate) fn ask_to_suspend(&self) -> bool {
        let mut state = self.state.lock();
        let has_task = state.waker.is_some();
        if has_task {
            state.signals.suspend = true;
            state.wake();
        }
        has_task
    }

    /// Whether the connection has not looked since it was asked to suspend, for it has a task that has not had its turn.
    pub(crate) fn is_asked_to_suspend(&self) -> bool {
        let state = self.state.lock();
        state.signals.suspend && state.waker.is_some()
    }

    /// For a connection without a task: whether it has to re-read the store because of what it has not taken. `None` if it
    /// has to end.
    pub(crate) fn left(&self) -> Option<Left> {
        let state = self.state.lock();
        let Signals { evicted, drain, missed, verify, .. } = state.signals;
        if evicted || drain || state.interest == Interest::Closed {
            return None;
        }
        Some(if missed || verify || !state.notifications.is_empty() { Left::Missed } else { Left::Nothing })
    }

    /// Bytes of the notifications that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.state.lock().bytes()
    }

    /// Signals that a newer hello has claimed the UAID. The receiver ends when the socket's Close frame has been
    /// handed to the kernel, or the socket is gone ([`Mailbox::release_evictors`]).
    pub(crate) fn signal_eviction(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        if state.interest != Interest::Closed {
            state.signals.evicted = true;
            state.evictors.get_or_insert_default().0.push(sender);
            state.wake();
        }
        receiver
    }

    fn signal(&self, set: impl FnOnce(&mut Signals)) {
        let mut state = self.state.lock();
        set(&mut state.signals);
        state.wake();
    }

    /// Subscribes the connection to changes of the broadcasts. A first change is signalled at once, because they may
    /// have changed since the connection read them.
    pub(crate) fn subscribe(&self) {
        let mut state = self.state.lock();
        if state.interest == Interest::Notifications {
            state.interest = Interest::Broadcasts;
        }
        state.signals.broadcasts = true;
        state.wake();
    }

    /// Whether the connection is subscribed to changes of the broadcasts.
    pub(crate) fn is_subscribed(&self) -> bool {
        self.state.lock().interest == Interest::Broadcasts
    }

    /// Takes what is there; notifications, and signals that cause output, only if `notifications` is set. If there is
    /// nothing to take, the task of the context is woken by the next arrival.
    pub(crate) fn poll_take(
        &self,
        context: &mut Context<'_>,
        notifications: bool,
    ) -> Poll<(Signals, Vec<Arrival>)> {
        let mut state = self.state.lock();
        let (taken, left) = match notifications {
            true => (state.signals, Signals::default()),
            false => (state.signals.urgent(), state.signals.deferrable()),
        };
        if taken.any() || (notifications && !state.notifications.is_empty()) {
            state.signals = left;
            let arrivals = if notifications { mem::take(&mut state.notifications) } else { Vec::new() };
            return Poll::Ready((taken, arrivals));
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// Forgets the connection's task, so that nothing keeps its memory. What is put in from now on is found by the
    /// connection's next task.
    pub(crate) fn forget_task(&self) {
        self.state.lock().waker = None;
    }

    /// Closes the mailbox: from now on it takes no notifications and no evictions.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.interest = Interest::Closed;
        state.notifications = Vec::new();
    }

    /// Lets the hellos go on that wait for the eviction.
    pub(crate) fn release_evictors(&self) {
        self.state.lock().evictors = None;
    }
}

impl State {
    /// Computed rather than kept, because an idle mailbox should be small and is nearly always empty.
    fn is_full(&self) -> bool {
        self.notifications.len() >= MAILBOX_LEN_MAX || self.bytes() >= MAILBOX_BYTES_MAX
    }

    fn bytes(&self) -> usize {
        self.notifications.iter().map(|arrival| arrival.post.notification.weight()).sum()
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use beckon_types::{
        ChannelId, Draft, Encoding, KeyId, Message, Nonce, Payload, Place, Update, Urgency, Version,
    };
    use std::time::Duration;

    const NOW: Moment = Moment(7);

    fn arrival(notification: Notification) -> Arrival {
        Arrival { at: NOW, post: notification.into() }
    }

    /// A message whose body is as long as its number says.
    fn message(number: u64) -> Notification {
        Notification::Message(Message {
            channel: ChannelId([1; 16]),
            place: Place { sequence: Sequence(number), nonce: Nonce(number), topic: None },
            key: KeyId(1),
            draft: Draft {
                urgency: Urgency::Normal,
                ttl: Duration::from_secs(60),
                payload: Some(Payload {
                    encoding: Encoding::Aes128gcm,
                    body: vec![7; number as usize].into(),
                }),
            },
        })
    }

    fn update(number: u64) -> Notification {
        Notification::Update(Update {
            channel: ChannelId([1; 16]),
            version: Version::new(number).unwrap(),
            sequence: Sequence(number),
            data: None,
        })
    }

    fn context() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    #[test]
    fn a_full_mailbox_refuses_and_remembers_that_it_missed_something() {
        let mailbox = Mailbox::default();
        for number in 0..MAILBOX_LEN_MAX as u64 {
            assert_eq!(mailbox.post(NOW, update(number)), Receipt::Delivered);
        }
        assert_eq!(mailbox.post(NOW, update(99)), Receipt::Busy);
        let Poll::Ready((signals, taken)) = mailbox.poll_take(&mut context(), true) else { panic!("empty") };
        assert!(signals.missed);
        assert_eq!(taken.len(), MAILBOX_LEN_MAX);
        assert!(mailbox.poll_take(&mut context(), true).is_pending());
    }

    #[test]
    fn a_mailbox_with_too_many_bytes_is_full() {
        let mailbox = Mailbox::default();
        let half = MAILBOX_BYTES_MAX as u64 / 2;
        for number in [half, half - 1, 1] {
            assert_eq!(mailbox.post(NOW, message(number)), Receipt::Delivered);
        }
        assert_eq!(mailbox.post(NOW, message(0)), Receipt::Busy);
        let Poll::Ready((signals, taken)) = mailbox.poll_take(&mut context(), true) else { panic!("empty") };
        assert!(signals.missed);
        assert_eq!(taken, [half, half - 1, 1].map(message).map(arrival));
        assert_eq!(mailbox.post(NOW, message(1)), Receipt::Delivered);
    }

    #[test]
    fn an_idle_mailbox_is_small() {
        // With the two counts of its Arc, 80 bytes: a size of the allocator.
        assert_eq!(size_of::<Mailbox>(), 64);
    }

    #[test]
    fn a_subscriber_is_signalled_at_once_and_after_each_change() {
        let mailbox = Mailbox::default();
        let changed = Signals { broadcasts: true, ..Signals::default() };
        assert!(!mailbox.is_subscribed());
        mailbox.subscribe();
        assert!(mailbox.is_subscribed());
        assert!(mailbox.poll_take(&mut context(), false).is_pending(), "not while the socket is congested");
        assert_eq!(mailbox.poll_take(&mut context(), true), Poll::Ready((changed, Vec::new())));
        assert!(mailbox.poll_take(&mut context(), true).is_pending());
        mailbox.signal_broadcasts();
        assert_eq!(mailbox.poll_take(&mut context(), true), Poll::Ready((changed, Vec::new())));
        mailbox.close();
        assert!(!mailbox.is_subscribed());
    }

    #[test]
    fn notifications_wait_until_they_are_taken_but_urgent_signals_do_not() {
        let mailbox = Mailbox::default();
        mailbox.post(NOW, update(1));
        mailbox.post(NOW, Notification::Missed);
        assert!(mailbox.poll_take(&mut context(), false).is_pending());
        mailbox.signal_timer();
        let timer = Signals { timer: true, ..Signals::default() };
        assert_eq!(mailbox.poll_take(&mut context(), false), Poll::Ready((timer, Vec::new())));
        let missed = Signals { missed: true, ..Signals::default() };
        assert_eq!(mailbox.poll_take(&mut context(), true), Poll::Ready((missed, vec![arrival(update(1))])));
    }

    #[test]
    fn arrivals_without_a_task_are_found_by_the_next_task() {
        let mailbox = Mailbox::default();
        assert!(mailbox.poll_take(&mut context(), true).is_pending());
        mailbox.forget_task();
        assert_eq!(mailbox.post(NOW, update(1)), Receipt::Delivered);
        assert_eq!(
            mailbox.poll_take(&mut context(), true),
            Poll::Ready((Signals::default(), vec![arrival(update(1))]))
        );
    }

    #[test]
    fn a_closed_mailbox_takes_nothing() {
        let mailbox = Mailbox::default();
        mailbox.post(NOW, update(1));
        mailbox.close();
        assert_eq!(mailbox.post(NOW, update(2)), Receipt::NotHere);
        assert!(mailbox.poll_take(&mut context(), true).is_pending());
    }

    #[test]
    fn evictors_wait_until_they_are_released() {
        let mailbox = Mailbox::default();
        let mut receiver = mailbox.signal_eviction();
        mailbox.close();
        assert_eq!(receiver.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        mailbox.release_evictors();
        assert_eq!(receiver.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert_eq!(mailbox.signal_eviction().try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }
}
