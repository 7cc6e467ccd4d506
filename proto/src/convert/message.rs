//! A Web Push message on the wire.

use super::field::{Malformed, channel};
use crate::push_v1 as wire;
use beckon_types::{Draft, Encoding, KeyId, Message, Nonce, Payload, Place, Sequence, TopicTag, Urgency};
use bytes::Bytes;
use std::time::Duration;

impl From<&Message> for wire::Message {
    fn from(message: &Message) -> Self {
        Self {
            channel_id: Bytes::copy_from_slice(&message.channel.0),
            sequence: message.place.sequence.0,
            topic: message.place.topic.map(|tag| Bytes::copy_from_slice(&tag.0)),
            key: message.key.0.into(),
            urgency: urgency_to_wire(message.draft.urgency).into(),
            ttl_ms: u64::try_from(message.draft.ttl.as_millis()).unwrap_or(u64::MAX),
            payload: message.draft.payload.as_ref().map(wire::Payload::from),
            nonce: message.place.nonce.0,
        }
    }
}

impl TryFrom<wire::Message> for Message {
    type Error = Malformed;

    fn try_from(message: wire::Message) -> Result<Self, Malformed> {
        let topic = message.topic.map(|tag| {
            let tag = tag.as_ref().try_into().map_err(|_| Malformed::Topic(tag.len()));
            tag.map(TopicTag)
        });
        Ok(Self {
            channel: channel(&message.channel_id)?,
            place: Place {
                sequence: Sequence(message.sequence),
                nonce: Nonce(message.nonce),
                topic: topic.transpose()?,
            },
            key: KeyId(u8::try_from(message.key).map_err(|_| Malformed::Key(message.key))?),
            draft: Draft {
                urgency: urgency_from_wire(message.urgency)?,
                ttl: Duration::from_millis(message.ttl_ms),
                payload: message.payload.map(Payload::try_from).transpose()?,
            },
        })
    }
}

impl From<&Payload> for wire::Payload {
    fn from(payload: &Payload) -> Self {
        let encoding = match &payload.encoding {
            Encoding::Aes128gcm => wire::payload::Encoding::Aes128gcm(wire::Aes128gcm {}),
            Encoding::Aesgcm { encryption, crypto_key } => {
                let (encryption, crypto_key) = (encryption.to_string(), crypto_key.to_string());
                wire::payload::Encoding::Aesgcm(wire::Aesgcm { encryption, crypto_key })
            }
        };
        Self { body: payload.body.clone(), encoding: Some(encoding) }
    }
}

impl TryFrom<wire::Payload> for Payload {
    type Error = Malformed;

    fn try_from(payload: wire::Payload) -> Result<Self, Malformed> {
        if payload.body.is_empty() {
            return Err(Malformed::Body);
        }
        let encoding = match payload.encoding.ok_or(Malformed::Encoding)? {
            wire::payload::Encoding::Aes128gcm(wire::Aes128gcm {}) => Encoding::Aes128gcm,
            wire::payload::Encoding::Aesgcm(wire::Aesgcm { encryption, crypto_key }) => {
                Encoding::Aesgcm { encryption: encryption.into(), crypto_key: crypto_key.into() }
            }
        };
        // A copy, because up to 256 parcels were received in one buffer, and a message that waits for a slow socket would
        // keep all of it in memory.
        Ok(Self { encoding, body: Bytes::copy_from_slice(&payload.body) })
    }
}

fn urgency_to_wire(urgency: Urgency) -> wire::Urgency {
    match urgency {
        Urgency::VeryLow => wire::Urgency::VeryLow,
        Urgency::Low => wire::Urgency::Low,
        Urgency::Normal => wire::Urgency::Normal,
        Urgency::High => wire::Urgency::High,
    }
}

fn urgency_from_wire(urgency: i32) -> Result<Urgency, Malformed> {
    let unknown = Malformed::Urgency(urgency);
    match wire::Urgency::try_from(urgency).map_err(|_| unknown)? {
        wire::Urgency::VeryLow => Ok(Urgency::VeryLow),
        wire::Urgency::Low => Ok(Urgency::Low),
        wire::Urgency::Normal => Ok(Urgency::Normal),
        wire::Urgency::High => Ok(Urgency::High),
        wire::Urgency::Unspecified => Err(unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        convert::parcel_to_wire,
        delivery::Parcel,
        transport::{MESSAGE_LEN_MAX, PARCELS_MAX, PAYLOAD_LEN_MAX, REQUEST_WEIGHT_MAX},
    };
    use beckon_types::{
        Cause, ChannelId, ConnectionId, NodeId, Notification, Presence, RequestId, SpanId, TOPIC_TAG_LEN,
        TRACESTATE_LEN_MAX, TraceContext, TraceId,
    };
    use prost::Message as _;

    fn message(payload: Option<Payload>) -> Message {
        Message {
            channel: ChannelId(*b"0123456789abcdef"),
            place: Place {
                sequence: Sequence(u64::MAX),
                nonce: Nonce(u64::MAX - 1),
                topic: Some(TopicTag([0xfe; TOPIC_TAG_LEN])),
            },
            key: KeyId(u8::MAX),
            draft: Draft { urgency: Urgency::High, ttl: Duration::from_secs(30 * 86_400), payload },
        }
    }

    fn aesgcm(body: &'static [u8]) -> Payload {
        let (encryption, crypto_key) = ("salt=c2FsdA".into(), "dh=ZGg;p256ecdsa=a2V5".into());
        Payload { encoding: Encoding::Aesgcm { encryption, crypto_key }, body: Bytes::from_static(body) }
    }

    #[test]
    fn a_message_survives_the_wire() {
        let aes128gcm = Payload { encoding: Encoding::Aes128gcm, body: Bytes::from_static(&[0, 0xff]) };
        let whole = message(Some(aesgcm(&[1, 2, 3])));
        let place = Place { topic: None, ..whole.place };
        let bare = Message {
            place,
            draft: Draft { ttl: Duration::ZERO, payload: None, ..whole.draft.clone() },
            ..whole.clone()
        };
        let mut all = vec![whole.clone(), bare, message(Some(aes128gcm))];
        for urgency in [Urgency::VeryLow, Urgency::Low, Urgency::Normal, Urgency::High] {
            all.push(Message { draft: Draft { urgency, ..whole.draft.clone() }, ..whole.clone() });
        }
        for message in all {
            let encoded = wire::Message::from(&message).encode_to_vec();
            let decoded = wire::Message::decode(encoded.as_slice()).unwrap();
            assert_eq!(Message::try_from(decoded), Ok(message));
        }
    }

    #[test]
    fn a_malformed_message_is_refused_by_the_name_of_its_field() {
        let with = |change: &dyn Fn(&mut wire::Message)| {
            let mut wire = wire::Message::from(&message(None));
            change(&mut wire);
            Message::try_from(wire)
        };
        let payload = |change: &dyn Fn(&mut wire::Payload)| {
            let mut wire = wire::Payload::from(&aesgcm(b"x"));
            change(&mut wire);
            with(&|message| message.payload = Some(wire.clone()))
        };
        for (refused, error) in [
            (with(&|message| message.channel_id = Bytes::new()), Malformed::ChannelId(0)),
            (with(&|message| message.topic = Some(Bytes::new())), Malformed::Topic(0)),
            (with(&|message| message.topic = Some(Bytes::from_static(&[0; 13]))), Malformed::Topic(13)),
            (with(&|message| message.key = 256), Malformed::Key(256)),
            (with(&|message| message.urgency = 0), Malformed::Urgency(0)),
            (with(&|message| message.urgency = 5), Malformed::Urgency(5)),
            (payload(&|payload| payload.body.clear()), Malformed::Body),
            (payload(&|payload| payload.encoding = None), Malformed::Encoding),
        ] {
            assert_eq!(refused, Err(error));
        }
    }

    #[test]
    fn a_waiting_message_does_not_keep_the_receive_buffer() {
        let received = Bytes::from(vec![7; 4096]);
        let mut wire = wire::Payload::from(&aesgcm(b"x"));
        wire.body = received.slice(8..12);
        let payload = Payload::try_from(wire).unwrap();
        assert_eq!(payload.body, received[8..12]);
        assert!(received.is_unique(), "the body has its own memory");
    }

    #[test]
    fn the_largest_request_is_within_the_message_limit() {
        let to = Presence { node: NodeId(u64::MAX), connection: ConnectionId(u64::MAX) };
        let parcel = |weight: usize| {
            let quarter = weight / 4;
            let encoding = Encoding::Aesgcm {
                encryption: "e".repeat(quarter).into(),
                crypto_key: "k".repeat(quarter).into(),
            };
            let payload = Payload { encoding, body: vec![7; weight - 2 * quarter].into() };
            let mut message = message(Some(payload));
            message.draft.ttl = Duration::MAX;
            let trace = TraceContext {
                trace: TraceId(u128::MAX),
                span: SpanId(u64::MAX),
                state: "s".repeat(TRACESTATE_LEN_MAX).into(),
            };
            let cause = Cause { request: Some(RequestId(u64::MAX)), trace: Some(Box::new(trace)) };
            let (notification, previous) = (Notification::Message(message), Some(Sequence(0)));
            parcel_to_wire(u64::MAX, &Parcel { to, notification, previous, cause })
        };
        // The last one is added when the others are one byte below the limit.
        let others = PARCELS_MAX - 1;
        let mut parcels = vec![parcel((REQUEST_WEIGHT_MAX - 1) / others); others];
        parcels.push(parcel(PAYLOAD_LEN_MAX));
        let request = wire::DeliverRequest { parcels };
        assert!(request.encoded_len() > REQUEST_WEIGHT_MAX);
        assert!(request.encoded_len() <= MESSAGE_LEN_MAX, "{}", request.encoded_len());
    }
}
