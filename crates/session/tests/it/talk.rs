//! A session with a clock, settings, and short ways to say things.

use beckon_session::{
    Admission, BareHello, CloseCode, Context, Demand, Effect, Input, InvalidUaid, Outcome, Session, Settings,
    Step,
};
use beckon_types::{
    Ack, AddChannel, Backlog, Broadcasts, Channel, ChannelId, ClientId, ConnectionId, Dialect, Endpoint,
    Hello, HelloOutcome, KeyRing, Listed, Moment, NodeId, Notification, Presence, Sequence, Snapshot, Uaid,
    UaidKey, Update, Version,
};
use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

pub(crate) const A: &str = "6fa1c3e2d40b4f5a8c7e9b1032a4d5f6";
pub(crate) const B: &str = "11111111-2222-4333-8444-555555555555";
pub(crate) const X: &str = "0d9f7b52-3c41-4e8a-9a57-51e0c2b7aa10";
pub(crate) const Y: &str = "4f0c6a3e-8f55-4d0b-b7b4-2a9d11c0e6ff";
pub(crate) const HELLO_A: &str =
    r#"{"messageType":"hello","uaid":"6fa1c3e2d40b4f5a8c7e9b1032a4d5f6","channelIDs":[]}"#;
pub(crate) const HELLO: &str = r#"{"messageType":"hello","channelIDs":[]}"#;

pub(crate) const OWN: Presence = Presence { node: NodeId(1), connection: ConnectionId(1) };
pub(crate) const OTHER: Presence = Presence { node: NodeId(2), connection: ConnectionId(9) };

pub(crate) fn settings() -> Settings {
    Settings {
        keys: KeyRing::parse(&KeyRing::key_text(&[7; 32])).unwrap(),
        uaid_key: UaidKey::new(&[8; 32]),
        endpoint_url: "https://push.example.net".into(),
        hello_timeout: Duration::from_secs(30),
        ping_min_sp: Duration::from_secs(20),
        ping_min_wp: Duration::from_secs(45),
        keepalive_interval: Duration::from_secs(300),
        keepalive_timeout: Duration::from_secs(30),
        channels_max_sp: 200,
        channels_max_wp: 2000,
        batch_size: 10,
        sp_retry_interval: Duration::from_secs(60),
        requests_max: 600,
        request_interval: Duration::from_millis(100),
        uaid_idle: Duration::from_secs(90 * 24 * 3600),
        bare_hello: BareHello::WebPush,
        invalid_uaid: InvalidUaid::New,
    }
}

pub(crate) fn uaid(text: &str) -> Uaid {
    Uaid::parse(text).unwrap().0
}

/// The client with this UAID.
pub(crate) fn client(text: &str) -> ClientId {
    settings().uaid_key.client_id(uaid(text))
}

pub(crate) fn channel(text: &str) -> ChannelId {
    ChannelId::parse(text).unwrap().0
}

pub(crate) fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

/// The first, second, ... UAID that a [`Talk`] generates.
pub(crate) fn generated(number: u8) -> Uaid {
    Uaid::from_random([number; 16])
}

/// A session, its settings and its clock.
#[derive(Debug)]
pub(crate) struct Talk {
    pub(crate) session: Session,
    pub(crate) settings: Settings,
    pub(crate) admission: Admission,
    /// What the source may not ask for.
    pub(crate) refused: Vec<Demand>,
    pub(crate) broadcasts: Broadcasts,
    pub(crate) now: Moment,
    /// How long the acknowledgements took.
    pub(crate) acknowledged: RefCell<Vec<Duration>>,
    pub(crate) sent: RefCell<Vec<Sequence>>,
    generated: Cell<u8>,
    /// How often the session has asked for the admission.
    pub(crate) admissions: Cell<u32>,
}

impl Talk {
    /// A fresh socket.
    pub(crate) fn new() -> Self {
        Self::with(settings())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let now = Moment(1_000_000);
        Self {
            session: Session::new(now, OWN),
            settings,
            admission: Admission::Open,
            refused: Vec::new(),
            acknowledged: RefCell::default(),
            sent: RefCell::default(),
            broadcasts: Broadcasts::default(),
            now,
            generated: Cell::new(0),
            admissions: Cell::new(0),
        }
    }

    /// A socket that has said hello as A, with these channels and what is pending on them, at sequence 10.
    pub(crate) fn greeted(channels: &[(&str, Option<u64>)]) -> Self {
        let mut talk = Self::new();
        talk.handle(Input::Text(HELLO_A));
        talk.handle(claimed(10, channels));
        talk
    }

    pub(crate) fn takes_messages(&self) -> bool {
        self.session.takes_messages(self.now, &self.settings)
    }

    pub(crate) fn wait(&mut self, seconds: u64) -> &mut Self {
        self.now = self.now + Duration::from_secs(seconds);
        self
    }

    pub(crate) fn handle(&mut self, input: Input<'_>) -> Vec<Effect> {
        let mut effects = Vec::new();
        let context = Context {
            now: self.now,
            settings: &self.settings,
            admission: &|| {
                self.admissions.update(|count| count + 1);
                self.admission.clone()
            },
            admits: &|demand| !self.refused.contains(&demand),
            sent: &|sequence| self.sent.borrow_mut().push(sequence),
            acknowledged: &|waited| self.acknowledged.borrow_mut().push(waited),
            broadcasts: &self.broadcasts,
            new_uaid: &|| {
                self.generated.update(|count| count + 1);
                generated(self.generated.get())
            },
        };
        self.session.handle(&context, input, &mut effects);
        crate::parking::check(&self.session, &self.broadcasts);
        effects
    }

    /// Brings the inputs, and compares all their effects.
    #[track_caller]
    pub(crate) fn check(&mut self, inputs: &[Input<'_>], effects: &[Effect]) -> &mut Self {
        let all: Vec<Effect> = inputs.iter().flat_map(|input| self.handle(input.clone())).collect();
        assert_eq!(all, effects, "after {inputs:?}");
        self
    }

    /// When a step that has just failed is repeated.
    #[track_caller]
    pub(crate) fn repeat_at(&self) -> Moment {
        let at = self.session.deadline(self.now, &self.settings).expect("a deadline");
        let wait = at.since(self.now).as_secs();
        assert!((10..15).contains(&wait), "repeated after {wait} s");
        at
    }

    /// Waits until a step that has just failed is repeated.
    #[track_caller]
    pub(crate) fn wait_to_repeat(&mut self) -> &mut Self {
        self.now = self.repeat_at();
        self
    }

    /// Waits until a claim is verified again that the store has just failed to verify.
    #[track_caller]
    pub(crate) fn wait_to_verify_again(&mut self) -> &mut Self {
        let at = self.session.deadline(self.now, &self.settings).expect("a deadline");
        let wait = at.since(self.now).as_secs();
        assert!((10..40).contains(&wait), "verified again after {wait} s");
        self.now = at;
        self
    }

    /// Waits until a claim is verified because of a gap that has just been noticed.
    #[track_caller]
    pub(crate) fn wait_for_a_gap(&mut self) -> &mut Self {
        let at = self.session.deadline(self.now, &self.settings).expect("a deadline");
        let wait = at.since(self.now);
        assert!((1000..1500).contains(&wait.as_millis()), "verified after {wait:?}");
        self.now = at;
        self
    }

    /// Seconds from now until the next deadline.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.session.deadline(self.now, &self.settings).map(|at| at.since(self.now).as_secs())
    }
}

/// Inputs to a fresh socket and all their effects.
#[track_caller]
pub(crate) fn check(inputs: &[Input<'_>], effects: &[Effect]) {
    Talk::new().check(inputs, effects);
}

pub(crate) fn text(message: &str) -> Input<'_> {
    Input::Text(message)
}

pub(crate) fn send(message: &str) -> Effect {
    Effect::Send(message.into())
}

pub(crate) fn close(code: CloseCode) -> Effect {
    Effect::Close(code)
}

pub(crate) fn store(step: Step) -> Effect {
    Effect::Store(step)
}

pub(crate) fn release() -> Effect {
    store(Step::Release(client(A), OWN, None))
}

pub(crate) fn look() -> Effect {
    store(Step::Snapshot(client(A), OWN))
}

pub(crate) fn verify() -> Effect {
    store(Step::Verify(client(A), OWN))
}

/// The store has all channels.
pub(crate) fn verified(sequence: u64) -> Input<'static> {
    verified_with(usize::MAX, sequence)
}

/// The store has so many channels.
pub(crate) fn verified_with(channels: usize, sequence: u64) -> Input<'static> {
    outcome(Outcome::Verified { last: Sequence(sequence), channels })
}

pub(crate) fn outcome(outcome: Outcome) -> Input<'static> {
    Input::Store(outcome)
}

/// The step of a hello without `use_webpush`, with this list, on a node with room.
pub(crate) fn hello_step(id: &str, listed: &[&str]) -> Hello {
    Hello {
        client: client(id),
        presence: OWN,
        named: None,
        otherwise: Dialect::SimplePush,
        listed: Some(Listed::Channels(listed.iter().map(|id| channel(id)).collect())),
        adopt: true,
        room: true,
        backlog_max: 10,
    }
}

/// The step that claims a generated UAID.
pub(crate) fn hello_new(id: Uaid) -> Hello {
    Hello {
        client: settings().uaid_key.client_id(id),
        named: Some(Dialect::SimplePush),
        ..hello_step(A, &[])
    }
}

pub(crate) fn snapshot(sequence: u64, channels: &[(&str, Option<u64>)]) -> Snapshot {
    let channels = channels.iter().map(|&(id, pending)| {
        let (id, spelling) = ChannelId::parse(id).unwrap();
        Channel { id, spelling, pending: pending.map(version) }
    });
    Snapshot { sequence: Sequence(sequence), channels: channels.collect() }
}

pub(crate) fn claimed(sequence: u64, channels: &[(&str, Option<u64>)]) -> Input<'static> {
    claimed_from(None, sequence, channels)
}

pub(crate) fn claimed_from(
    former: Option<Presence>,
    sequence: u64,
    channels: &[(&str, Option<u64>)],
) -> Input<'static> {
    let snapshot = snapshot(sequence, channels);
    let (dialect, backlog) = (Dialect::SimplePush, Backlog::default());
    outcome(Outcome::Hello(HelloOutcome::Claimed { dialect, former, snapshot, backlog }))
}

/// A notification that did not wait for the session: for any session it arrives just now. Which write was before it is not
/// known.
pub(crate) fn fresh(notification: Notification) -> Input<'static> {
    Input::Notification { arrived: Moment(u64::MAX), previous: None, notification }
}

/// The same, after a write.
pub(crate) fn after(previous: u64, input: Input<'static>) -> Input<'static> {
    let Input::Notification { arrived, previous: _, notification } = input else {
        panic!("{input:?} is no notification")
    };
    Input::Notification { arrived, previous: Some(Sequence(previous)), notification }
}

pub(crate) fn missed() -> Input<'static> {
    fresh(Notification::Missed)
}

pub(crate) fn looked(sequence: u64, channels: &[(&str, Option<u64>)]) -> Input<'static> {
    outcome(Outcome::Snapshot(snapshot(sequence, channels)))
}

pub(crate) fn registered(sequence: u64) -> Input<'static> {
    let key = settings().keys.newest();
    outcome(Outcome::Registered { key, sequence: Sequence(sequence) })
}

pub(crate) fn removed() -> Input<'static> {
    outcome(Outcome::Done)
}

pub(crate) fn update(id: &str, number: u64, sequence: u64) -> Input<'static> {
    fresh(Notification::Update(Update {
        channel: channel(id),
        version: version(number),
        sequence: Sequence(sequence),
        data: None,
    }))
}

pub(crate) fn register_text(id: &str) -> String {
    format!(r#"{{"messageType":"register","channelID":"{id}"}}"#)
}

pub(crate) fn unregister_text(id: &str) -> String {
    format!(r#"{{"messageType":"unregister","channelID":"{id}"}}"#)
}

pub(crate) fn ack_text(id: &str, number: u64) -> String {
    format!(r#"{{"messageType":"ack","updates":[{{"channelID":"{id}","version":{number}}}]}}"#)
}

pub(crate) fn add_step(id: &str) -> Effect {
    let (channel, spelling) = ChannelId::parse(id).unwrap();
    let key = settings().keys.newest();
    store(Step::AddChannel(AddChannel {
        client: client(A),
        presence: OWN,
        channel,
        spelling,
        key,
        channels_max: 200,
        restricted: None,
    }))
}

pub(crate) fn remove_step(id: &str) -> Effect {
    store(Step::RemoveChannel(client(A), OWN, channel(id)))
}

pub(crate) fn ack_step(acks: &[(&str, Option<u64>)]) -> Effect {
    let ack = |&(id, number): &(&str, Option<u64>)| Ack {
        channel: channel(id),
        version: number.map(|number| number as f64),
    };
    store(Step::AckVersions(client(A), acks.iter().map(ack).collect()))
}

pub(crate) fn push_endpoint(id: &str) -> String {
    let keys = settings().keys;
    let endpoint = Endpoint::SimplePush { client: client(A), channel: channel(id) };
    format!("https://push.example.net{}", endpoint.path(&keys, keys.newest()))
}

pub(crate) fn register_reply(id: &str) -> Effect {
    let url = push_endpoint(id);
    send(&format!(
        r#"{{"messageType":"register","channelID":"{id}","status":200,"uaid":"{A}","pushEndpoint":"{url}"}}"#
    ))
}

pub(crate) fn unregister_reply(id: &str) -> Effect {
    send(&format!(r#"{{"messageType":"unregister","channelID":"{id}","status":200}}"#))
}

pub(crate) fn hello_reply(id: &str) -> Effect {
    send(&format!(r#"{{"messageType":"hello","uaid":"{id}","status":200}}"#))
}

pub(crate) fn notified(updates: &[(&str, u64)]) -> Effect {
    let entries: Vec<String> =
        updates.iter().map(|(id, number)| format!(r#"{{"channelID":"{id}","version":{number}}}"#)).collect();
    send(&format!(r#"{{"messageType":"notification","updates":[{}]}}"#, entries.join(",")))
}
