//! A socket of the user agent, and what has gone over it.

use beckon_session::{Input, Outcome, Session, Step};
use beckon_types::{ChannelId, HelloOutcome, Message, Moment, Notification, Place, Presence, Urgency};
use std::collections::{BTreeMap, VecDeque};

pub(super) const BATCH_SIZE: usize = 3;

#[derive(Debug)]
pub(super) enum Work {
    Asked(Step),
    /// An outcome, and when the store handed it out.
    Performed(Moment, Outcome),
}

/// A message that a socket was sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) channel: ChannelId,
    expires: Moment,
    batch: bool,
    /// Whether the session has read an acknowledgement of it.
    pub(super) acknowledged: bool,
    /// Whether the step of that acknowledgement has begun.
    pub(super) removing: bool,
}

/// What a session is handed with an input; nothing else may be sent.
#[derive(Debug, Default)]
pub(super) struct Handed {
    pub(super) messages: Vec<Message>,
    /// Whether they come out of the backlog.
    pub(super) batch: bool,
    /// When they were handed out. Nobody takes the time off that the outcome of a step is on its way.
    pub(super) at: Moment,
}

impl Handed {
    pub(super) fn new(now: Moment, input: &Input<'_>) -> Self {
        if let Input::Notification { arrived, notification: Notification::Message(message) } = input {
            let mut message = message.clone();
            let good = message.age(now.since(*arrived));
            Self { messages: good.then_some(message).into_iter().collect(), batch: false, at: now }
        } else if let Input::Store(
            Outcome::Backlog(backlog) | Outcome::Hello(HelloOutcome::Claimed { backlog, .. }),
        ) = input
        {
            Self { messages: backlog.messages.clone(), batch: true, at: now }
        } else {
            Self::default()
        }
    }
}

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) session: Session,
    pub(super) presence: Presence,
    pub(super) work: Option<Work>,
    pub(super) inbox: VecDeque<String>,
    /// What has arrived, and when.
    pub(super) mailbox: VecDeque<(Moment, Notification)>,
    pub(super) greeted: bool,
    pub(super) closed: bool,
    pub(super) ended: bool,
    /// Channels that a register or unregister was sent for, which was not answered.
    pub(super) unanswered: Vec<ChannelId>,
    /// The urgencies that were asked for, oldest first; the first has been answered.
    pub(super) min: VecDeque<Urgency>,
    pub(super) sent: BTreeMap<u64, Sent>,
    /// Places of acknowledgements that were asked for last, and of those that failed.
    pub(super) removing: Vec<Place>,
    pub(super) not_removed: Vec<Place>,
}

impl Socket {
    pub(super) fn new(session: Session, presence: Presence) -> Self {
        Self {
            session,
            presence,
            work: None,
            inbox: VecDeque::new(),
            mailbox: VecDeque::new(),
            greeted: false,
            closed: false,
            ended: false,
            unanswered: Vec::new(),
            min: VecDeque::from([Urgency::VeryLow]),
            sent: BTreeMap::new(),
            removing: Vec::new(),
            not_removed: Vec::new(),
        }
    }

    /// Takes in that the step of acknowledgements has begun.
    pub(super) fn begin_removing(&mut self, places: &[Place]) {
        self.removing = places.to_vec();
        for place in places {
            self.sent.entry(place.sequence.0).and_modify(|sent| sent.removing = true);
        }
    }

    /// Takes in that a message is being sent, of which the session was handed this.
    pub(super) fn take(&mut self, now: Moment, handed: &Message, batch: bool) {
        let sequence = handed.place.sequence.0;
        if let Some(before) = self.sent.get(&sequence) {
            let forgotten = now >= before.expires || self.not_removed.contains(&handed.place);
            // A delivery that comes so late is not recognised any more.
            assert!(forgotten || before.removing && !batch, "{handed:?} was sent and {before:?}");
        }
        assert!(handed.draft.urgency >= self.min[0], "{handed:?} is not urgent enough");
        let sent = Sent {
            channel: handed.channel,
            expires: now + handed.draft.ttl,
            batch,
            acknowledged: false,
            removing: false,
        };
        self.sent.insert(sequence, sent);
        let outstanding = |sent: &&Sent| sent.batch && !sent.acknowledged && now < sent.expires;
        assert!(self.sent.values().filter(outstanding).count() <= BATCH_SIZE, "too many are outstanding");
    }
}
