//! What a SimplePush user agent may ask for, and what it is sent (PROTOCOL.md section 2).

mod channels;

use crate::{
    api::{Context, Effect, Settings},
    limits::{
        LOOK_AGAIN_AFTER, RENEWAL_MIN, RENEWALS_PER_UAID_IDLE, RETRY_SLACK_PART, UPDATES_PER_NOTIFICATION_MAX,
    },
    message::{
        NamedUaid, Request,
        simplepush::{Entry, notification},
    },
    session::{Job, Session},
    violation::Violation,
};
use beckon_types::{AddChannel, ChannelId, Moment, Sequence, Snapshot, Update};
use channels::{Channels, Reading};

/// A SimplePush user agent that has said hello.
#[derive(Debug, Clone)]
pub(crate) struct SimplePush {
    channels: Channels,
    /// When its record was renewed: by the hello or by the last snapshot.
    renewed: Moment,
    /// When the store has to be looked into once more, and not before, because a step failed.
    look_again: Option<Moment>,
    /// Whether a register has failed. It may have been performed all the same, and the channel written to, so
    /// from then on the store is looked into after each first register of a channel.
    register_doubtful: bool,
}

impl SimplePush {
    /// The client as a hello has found it, and the notifications with all that is pending.
    pub(crate) fn new(now: Moment, snapshot: Snapshot) -> (Self, Vec<String>) {
        let (channels, pending) = Channels::new(now, snapshot);
        let client = Self { channels, renewed: now, look_again: None, register_doubtful: false };
        (client, notifications(&pending))
    }

    /// When the store has to be looked into: to repeat a look that failed, to send again what was not
    /// acknowledged, to renew the record.
    pub(crate) fn look_due(&self, settings: &Settings) -> Moment {
        if let Some(at) = self.look_again {
            return at;
        }
        let renewal = self.renewed + (settings.uaid_idle / RENEWALS_PER_UAID_IDLE).max(RENEWAL_MIN);
        let interval = settings.sp_retry_interval;
        let retry = self.channels.oldest_transmission().filter(|_| !interval.is_zero());
        retry.map_or(renewal, |at| renewal.min(at + interval))
    }
}

/// What became of a channel is told the same way in both dialects; see `session::registering`.
impl SimplePush {
    /// Adds a channel that was registered. True if the store has to be looked into.
    pub(crate) fn register(&mut self, add: &AddChannel, sequence: Sequence) -> bool {
        self.channels.register(add.channel, add.spelling, sequence) && self.register_doubtful
    }

    /// Notes that a register has failed.
    pub(crate) fn doubt(&mut self) {
        self.register_doubtful = true;
    }

    /// Removes a channel that was unregistered.
    pub(crate) fn unregister(&mut self, channel: ChannelId) {
        self.channels.remove(channel);
    }

    /// Has the store looked into a while after a look that failed.
    pub(crate) fn look_failed(&mut self, now: Moment) {
        self.look_again = Some(now + LOOK_AGAIN_AFTER);
    }
}

/// Notifications with these entries, split as PROTOCOL.md section 2.5 has it.
fn notifications(entries: &[Entry<'_>]) -> Vec<String> {
    entries.chunks(UPDATES_PER_NOTIFICATION_MAX).map(notification).collect()
}

impl Session {
    /// A hello after the first one (section 2.2, rows 1 to 4). The dialect is fixed, whatever it names.
    pub(crate) fn hello_again(
        &mut self,
        context: &Context<'_>,
        request: &Request<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let named = request.uaid();
        let violation = match (named, &mut self.identity) {
            _ if request.listed(context.settings.channels_max_sp).is_none() => Violation::IllFormed,
            (NamedUaid::WrongType, _) => Violation::IllFormed,
            (NamedUaid::None, _) => return self.ask(Job::GreetAgain, effects),
            (NamedUaid::Valid(uaid, spelling), Some(identity)) if uaid == identity.uaid => {
                identity.spelling = spelling;
                return self.ask(Job::GreetAgain, effects);
            }
            (NamedUaid::Valid(..) | NamedUaid::Malformed, _) => Violation::AnotherUaid,
        };
        self.refuse(request.text, violation, effects);
    }

    /// An ack (section 2.6). Channels outside the table have nothing to acknowledge.
    pub(crate) fn acknowledge(&mut self, request: &Request<'_>, effects: &mut Vec<Effect>) {
        let mut acks = match request.acks() {
            Ok(acks) => acks,
            Err(violation) => return self.refuse(request.text, violation, effects),
        };
        let Some(client) = self.client.simplepush() else { return };
        acks.retain(|ack| client.channels.acknowledge(ack));
        if !acks.is_empty() {
            self.ask(Job::Acknowledge(acks), effects);
        }
    }

    /// The store may not have kept an acknowledgement. It is asked later, and what is still pending then is
    /// sent again; without retries (`sp_retry_interval` = 0) that is left to the next look or hello.
    pub(crate) fn acknowledge_failed(&mut self, context: &Context<'_>) {
        if !context.settings.sp_retry_interval.is_zero()
            && let Some(client) = self.client.simplepush()
        {
            client.look_again.get_or_insert(context.now + LOOK_AGAIN_AFTER);
        }
    }

    /// A write to one of this client's channels.
    pub(crate) fn deliver(&mut self, now: Moment, update: &Update, effects: &mut Vec<Effect>) {
        let (registers, unregisters) =
            (self.steps.register(update.channel), self.steps.unregister(update.channel));
        let Some(client) = self.client.simplepush() else { return };
        if registers && (unregisters || !client.channels.contains(update.channel)) {
            self.steps.mark_missed(update.channel);
        } else if !unregisters && let Some(spelling) = client.channels.deliver(now, update) {
            let entry = Entry {
                channel: update.channel,
                spelling,
                version: update.version,
                data: update.data.as_deref(),
            };
            effects.push(Effect::Send(notification(&[entry])));
        }
    }

    /// The outcome of a look.
    pub(crate) fn looked_for_updates(
        &mut self,
        context: &Context<'_>,
        snapshot: Snapshot,
        effects: &mut Vec<Effect>,
    ) {
        let interval = context.settings.sp_retry_interval;
        let repeat_after = (!interval.is_zero()).then(|| interval - interval / RETRY_SLACK_PART);
        self.read_snapshot(context.now, snapshot, Reading::Look { repeat_after }, effects);
    }

    /// The outcome of the snapshot for a repeated hello.
    pub(crate) fn greeted_again(&mut self, now: Moment, snapshot: Snapshot, effects: &mut Vec<Effect>) {
        self.reply_to_hello(200, None, effects);
        self.read_snapshot(now, snapshot, Reading::Hello, effects);
    }

    fn read_snapshot(
        &mut self,
        now: Moment,
        snapshot: Snapshot,
        reading: Reading,
        effects: &mut Vec<Effect>,
    ) {
        let (steps, Some(client)) = (&self.steps, self.client.simplepush()) else { return };
        client.renewed = now;
        client.look_again = None;
        let pending = client.channels.read(now, snapshot, reading, steps);
        effects.extend(notifications(&pending).into_iter().map(Effect::Send));
    }
}
