//! What a Web Push user agent may ask for, and what it is sent (PROTOCOL.md section 4).

mod channels;
mod progress;
mod subscriptions;

use crate::{
    api::{CloseCode, Outcome},
    identity::Identity,
    message::{
        NamedChannel, Request, channel_json, unregister_reply,
        webpush::{NamedBroadcasts, URGENCY_REPLY, broadcast, hello_reply, notification, register_reply},
    },
    parked::{Damaged, ParkedClient, ParkedWebPush},
    seen::{Learned, Seen},
    steps::{Job, Register, Steps, Unregister},
    turn::Turn,
    violation::{INTERNAL_ERROR, INVALID_KEY, Violation},
};
use beckon_types::{
    AddChannel, Backlog, Broadcasts, Endpoint, Fetch, KeyId, Message, MessageId, Moment, Place, Position,
    Sequence, Snapshot, Spelling, Urgency,
};
use channels::Channels;
use progress::{Next, Progress};
use subscriptions::Subscriptions;

/// A Web Push user agent that has said hello.
#[derive(Debug, Clone)]
pub(crate) struct WebPush {
    channels: Channels,
    /// When to verify its claim, which the hello and each read of the backlog from its beginning do as well.
    verify_at: Moment,
    /// What most clients do not need while they are idle.
    ongoing: Option<Box<Ongoing>>,
    /// Messages that are less urgent wait in the store.
    min: Urgency,
    /// Whether the store may have channels that are not known here, and that may have been sent to: a register has failed, or
    /// a message has come for such a channel, because the store has gone back to before its unregister. From then on the
    /// backlog is read again after each first register of a channel.
    may_lack_channels: bool,
}

#[derive(Debug, Clone, Default)]
struct Ongoing {
    progress: Progress,
    subscriptions: Subscriptions,
}

impl WebPush {
    /// A client that has been sent nothing yet.
    fn new(verify_at: Moment, snapshot: &Snapshot) -> Self {
        Self {
            channels: Channels::new(snapshot),
            verify_at,
            ongoing: None,
            min: Urgency::VeryLow,
            may_lack_channels: false,
        }
    }

    /// The client as data.
    pub(crate) fn park(&self, identity: Identity) -> ParkedWebPush {
        let client = ParkedClient {
            channels: self.channels.park(),
            verify_at: self.verify_at.0,
            may_lack_channels: self.may_lack_channels,
            ..identity.park()
        };
        let urgency_min = self.min.number().into();
        let mut parked = ParkedWebPush { client, urgency_min, ..ParkedWebPush::default() };
        if let Some(ongoing) = &self.ongoing {
            ongoing.progress.park(&mut parked);
            parked.subscriptions = ongoing.subscriptions.park();
        }
        parked
    }

    /// The client that was parked.
    pub(crate) fn resume_parked(
        mut parked: ParkedWebPush,
        broadcasts: &Broadcasts,
    ) -> Result<(Identity, Self), Damaged> {
        let subscriptions = Subscriptions::resume(std::mem::take(&mut parked.subscriptions), broadcasts);
        let ongoing = Ongoing { progress: Progress::resume(&parked)?, subscriptions };
        let min = u8::try_from(parked.urgency_min).ok().and_then(Urgency::from_number);
        let mut client = Self {
            channels: Channels::resume(&parked.client.channels)?,
            verify_at: Moment(parked.client.verify_at),
            ongoing: Some(Box::new(ongoing)),
            min: min.ok_or(Damaged("urgency"))?,
            may_lack_channels: parked.client.may_lack_channels,
        };
        client.shrink();
        Ok((Identity::resume(&parked.client)?, client))
    }

    /// Whether it has subscribed to a broadcast.
    pub(crate) fn is_subscribed(&self) -> bool {
        self.ongoing.as_ref().is_some_and(|ongoing| !ongoing.subscriptions.is_empty())
    }

    /// Replies to the hello that has claimed the UAID, and sends the first messages of the backlog (section 4.2).
    pub(crate) fn greet(
        turn: &mut Turn<'_>,
        broadcasts: &NamedBroadcasts,
        snapshot: &Snapshot,
        backlog: &Backlog,
    ) -> Self {
        *turn.seen = Seen::at(snapshot.sequence);
        let mut client = Self::new(turn.verify_at(), snapshot);
        let reply = if broadcasts.is_empty() {
            hello_reply(*turn.identity, "{}")
        } else {
            let subscriptions = &mut client.ongoing.get_or_insert_default().subscriptions;
            let answer = subscriptions.add(broadcasts, turn.broadcasts).finish();
            if !subscriptions.is_empty() {
                turn.subscribe();
            }
            hello_reply(*turn.identity, &answer)
        };
        turn.send(reply);
        client.send_backlog(turn, None, backlog);
        client.read_on(turn);
        client
    }

    /// Handles the outcome of a job. An outcome that does not fit counts as a failure of the store. Returns an error if
    /// the socket has to be closed.
    pub(crate) fn conclude(
        &mut self,
        turn: &mut Turn<'_>,
        job: Job,
        outcome: Outcome,
    ) -> Result<(), CloseCode> {
        match (job, outcome) {
            (Job::Register(register), Outcome::Registered { key, sequence }) => {
                self.registered(turn, &register, (key, sequence));
            }
            (Job::Register(register), Outcome::Full) => turn.send_error(&register.request, INTERNAL_ERROR),
            (Job::Register(register), _) => self.register_failed(turn, &register),
            (Job::Unregister(unregister), Outcome::Done) => self.unregistered(turn, &unregister),
            (Job::Unregister(unregister), _) => self.unregister_failed(turn, &unregister),
            (Job::RemoveMessages(_), Outcome::Done) => self.remove_again(turn),
            (Job::RemoveMessages(places), _) => self.remove_failed(turn, places),
            (Job::Fetch(fetch), Outcome::Backlog(backlog)) => self.fetched(turn, fetch, &backlog),
            (Job::Fetch(fetch), _) => self.fetch_failed(turn, fetch),
            // A user agent does not say which channels it knows, so it would not notice that one is lacking by saying hello again.
            (Job::Verify(asked), Outcome::Verified { last, channels: _ }) => self.verified(turn, asked, last),
            // Not a read of the backlog, which says the same: all clients may be in doubt, and a store that has trouble may put
            // off verifications only.
            (Job::Verify(_), Outcome::Postponed) => self.verify_at = turn.repeat_at(),
            (Job::Verify(_), _) => self.verify_at = turn.verify_again_at(),
            (Job::HelloAgain(_) | Job::Refresh(_) | Job::AckVersions(_), _) => return Err(CloseCode::Error),
        }
        Ok(())
    }

    /// A register (section 4.3).
    pub(crate) fn register(&mut self, turn: &mut Turn<'_>, request: &Request<'_>) -> Result<(), Violation> {
        let NamedChannel::Valid(channel, spelling) = request.channel_id() else {
            return Err(Violation::IllFormed);
        };
        match request.key() {
            Ok(key) => {
                let restricted = key.map(|key| key.hash());
                let channels_max = turn.settings.channels_max_wp;
                turn.ask_to_register(request, (channel, spelling), restricted, channels_max);
            }
            Err(_) => turn.send_error(request.text, INVALID_KEY),
        }
        Ok(())
    }

    /// The store has registered a channel.
    fn registered(&mut self, turn: &mut Turn<'_>, register: &Register, (key, sequence): (KeyId, Sequence)) {
        let AddChannel { client, channel, spelling, restricted, .. } = register.add;
        let is_new = self.channels.register(channel, spelling, sequence);
        let url = turn.url(Endpoint::WebPush { client, channel, restricted }, key);
        turn.send(register_reply(channel, spelling, &url));
        if register.missed || is_new && self.may_lack_channels {
            self.read_again(turn);
        }
    }

    /// The store failed during a register.
    fn register_failed(&mut self, turn: &mut Turn<'_>, register: &Register) {
        self.may_lack_channels = true;
        turn.send_error(&register.request, INTERNAL_ERROR);
        if register.missed {
            self.read_again(turn);
        }
    }

    /// An unregister (section 4.4).
    pub(crate) fn unregister(&mut self, turn: &mut Turn<'_>, request: &Request<'_>) -> Result<(), Violation> {
        match request.channel_id() {
            NamedChannel::Valid(channel, spelling) => {
                turn.report(request.unregister_report());
                turn.ask_to_unregister(request, (channel, spelling));
            }
            NamedChannel::Malformed(raw) => {
                turn.report(request.unregister_report());
                turn.send(unregister_reply(raw));
            }
            NamedChannel::Unusable => return Err(Violation::IllFormed),
        }
        Ok(())
    }

    /// The store has unregistered a channel, and dropped its messages. They may have held up the backlog.
    fn unregistered(&mut self, turn: &mut Turn<'_>, unregister: &Unregister) {
        self.channels.remove(unregister.channel);
        if let Some(ongoing) = &mut self.ongoing {
            ongoing.progress.forget_channel(unregister.channel);
        }
        turn.send(unregister_reply(&channel_json(unregister.channel, unregister.spelling)));
        self.read_on(turn);
    }

    /// The store failed during an unregister. Messages for the channel were dropped meanwhile, and the channel may still
    /// be registered.
    fn unregister_failed(&mut self, turn: &mut Turn<'_>, unregister: &Unregister) {
        turn.send_error(&unregister.request, INTERNAL_ERROR);
        self.read_again(turn);
    }

    /// An ack (section 4.6). On this socket it counts whether or not the store keeps it.
    pub(crate) fn ack(&mut self, turn: &mut Turn<'_>, request: &Request<'_>) -> Result<(), Violation> {
        let acks = request.message_acks()?;
        let client = turn.client();
        let mut places = Vec::with_capacity(acks.len());
        for ack in acks {
            let Ok(id) = MessageId::open(&turn.settings.keys, &ack.version) else { continue };
            if id.client == client {
                places.push(id.place);
                turn.report(ack.report);
            }
        }
        if places.is_empty() {
            return Ok(());
        }
        if let Some(ongoing) = &mut self.ongoing {
            ongoing.progress.acknowledge(turn.now, &places, turn.acknowledged);
        }
        turn.ask(Job::RemoveMessages(places));
        self.read_on(turn);
        Ok(())
    }

    /// The store failed to remove acknowledged messages. It is asked again later: they would count for the limit of stored
    /// messages for as long as the client stays connected.
    fn remove_failed(&mut self, turn: &Turn<'_>, places: Vec<Place>) {
        self.progress().remove_failed(turn.repeat_at(), places);
    }

    /// Asks the store again to remove acknowledged messages that it failed to remove, if it is time.
    fn remove_again(&mut self, turn: &mut Turn<'_>) {
        let Some(ongoing) = &mut self.ongoing else { return };
        let places = ongoing.progress.take_unremoved(turn.now);
        if !places.is_empty() {
            turn.ask(Job::RemoveMessages(places));
        }
        self.shrink();
    }

    /// A nack (section 4.6).
    pub(crate) fn nack(&mut self, turn: &mut Turn<'_>, request: &Request<'_>) -> Result<(), Violation> {
        turn.report(request.nack_report()?);
        Ok(())
    }

    /// A request to be sent only messages of a minimum urgency (section 4.7).
    pub(crate) fn set_urgency(
        &mut self,
        turn: &mut Turn<'_>,
        request: &Request<'_>,
    ) -> Result<(), Violation> {
        let min = request.min()?;
        let is_lower = min < self.min;
        self.min = min;
        turn.send(URGENCY_REPLY.into());
        if is_lower {
            self.read_again(turn);
        }
        Ok(())
    }

    /// A subscription to broadcasts (section 4.8).
    pub(crate) fn subscribe(&mut self, turn: &mut Turn<'_>, request: &Request<'_>) -> Result<(), Violation> {
        let named = request.broadcasts()?.ok_or(Violation::IllFormed)?;
        let subscriptions = &mut self.ongoing.get_or_insert_default().subscriptions;
        let had_none = subscriptions.is_empty();
        let answer = subscriptions.add(&named, turn.broadcasts);
        if had_none && !subscriptions.is_empty() {
            turn.subscribe();
        }
        self.shrink();
        if !answer.is_empty() {
            turn.send(broadcast(&answer.finish()));
        }
        Ok(())
    }

    /// Sends the broadcasts that have changed.
    pub(crate) fn push_broadcasts(&mut self, turn: &mut Turn<'_>) {
        let Some(ongoing) = &mut self.ongoing else { return };
        let changes = ongoing.subscriptions.changes(turn.broadcasts);
        if !changes.is_empty() {
            turn.send(broadcast(&changes.finish()));
        }
    }

    /// A message to one of the client's channels, which has waited for this socket since it `arrived`, and the write to the
    /// client before it.
    pub(crate) fn push_message(
        &mut self,
        turn: &mut Turn<'_>,
        arrived: Moment,
        message: &mut Message,
        previous: Option<Sequence>,
    ) {
        turn.came(previous, message.place.sequence);
        if !message.age(turn.now.since(arrived)) {
            return;
        }
        let is_registering = turn.steps.is_registering(message.channel);
        let is_unregistering = turn.steps.is_unregistering(message.channel);
        let channel = self.channels.get(message.channel);
        if is_registering && (is_unregistering || channel.is_none()) {
            return turn.steps.mark_missed(message.channel);
        }
        let Some(channel) = channel else {
            self.may_lack_channels = true;
            return;
        };
        if message.place.sequence <= channel.since {
            return;
        }
        if let Some(spelling) = self.spelling_for(message, turn.steps) {
            self.send(turn, spelling, message, false);
        }
    }

    /// How to spell the channel of a message. `None` if the message must not be sent: its channel is not registered, it
    /// is not urgent enough, or it was sent or acknowledged already.
    fn spelling_for(&self, message: &Message, steps: &Steps) -> Option<Spelling> {
        let sequence = message.place.sequence;
        let was_sent = self.ongoing.as_ref().is_some_and(|ongoing| {
            ongoing.progress.has_sent(sequence) || ongoing.progress.is_unremoved(message.place)
        });
        let is_wanted = message.draft.urgency >= self.min
            && !was_sent
            && !steps.is_unregistering(message.channel)
            && !steps.is_removing(message.place);
        self.channels.get(message.channel).filter(|_| is_wanted).map(|channel| channel.spelling)
    }

    /// Sends a message, and remembers it if it is stored.
    fn send(&mut self, turn: &mut Turn<'_>, spelling: Spelling, message: &Message, from_backlog: bool) {
        if !message.draft.ttl.is_zero() {
            self.progress().note(turn.now, message, from_backlog);
        }
        let id = MessageId { client: turn.client(), place: message.place };
        let id = id.seal(&turn.settings.keys, message.key);
        turn.notify(notification(message.channel, spelling, &id, message.draft.payload.as_ref()), 1);
        (turn.sent)(message.place.sequence);
    }

    /// Sends as many stored messages as the batch has room for. They were read behind the position `after`.
    fn send_backlog(&mut self, turn: &mut Turn<'_>, mut after: Option<Position>, backlog: &Backlog) {
        if after.is_none() {
            self.verify_at = turn.verify_at();
        }
        let outstanding = self.ongoing.as_ref().map_or(0, |ongoing| ongoing.progress.outstanding(turn.now));
        let mut room = turn.settings.batch_size.saturating_sub(outstanding);
        let mut has_more = backlog.more && !backlog.messages.is_empty();
        for message in &backlog.messages {
            self.may_lack_channels |= self.channels.get(message.channel).is_none();
            if let Some(spelling) = self.spelling_for(message, turn.steps) {
                if room == 0 {
                    has_more = true;
                    break;
                }
                room -= 1;
                self.send(turn, spelling, message, true);
            }
            after = Some(message.place.position());
        }
        if has_more {
            self.progress().go_on(Next { after, waits_for_batch: room == 0 });
        }
    }

    /// The store has read stored messages.
    fn fetched(&mut self, turn: &mut Turn<'_>, fetch: Fetch, backlog: &Backlog) {
        self.send_backlog(turn, fetch.after, backlog);
        self.read_on(turn);
    }

    /// The store failed to read stored messages.
    fn fetch_failed(&mut self, turn: &Turn<'_>, fetch: Fetch) {
        let progress = self.progress();
        progress.go_on(Next { after: fetch.after, waits_for_batch: false });
        progress.fail(turn.repeat_at());
    }

    /// Reads the backlog from its beginning, as soon as the batch has room.
    pub(crate) fn read_again(&mut self, turn: &mut Turn<'_>) {
        self.progress().start_over();
        self.read_on(turn);
    }

    /// Continues to read the backlog, if there is more of it and it is time.
    fn read_on(&mut self, turn: &mut Turn<'_>) {
        let max = turn.settings.batch_size;
        if let Some(ongoing) = &mut self.ongoing
            && !turn.steps.is_fetching()
            && let Some(Next { after, .. }) = ongoing.progress.begin(turn.now, max)
        {
            let (client, presence) = (turn.client(), turn.presence);
            turn.ask(Job::Fetch(Fetch { client, presence, after, max }));
        }
        self.shrink();
    }

    /// This socket still owns the UAID. If anything was written of which it does not know, the backlog is read again: the
    /// socket may have missed it.
    fn verified(&mut self, turn: &mut Turn<'_>, asked: Sequence, last: Sequence) {
        self.verify_at = turn.verify_at();
        let learned = turn.learn(asked, last);
        if learned == Learned::Losses {
            self.channels.forget_after(last);
            if let Some(ongoing) = &mut self.ongoing {
                ongoing.progress.forget_after(last);
            }
        }
        if learned == Learned::Nothing { self.read_on(turn) } else { self.read_again(turn) }
    }

    /// When to call [`Self::resume`].
    pub(crate) fn due(&self) -> Moment {
        let progress = self.ongoing.as_ref().map(|ongoing| &ongoing.progress);
        let remove_again = progress.and_then(Progress::remove_again);
        let read = progress.and_then(Progress::reread).unwrap_or_else(|| {
            progress.and_then(Progress::due).map_or(self.verify_at, |due| self.verify_at.min(due))
        });
        remove_again.map_or(read, |at| at.min(read))
    }

    /// Does what is due: repeats a step that failed, continues to read the backlog, or verifies the claim.
    pub(crate) fn resume(&mut self, turn: &mut Turn<'_>) {
        self.remove_again(turn);
        if let Some(ongoing) = &mut self.ongoing {
            ongoing.progress.take_time(turn.now);
        }
        self.read_on(turn);
        if !turn.steps.is_reading() && turn.now >= self.verify_at.min(turn.seen.due()) {
            turn.verify();
        }
    }

    fn progress(&mut self) -> &mut Progress {
        &mut self.ongoing.get_or_insert_default().progress
    }

    /// Frees the memory that is not needed while nothing is outstanding. A subscriber keeps its subscriptions.
    fn shrink(&mut self) {
        if let Some(ongoing) = &mut self.ongoing
            && ongoing.progress.is_idle()
        {
            ongoing.progress = Progress::default();
            if ongoing.subscriptions.is_empty() {
                self.ongoing = None;
            }
        }
    }
}

#[cfg(test)]
mod tests;
