//! The parser and the writer, with altered and arbitrary messages.

use super::{
    simplepush::{Entry, notification},
    *,
};
use crate::violation::INTERNAL_ERROR;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use beckon_types::{Encoding, Payload, Version};
use proptest::prelude::*;
use serde_json::{Map, Value};

/// JSON values, with some nesting.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e300..1e300).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            object(inner).prop_map(Value::from),
        ]
    })
}

/// Objects many of whose members have a meaning.
fn object(values: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    let name = prop_oneof![
        prop::sample::select(vec![
            "messageType",
            "channelID",
            "channelIDs",
            "uaid",
            "updates",
            "expired",
            "version",
            "use_webpush",
            "key",
            "code",
            "min",
            "broadcasts",
            "status",
            "error",
            "pushEndpoint",
        ])
        .prop_map(String::from),
        ".{0,6}",
    ];
    prop::collection::btree_map(name, values, 0..8).prop_map(|members| members.into_iter().collect())
}

fn read_everything(text: &str) {
    let Ok(request) = Request::parse(text) else { return };
    let _ = (request.kind(), request.dialect(), request.uaid(), request.channel_id());
    let _ = (request.has_channel_list(), request.listed(3), request.acks());
    let _ = (request.key(), request.unregister_report(), request.message_acks(), request.nack_report());
    let _ = (request.min(), request.broadcasts());
    let reply = error_reply(text, INTERNAL_ERROR, &[]);
    assert!(Request::parse(&reply).is_ok(), "{text} got {reply}");
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in ".{0,60}|[\\[\\]{}\",:\\\\ua0-9. e-]{0,40}") {
        read_everything(&text);
    }

    #[test]
    fn any_altered_object_is_read_without_a_panic(
        members in object(json()),
        at in any::<prop::sample::Index>(),
        with in "[\\[\\]{}\",:\\\\u0 ]{0,2}",
    ) {
        let mut text = Value::from(members).to_string();
        let indices: Vec<usize> = text.char_indices().map(|(index, _)| index).collect();
        text.insert_str(indices[at.index(indices.len())], &with);
        read_everything(&text);
    }

    #[test]
    fn an_error_reply_keeps_every_member(members in object(json())) {
        let text = Value::from(members).to_string();
        read_everything(&text);
        // Read back, because serde_json does not read every float as it was written.
        let members: Map<String, Value> = serde_json::from_str(&text).unwrap();
        for omitted in [&[][..], &["uaid"]] {
            let reply: Value = serde_json::from_str(&error_reply(&text, INTERNAL_ERROR, omitted)).unwrap();
            let mut expected = members.clone();
            expected.retain(|name, _| name != "pushEndpoint" && !omitted.contains(&name.as_str()));
            expected.insert("status".into(), 500.into());
            expected.insert("error".into(), "Internal Error".into());
            prop_assert_eq!(reply, Value::from(expected));
        }
    }

    #[test]
    fn only_objects_are_requests(value in json()) {
        prop_assert_eq!(Request::parse(&value.to_string()).is_ok(), value.is_object());
    }

    #[test]
    fn any_string_is_written_as_json(text in any::<String>()) {
        let mut out = String::new();
        push_string(&mut out, &text);
        prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
    }

    #[test]
    fn a_string_is_read_as_serde_json_reads_it(text in any::<String>(), escaped in any::<bool>()) {
        let mut raw = Value::from(text.as_str()).to_string();
        if escaped {
            raw = text.encode_utf16().fold(String::from("\""), |raw, unit| raw + &format!("\\u{unit:04x}"));
            raw.push('"');
        }
        prop_assert_eq!(string(&raw).unwrap(), text);
    }

    #[test]
    fn a_notification_says_what_it_was_given(number in 0..=Version::MAX, data in prop::option::of(".{1,20}")) {
        let (channel, spelling) = ChannelId::parse("0D9F7B523C414E8A9A5751E0C2B7AA10").unwrap();
        let version = Version::new(number).unwrap();
        let entry = Entry { channel, spelling, version, data: data.as_deref() };
        let written: Value = serde_json::from_str(&notification(&[entry, entry])).unwrap();
        let mut update = serde_json::json!({"channelID": "0D9F7B523C414E8A9A5751E0C2B7AA10", "version": number});
        if let Some(data) = data {
            update["data"] = data.into();
        }
        prop_assert_eq!(
            written,
            serde_json::json!({"messageType": "notification", "updates": [update.clone(), update]})
        );
    }
}

proptest! {
    #[test]
    fn a_message_says_what_it_was_given(
        body in prop::collection::vec(any::<u8>(), 1..200),
        headers in prop::option::of(("[ -~]{0,40}", "[ -~]{0,40}")),
    ) {
        let (channel, spelling) = ChannelId::parse("0D9F7B523C414E8A9A5751E0C2B7AA10").unwrap();
        let (encoding, expected) = match &headers {
            None => (Encoding::Aes128gcm, serde_json::json!({"encoding": "aes128gcm"})),
            Some((encryption, crypto_key)) => (
                Encoding::Aesgcm { encryption: encryption.as_str().into(), crypto_key: crypto_key.as_str().into() },
                serde_json::json!({"encoding": "aesgcm", "encryption": encryption, "crypto_key": crypto_key}),
            ),
        };
        let payload = Payload { encoding, body: body.clone().into() };
        let text = webpush::notification(channel, spelling, "m1.x", Some(&payload));
        // One allocation of about the right size was enough.
        prop_assert!(headers.is_some() || text.capacity() - text.len() < 16, "{}", text.capacity());
        let written: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(
            written,
            serde_json::json!({
                "messageType": "notification",
                "channelID": "0D9F7B523C414E8A9A5751E0C2B7AA10",
                "version": "m1.x",
                "data": URL_SAFE_NO_PAD.encode(&body),
                "headers": expected,
            })
        );
    }
}

#[test]
fn members_are_repeated_as_they_were_written() {
    let big =
        r#"{"n":123456789012345678901234567890,"f":1.50e+999,"\u0061\ud800":"\ud83d","uaid":[ 1 , {} ]}"#;
    assert_eq!(
        error_reply(big, INTERNAL_ERROR, &[]),
        r#"{"n":123456789012345678901234567890,"f":1.50e+999,"\u0061\ud800":"\ud83d","uaid":[ 1 , {} ],"status":500,"error":"Internal Error"}"#
    );
    assert_eq!(
        error_reply(r#"{"a":1,"b":2,"\u0061":3}"#, INTERNAL_ERROR, &["b"]),
        r#"{"\u0061":3,"status":500,"error":"Internal Error"}"#
    );
}
