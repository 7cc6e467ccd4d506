//! The mailbox of one connection: what other tasks want it to know.
//!
//! It is made for being empty: no queue is allocated until something is put in, and the queue is given away
//! whole when the connection empties it.

use parking_lot::Mutex;
use std::task::{Context, Poll, Waker};
use tokio::sync::oneshot;
use types::notification::Notification;

/// How many notifications a mailbox holds. A full one answers [`Posted::Full`]; the notification waits in the
/// store, and the connection looks there once it has emptied its mailbox.
pub const MAILBOX_LEN_MAX: usize = 64;

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
}

impl Signals {
    fn any(self) -> bool {
        self != Self::default()
    }
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
    notifications: Vec<Notification>,
    signals: Signals,
    closed: bool,
    /// Dropped when the Close frame of an evicted socket is on its way, for the hello that waits for it.
    evictors: Option<Box<Evictors>>,
}

impl Mailbox {
    /// Puts a notification in.
    pub fn post(&self, notification: Notification) -> Posted {
        let mut state = self.state.lock();
        if state.closed {
            return Posted::Closed;
        }
        let posted = match notification {
            Notification::Missed => {
                state.signals.missed = true;
                Posted::Taken
            }
            Notification::Update(_) | Notification::Message(_)
                if state.notifications.len() >= MAILBOX_LEN_MAX =>
            {
                state.signals.missed = true;
                Posted::Full
            }
            Notification::Update(_) | Notification::Message(_) => {
                state.notifications.push(notification);
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

    /// Signals the eviction. The receiver ends when the socket's Close frame has been handed to the kernel, or
    /// the socket is gone.
    pub fn evict(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        if !state.closed {
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

    /// Takes what is there, notifications only if `notifications` is set; if there is nothing to take, the task
    /// of the context is woken by the next arrival.
    pub fn poll_take(
        &self,
        context: &mut Context<'_>,
        notifications: bool,
    ) -> Poll<(Signals, Vec<Notification>)> {
        let mut state = self.state.lock();
        let wanted = Signals { missed: state.signals.missed && notifications, ..state.signals };
        if wanted.any() || (notifications && !state.notifications.is_empty()) {
            state.signals = Signals { missed: state.signals.missed && !notifications, ..Signals::default() };
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
        state.closed = true;
        state.notifications = Vec::new();
    }

    /// Tells those who wait for the eviction that the Close frame is on its way.
    pub fn evicted(&self) {
        self.state.lock().evictors = None;
    }
}

impl State {
    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{
        channel_id::ChannelId,
        notification::{Sequence, Update},
        version::Version,
    };

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
            assert_eq!(mailbox.post(update(number)), Posted::Taken);
        }
        assert_eq!(mailbox.post(update(99)), Posted::Full);
        let Poll::Ready((signals, taken)) = mailbox.poll_take(&mut context(), true) else { panic!("empty") };
        assert!(signals.missed);
        assert_eq!(taken.len(), MAILBOX_LEN_MAX);
        assert!(mailbox.poll_take(&mut context(), true).is_pending());
    }

    #[test]
    fn notifications_wait_until_they_are_wanted_but_signals_do_not() {
        let mailbox = Mailbox::default();
        mailbox.post(update(1));
        mailbox.post(Notification::Missed);
        assert!(mailbox.poll_take(&mut context(), false).is_pending());
        mailbox.timer();
        let timer = Signals { timer: true, ..Signals::default() };
        assert_eq!(mailbox.poll_take(&mut context(), false), Poll::Ready((timer, Vec::new())));
        let missed = Signals { missed: true, ..Signals::default() };
        assert_eq!(mailbox.poll_take(&mut context(), true), Poll::Ready((missed, vec![update(1)])));
    }

    #[test]
    fn a_closed_mailbox_takes_nothing() {
        let mailbox = Mailbox::default();
        mailbox.post(update(1));
        mailbox.close();
        assert_eq!(mailbox.post(update(2)), Posted::Closed);
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
