//! What a Web Push user agent may ask for, and what it is sent (PROTOCOL.md section 4).

mod channels;
mod progress;
mod subscriptions;

use crate::{
    api::{Context, Effect, Settings},
    limits::{RENEWAL_MIN, RENEWALS_PER_UAID_IDLE},
    message::{
        Request,
        webpush::{URGENCY_REPLY, broadcast, hello_reply, notification},
    },
    session::{Client, Identity, Job, Session, Steps},
    violation::Violation,
};
use beckon_types::{
    AddChannel, Backlog, Broadcasts, ChannelId, Fetch, Message, MessageId, Moment, Position, Sequence,
    Snapshot, Spelling, Urgency,
};
use channels::Channels;
use progress::{Next, Progress};
use subscriptions::Subscriptions;

/// A Web Push user agent that has said hello.
#[derive(Debug, Clone)]
pub(crate) struct WebPush {
    channels: Channels,
    /// When its record was renewed: by the hello or by the last look into the store.
    renewed: Moment,
    /// What most clients have none of while they are idle.
    ongoing: Option<Box<Ongoing>>,
    /// Messages below this one wait in the store.
    min: Urgency,
    /// Whether a register has failed. It may have been performed all the same, and the channel sent to, so from
    /// then on the backlog is read again after each first register of a channel.
    register_doubtful: bool,
}

#[derive(Debug, Clone, Default)]
struct Ongoing {
    progress: Progress,
    subscriptions: Subscriptions,
}

impl WebPush {
    /// The client as a hello has found it.
    fn new(now: Moment, snapshot: &Snapshot) -> Self {
        Self {
            channels: Channels::new(snapshot),
            renewed: now,
            ongoing: None,
            min: Urgency::VeryLow,
            register_doubtful: false,
        }
    }

    /// When [`Session::resume`] has something to do.
    pub(crate) fn due(&self, settings: &Settings) -> Moment {
        let progress = self.ongoing.as_ref().map(|ongoing| &ongoing.progress);
        if let Some(again) = progress.and_then(Progress::again) {
            return again;
        }
        let renewal = self.renewal_due(settings);
        progress.and_then(Progress::due).map_or(renewal, |due| renewal.min(due))
    }

    fn renewal_due(&self, settings: &Settings) -> Moment {
        self.renewed + (settings.uaid_idle / RENEWALS_PER_UAID_IDLE).max(RENEWAL_MIN)
    }

    /// Notes that the store has renewed the record.
    pub(crate) fn renewed(&mut self, now: Moment) {
        self.renewed = now;
    }

    /// Adds a channel that was registered. True if the store has to be looked into.
    pub(crate) fn register(&mut self, add: &AddChannel, sequence: Sequence) -> bool {
        self.channels.register(add.channel, add.spelling, sequence) && self.register_doubtful
    }

    /// Notes that a register has failed.
    pub(crate) fn doubt(&mut self) {
        self.register_doubtful = true;
    }

    /// Removes a channel that was unregistered; its messages are gone.
    pub(crate) fn unregister(&mut self, channel: ChannelId) {
        self.channels.remove(channel);
        if let Some(ongoing) = &mut self.ongoing {
            ongoing.progress.forget_channel(channel);
        }
    }

    /// Has the store looked into a while after a look that failed.
    pub(crate) fn look_failed(&mut self, now: Moment) {
        self.progress().fail(now);
    }

    fn progress(&mut self) -> &mut Progress {
        &mut self.ongoing.get_or_insert_default().progress
    }

    /// How to spell the channel of a message that is to be sent now, or nothing if it must not be sent: because
    /// its channel is not registered any more, because it matters too little, because it was sent, or because it is
    /// acknowledged already.
    fn spelling_for(&self, message: &Message, steps: &Steps) -> Option<Spelling> {
        let sequence = message.place.sequence;
        let sent = self.ongoing.as_ref().is_some_and(|ongoing| ongoing.progress.has_sent(sequence));
        let wanted = message.draft.urgency >= self.min
            && !sent
            && !steps.unregister(message.channel)
            && !steps.remove(message.place);
        self.channels.find(message.channel).filter(|_| wanted).map(|channel| channel.spelling)
    }

    /// Notes that a message is being sent. One that is not stored is not waited for.
    fn note(&mut self, now: Moment, message: &Message, batch: bool) {
        if !message.draft.ttl.is_zero() {
            self.progress().note(now, message, batch);
        }
    }

    /// Gives back what is not needed while nothing goes on. A subscriber keeps its subscriptions only.
    fn tidy(&mut self) {
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

impl Session {
    /// The rest of a hello that has claimed a UAID (section 4.2).
    pub(crate) fn greeted_webpush(
        &mut self,
        context: &Context<'_>,
        text: &str,
        (snapshot, backlog): (Snapshot, Backlog),
        effects: &mut Vec<Effect>,
    ) {
        let named = Request::parse(text).map_err(|_| Violation::IllFormed);
        let named = match named.and_then(|request| request.broadcasts()) {
            Ok(named) => named.unwrap_or_default(),
            Err(violation) => return self.refuse_hello(text, violation, effects),
        };
        let Some(Identity { uaid, spelling }) = self.identity else { return };
        let mut client = WebPush::new(context.now, &snapshot);
        let answer = if named.is_empty() {
            "{}".into()
        } else {
            let subscriptions = &mut client.ongoing.get_or_insert_default().subscriptions;
            let answer = subscriptions.add(&named, context.broadcasts).finish();
            effects.extend((!subscriptions.is_empty()).then_some(Effect::Subscribed));
            answer
        };
        self.client = Client::WebPush(client);
        effects.push(Effect::Send(hello_reply(uaid, spelling, &answer)));
        self.send_backlog(context, None, backlog, effects);
        self.read_on(context, effects);
        self.take_held(context, effects);
    }

    /// A message to one of this client's channels.
    pub(crate) fn deliver_message(
        &mut self,
        context: &Context<'_>,
        message: &Message,
        effects: &mut Vec<Effect>,
    ) {
        let registers = self.steps.register(message.channel);
        let unregisters = self.steps.unregister(message.channel);
        let Client::WebPush(client) = &mut self.client else { return };
        let channel = client.channels.find(message.channel);
        if registers && (unregisters || channel.is_none()) {
            return self.steps.mark_missed(message.channel);
        }
        if channel.is_none_or(|channel| message.place.sequence <= channel.since) {
            return;
        }
        if let Some(spelling) = client.spelling_for(message, &self.steps) {
            client.note(context.now, message, false);
            self.send_message(context, spelling, message, effects);
        }
    }

    fn send_message(
        &self,
        context: &Context<'_>,
        spelling: Spelling,
        message: &Message,
        effects: &mut Vec<Effect>,
    ) {
        let Some(Identity { uaid, .. }) = self.identity else { return };
        let id = MessageId { uaid, place: message.place }.seal(&context.settings.keys, message.key);
        let text = notification(message.channel, spelling, &id, message.draft.payload.as_ref());
        effects.push(Effect::Send(text));
    }

    /// Sends what there is room for of the stored messages that were read from this position on.
    fn send_backlog(
        &mut self,
        context: &Context<'_>,
        after: Option<Position>,
        backlog: Backlog,
        effects: &mut Vec<Effect>,
    ) {
        let (now, batch_size) = (context.now, context.settings.batch_size);
        let Backlog { messages, more } = backlog;
        let (mut after, mut more) = (after, more && !messages.is_empty());
        let Client::WebPush(client) = &mut self.client else { return };
        client.renewed = now;
        let outstanding = client.ongoing.as_ref().map_or(0, |ongoing| ongoing.progress.outstanding(now));
        let mut room = batch_size.saturating_sub(outstanding);
        for message in &messages {
            let Client::WebPush(client) = &mut self.client else { return };
            if let Some(spelling) = client.spelling_for(message, &self.steps) {
                if room == 0 {
                    more = true;
                    break;
                }
                room -= 1;
                client.note(now, message, true);
                self.send_message(context, spelling, message, effects);
            }
            after = Some(message.place.position());
        }
        if let (true, Client::WebPush(client)) = (more, &mut self.client) {
            client.progress().go_on(Next { after, drained: room == 0 });
        }
    }

    /// The outcome of a look for stored messages.
    pub(crate) fn fetched(
        &mut self,
        context: &Context<'_>,
        fetch: Fetch,
        backlog: Backlog,
        effects: &mut Vec<Effect>,
    ) {
        self.send_backlog(context, fetch.after, backlog, effects);
        self.read_on(context, effects);
    }

    /// The store failed during a look for stored messages.
    pub(crate) fn fetch_failed(&mut self, now: Moment, fetch: Fetch) {
        if let Some(client) = self.client.webpush() {
            client.progress().go_on(Next { after: fetch.after, drained: false });
            client.progress().fail(now);
        }
    }

    /// Reads the backlog from its beginning, as soon as there is room.
    pub(crate) fn read_again(&mut self, context: &Context<'_>, effects: &mut Vec<Effect>) {
        if let Some(client) = self.client.webpush() {
            client.progress().start_over();
            self.read_on(context, effects);
        }
    }

    /// Reads what follows of the backlog, if there is something and it is its time.
    pub(crate) fn read_on(&mut self, context: &Context<'_>, effects: &mut Vec<Effect>) {
        let (Some(identity), Some(client)) = (self.identity, self.client.webpush()) else { return };
        let max = context.settings.batch_size;
        if let Some(ongoing) = &mut client.ongoing
            && !self.steps.fetch()
            && let Some(Next { after, .. }) = ongoing.progress.begin(context.now, max)
        {
            let fetch = Fetch { uaid: identity.uaid, presence: self.presence, after, max };
            self.ask(Job::Fetch(fetch), effects);
        }
        if let Some(client) = self.client.webpush() {
            client.tidy();
        }
    }

    /// Does what is due.
    pub(crate) fn resume(&mut self, context: &Context<'_>, effects: &mut Vec<Effect>) {
        if let Some(ongoing) = self.client.webpush().and_then(|client| client.ongoing.as_mut()) {
            ongoing.progress.take_time(context.now);
        }
        self.read_on(context, effects);
        let renews = |client: &WebPush| context.now >= client.renewal_due(context.settings);
        if !self.steps.look() && self.client.webpush().is_some_and(|client| renews(client)) {
            self.ask(Job::Look, effects);
        }
    }

    /// An ack (section 4.6). It counts on this socket whatever the store makes of it.
    pub(crate) fn acknowledge_messages(
        &mut self,
        context: &Context<'_>,
        request: &Request<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let acks = match request.message_acks() {
            Ok(acks) => acks,
            Err(violation) => return self.refuse(request.text, violation, effects),
        };
        let (Some(identity), Some(client)) = (self.identity, self.client.webpush()) else { return };
        let mut places = Vec::with_capacity(acks.len());
        for ack in acks {
            let Ok(id) = MessageId::open(&context.settings.keys, &ack.version) else { continue };
            if id.uaid == identity.uaid {
                places.push(id.place);
                effects.push(Effect::Report(ack.told));
            }
        }
        if places.is_empty() {
            return;
        }
        if let Some(ongoing) = &mut client.ongoing {
            ongoing.progress.forget(&places);
        }
        self.ask(Job::Remove(places), effects);
        self.read_on(context, effects);
    }

    /// A nack (section 4.6).
    pub(crate) fn nack(&mut self, request: &Request<'_>, effects: &mut Vec<Effect>) {
        match request.nack() {
            Ok(told) => effects.push(Effect::Report(told)),
            Err(violation) => self.refuse(request.text, violation, effects),
        }
    }

    /// A wish for messages that matter so much (section 4.7).
    pub(crate) fn set_urgency(
        &mut self,
        context: &Context<'_>,
        request: &Request<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let min = match request.min() {
            Ok(min) => min,
            Err(violation) => return self.refuse(request.text, violation, effects),
        };
        let Some(client) = self.client.webpush() else { return };
        let lowered = min < client.min;
        client.min = min;
        effects.push(Effect::Send(URGENCY_REPLY.into()));
        if lowered {
            self.read_again(context, effects);
        }
    }

    /// A subscription to broadcasts (section 4.8).
    pub(crate) fn subscribe(
        &mut self,
        broadcasts: &Broadcasts,
        request: &Request<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let named = match request.broadcasts() {
            Ok(Some(named)) => named,
            Ok(None) => return self.refuse(request.text, Violation::IllFormed, effects),
            Err(violation) => return self.refuse(request.text, violation, effects),
        };
        let Some(client) = self.client.webpush() else { return };
        let subscriptions = &mut client.ongoing.get_or_insert_default().subscriptions;
        let none_before = subscriptions.is_empty();
        let answer = subscriptions.add(&named, broadcasts);
        if none_before && !subscriptions.is_empty() {
            effects.push(Effect::Subscribed);
        }
        client.tidy();
        if !answer.is_empty() {
            effects.push(Effect::Send(broadcast(&answer.finish())));
        }
    }

    /// Sends the broadcasts that have changed.
    pub(crate) fn broadcasts_changed(&mut self, broadcasts: &Broadcasts, effects: &mut Vec<Effect>) {
        let Some(ongoing) = self.client.webpush().and_then(|client| client.ongoing.as_mut()) else { return };
        let changes = ongoing.subscriptions.changes(broadcasts);
        if !changes.is_empty() {
            effects.push(Effect::Send(broadcast(&changes.finish())));
        }
    }
}

#[cfg(test)]
mod tests;
