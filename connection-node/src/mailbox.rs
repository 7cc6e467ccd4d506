//! The mailbox of one connection: what other tasks want it to know.
//!
//! It is made for being empty: no queue is allocated until something is put in, and the queue is given away
//! whole when the connection empties it.

use beckon_types::{Moment, Notification};
use parking_lot::Mutex;
use std::task::{Context, Poll, Waker};
use tokio::sync::oneshot;

/// How many notifications a mailbox holds. A full one answers [`Posted::Full`]; the notification waits in the
/// store, and the connection looks there once it has emptied its mailbox.
pub const MAILBOX_LEN_MAX: usize = 64;

/// With so many bytes of data and payloads a mailbox is full, too, so that clients who do not read what they are sent
/// take a bounded part of the node's memory. The last notification taken may exceed it: a mailbox that is full stays
/// full until it is emptied, so that nothing overtakes what was refused.
pub const MAILBOX_BYTES_MAX: usize = 128 * 1024;

/// Who waits for an eviction. Nearly always nobody, so a mailbox has no more than a pointer for them.
#[derive(Debug, Default)]
struct Evictors(Vec<oneshot::Sender<()>>);

/// What became of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posted {
    /// The connection will send it.
    Taken,
    /// The mailbox is full.
    Full,
    /// The connection is closing.
    Closed,
}

/// A notification in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// When it was put in.
    pub at: Moment,
    /// What was put in.
    pub notification: Notification,
}

/// Things to know that carry no content. Each is set once however often it is signalled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Signals {
    /// A deadline may have come.
    pub timer: bool,
    /// A newer hello has claimed the UAID.
    pub evicted: bool,
    /// The node shuts down.
    pub drain: bool,
    /// The store has lost its memory.
    pub store_lost: bool,
    /// Something was stored and not handed over.
    pub missed: bool,
    /// The node has other broadcasts.
    pub broadcasts: bool,
    /// The connection should move to another place in memory.
    pub move_out: bool,
}

impl Signals {
    fn any(self) -> bool {
        self != Self::default()
    }

    /// Those that the connection deals with only while it takes notifications: they make it send something.
    fn that_send(self) -> Self {
        Self { missed: self.missed, broadcasts: self.broadcasts, ..Self::default() }
    }

    fn that_do_not_send(self) -> Self {
        Self { missed: false, broadcasts: false, ..self }
    }
}

/// What the connection wants to know. One byte, so that an idle mailbox has a size of the allocator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Reader {
    /// Everything but broadcasts.
    #[default]
    Open,
    /// When the broadcasts change, too.
    Subscribed,
    /// Nothing any more.
    Closed,
}

/// What one connection gets from other tasks.
#[derive(Debug, Default)]
pub struct Mailbox {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The connection's task.
    waker: Option<Waker>,
    notifications: Vec<Arrival>,
    signals: Signals,
    reader: Reader,
    /// Dropped when the Close frame of an evicted socket is on its way, for the hello that waits for it.
    evictors: Option<Box<Evictors>>,
}

impl Mailbox {
    /// Puts a notification in.
    pub fn post(&self, now: Moment, notification: Notification) -> Posted {
        let mut state = self.state.lock();
        if state.reader == Reader::Closed {
            return Posted::Closed;
        }
        let posted = match notification {
            Notification::Missed => {
                state.signals.missed = true;
                Posted::Taken
            }
            Notification::Update(_) | Notification::Message(_) if state.is_full() => {
                state.signals.missed = true;
                Posted::Full
            }
            Notification::Update(_) | Notification::Message(_) => {
                state.notifications.push(Arrival { at: now, notification });
                Posted::Taken
            }
        };
        state.wake();
        posted
    }

    /// A deadline may have come.
    pub fn timer(&self) {
        self.signal(|signals| signals.timer = true);
    }

    /// The node shuts down.
    pub fn drain(&self) {
        self.signal(|signals| signals.drain = true);
    }

    /// The store has lost its memory.
    pub fn store_lost(&self) {
        self.signal(|signals| signals.store_lost = true);
    }

    /// Something was stored for the client and not handed over.
    pub fn missed(&self) {
        self.signal(|signals| signals.missed = true);
    }

    /// From now on the connection wants to know when the broadcasts change. That they have is signalled at once,
    /// because they may have changed since the connection read them.
    pub fn subscribe(&self) {
        let mut state = self.state.lock();
        if state.reader == Reader::Open {
            state.reader = Reader::Subscribed;
        }
        state.signals.broadcasts = true;
        state.wake();
    }

    /// Whether the connection wants to know when the broadcasts change.
    pub fn is_subscribed(&self) -> bool {
        self.state.lock().reader == Reader::Subscribed
    }

    /// The broadcasts have changed.
    pub fn broadcasts(&self) {
        self.signal(|signals| signals.broadcasts = true);
    }

    /// The connection should move to another place in memory.
    pub fn move_out(&self) {
        self.signal(|signals| signals.move_out = true);
    }

    /// Forgets the connection's task, which ends, so that nothing keeps its memory. What is put in meanwhile is found
    /// by the next one.
    pub fn forget_task(&self) {
        self.state.lock().waker = None;
    }

    /// Signals the eviction. The receiver ends when the socket's Close frame has been handed to the kernel, or
    /// the socket is gone.
    pub fn evict(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        if state.reader != Reader::Closed {
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

    /// Takes what is there; notifications, and signals that make the connection send something, only if
    /// `notifications` is set. If there is nothing to take, the task of the context is woken by the next arrival.
    pub fn poll_take(&self, context: &mut Context<'_>, notifications: bool) -> Poll<(Signals, Vec<Arrival>)> {
        let mut state = self.state.lock();
        let (wanted, left) = match notifications {
            true => (state.signals, Signals::default()),
            false => (state.signals.that_do_not_send(), state.signals.that_send()),
        };
        if wanted.any() || (notifications && !state.notifications.is_empty()) {
            state.signals = left;
            let taken = if notifications { std::mem::take(&mut state.notifications) } else { Vec::new() };
            return Poll::Ready((wanted, taken));
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// Closes the mailbox: from now on nothing is taken. Who waits for the eviction is told by
    /// [`Mailbox::evicted`].
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.reader = Reader::Closed;
        state.notifications = Vec::new();
    }

    /// Tells those who wait for the eviction that the Close frame is on its way.
    pub fn evicted(&self) {
        self.state.lock().evictors = None;
    }
}

impl State {
    /// Counted here and not kept, because an idle mailbox should be small and is nearly always empty.
    fn is_full(&self) -> bool {
        self.notifications.len() >= MAILBOX_LEN_MAX
            || self.notifications.iter().map(|arrival| arrival.notification.weight()).sum::<usize>()
                >= MAILBOX_BYTES_MAX
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
        ChannelId, Draft, Encoding, KeyId, Message, Payload, Place, Sequence, Update, Urgency, Version,
    };
    use std::time::Duration;

    const NOW: Moment = Moment(7);

    fn arrival(notification: Notification) -> Arrival {
        Arrival { at: NOW, notification }
    }

    /// A message whose body is as long as its number says.
    fn message(number: u64) -> Notification {
        Notification::Message(Message {
            channel: ChannelId([1; 16]),
            place: Place { sequence: Sequence(number), topic: None },
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
            assert_eq!(mailbox.post(NOW, update(number)), Posted::Taken);
        }
        assert_eq!(mailbox.post(NOW, update(99)), Posted::Full);
        let Poll::Ready((signals, taken)) = mailbox.poll_take(&mut context(), true) else { panic!("empty") };
        assert!(signals.missed);
        assert_eq!(taken.len(), MAILBOX_LEN_MAX);
        assert!(mailbox.poll_take(&mut context(), true).is_pending());
    }

    #[test]
    fn a_mailbox_is_full_as_well_when_its_payloads_are_too_large_together() {
        let mailbox = Mailbox::default();
        let half = MAILBOX_BYTES_MAX as u64 / 2;
        for number in [half, half - 1, 1] {
            assert_eq!(mailbox.post(NOW, message(number)), Posted::Taken);
        }
        assert_eq!(mailbox.post(NOW, message(0)), Posted::Full);
        let Poll::Ready((signals, taken)) = mailbox.poll_take(&mut context(), true) else { panic!("empty") };
        assert!(signals.missed);
        assert_eq!(taken, [half, half - 1, 1].map(message).map(arrival));
        assert_eq!(mailbox.post(NOW, message(1)), Posted::Taken);
    }

    #[test]
    fn an_idle_mailbox_is_small() {
        // With the two counts of its Arc, 80 bytes: a size of the allocator.
        assert_eq!(size_of::<Mailbox>(), 64);
    }

    #[test]
    fn a_subscriber_looks_at_the_broadcasts_at_once_and_after_each_change() {
        let mailbox = Mailbox::default();
        let changed = Signals { broadcasts: true, ..Signals::default() };
        assert!(!mailbox.is_subscribed());
        mailbox.subscribe();
        assert!(mailbox.is_subscribed());
        assert!(mailbox.poll_take(&mut context(), false).is_pending(), "not while the socket is congested");
        assert_eq!(mailbox.poll_take(&mut context(), true), Poll::Ready((changed, Vec::new())));
        assert!(mailbox.poll_take(&mut context(), true).is_pending());
        mailbox.broadcasts();
        assert_eq!(mailbox.poll_take(&mut context(), true), Poll::Ready((changed, Vec::new())));
        mailbox.close();
        assert!(!mailbox.is_subscribed());
    }

    #[test]
    fn notifications_wait_until_they_are_wanted_but_signals_do_not() {
        let mailbox = Mailbox::default();
        mailbox.post(NOW, update(1));
        mailbox.post(NOW, Notification::Missed);
        assert!(mailbox.poll_take(&mut context(), false).is_pending());
        mailbox.timer();
        let timer = Signals { timer: true, ..Signals::default() };
        assert_eq!(mailbox.poll_take(&mut context(), false), Poll::Ready((timer, Vec::new())));
        let missed = Signals { missed: true, ..Signals::default() };
        assert_eq!(mailbox.poll_take(&mut context(), true), Poll::Ready((missed, vec![arrival(update(1))])));
    }

    #[test]
    fn what_is_put_in_while_a_connection_moves_is_found_by_its_next_task() {
        let mailbox = Mailbox::default();
        assert!(mailbox.poll_take(&mut context(), true).is_pending());
        mailbox.forget_task();
        assert_eq!(mailbox.post(NOW, update(1)), Posted::Taken);
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
        assert_eq!(mailbox.post(NOW, update(2)), Posted::Closed);
        assert!(mailbox.poll_take(&mut context(), true).is_pending());
    }

    #[test]
    fn an_evictor_waits_until_the_close_frame_is_on_its_way() {
        let mailbox = Mailbox::default();
        let mut receiver = mailbox.evict();
        mailbox.close();
        assert_eq!(receiver.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        mailbox.evicted();
        assert_eq!(receiver.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert_eq!(mailbox.evict().try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }
}
