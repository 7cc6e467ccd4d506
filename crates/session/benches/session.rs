//! What a conversation costs without its socket and its store: each message in and out of the state machine.
//!
//! The outcomes of store steps are made here, and their making is measured with them; it is a few bytes to copy.
//! Allocations are counted too: a line without them allocates nothing.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has to stop")]

use beckon_session::{
    Admission, BareHello, Context, Effect, Input, InvalidUaid, Outcome, Session, Settings, Step,
};
use beckon_types::{
    Backlog, Broadcasts, ChannelId, ConnectionId, Dialect, Draft, Encoding, HelloOutcome, KeyId, KeyRing,
    Message, MessageId, Moment, NodeId, Nonce, Notification, Payload, Place, Presence, Sequence, Snapshot,
    Uaid, UaidKey, Update, Urgency, Version,
};
use divan::{AllocProfiler, Bencher, black_box};
use std::{sync::Arc, time::Duration};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const NOW: Moment = Moment(1_000_000);
const PRESENCE: Presence = Presence { node: NodeId(1), connection: ConnectionId(1) };
const HELLO: &str = r#"{"messageType":"hello","uaid":"6fa1c3e2d40b4f5a8c7e9b1032a4d5f6","channelIDs":[]}"#;
const HELLO_WEBPUSH: &str =
    r#"{"messageType":"hello","uaid":"6fa1c3e2d40b4f5a8c7e9b1032a4d5f6","use_webpush":true}"#;
const CHANNEL: &str = "0d9f7b52-3c41-4e8a-9a57-51e0c2b7aa10";

fn main() {
    divan::main();
}

/// A session and its context.
struct Talk {
    session: Session,
    settings: Settings,
    effects: Vec<Effect>,
    sequence: u64,
}

fn settings() -> Settings {
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

fn with_context<T>(settings: &Settings, act: impl FnOnce(&Context<'_>) -> T) -> T {
    act(&Context {
        now: NOW,
        settings,
        admission: &|| Admission::Open,
        broadcasts: &Broadcasts::default(),
        admits: &|_| true,
        sent: &|_| {},
        acknowledged: &|_| {},
        new_uaid: &|| Uaid::from_random([1; 16]),
    })
}

impl Talk {
    /// A fresh socket.
    fn new() -> Self {
        let settings = settings();
        Self { session: Session::new(NOW, PRESENCE), settings, effects: Vec::with_capacity(4), sequence: 0 }
    }

    /// A Web Push client with one channel, [`CHANNEL`].
    fn webpush() -> Self {
        let mut talk = Self::new();
        talk.hello_webpush();
        talk.register(&register(ChannelId::parse(CHANNEL).unwrap().0));
        talk
    }

    fn hello_webpush(&mut self) {
        self.handle(Input::Text(black_box(HELLO_WEBPUSH)));
        assert!(matches!(self.effects[..], [Effect::Store(Step::Hello(_))]));
        let snapshot = Snapshot { sequence: Sequence(0), channels: Vec::new() };
        let (dialect, backlog) = (Dialect::WebPush, Backlog::default());
        let outcome = HelloOutcome::Claimed { dialect, former: None, snapshot, backlog };
        self.handle(Input::Store(Outcome::Hello(outcome)));
        assert!(matches!(self.effects[..], [Effect::Send(_)]));
    }

    fn deliver_message(&mut self, message: &Message) {
        self.notify(Notification::Message(black_box(message.clone())));
        assert!(matches!(self.effects[..], [Effect::Send(_)]));
    }

    fn acknowledge_message(&mut self, request: &str) {
        self.handle(Input::Text(black_box(request)));
        assert!(matches!(self.effects[..], [Effect::Report(_), Effect::Store(Step::RemoveMessages(..))]));
        self.handle(Input::Store(Outcome::Done));
        assert!(self.effects.is_empty());
    }

    /// A client with so many channels, the first of them [`CHANNEL`].
    fn greeted(channels: u8) -> Self {
        let mut talk = Self::new();
        talk.hello();
        for number in 0..channels {
            let mut id = ChannelId::parse(CHANNEL).unwrap().0;
            id.0[15] = id.0[15].wrapping_add(number);
            talk.register(&register(id));
        }
        talk
    }

    fn handle(&mut self, input: Input<'_>) {
        self.effects.clear();
        let Self { session, settings, effects, .. } = self;
        with_context(settings, |context| session.handle(context, input, effects));
    }

    fn notify(&mut self, notification: Notification) {
        // As it is when nothing was missed.
        let previous = notification.sequence().map(|sequence| Sequence(sequence.0 - 1));
        self.handle(Input::Notification { arrived: NOW, previous, notification });
    }

    fn hello(&mut self) {
        self.handle(Input::Text(black_box(HELLO)));
        assert!(matches!(self.effects[..], [Effect::Store(Step::Hello(_))]));
        let snapshot = Snapshot { sequence: Sequence(0), channels: Vec::new() };
        let (dialect, backlog) = (Dialect::SimplePush, Backlog::default());
        let outcome = HelloOutcome::Claimed { dialect, former: None, snapshot, backlog };
        self.handle(Input::Store(Outcome::Hello(outcome)));
        assert!(matches!(self.effects[..], [Effect::Send(_)]));
    }

    fn register(&mut self, request: &str) {
        self.handle(Input::Text(black_box(request)));
        assert!(matches!(self.effects[..], [Effect::Store(Step::AddChannel(_))]));
        let outcome = Outcome::Registered { key: KeyId(0), sequence: Sequence(self.sequence) };
        self.handle(Input::Store(outcome));
        assert!(matches!(self.effects[..], [Effect::Send(_)]));
    }

    fn deliver(&mut self, channel: ChannelId, data: Option<&Arc<str>>) {
        self.sequence += 1;
        let update = Update {
            channel,
            version: Version::new(1_700_000_000_000 + self.sequence).unwrap(),
            sequence: Sequence(self.sequence),
            data: data.cloned(),
        };
        self.notify(Notification::Update(black_box(update)));
        assert!(matches!(self.effects[..], [Effect::Send(_)]));
    }

    fn acknowledge(&mut self, request: &str) {
        self.handle(Input::Text(black_box(request)));
        assert!(matches!(self.effects[..], [Effect::Store(Step::AckVersions(..))]));
        self.handle(Input::Store(Outcome::Done));
        assert!(self.effects.is_empty());
    }
}

fn register(channel: ChannelId) -> String {
    let id = channel.to_text(beckon_types::Spelling::HYPHENATED);
    format!(r#"{{"messageType":"register","channelID":"{id}"}}"#)
}

fn ack(version: u64) -> String {
    format!(
        r#"{{"messageType":"ack","updates":[{{"channelID":"{CHANNEL}","version":{version}}}],"expired":[]}}"#
    )
}

/// A message of so many bytes, and its acknowledgement.
fn message(bytes: usize) -> (Message, String) {
    let message = Message {
        channel: ChannelId::parse(CHANNEL).unwrap().0,
        place: Place { sequence: Sequence(1), nonce: Nonce(1), topic: None },
        key: settings().keys.newest(),
        draft: Draft {
            urgency: Urgency::Normal,
            ttl: Duration::from_secs(3600),
            payload: Some(Payload { encoding: Encoding::Aes128gcm, body: vec![0x5a; bytes].into() }),
        },
    };
    let uaid = Uaid::parse("6fa1c3e2d40b4f5a8c7e9b1032a4d5f6").unwrap().0;
    let client = settings().uaid_key.client_id(uaid);
    let id = MessageId { client, place: message.place }.seal(&settings().keys, message.key);
    let ack = format!(
        r#"{{"messageType":"ack","updates":[{{"channelID":"{CHANNEL}","version":"{id}","code":100}}]}}"#
    );
    (message, ack)
}

/// A Web Push message of so many bytes, its acknowledgement, and the outcome of that: the whole way of a message
/// through the session.
#[divan::bench(args = [200, 4096])]
fn deliver_message_and_ack(bencher: Bencher<'_, '_>, bytes: usize) {
    let mut talk = Talk::webpush();
    let (message, request) = message(bytes);
    bencher.bench_local(|| {
        talk.deliver_message(&message);
        talk.acknowledge_message(&request);
    });
}

/// A Web Push message that is not stored, so that nothing is noted of it: sealing its id and writing it.
#[divan::bench(args = [200, 4096])]
fn deliver_message(bencher: Bencher<'_, '_>, bytes: usize) {
    let mut talk = Talk::webpush();
    let (mut message, _) = message(bytes);
    message.draft.ttl = Duration::ZERO;
    bencher.bench_local(|| talk.deliver_message(&message));
}

/// Read an ack, ask for its step, take the outcome.
#[divan::bench(args = [1, 200])]
fn ack_and_its_outcome(bencher: Bencher<'_, '_>, channels: u8) {
    let mut talk = Talk::greeted(channels);
    let request = ack(1_700_000_000_001);
    bencher.bench_local(|| talk.acknowledge(&request));
}

/// Find the channel and write the message.
#[divan::bench(args = [1, 200])]
fn deliver(bencher: Bencher<'_, '_>, channels: u8) {
    let mut talk = Talk::greeted(channels);
    let channel = ChannelId::parse(CHANNEL).unwrap().0;
    bencher.bench_local(|| talk.deliver(channel, None));
}

/// The same with data to be escaped, of so many bytes.
#[divan::bench(args = [100, 4096])]
fn deliver_data(bencher: Bencher<'_, '_>, bytes: usize) {
    let mut talk = Talk::greeted(1);
    let channel = ChannelId::parse(CHANNEL).unwrap().0;
    let data: Arc<str> = r#"{"subject":"hi"} "#.repeat(bytes / 17 + 1)[..bytes].into();
    bencher.bench_local(|| talk.deliver(channel, Some(&data)));
}

/// A notification's whole way through the session.
#[divan::bench]
fn deliver_and_ack(bencher: Bencher<'_, '_>) {
    let mut talk = Talk::greeted(1);
    let channel = ChannelId::parse(CHANNEL).unwrap().0;
    let request = ack(1_700_000_000_001);
    bencher.bench_local(|| {
        talk.deliver(channel, None);
        talk.acknowledge(&request);
    });
}

/// A new socket's first two exchanges: hello and one register, with the sealing of its token.
#[divan::bench]
fn hello_and_register(bencher: Bencher<'_, '_>) {
    let request = register(ChannelId::parse(CHANNEL).unwrap().0);
    bencher.with_inputs(Talk::new).bench_local_values(|mut talk| {
        talk.hello();
        talk.register(&request);
        talk
    });
}

/// What a client sends most after acks.
#[divan::bench]
fn control_frame(bencher: Bencher<'_, '_>) {
    let mut talk = Talk::greeted(1);
    bencher.bench_local(|| talk.handle(Input::Control));
}
