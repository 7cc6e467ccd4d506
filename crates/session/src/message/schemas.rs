//! What the writers write matches the JSON Schemas of `docs/api`, whatever they are given.

use super::{
    simplepush::{self, Entry},
    webpush::{self, BroadcastsJson},
    *,
};
use crate::{
    identity::Identity,
    violation::{INTERNAL_ERROR, INVALID_KEY, Violation},
};
use beckon_types::{Encoding, Payload, Version};
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{collections::HashMap, sync::OnceLock};

/// Wants a message to be what a schema calls `definition`, which is one of the messages that it lists for the server.
fn check(dialect: Dialect, definition: &'static str, message: &str) {
    static VALIDATORS: OnceLock<HashMap<(bool, String), Validator>> = OnceLock::new();
    let validators = VALIDATORS.get_or_init(|| {
        let schemas = [
            (false, include_str!("../../../../docs/api/simplepush.schema.json")),
            (true, include_str!("../../../../docs/api/webpush.schema.json")),
        ];
        let mut validators = HashMap::new();
        for (is_webpush, text) in schemas {
            let schema: Value = serde_json::from_str(text).unwrap();
            for listed in schema["$defs"]["server"]["anyOf"].as_array().unwrap() {
                let whole =
                    json!({"$schema": schema["$schema"], "$ref": listed["$ref"], "$defs": schema["$defs"]});
                let name = listed["$ref"].as_str().unwrap().trim_start_matches("#/$defs/");
                validators.insert((is_webpush, name.to_owned()), jsonschema::validator_for(&whole).unwrap());
            }
        }
        validators
    });
    let validator = &validators[&(dialect == Dialect::WebPush, definition.to_owned())];
    let value = serde_json::from_str(message).unwrap();
    if let Err(error) = validator.validate(&value) {
        panic!("{dialect:?} {definition}: {error} in {message}");
    }
}

/// A UUID in any spelling.
fn uuid() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9a-fA-F]{32}",
        "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    ]
}

fn identity() -> impl Strategy<Value = Identity> {
    uuid().prop_map(|text| {
        let (uaid, spelling) = Uaid::parse(&text).unwrap();
        Identity { uaid, spelling }
    })
}

fn channel() -> impl Strategy<Value = (ChannelId, Spelling)> {
    uuid().prop_map(|text| ChannelId::parse(&text).unwrap())
}

/// Whatever an application server has put into a header, with one of its parameters.
fn header(parameter: &'static str) -> impl Strategy<Value = String> {
    ("[ -~]{0,20}", "[A-Za-z0-9_-]{1,30}")
        .prop_map(move |(other, value)| format!("{other};{parameter}={value}"))
}

proptest! {
    #[test]
    fn simplepush_matches_its_schema(
        identity in identity(),
        channel in channel(),
        number in 0..=Version::MAX,
        data in prop::option::of(".{1,20}"),
        entries in 1..100_usize,
    ) {
        let dialect = Dialect::SimplePush;
        check(dialect, "helloReply", &simplepush::hello_reply(identity, 200, None));
        check(dialect, "helloReply", &simplepush::hello_reply(identity, 307, Some("wss://other.example:8443/\"")));
        check(dialect, "helloReply", &simplepush::hello_reply(identity, 429, None));
        let endpoint = "https://push.example/update/token";
        check(dialect, "registerReply", &simplepush::register_reply(identity, channel, endpoint));
        check(dialect, "unregisterReply", &unregister_reply(&channel_json(channel.0, channel.1)));
        let version = Version::new(number).unwrap();
        let entry = Entry { channel: channel.0, spelling: channel.1, version, data: data.as_deref() };
        check(dialect, "notification", &simplepush::notification(&vec![entry; entries]));
        check(dialect, "pong", EMPTY_OBJECT);
    }

    #[test]
    fn webpush_matches_its_schema(
        identity in identity(),
        channel in channel(),
        version in ".{1,40}",
        body in prop::collection::vec(any::<u8>(), 1..200),
        encryption in header("salt"),
        crypto_key in header("dh"),
        ids in prop::collection::btree_map("[a-z0-9_-]{1,8}/[a-z0-9_-]{1,8}", ".{1,8}", 1..4),
        unknown in ".{0,8}",
    ) {
        let dialect = Dialect::WebPush;
        let mut broadcasts = BroadcastsJson::default();
        for (id, version) in &ids {
            broadcasts.value(id, version);
        }
        check(dialect, "broadcast", &webpush::broadcast(&broadcasts.finish()));
        let mut errors = BroadcastsJson::default();
        errors.error(&json!(unknown).to_string(), "Broadcast not found");
        check(dialect, "helloReply", &webpush::hello_reply(identity, &errors.finish()));
        check(dialect, "helloReply", &webpush::hello_reply(identity, &BroadcastsJson::default().finish()));
        let endpoint = "https://push.example/wpush/v2/token";
        check(dialect, "registerReply", &webpush::register_reply(channel.0, channel.1, endpoint));
        check(dialect, "unregisterReply", &unregister_reply(&channel_json(channel.0, channel.1)));
        check(dialect, "urgencyReply", webpush::URGENCY_REPLY);
        let aesgcm = Encoding::Aesgcm { encryption: encryption.into(), crypto_key: crypto_key.into() };
        for encoding in [Encoding::Aes128gcm, aesgcm] {
            let payload = Payload { encoding, body: body.clone().into() };
            let message = webpush::notification(channel.0, channel.1, &version, Some(&payload));
            check(dialect, "notification", &message);
        }
        check(dialect, "notification", &webpush::notification(channel.0, channel.1, &version, None));
        check(dialect, "pong", EMPTY_OBJECT);
    }
}

#[test]
fn errors_match_the_schemas() {
    let all = [
        Violation::NotAnObject,
        Violation::BinaryMessage,
        Violation::UnknownType,
        Violation::BeforeHello,
        Violation::IllFormed,
        Violation::IllFormedHello,
        Violation::SecondHello,
        Violation::EarlyPing,
        Violation::EarlyPingWebPush,
        Violation::AnotherUaid,
        Violation::MalformedUaid,
    ];
    let request = r#"{"messageType":"register","channelID":5,"pushEndpoint":"https://a/","x":[null]}"#;
    for violation in all {
        let dialects = match violation {
            Violation::AnotherUaid | Violation::MalformedUaid => &[Dialect::SimplePush][..],
            Violation::SecondHello | Violation::EarlyPingWebPush | Violation::BinaryMessage => {
                &[Dialect::WebPush]
            }
            Violation::NotAnObject
            | Violation::UnknownType
            | Violation::BeforeHello
            | Violation::IllFormed
            | Violation::IllFormedHello
            | Violation::EarlyPing => &[Dialect::SimplePush, Dialect::WebPush],
        };
        for dialect in dialects {
            if let Some(error) = violation.error() {
                check(*dialect, "error", &error_reply(request, error, violation.omitted_members()));
            }
        }
    }
    for dialect in [Dialect::SimplePush, Dialect::WebPush] {
        check(dialect, "error", &error_reply(request, INTERNAL_ERROR, &[]));
    }
    check(Dialect::WebPush, "error", &error_reply(request, INVALID_KEY, &[]));
}
