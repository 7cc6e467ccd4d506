//! A socket of a user agent.

use super::network::Delivery;
use beckon_session::{Input, Outcome, Session, Step};
use beckon_types::{ChannelId, HelloOutcome, Message, Moment, Notification, Presence, Sequence};
use std::collections::VecDeque;

/// A socket, its session, and what `L` remembers of the traffic.
#[derive(Debug)]
pub(super) struct Socket<L> {
    pub(super) session: Session,
    pub(super) presence: Presence,
    pub(super) work: Option<Work>,
    /// What the user agent has sent and the session has not read.
    pub(super) inbox: VecDeque<Frame>,
    /// What has arrived, and when.
    pub(super) mailbox: VecDeque<(Moment, Option<Sequence>, Notification)>,
    pub(super) is_greeted: bool,
    pub(super) is_closed: bool,
    pub(super) has_ended: bool,
    /// Whether the outcome of a hello that took the UAID away from this socket was lost, so that nothing evicts the socket.
    pub(super) is_unaware: bool,
    /// Channels with a register or unregister that has no reply yet.
    pub(super) unanswered: Vec<ChannelId>,
    /// Channels with an unregister that the session has read and not answered.
    pub(super) unregistering: Vec<ChannelId>,
    pub(super) log: L,
}

/// The step under way.
#[derive(Debug)]
pub(super) enum Work {
    Asked(Step),
    /// Its outcome, and when the store returned it.
    Performed(Moment, Outcome),
}

#[derive(Debug)]
pub(super) enum Frame {
    Text(String),
    Pong,
}

impl<L: Default> Socket<L> {
    pub(super) fn new(now: Moment, presence: Presence) -> Self {
        Self {
            session: Session::new(now, presence),
            presence,
            work: None,
            inbox: VecDeque::new(),
            mailbox: VecDeque::new(),
            is_greeted: false,
            is_closed: false,
            has_ended: false,
            is_unaware: false,
            unanswered: Vec::new(),
            unregistering: Vec::new(),
            log: L::default(),
        }
    }

    pub(super) fn say(&mut self, message: String) {
        self.inbox.push_back(Frame::Text(message));
    }

    /// A notification arrives.
    pub(super) fn receive(&mut self, now: Moment, delivery: &Delivery) {
        self.mailbox.push_back((now, delivery.previous, delivery.notification.clone()));
    }

    /// Whether the session has nothing to wait for.
    pub(super) fn is_quiet(&self) -> bool {
        self.work.is_none()
            && self.mailbox.is_empty()
            && (self.is_closed || self.inbox.is_empty() && self.session.is_settled())
    }
}

/// The messages that a session gets with an input. It may send no others.
#[derive(Debug, Default)]
pub(super) struct Handed {
    pub(super) messages: Vec<Message>,
    /// Whether they come from the backlog.
    pub(super) is_backlog: bool,
    /// When they were handed over. The time that the outcome of a step is on its way is not taken off their TTLs.
    pub(super) at: Moment,
}

impl Handed {
    /// What `input` has, which comes at `now` and was made at `made`.
    pub(super) fn new(now: Moment, made: Moment, input: &Input<'_>) -> Self {
        if let Input::Notification { arrived, notification: Notification::Message(message), .. } = input {
            let mut message = message.clone();
            let is_good = message.age(now.since(*arrived));
            Self { messages: is_good.then_some(message).into_iter().collect(), is_backlog: false, at: now }
        } else if let Input::Store(
            Outcome::Backlog(backlog) | Outcome::Hello(HelloOutcome::Claimed { backlog, .. }),
        ) = input
        {
            Self { messages: backlog.messages.clone(), is_backlog: true, at: made }
        } else {
            Self::default()
        }
    }
}

/// The socket for which a socket that has gone asks for this step.
pub(super) fn step_for_former(step: &Step) -> Option<Presence> {
    match *step {
        Step::Release(_, _, former) => former,
        Step::NoteMissed(former) => Some(former),
        Step::Hello(_)
        | Step::AddChannel(_)
        | Step::RemoveChannel(..)
        | Step::AckVersions(..)
        | Step::RemoveMessages(..)
        | Step::Fetch(_)
        | Step::Snapshot(..)
        | Step::Verify(..) => None,
    }
}

/// The socket that owned the UAID before the hello whose outcome this is.
pub(super) fn former_owner(input: &Input<'_>) -> Option<Presence> {
    if let Input::Store(Outcome::Hello(
        HelloOutcome::Claimed { former, .. } | HelloOutcome::Deleted { former },
    )) = input
    {
        *former
    } else {
        None
    }
}
