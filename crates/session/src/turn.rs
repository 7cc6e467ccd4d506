//! A turn of the conversation: what a client needs to handle one input.

use crate::{
    api::{ClientReport, Context, Effect, Settings},
    budget::Budget,
    doubt,
    identity::Identity,
    message::{Request, error_reply},
    seen::{Learned, Seen},
    steps::{Job, Register, Steps, Unregister},
    violation::Error,
};
use beckon_types::{
    AddChannel, Broadcasts, ChannelId, ClientId, Endpoint, KeyHash, KeyId, Moment, Presence, Sequence,
    Spelling,
};
use std::time::Duration;

/// Everything around a client of either dialect while it handles one input.
pub(crate) struct Turn<'a> {
    /// The time of the input.
    pub(crate) now: Moment,
    /// The settings of the node.
    pub(crate) settings: &'a Settings,
    /// What is done with the sequence of a write that is sent.
    pub(crate) sent: &'a dyn Fn(Sequence),
    /// What is done with the time that an acknowledgement took.
    pub(crate) acknowledged: &'a dyn Fn(Duration),
    /// The broadcasts as the node knows them.
    pub(crate) broadcasts: &'a Broadcasts,
    /// Which connection this is.
    pub(crate) presence: Presence,
    /// The UAID that this connection owns.
    pub(crate) identity: &'a mut Identity,
    /// The writes to the client that this connection knows of.
    pub(crate) seen: &'a mut Seen,
    /// The steps that the client has asked for.
    pub(crate) steps: &'a mut Steps,
    budget: &'a mut Budget,
    effects: &'a mut Vec<Effect>,
}

impl<'a> Turn<'a> {
    /// A turn of the connection `presence`, which owns the UAID `identity`.
    pub(crate) fn new(
        context: &Context<'a>,
        presence: Presence,
        (identity, seen): (&'a mut Identity, &'a mut Seen),
        steps: &'a mut Steps,
        budget: &'a mut Budget,
        effects: &'a mut Vec<Effect>,
    ) -> Self {
        let Context { now, settings, sent, acknowledged, broadcasts, .. } = *context;
        Self {
            now,
            settings,
            sent,
            acknowledged,
            broadcasts,
            presence,
            identity,
            seen,
            steps,
            budget,
            effects,
        }
    }

    /// What the store and endpoints call the client.
    pub(crate) fn client(&self) -> ClientId {
        self.identity.client(self.settings)
    }

    /// Sends a message.
    pub(crate) fn send(&mut self, text: String) {
        self.effects.push(Effect::Send(text));
    }

    /// Sends a notification with so many entries, each of which the user agent will acknowledge.
    pub(crate) fn notify(&mut self, text: String, entries: usize) {
        self.budget.refund(entries, self.settings);
        self.send(text);
    }

    /// Sends the error reply to a request that was in order. The socket stays open.
    pub(crate) fn send_error(&mut self, request: &str, error: Error) {
        self.send(error_reply(request, error, &[]));
    }

    /// Counts what the user agent reported.
    pub(crate) fn report(&mut self, report: ClientReport) {
        self.effects.push(Effect::Report(report));
    }

    /// Asks to be called when the broadcasts change.
    pub(crate) fn subscribe(&mut self) {
        self.effects.push(Effect::Subscribed);
    }

    /// Asks the store for a step, now or after the steps before it.
    pub(crate) fn ask(&mut self, job: Job) {
        let client = || self.identity.client(self.settings);
        if let Some(step) = self.steps.push(job, client, self.presence) {
            self.effects.push(Effect::Store(step));
        }
    }

    /// Asks the store whether this socket still owns the UAID. A step that is under way may have been performed before the
    /// doubt arose, so it does not count.
    pub(crate) fn verify(&mut self) {
        if !self.steps.has_verification_waiting() {
            self.ask(Job::Verify(self.seen.last()));
            // Until there is an outcome. A store that fails is not asked again at once because of a gap.
            let again = self.repeat_at();
            self.seen.postpone(again);
        }
    }

    /// Notes that a write has come, whatever becomes of it.
    pub(crate) fn came(&mut self, previous: Option<Sequence>, sequence: Sequence) {
        let (connection, now) = (self.presence.connection, self.now);
        self.seen.came(previous, sequence, || doubt::gap_at(connection, now));
    }

    /// Notes what the store has said about the last write. `asked` and the result are as in [`Seen::learn`].
    pub(crate) fn learn(&mut self, asked: Sequence, last: Sequence) -> Learned {
        let (connection, now) = (self.presence.connection, self.now);
        self.seen.learn(asked, last, || doubt::gap_at(connection, now))
    }

    /// When to verify the claim again, if that is done now.
    pub(crate) fn verify_at(&self) -> Moment {
        doubt::verify_at(self.settings, self.presence.connection, self.now)
    }

    /// When to verify the claim again, if the store has failed to do so now.
    pub(crate) fn verify_again_at(&self) -> Moment {
        doubt::verify_again_at(self.presence.connection, self.now)
    }

    /// When to repeat a step that has failed now.
    pub(crate) fn repeat_at(&self) -> Moment {
        doubt::repeat_at(self.presence.connection, self.now)
    }

    /// Asks the store to register a channel. `restricted` and `channels_max` are as in [`AddChannel`].
    pub(crate) fn ask_to_register(
        &mut self,
        request: &Request<'_>,
        (channel, spelling): (ChannelId, Spelling),
        restricted: Option<KeyHash>,
        channels_max: u32,
    ) {
        let add = AddChannel {
            client: self.client(),
            presence: self.presence,
            channel,
            spelling,
            restricted,
            key: self.settings.keys.newest(),
            channels_max,
        };
        self.ask(Job::Register(Register { request: request.text.into(), add, missed: false }));
    }

    /// Asks the store to unregister a channel.
    pub(crate) fn ask_to_unregister(
        &mut self,
        request: &Request<'_>,
        (channel, spelling): (ChannelId, Spelling),
    ) {
        self.ask(Job::Unregister(Unregister { request: request.text.into(), channel, spelling }));
    }

    /// The URL of an endpoint whose token is sealed with `key`.
    pub(crate) fn url(&self, endpoint: Endpoint, key: KeyId) -> String {
        [&self.settings.endpoint_url[..], &endpoint.path(&self.settings.keys, key)].concat()
    }
}

#[cfg(test)]
pub(crate) mod rig;
