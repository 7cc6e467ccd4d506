//! The JSON Schemas of `docs/api`, which every message of a server has to match.

use beckon_conformance::talk::Inspect;
use beckon_types::Dialect;
use jsonschema::Validator;
use serde_json::{Value, json};
use std::sync::OnceLock;

/// The schema of a dialect.
pub fn schema(dialect: Dialect) -> &'static Value {
    static SCHEMAS: OnceLock<[Value; 2]> = OnceLock::new();
    let [simplepush, webpush] = SCHEMAS.get_or_init(|| {
        [
            include_str!("../../../docs/api/simplepush.schema.json"),
            include_str!("../../../docs/api/webpush.schema.json"),
        ]
        .map(|text| serde_json::from_str(text).expect("a schema is JSON"))
    });
    match dialect {
        Dialect::SimplePush => simplepush,
        Dialect::WebPush => webpush,
    }
}

/// What checks one of the definitions in the schema of a dialect.
pub fn validator(dialect: Dialect, definition: &str) -> Validator {
    let whole = schema(dialect);
    let part = json!({
        "$schema": whole["$schema"],
        "$ref": format!("#/$defs/{definition}"),
        "$defs": whole["$defs"],
    });
    jsonschema::validator_for(&part).unwrap_or_else(|error| panic!("{dialect:?} {definition}: {error}"))
}

fn server(dialect: Dialect) -> &'static Validator {
    static SERVERS: OnceLock<[Validator; 2]> = OnceLock::new();
    let [simplepush, webpush] = SERVERS
        .get_or_init(|| [Dialect::SimplePush, Dialect::WebPush].map(|dialect| validator(dialect, "server")));
    match dialect {
        Dialect::SimplePush => simplepush,
        Dialect::WebPush => webpush,
    }
}

/// What the messages of a server on one socket have to match. The first reply to a hello decides the dialect.
#[derive(Debug, Default)]
pub struct Contract {
    dialect: Option<Dialect>,
}

impl Inspect for Contract {
    /// Wants the next message of the server to be one of its dialect.
    ///
    /// # Panics
    /// It is not.
    fn inspect(&mut self, message: &Value) {
        if message["messageType"] == "hello" && message["error"].is_null() {
            let is_webpush = message["use_webpush"] == true;
            self.dialect.get_or_insert(if is_webpush { Dialect::WebPush } else { Dialect::SimplePush });
        }
        let possible = match self.dialect {
            Some(dialect) => vec![dialect],
            None => vec![Dialect::SimplePush, Dialect::WebPush],
        };
        let is_fine = possible.iter().any(|dialect| server(*dialect).is_valid(message));
        assert!(is_fine, "not a message of a server, by the schemas of docs/api ({possible:?}): {message}");
    }
}
