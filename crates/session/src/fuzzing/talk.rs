//! Fuzz target for conversations.

use crate::{
    Admission, BareHello, CloseCode, Context, Demand, Effect, Input, InvalidUaid, Outcome, Session, Settings,
    Step,
};
use beckon_types::{
    Backlog, Broadcasts, Channel, ChannelId, ConnectionId, Dialect, Draft, Encoding, HelloOutcome, KeyRing,
    Message, MessageId, Moment, NodeId, Nonce, Notification, Payload, Place, Presence, Sequence, Snapshot,
    Spelling, Uaid, UaidKey, Update, Urgency, Version,
};
use std::{sync::LazyLock, time::Duration};

/// Most lines of one conversation.
const LINES_MAX: usize = 200;

/// What a session may send or hold besides a multiple of what it was sent, in bytes.
const ROOM: usize = 64 * 1024;

/// When a conversation begins.
const START: Moment = Moment(1_000_000);

pub(super) const OWN: Presence = Presence { node: NodeId(1), connection: ConnectionId(1) };
const OTHER: Presence = Presence { node: NodeId(2), connection: ConnectionId(9) };
const UAID: Uaid = Uaid([9; 16]);
const CHANNEL: ChannelId = ChannelId([
    0x0d, 0x9f, 0x7b, 0x52, 0x3c, 0x41, 0x4e, 0x8a, 0x9a, 0x57, 0x51, 0xe0, 0xc2, 0xb7, 0xaa, 0x10,
]);

static UAID_KEY: LazyLock<UaidKey> = LazyLock::new(|| UaidKey::new(&[5; 32]));

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| Settings {
    keys: KeyRing::parse(&KeyRing::key_text(&[7; 32])).expect("the key is well formed"),
    uaid_key: UAID_KEY.clone(),
    endpoint_url: "https://push.example.net".into(),
    hello_timeout: Duration::from_secs(30),
    ping_min_sp: Duration::from_secs(20),
    ping_min_wp: Duration::from_secs(45),
    keepalive_interval: Duration::from_secs(300),
    keepalive_timeout: Duration::from_secs(30),
    channels_max_sp: 20,
    channels_max_wp: 20,
    batch_size: 3,
    sp_retry_interval: Duration::from_secs(60),
    requests_max: 60,
    request_interval: Duration::from_millis(100),
    uaid_idle: Duration::from_secs(90 * 24 * 3600),
    bare_hello: BareHello::WebPush,
    invalid_uaid: InvalidUaid::New,
});

pub(super) static BROADCASTS: LazyLock<Broadcasts> = LazyLock::new(|| Broadcasts {
    revision: 7,
    values: [("a".into(), "1".into()), ("b/c".into(), "2".into())].into(),
});

/// The ids of the messages that the store has: a message names the third as `@3`.
static IDS: LazyLock<[String; 10]> = LazyLock::new(|| {
    let keys = &SETTINGS.keys;
    std::array::from_fn(|index| {
        MessageId { client: UAID_KEY.client_id(UAID), place: place(index as u64) }.seal(keys, keys.newest())
    })
});

/// A conversation in lines. A line that begins with `!` is something else than a message: the outcome of the step under way,
/// a notification, time that passes, or an end.
///
/// What is sent is JSON, and not much more than what came in; there is one step at a time; nothing is sent after the end.
pub fn session(data: &[u8]) {
    Talk::new().hear_all(data);
}

/// A conversation.
pub(super) struct Talk {
    session: Session,
    now: Moment,
    step: Option<Step>,
    has_closed: bool,
    has_left: bool,
    has_ended: bool,
    is_subscribed: bool,
    received: usize,
}

impl Talk {
    fn new() -> Self {
        Self::resumed(Session::new(START, OWN), 0)
    }

    /// A conversation that goes on, after so many bytes from the user agent.
    pub(super) fn resumed(session: Session, received: usize) -> Self {
        Self {
            is_subscribed: session.is_subscribed(),
            session,
            now: START,
            step: None,
            has_closed: false,
            has_left: false,
            has_ended: false,
            received,
        }
    }

    pub(super) fn hear_all(mut self, conversation: &[u8]) {
        for line in conversation.split(|byte| *byte == b'\n').take(LINES_MAX) {
            self.hear(line);
        }
    }

    fn hear(&mut self, line: &[u8]) {
        self.received += line.len();
        let Some(command) = line.strip_prefix(b"!") else {
            // The connection does not read while the session takes no messages, nor after the end of the stream.
            if !self.has_left && self.session.takes_messages(self.now, &SETTINGS) {
                let text = with_ids(line);
                let input = str::from_utf8(&text).map_or(Input::Binary(&text), Input::Text);
                self.bring(input, text.len());
            }
            return;
        };
        let words: Vec<&str> = str::from_utf8(command).unwrap_or_default().split(' ').collect();
        let number = |index: usize| {
            words.get(index).and_then(|word| word.parse::<u64>().ok()).unwrap_or_default() % 1000
        };
        let input = match (words[0], self.step.take()) {
            ("ok", Some(step)) => Input::Store(likely(&step, number(1))),
            ("other", Some(step)) => Input::Store(unlikely(&step, number(1))),
            ("failed", Some(_)) => Input::Store(Outcome::Failed),
            ("disowned", Some(_)) => Input::Store(Outcome::NotOwner),
            (_, step) => {
                self.step = step;
                match self.other_input(words[0], &number) {
                    Some(input) => input,
                    None => return,
                }
            }
        };
        self.bring(input, 0);
    }

    /// Something that neither the user agent nor the store has said.
    fn other_input(&mut self, word: &str, number: &dyn Fn(usize) -> u64) -> Option<Input<'static>> {
        let arrived = self.now;
        // The third number of an update or a message is the write before it; without one that is not known.
        let previous = Some(Sequence(number(3))).filter(|previous| previous.0 != 0);
        let notification = |notification| Input::Notification { arrived, previous, notification };
        Some(match word {
            "update" if self.session.takes_notifications() => {
                notification(Notification::Update(update(number(1), number(2))))
            }
            "message" if self.session.takes_notifications() => {
                notification(Notification::Message(message(number(1), number(2))))
            }
            "missed" if self.session.takes_notifications() => notification(Notification::Missed),
            "broadcasts" if self.session.takes_notifications() => Input::Broadcasts,
            "binary" if !self.has_left && self.session.takes_messages(self.now, &SETTINGS) => {
                Input::Binary(b"{}")
            }
            "control" => Input::Control,
            "evicted" => Input::Evicted,
            "drain" => Input::Drain,
            "verify" => Input::Verify,
            "broken" => {
                self.has_left = true;
                Input::Broken(CloseCode::TooBig)
            }
            "gone" => {
                (self.has_left, self.has_closed) = (true, true);
                Input::Disconnected
            }
            "wait" => {
                self.now = self.now + Duration::from_secs(number(1));
                Input::Timer
            }
            _ => return None,
        })
    }

    fn bring(&mut self, input: Input<'_>, input_len: usize) {
        let mut effects = Vec::new();
        let context = Context {
            now: self.now,
            settings: &SETTINGS,
            admission: &|| Admission::Open,
            admits: &|_: Demand| true,
            sent: &|_| {},
            acknowledged: &|_| {},
            broadcasts: &BROADCASTS,
            new_uaid: &|| UAID,
        };
        self.session.handle(&context, input, &mut effects);
        let mut sent = 0;
        for effect in effects {
            assert!(!self.has_ended, "{effect:?} after the end");
            match effect {
                Effect::Send(text) => {
                    assert!(!self.has_closed, "{text} after a close");
                    assert!(
                        serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok(),
                        "not JSON: {text}"
                    );
                    sent += text.len();
                }
                Effect::Ping => assert!(!self.has_closed, "a ping after a close"),
                Effect::Close(_) => assert!(!std::mem::replace(&mut self.has_closed, true), "closed twice"),
                Effect::Store(step) => assert_eq!(self.step.replace(step), None, "two steps at once"),
                Effect::Evict(presence) => assert_eq!(presence, OTHER),
                Effect::Subscribed => {
                    assert!(!std::mem::replace(&mut self.is_subscribed, true), "subscribed twice")
                }
                Effect::Report(_) => {}
                Effect::End => {
                    assert!(
                        self.has_closed && self.step.is_none(),
                        "the end before a close, or during a step"
                    );
                    self.has_ended = true;
                }
            }
        }
        assert!(sent <= ROOM + 2 * input_len, "{sent} bytes in reply to {input_len}");
        assert!(self.session.held() <= ROOM + 8 * self.received, "{} bytes are held", self.session.held());
        assert!(self.step.is_none() || !self.session.is_settled());
        assert!(
            self.has_ended || !self.has_closed || self.step.is_some(),
            "nothing is waited for, and there is no end"
        );
        let _ = self.session.deadline(self.now, &SETTINGS);
    }
}

/// A line whose `@0` to `@9` are the ids of messages.
fn with_ids(line: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(line.len());
    let mut bytes = line.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match bytes.peek() {
            Some(digit @ b'0'..=b'9') if byte == b'@' => {
                text.extend(IDS[usize::from(digit - b'0')].bytes());
                bytes.next();
            }
            _ => text.push(byte),
        }
    }
    text
}

fn place(sequence: u64) -> Place {
    Place { sequence: Sequence(sequence), nonce: Nonce(sequence), topic: None }
}

fn message(sequence: u64, ttl_s: u64) -> Message {
    let payload = Payload { encoding: Encoding::Aes128gcm, body: vec![7; sequence as usize % 40 + 1].into() };
    let draft = Draft { urgency: Urgency::Normal, ttl: Duration::from_secs(ttl_s), payload: Some(payload) };
    Message { channel: CHANNEL, place: place(sequence), key: SETTINGS.keys.newest(), draft }
}

fn version(number: u64) -> Version {
    Version::new(number).expect("numbers are below 1000")
}

fn update(number: u64, sequence: u64) -> Update {
    Update {
        channel: CHANNEL,
        version: version(number),
        sequence: Sequence(sequence),
        data: Some("\"\u{1}".into()),
    }
}

fn snapshot(sequence: u64) -> Snapshot {
    let pending = (sequence % 2 == 1).then(|| version(sequence));
    let channel = Channel { id: CHANNEL, spelling: Spelling::HYPHENATED, pending };
    Snapshot { sequence: Sequence(sequence), channels: vec![channel] }
}

fn backlog(number: u64) -> Backlog {
    Backlog {
        messages: (1..=number % 4).map(|index| message(number / 4 + index, 60)).collect(),
        more: number % 3 == 1,
    }
}

/// What the store answers when all is well.
fn likely(step: &Step, number: u64) -> Outcome {
    match step {
        Step::Hello(hello) => Outcome::Hello(HelloOutcome::Claimed {
            dialect: hello.named.unwrap_or(hello.otherwise),
            former: (number % 5 == 1).then_some(OTHER),
            snapshot: snapshot(number),
            backlog: backlog(number),
        }),
        Step::AddChannel(_) => {
            Outcome::Registered { key: SETTINGS.keys.newest(), sequence: Sequence(number) }
        }
        Step::Fetch(_) => Outcome::Backlog(backlog(number)),
        Step::Snapshot(..) => Outcome::Snapshot(snapshot(number)),
        Step::Verify(..) => Outcome::Verified { last: Sequence(number), channels: (number % 4) as usize },
        Step::RemoveChannel(..)
        | Step::AckVersions(..)
        | Step::RemoveMessages(..)
        | Step::Release(..)
        | Step::NoteMissed(_) => Outcome::Done,
    }
}

/// What it answers besides.
fn unlikely(step: &Step, number: u64) -> Outcome {
    match step {
        Step::Hello(_) => Outcome::Hello(match number % 5 {
            0 => HelloOutcome::Unknown { dialect: Dialect::SimplePush },
            1 => HelloOutcome::Unknown { dialect: Dialect::WebPush },
            2 => HelloOutcome::Deleted { former: Some(OTHER) },
            3 => HelloOutcome::ListMissing,
            _ => HelloOutcome::NoRoom,
        }),
        Step::AddChannel(_) => Outcome::Full,
        Step::Verify(..) => Outcome::ClaimLost,
        Step::RemoveChannel(..)
        | Step::AckVersions(..)
        | Step::RemoveMessages(..)
        | Step::Fetch(_)
        | Step::Snapshot(..)
        | Step::Release(..)
        | Step::NoteMissed(_) => Outcome::Failed,
    }
}
