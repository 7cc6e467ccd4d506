//! Fuzz targets for what Redis answers, and for the URL of the store.

use super::{
    address::{self, Node},
    announcement, answer, broadcasts, dial, directory,
    fault::Fault,
    format, hello, keys, messages, opening,
    options::KeyPrefix,
    outcomes, record, records,
    topology::{self, slots},
};
use beckon_types::{ClientId, Dialect};
use redis::{RedisError, Value};

/// The password in URLs: no error may show it.
const PASSWORD: &str = "hunter2hunter2";

const CLIENT: ClientId = ClientId([7; 16]);

fn node() -> Node {
    Node { host: "192.0.2.1".into(), port: 6379 }
}

/// The fields of a hash: the data are the value of each of them.
pub(crate) fn record(data: &[u8]) {
    let _ = record::head(data);
    let _ = record::presence(data);
    let _ = record::key_and_sequence(data);
    let _ = record::written(data);
    for dialect in [Dialect::SimplePush, Dialect::WebPush] {
        if let Ok(channel) = record::channel(&[7; 16], data, dialect) {
            let value = record::channel_value(&channel);
            assert_eq!(record::channel(&[7; 16], &value, dialect), Ok(channel));
        }
    }
    if let Ok(entry) = directory::decode(&[7; 8], data) {
        assert_eq!(directory::decode(&directory::field(entry.node), &directory::encode(&entry)), Ok(entry));
    }
    if let Ok(place) = messages::place(data) {
        assert_eq!(messages::place(&messages::field(place)), Ok(place));
    }
}

/// An answer as it is on the wire (RESP2 or RESP3), read as that of each script. An error is the fault that follows from it.
pub fn redis_answers(data: &[u8]) {
    let Ok(value) = redis::parse_redis_value(data) else { return };
    let _ = answer::done(value.clone());
    let _ = hello::outcome(value.clone());
    let _ = outcomes::claim(Ok(value.clone()));
    let _ = outcomes::add_channel(value.clone());
    let _ = outcomes::put_version(value.clone());
    let _ = messages::put_outcome(value.clone());
    let _ = outcomes::snapshot(value.clone());
    let _ = outcomes::remove_channel(value.clone());
    let _ = outcomes::find_channel(value.clone());
    let _ = records::find(CLIENT, value.clone(), 1000);
    let _ = records::added(value.clone());
    let _ = records::revoked(value.clone());
    let _ = format::outcome(&value);
    let _ = opening::check_rights(value.clone(), &node());
    let _ = opening::evicts(&value);
    let _ = dial::mode(&value);
    let _ = slots::read(&value, &node());
    if let Some(time) = topology::time(&value) {
        assert!(u64::try_from(time.as_millis()).is_ok());
    }
    match value {
        Value::Array(fields) => {
            let _ = format::check(&fields);
            let _ = record::record(&fields);
            let _ = announcement::Known::default().learn(&fields, dial::now());
            let _ = directory::missed(&fields);
            let entries = directory::entries(&fields);
            assert!(entries.len() <= fields.len() / 2);
            let _ = broadcasts::read(&fields);
            let _ = messages::backlog(fields);
        }
        Value::ServerError(error) => {
            let fault = Fault::from_redis(&RedisError::from(error), &node());
            assert!(!format!("{fault:?}").is_empty());
        }
        Value::BulkString(name) => {
            let prefix = KeyPrefix::default();
            if let Some(client) = keys::client(&prefix, &name) {
                assert_eq!(&keys::record(&prefix, client)[..], name);
            }
        }
        _ => {}
    }
}

/// The URL of the store: as it is, and with a password in front of its first `@`, which is never shown.
pub fn redis_url(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let _ = address::parse(text);
    if text.contains(PASSWORD) {
        return;
    }
    let url = text.replacen('@', &format!(":{PASSWORD}@"), 1);
    match address::parse(&url) {
        Ok(address) => assert!(!format!("{address:?} {}", address.seeds).contains(PASSWORD), "{url}"),
        Err(error) => assert!(!error.contains(PASSWORD)),
    }
}
