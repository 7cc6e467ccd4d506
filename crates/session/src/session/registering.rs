//! Register and unregister, and what else both dialects do in the same way.

use super::{Client, Identity, Job, Session};
use crate::{
    api::{Context, Effect},
    message::{NamedChannel, Request, channel_json, error_reply, simplepush, unregister_reply, webpush},
    violation::{INTERNAL_ERROR, INVALID_KEY, Violation},
};
use beckon_types::{AddChannel, ChannelId, Endpoint, KeyId, Moment, Sequence, Snapshot, Spelling};

impl Client {
    /// Adds a channel that was registered. True if the store has to be looked into.
    fn register(&mut self, add: &AddChannel, sequence: Sequence) -> bool {
        match self {
            Self::Stranger { .. } => false,
            Self::SimplePush(client) => client.register(add, sequence),
            Self::WebPush(client) => client.register(add, sequence),
        }
    }

    /// Notes that a register has failed, though it may have been performed.
    fn doubt(&mut self) {
        match self {
            Self::Stranger { .. } => {}
            Self::SimplePush(client) => client.doubt(),
            Self::WebPush(client) => client.doubt(),
        }
    }

    /// Removes a channel that was unregistered.
    fn unregister(&mut self, channel: ChannelId) {
        match self {
            Self::Stranger { .. } => {}
            Self::SimplePush(client) => client.unregister(channel),
            Self::WebPush(client) => client.unregister(channel),
        }
    }

    /// Has the store looked into a while after a look that failed.
    fn look_failed(&mut self, now: Moment) {
        match self {
            Self::Stranger { .. } => {}
            Self::SimplePush(client) => client.look_failed(now),
            Self::WebPush(client) => client.look_failed(now),
        }
    }
}

impl Session {
    /// A register (sections 2.3 and 4.3).
    pub(super) fn register(
        &mut self,
        context: &Context<'_>,
        request: &Request<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let (NamedChannel::Valid(channel, spelling), Some(identity)) = (request.channel_id(), self.identity)
        else {
            return self.refuse(request.text, Violation::IllFormed, effects);
        };
        let settings = context.settings;
        let (restricted, channels_max) = match (&self.client, request.key()) {
            (Client::Stranger { .. } | Client::SimplePush(_), _) => (None, settings.channels_max_sp),
            (Client::WebPush(_), Ok(key)) => (key.map(|key| key.hash()), settings.channels_max_wp),
            (Client::WebPush(_), Err(_)) => {
                return effects.push(Effect::Send(error_reply(request.text, INVALID_KEY, &[])));
            }
        };
        let add = AddChannel {
            uaid: identity.uaid,
            presence: self.presence,
            channel,
            spelling,
            restricted,
            key: settings.keys.newest(),
            channels_max,
        };
        self.ask(Job::Register { request: request.text.into(), add, missed: false }, effects);
    }

    /// The outcome of a register.
    pub(super) fn registered(
        &mut self,
        context: &Context<'_>,
        (_request, add, missed): (&str, AddChannel, bool),
        (key, sequence): (KeyId, Sequence),
        effects: &mut Vec<Effect>,
    ) {
        let Some(Identity { uaid, spelling }) = self.identity else { return };
        let look = self.client.register(&add, sequence) || missed;
        let AddChannel { channel, restricted, .. } = add;
        let url = |endpoint: Endpoint| {
            [&context.settings.endpoint_url[..], &endpoint.path(&context.settings.keys, key)].concat()
        };
        let reply = match &self.client {
            Client::Stranger { .. } => return,
            Client::SimplePush(_) => {
                let push_endpoint = url(Endpoint::SimplePush { uaid, channel });
                simplepush::register_reply((uaid, spelling), (channel, add.spelling), &push_endpoint)
            }
            Client::WebPush(_) => {
                let push_endpoint = url(Endpoint::WebPush { uaid, channel, restricted });
                webpush::register_reply(channel, add.spelling, &push_endpoint)
            }
        };
        effects.push(Effect::Send(reply));
        if look {
            self.look(context, effects);
        }
    }

    /// The store failed during a register.
    pub(super) fn register_failed(
        &mut self,
        context: &Context<'_>,
        request: &str,
        missed: bool,
        effects: &mut Vec<Effect>,
    ) {
        self.client.doubt();
        effects.push(Effect::Send(error_reply(request, INTERNAL_ERROR, &[])));
        if missed {
            self.look(context, effects);
        }
    }

    /// An unregister (sections 2.4 and 4.4).
    pub(super) fn unregister(&mut self, request: &Request<'_>, effects: &mut Vec<Effect>) {
        let told = match &self.client {
            Client::Stranger { .. } | Client::SimplePush(_) => None,
            Client::WebPush(_) => Some(Effect::Report(request.unregister_code())),
        };
        match request.channel_id() {
            NamedChannel::Valid(channel, spelling) => {
                effects.extend(told);
                self.ask(Job::Unregister { request: request.text.into(), channel, spelling }, effects);
            }
            NamedChannel::Malformed(raw) => {
                effects.extend(told);
                effects.push(Effect::Send(unregister_reply(raw)));
            }
            NamedChannel::Unusable => self.refuse(request.text, Violation::IllFormed, effects),
        }
    }

    /// The channel is gone, and with it all that was outstanding on it.
    pub(super) fn unregistered(
        &mut self,
        context: &Context<'_>,
        channel: ChannelId,
        spelling: Spelling,
        effects: &mut Vec<Effect>,
    ) {
        self.client.unregister(channel);
        effects.push(Effect::Send(unregister_reply(&channel_json(channel, spelling))));
        self.read_on(context, effects);
    }

    /// The store failed during an unregister. Deliveries for the channel were dropped meanwhile, and it is
    /// not known whether the channel is still there.
    pub(super) fn unregister_failed(
        &mut self,
        context: &Context<'_>,
        request: &str,
        effects: &mut Vec<Effect>,
    ) {
        effects.push(Effect::Send(error_reply(request, INTERNAL_ERROR, &[])));
        self.look(context, effects);
    }

    /// Has the store looked into, for what this session has not sent or should send again.
    pub(crate) fn look(&mut self, context: &Context<'_>, effects: &mut Vec<Effect>) {
        match &self.client {
            Client::Stranger { .. } => {}
            Client::SimplePush(_) if self.steps.will_look() => {}
            Client::SimplePush(_) => self.ask(Job::Look, effects),
            Client::WebPush(_) => self.read_again(context, effects),
        }
    }

    /// The outcome of a look.
    pub(super) fn looked(&mut self, context: &Context<'_>, snapshot: Snapshot, effects: &mut Vec<Effect>) {
        match &mut self.client {
            Client::Stranger { .. } => {}
            Client::SimplePush(_) => self.looked_for_updates(context, snapshot, effects),
            Client::WebPush(client) => {
                client.renewed(context.now);
                self.read_on(context, effects);
            }
        }
    }

    /// The store failed during a look.
    pub(super) fn look_failed(&mut self, now: Moment) {
        self.client.look_failed(now);
    }
}
