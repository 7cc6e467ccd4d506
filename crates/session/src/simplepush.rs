//! What a SimplePush user agent may ask for, and what it is sent (PROTOCOL.md section 2).

mod channels;

use crate::{
    api::{CloseCode, Outcome, Settings},
    identity::Identity,
    limits::{RETRY_SLACK_PART, UPDATES_PER_NOTIFICATION_MAX},
    message::{
        NamedChannel, NamedUaid, Request, channel_json,
        simplepush::{Entry, hello_reply, notification, register_reply},
        unregister_reply,
    },
    parked::{Damaged, ParkedClient, ParkedSimplePush},
    seen::{Learned, Seen},
    steps::{Job, Register, Unregister},
    turn::Turn,
    violation::{INTERNAL_ERROR, Violation},
};
use beckon_types::{AddChannel, Endpoint, KeyId, Moment, Sequence, Snapshot, Update};
use channels::{Channels, Reason};

/// A SimplePush user agent that has said hello.
#[derive(Debug, Clone)]
pub(crate) struct SimplePush {
    channels: Channels,
    /// When to verify its claim, which the hello and each read of the store do as well. If it `rereads`, when to do that.
    ask_at: Moment,
    /// Whether to re-read the store because a step failed. Nothing else is a reason to read it earlier.
    rereads: bool,
    /// Whether the store may have channels that are not known here, and that may have been written to: a register has failed, or
    /// something was written to such a channel, because the store has gone back to before its unregister. From then on the
    /// store is re-read after each first register of a channel.
    may_lack_channels: bool,
    /// Whether the store may lack channels that are known here, because an unregister has failed. The next read of the store
    /// removes them.
    may_have_unregistered: bool,
    /// Whether the store may have other channels than those that are known here: it did when it was read last, or a channel was
    /// unregistered since then, or a register has failed, and the store may have gone back. So the number of its channels does
    /// not show that one is lacking.
    may_have_others: bool,
}

impl SimplePush {
    /// Replies to the hello that has claimed the UAID, and sends all that is pending (section 2.2).
    pub(crate) fn greet(turn: &mut Turn<'_>, snapshot: &Snapshot) -> Self {
        let (channels, pending) = Channels::new(turn.now, snapshot);
        send_hello_reply(turn);
        send_updates(turn, &pending);
        *turn.seen = Seen::at(snapshot.sequence);
        Self {
            channels,
            ask_at: turn.verify_at(),
            rereads: false,
            may_lack_channels: false,
            may_have_unregistered: false,
            may_have_others: false,
        }
    }

    /// The client as data.
    pub(crate) fn park(&self, identity: Identity) -> ParkedSimplePush {
        let client = ParkedClient {
            channels: self.channels.park(),
            verify_at: self.ask_at.0,
            may_lack_channels: self.may_lack_channels,
            reread: self.rereads.then_some(self.ask_at.0),
            ..identity.park()
        };
        ParkedSimplePush {
            client,
            may_have_unregistered: self.may_have_unregistered,
            may_have_others: self.may_have_others,
        }
    }

    /// The client that was parked.
    pub(crate) fn resume_parked(parked: &ParkedSimplePush) -> Result<(Identity, Self), Damaged> {
        let client = &parked.client;
        let resumed = Self {
            channels: Channels::resume(&client.channels)?,
            ask_at: Moment(client.reread.unwrap_or(client.verify_at)),
            rereads: client.reread.is_some(),
            may_lack_channels: client.may_lack_channels,
            may_have_unregistered: parked.may_have_unregistered,
            may_have_others: parked.may_have_others,
        };
        Ok((Identity::resume(client)?, resumed))
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
            (Job::AckVersions(_), Outcome::Done) => {}
            (Job::AckVersions(_), _) => self.ack_failed(turn),
            (Job::Refresh(asked), Outcome::Snapshot(snapshot)) => {
                let compared = self.compare(&snapshot);
                self.refreshed(turn, asked, snapshot);
                compared?;
            }
            (Job::Verify(asked), Outcome::Verified { last, channels: stored }) => {
                self.verified(turn, asked, last, stored);
            }
            // Not a snapshot, which says the same: all clients may be in doubt, and a store that has trouble may put off
            // verifications only.
            (Job::Verify(_), Outcome::Postponed) => self.verify_later(turn.repeat_at()),
            (Job::Verify(_), _) => self.verify_later(turn.verify_again_at()),
            (Job::Refresh(_), _) => self.refresh_failed(turn),
            (Job::HelloAgain(asked), Outcome::Snapshot(snapshot)) => {
                let compared = self.compare(&snapshot);
                self.greeted_again(turn, asked, snapshot);
                compared?;
            }
            (Job::HelloAgain(_) | Job::RemoveMessages(_) | Job::Fetch(_), _) => return Err(CloseCode::Error),
        }
        Ok(())
    }

    /// A hello after the first one (section 2.2, rows 1 to 4). The dialect is fixed, whatever the hello names.
    pub(crate) fn hello_again(
        &mut self,
        turn: &mut Turn<'_>,
        request: &Request<'_>,
    ) -> Result<(), Violation> {
        request.listed(turn.settings.channels_max_sp).ok_or(Violation::IllFormed)?;
        match request.uaid() {
            NamedUaid::WrongType => return Err(Violation::IllFormed),
            NamedUaid::Valid(uaid, spelling) if uaid == turn.identity.uaid => {
                turn.identity.spelling = spelling;
            }
            NamedUaid::Valid(..) | NamedUaid::Malformed => return Err(Violation::AnotherUaid),
            NamedUaid::None => {}
        }
        turn.ask(Job::HelloAgain(turn.seen.last()));
        Ok(())
    }

    /// The store has read what is pending for a hello after the first one.
    fn greeted_again(&mut self, turn: &mut Turn<'_>, asked: Sequence, snapshot: Snapshot) {
        send_hello_reply(turn);
        self.read(turn, asked, snapshot, Reason::Hello);
    }

    /// A register (section 2.3).
    pub(crate) fn register(&mut self, turn: &mut Turn<'_>, request: &Request<'_>) -> Result<(), Violation> {
        let NamedChannel::Valid(channel, spelling) = request.channel_id() else {
            return Err(Violation::IllFormed);
        };
        turn.ask_to_register(request, (channel, spelling), None, turn.settings.channels_max_sp);
        Ok(())
    }

    /// The store has registered a channel.
    fn registered(&mut self, turn: &mut Turn<'_>, register: &Register, (key, sequence): (KeyId, Sequence)) {
        let AddChannel { client, channel, spelling, .. } = register.add;
        let is_new = self.channels.register(channel, spelling, sequence);
        let url = turn.url(Endpoint::SimplePush { client, channel }, key);
        turn.send(register_reply(*turn.identity, (channel, spelling), &url));
        if register.missed || is_new && self.may_lack_channels {
            self.refresh(turn);
        }
    }

    /// The store failed during a register.
    fn register_failed(&mut self, turn: &mut Turn<'_>, register: &Register) {
        (self.may_lack_channels, self.may_have_others) = (true, true);
        turn.send_error(&register.request, INTERNAL_ERROR);
        if register.missed {
            self.refresh(turn);
        }
    }

    /// An unregister (section 2.4).
    pub(crate) fn unregister(&mut self, turn: &mut Turn<'_>, request: &Request<'_>) -> Result<(), Violation> {
        match request.channel_id() {
            NamedChannel::Valid(channel, spelling) => turn.ask_to_unregister(request, (channel, spelling)),
            NamedChannel::Malformed(raw) => turn.send(unregister_reply(raw)),
            NamedChannel::Unusable => return Err(Violation::IllFormed),
        }
        Ok(())
    }

    /// The store has unregistered a channel, and dropped what was pending on it.
    fn unregistered(&mut self, turn: &mut Turn<'_>, unregister: &Unregister) {
        self.channels.remove(unregister.channel);
        self.may_have_others = true;
        turn.send(unregister_reply(&channel_json(unregister.channel, unregister.spelling)));
    }

    /// The store failed during an unregister. Updates for the channel were dropped meanwhile, and the channel may still
    /// be registered.
    fn unregister_failed(&mut self, turn: &mut Turn<'_>, unregister: &Unregister) {
        self.may_have_unregistered = true;
        turn.send_error(&unregister.request, INTERNAL_ERROR);
        self.refresh(turn);
    }

    /// An ack (section 2.6). Channels outside the table have nothing to acknowledge.
    pub(crate) fn ack(&mut self, turn: &mut Turn<'_>, request: &Request<'_>) -> Result<(), Violation> {
        let mut acks = request.acks()?;
        acks.retain(|ack| self.channels.acknowledge(ack, turn.now, turn.acknowledged));
        if !acks.is_empty() {
            turn.ask(Job::AckVersions(acks));
        }
        Ok(())
    }

    /// The store may not have kept an acknowledgement. It is re-read later, and what is still pending then is sent
    /// again. Without retries (`sp_retry_interval` = 0) that is left to the next read or hello.
    fn ack_failed(&mut self, turn: &Turn<'_>) {
        if !turn.settings.sp_retry_interval.is_zero() && !self.rereads {
            self.refresh_failed(turn);
        }
    }

    /// A write to one of the client's channels, and the write to the client before it.
    pub(crate) fn push_update(&mut self, turn: &mut Turn<'_>, update: &Update, previous: Option<Sequence>) {
        turn.came(previous, update.sequence);
        let is_registering = turn.steps.is_registering(update.channel);
        let is_unregistering = turn.steps.is_unregistering(update.channel);
        if is_registering && (is_unregistering || !self.channels.contains(update.channel)) {
            turn.steps.mark_missed(update.channel);
        } else if !self.channels.contains(update.channel) {
            self.may_lack_channels = true;
        } else if !is_unregistering && let Some(spelling) = self.channels.accept(turn.now, update) {
            let entry = Entry {
                channel: update.channel,
                spelling,
                version: update.version,
                data: update.data.as_deref(),
            };
            turn.notify(notification(&[entry]), 1);
            (turn.sent)(update.sequence);
        }
    }

    /// Re-reads the store for updates that this socket has not been sent, or that are due again.
    pub(crate) fn refresh(&mut self, turn: &mut Turn<'_>) {
        if !turn.steps.has_snapshot_waiting() {
            turn.ask(Job::Refresh(turn.seen.last()));
        }
    }

    /// Compares the table with the store, which may have lost registrations. Then the socket has to be closed, when all that is
    /// pending has been sent: the list of the next hello makes the user agent register again, and deletes what is pending.
    fn compare(&self, snapshot: &Snapshot) -> Result<(), CloseCode> {
        let has_all = self.may_have_unregistered || self.channels.are_in(snapshot);
        if has_all { Ok(()) } else { Err(CloseCode::Error) }
    }

    /// This socket still owns the UAID. The store, which has so many channels, is read again if anything was written of which the
    /// socket does not know, because it may have missed that, and if registrations may be lost.
    fn verified(&mut self, turn: &mut Turn<'_>, asked: Sequence, last: Sequence, stored: usize) {
        self.verify_later(turn.verify_at());
        let knows_all = self.learn(turn, asked, last) == Learned::Nothing;
        let has_all = self.may_have_unregistered || self.channels.len() <= stored;
        if !knows_all || !has_all || self.may_have_others {
            self.refresh(turn);
        }
    }

    /// As [`Turn::learn`].
    fn learn(&mut self, turn: &mut Turn<'_>, asked: Sequence, last: Sequence) -> Learned {
        let learned = turn.learn(asked, last);
        if learned == Learned::Losses {
            self.channels.forget_after(last);
        }
        learned
    }

    /// The claim is to be verified at this time, unless the store is re-read anyway.
    fn verify_later(&mut self, at: Moment) {
        if !self.rereads {
            self.ask_at = at;
        }
    }

    /// The store has been re-read.
    fn refreshed(&mut self, turn: &mut Turn<'_>, asked: Sequence, snapshot: Snapshot) {
        let interval = turn.settings.sp_retry_interval;
        let repeat_after = (!interval.is_zero()).then(|| interval - interval / RETRY_SLACK_PART);
        self.read(turn, asked, snapshot, Reason::Refresh { repeat_after });
    }

    /// The store could not be re-read.
    fn refresh_failed(&mut self, turn: &Turn<'_>) {
        (self.ask_at, self.rereads) = (turn.repeat_at(), true);
    }

    fn read(&mut self, turn: &mut Turn<'_>, asked: Sequence, snapshot: Snapshot, reason: Reason) {
        (self.ask_at, self.rereads) = (turn.verify_at(), false);
        let has_gone_back = snapshot.sequence < asked;
        self.learn(turn, asked, snapshot.sequence);
        let is_known = |channel: &beckon_types::Channel| self.channels.contains(channel.id);
        self.may_have_others = !snapshot.channels.iter().all(is_known);
        self.may_lack_channels |= self.may_have_others;
        self.may_have_unregistered = false;
        let pending = self.channels.read(turn.now, snapshot, reason, turn.steps);
        send_updates(turn, &pending);
        if has_gone_back {
            // What came meanwhile seemed to be older than what was lost.
            self.refresh(turn);
        }
    }

    /// When to call [`Self::resume`]: to repeat a read that failed, to send again what was not acknowledged, or to verify
    /// the claim.
    pub(crate) fn due(&self, settings: &Settings) -> Moment {
        self.refresh_due(settings).map_or(self.ask_at, |refresh| refresh.min(self.ask_at))
    }

    /// When to repeat a read that failed, or else to send again what was not acknowledged.
    fn refresh_due(&self, settings: &Settings) -> Option<Moment> {
        if self.rereads {
            return Some(self.ask_at);
        }
        let interval = settings.sp_retry_interval;
        let retry = self.channels.oldest_transmission().filter(|_| !interval.is_zero());
        retry.map(|at| at + interval)
    }

    /// Does what is due.
    pub(crate) fn resume(&mut self, turn: &mut Turn<'_>) {
        if self.refresh_due(turn.settings).is_some_and(|due| due <= turn.now) {
            self.refresh(turn);
        } else {
            turn.verify();
        }
    }
}

fn send_hello_reply(turn: &mut Turn<'_>) {
    turn.send(hello_reply(*turn.identity, 200, None));
}

/// Sends notifications with these updates, split as PROTOCOL.md section 2.5 demands.
fn send_updates(turn: &mut Turn<'_>, updates: &[Entry<'_>]) {
    for chunk in updates.chunks(UPDATES_PER_NOTIFICATION_MAX) {
        turn.notify(notification(chunk), chunk.len());
    }
}

#[cfg(test)]
mod tests;
