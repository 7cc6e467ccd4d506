//! The schemas of `docs/api` say the same as PROTOCOL.md. That servers keep to them is checked with every message that the
//! clients of this suite receive.

use beckon_cluster_tests::contract::{schema, validator};
use beckon_types::Dialect;
use serde_json::{Value, json};

const PROTOCOL: &str = include_str!("../../../../docs/PROTOCOL.md");

/// The sections that describe the messages of a dialect, by the beginnings of their headings.
const SECTIONS: [(Dialect, &str); 2] = [(Dialect::SimplePush, "## 2. "), (Dialect::WebPush, "## 4. ")];

/// The JSON blocks of a section.
fn examples(heading: &str) -> Vec<Value> {
    let (_, after) = PROTOCOL.split_once(&format!("\n{heading}")).unwrap();
    let section = after.split("\n## ").next().unwrap();
    let blocks = section.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks
        .map(|block| serde_json::from_str(block).unwrap_or_else(|error| panic!("{error} in {block}")))
        .collect()
}

#[test]
fn schemas_are_schemas() {
    for (dialect, _) in SECTIONS {
        jsonschema::meta::validate(schema(dialect)).unwrap_or_else(|error| panic!("{dialect:?}: {error}"));
    }
}

#[test]
fn examples_of_the_protocol_match_and_no_member_can_be_anything() {
    for (dialect, heading) in SECTIONS {
        let examples = examples(heading);
        assert!(examples.len() > 4, "{}", examples.len());
        let message = validator(dialect, "client");
        let reply = validator(dialect, "server");
        for example in examples {
            // A reply may also look like a request with members that are ignored.
            let direction = if reply.is_valid(&example) { &reply } else { &message };
            let is_valid = |example: &Value| direction.is_valid(example);
            assert!(is_valid(&example), "{dialect:?}: {example}");
            // Section 1.9: a `use_webpush` of another type counts as absent.
            let names = example.as_object().unwrap().keys();
            for name in names.filter(|name| *name != "use_webpush") {
                let mut damaged = example.clone();
                damaged[name] = json!([[7]]);
                assert!(!is_valid(&damaged), "{dialect:?}: {damaged}");
            }
            let mut nameless = example.clone();
            nameless.as_object_mut().unwrap().remove("messageType");
            assert!(!is_valid(&nameless), "{dialect:?}: {nameless}");
        }
    }
}

#[test]
fn messages_of_one_direction_are_not_those_of_the_other() {
    for (dialect, message, reply) in [
        (
            Dialect::SimplePush,
            json!({"messageType": "hello", "channelIDs": [], "uaid": null}),
            json!({"messageType": "hello", "status": 200, "uaid": "6fa1c3e2d40b4f5a8c7e9b1032a4d5f6"}),
        ),
        (
            Dialect::WebPush,
            json!({"messageType": "nack", "version": "m1.x", "code": 301}),
            json!({"messageType": "urgency", "status": 200}),
        ),
    ] {
        let (client, server) = (validator(dialect, "client"), validator(dialect, "server"));
        assert!(client.is_valid(&message) && !server.is_valid(&message), "{message}");
        assert!(server.is_valid(&reply) && !client.is_valid(&reply), "{reply}");
    }
}

#[test]
fn what_the_protocol_forbids_does_not_match() {
    let channel = "0d9f7b52-3c41-4e8a-9a57-51e0c2b7aa10";
    let endpoint = "https://push.example.net/update/q7Zt1mX0cD";
    for (dialect, definition, message) in [
        // 1.6: an error never has an endpoint.
        (
            Dialect::SimplePush,
            "server",
            json!({"status": 500, "error": "Internal Error", "pushEndpoint": endpoint}),
        ),
        // 1.6: each status has errors of its own, and a browser takes a hello reply with a UAID for success.
        (Dialect::SimplePush, "server", json!({"status": 500, "error": "Invalid Command"})),
        (Dialect::SimplePush, "server", json!({"status": 401, "error": "UAID Already Assigned"})),
        (Dialect::WebPush, "server", json!({"status": 400, "error": "Internal Error"})),
        (
            Dialect::WebPush,
            "server",
            json!({"messageType": "HELLO", "uaid": channel, "status": 401, "error": "Invalid Command"}),
        ),
        // 1.3: an endpoint is of its dialect.
        (
            Dialect::SimplePush,
            "server",
            json!({"messageType": "register", "channelID": channel, "status": 200, "uaid": channel,
                "pushEndpoint": "https://push.example.net/wpush/v1/q7Zt1mX0cD"}),
        ),
        (
            Dialect::WebPush,
            "server",
            json!({"messageType": "register", "channelID": channel, "status": 200, "pushEndpoint": endpoint}),
        ),
        // 4.3: a key has 65 bytes.
        (
            Dialect::WebPush,
            "client",
            json!({"messageType": "register", "channelID": channel, "key": "B".repeat(86)}),
        ),
        // 2.2: a redirect only with 307, and always then.
        (Dialect::SimplePush, "helloReply", json!({"messageType": "hello", "uaid": channel, "status": 307})),
        (
            Dialect::SimplePush,
            "helloReply",
            json!({"messageType": "hello", "uaid": channel, "status": 200, "redirect": "ws://a/"}),
        ),
        // 2.5: at least one update, and nothing else in it.
        (Dialect::SimplePush, "server", json!({"messageType": "notification", "updates": []})),
        (
            Dialect::SimplePush,
            "server",
            json!({"messageType": "notification", "updates": [{"channelID": channel, "version": 1, "x": 1}]}),
        ),
        // 2.6: one of the lists has an entry.
        (Dialect::SimplePush, "client", json!({"messageType": "ack", "updates": [], "expired": []})),
        // 4.5: data and headers come together.
        (
            Dialect::WebPush,
            "server",
            json!({"messageType": "notification", "channelID": channel, "version": "m1.x", "data": "eA"}),
        ),
        // 4.8: an empty broadcast is not sent.
        (Dialect::WebPush, "server", json!({"messageType": "broadcast", "broadcasts": {}})),
    ] {
        assert!(!validator(dialect, definition).is_valid(&message), "{definition}: {message}");
    }
}
