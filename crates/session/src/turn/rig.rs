//! Turns for the tests of one dialect, without a session.

use super::Turn;
use crate::{
    api::{Admission, BareHello, Context, Effect, InvalidUaid, Settings},
    budget::Budget,
    identity::Identity,
    message::Request,
    seen::Seen,
    steps::Steps,
    violation::Violation,
};
use beckon_types::{
    Broadcasts, Channel, ChannelId, ClientId, ConnectionId, KeyRing, Moment, NodeId, Presence, Sequence,
    Snapshot, Spelling, Uaid, UaidKey, Version,
};
use std::{mem, time::Duration};

pub(crate) const UAID: Uaid = Uaid([7; 16]);
pub(crate) const PRESENCE: Presence = Presence { node: NodeId(1), connection: ConnectionId(1) };
/// The channel that [`snapshot`] has, and how messages spell it.
pub(crate) const CHANNEL: ChannelId = ChannelId([0x11; 16]);
pub(crate) const CHANNEL_TEXT: &str = "11111111111111111111111111111111";

/// The client with [`UAID`].
pub(crate) fn client_id() -> ClientId {
    uaid_key().client_id(UAID)
}

fn uaid_key() -> UaidKey {
    UaidKey::new(&[8; 32])
}

/// Everything that turns borrow.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) now: Moment,
    pub(crate) broadcasts: Broadcasts,
    settings: Settings,
    identity: Identity,
    seen: Seen,
    steps: Steps,
    budget: Budget,
    effects: Vec<Effect>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let second = Duration::from_secs(1);
        let settings = Settings {
            keys: KeyRing::parse(&KeyRing::key_text(&[7; 32])).unwrap(),
            uaid_key: uaid_key(),
            endpoint_url: "https://push.example.net".into(),
            hello_timeout: 30 * second,
            ping_min_sp: 20 * second,
            ping_min_wp: 45 * second,
            keepalive_interval: 300 * second,
            keepalive_timeout: 30 * second,
            channels_max_sp: 200,
            channels_max_wp: 2000,
            batch_size: 10,
            sp_retry_interval: 60 * second,
            requests_max: 600,
            request_interval: Duration::from_millis(100),
            uaid_idle: 1_000_000 * second,
            bare_hello: BareHello::WebPush,
            invalid_uaid: InvalidUaid::New,
        };
        Self {
            now: Moment(0),
            broadcasts: Broadcasts::default(),
            settings,
            identity: Identity { uaid: UAID, spelling: Spelling::PLAIN },
            seen: Seen::default(),
            steps: Steps::default(),
            budget: Budget::new(Moment(0)),
            effects: Vec::new(),
        }
    }

    /// Takes a turn. Returns its result and its effects.
    pub(crate) fn turn<T>(&mut self, act: impl FnOnce(&mut Turn<'_>) -> T) -> (T, Vec<Effect>) {
        let Self { now, broadcasts, settings, identity, seen, steps, budget, effects } = self;
        let (admission, new_uaid) = (|| Admission::Open, || UAID);
        let (admission, new_uaid, admits) = (&admission, &new_uaid, &|_| true);
        let (sent, acknowledged) = (&|_| {}, &|_| {});
        let context =
            Context { now: *now, settings, admission, admits, sent, acknowledged, broadcasts, new_uaid };
        let result = act(&mut Turn::new(&context, PRESENCE, (identity, seen), steps, budget, effects));
        (result, mem::take(effects))
    }

    /// Takes a turn with a message of the user agent.
    pub(crate) fn request(
        &mut self,
        text: &str,
        act: impl FnOnce(&mut Turn<'_>, &Request<'_>) -> Result<(), Violation>,
    ) -> (Result<(), Violation>, Vec<Effect>) {
        self.turn(|turn| act(turn, &Request::parse(text).unwrap()))
    }
}

/// One channel, and what is pending on it.
pub(crate) fn snapshot(sequence: u64, pending: Option<u64>) -> Snapshot {
    let pending = pending.map(|number| Version::new(number).unwrap());
    let channel = Channel { id: CHANNEL, spelling: Spelling::PLAIN, pending };
    Snapshot { sequence: Sequence(sequence), channels: vec![channel] }
}
