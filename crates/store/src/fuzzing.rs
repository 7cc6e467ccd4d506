//! Fuzz targets for what the stores read: records, the log, backups, and the answers of Redis.

use crate::codec::{channel::Start, message};
use beckon_types::{Nonce, Place, Sequence};
use bytes::Bytes;
use std::time::Duration;

pub use crate::{
    embedded::fuzzing::{backup, changes, log},
    redis::fuzzing::{redis_answers, redis_url},
};

/// A record of either store, a message, or the beginning of a channel. Whatever is read, is read again when it is written.
pub fn records(data: &[u8]) {
    crate::embedded::fuzzing::record(data);
    crate::redis::fuzzing::record(data);
    let place = Place { sequence: Sequence(1), nonce: Nonce(2), topic: None };
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(message) = message::decode(&bytes, place, Duration::from_secs(60)) {
        assert_eq!(
            message::encode(message.channel, message.key, &message.draft),
            data,
            "a message has one form"
        );
    }
    let mut rest = data;
    if let Ok(start) = Start::decode(&mut rest) {
        let mut written = Vec::new();
        start.encode(&mut written);
        assert_eq!(Start::decode(&mut &written[..]), Ok(start));
    }
}

#[cfg(test)]
mod tests {
    use beckon_replay::replay;

    #[test]
    fn kept_records() {
        replay("records", super::records);
    }

    #[test]
    fn kept_changes() {
        replay("changes", super::changes);
    }

    #[test]
    fn kept_logs() {
        replay("log", super::log);
    }

    #[test]
    fn kept_backups() {
        replay("backup", super::backup);
    }

    #[test]
    fn kept_answers_of_redis() {
        replay("redis_answers", super::redis_answers);
    }

    #[test]
    fn kept_urls_of_redis() {
        replay("redis_url", super::redis_url);
    }
}
