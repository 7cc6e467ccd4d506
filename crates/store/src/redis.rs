//! The store in Redis: a single server or a Redis Cluster, shared by many nodes.
//!
//! * `keys`: the names of the keys; `record`, `messages`, `broadcasts` and `directory`: what is in them;
//! * `hello`: the step with the most to say and to tell;
//! * `script`: one Lua script for each step, so that each is atomic and one round trip;
//! * `link`: shared, pipelined connections and the limits on them;
//! * `address`: the forms of the URL.
//!
//! A client without a heartbeat costs nothing between its messages: presence is part of its record, and
//! whether the node that it names is alive is told by that node's lease in the directory.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "`Value` is whatever any Redis may say; a script says one of two or three things"
)]

mod address;
mod answer;
mod batch;
mod broadcasts;
mod directory;
mod hello;
mod keys;
mod link;
mod messages;
mod record;
mod script;

use crate::{ANNOUNCE_INTERVAL, Announced, Answer, Cause, LEASE, NodeEntry, Store, StoreError};
use ::redis::{Cmd, ErrorKind, Value};
use answer::{done, pairs, unexpected};
use batch::Haste;
use beckon_types::{
    Ack, AddChannel, AddChannelOutcome, BROADCASTS_MAX, Backlog, BroadcastId, BroadcastVersion, Broadcasts,
    ChannelId, Fetch, FindChannel, FindChannelOutcome, Hello, HelloOutcome, NodeId, NotOwner, Place,
    Presence, PutMessage, PutMessageOutcome, PutVersion, PutVersionOutcome, Snapshot, TooManyBroadcasts,
    Uaid,
};
use link::{Failure, Link, Repeat};
use script::{SCRIPTS, Script};
use std::time::Duration;

/// What a store in Redis may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The record of a client that was not seen for so long expires (PROTOCOL.md section 1.10). Default 90
    /// days, resolution 1 ms.
    pub uaid_idle: Duration,
    /// A step that takes longer fails with [`StoreError::Unavailable`]. Default 3 s.
    pub step_timeout: Duration,
    /// For `rediss` and `rediss-cluster`: the only certificate authority to trust, in PEM. Default: those of
    /// the operating system.
    pub root_certificate: Option<Vec<u8>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            uaid_idle: Duration::from_secs(90 * 24 * 60 * 60),
            step_timeout: Duration::from_secs(3),
            root_certificate: None,
        }
    }
}

/// A store in Redis could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The URL, or what it asks for, is wrong: the operator's configuration has to change (exit code 64).
    #[error("store URL: {0}")]
    Configuration(String),
    /// There is no usable Redis at the address now; trying again can help (exit code 69).
    #[error("store not usable: Redis at {address}: {reason}")]
    Unreachable {
        /// `host:port`, as the URL has it.
        address: String,
        /// Why.
        reason: String,
    },
}

/// The store in Redis.
#[derive(Debug)]
pub struct RedisStore {
    link: Link,
    idle_ms: u64,
}

/// Connects to the Redis that a URL names and makes sure that it can be written to.
///
/// The URL is `redis://[[user]:password@]host[:port][/database]`, `rediss://…` for TLS, or
/// `redis-cluster://[[user]:password@]host:port,host:port` (`rediss-cluster://…`). It takes one attempt, not
/// longer than [`Limits::step_timeout`]; after [`ConnectError::Unreachable`] call it again.
pub async fn connect(url: &str, limits: Limits) -> Result<RedisStore, ConnectError> {
    let address = address::parse(url).map_err(|reason| ConnectError::Configuration(reason.into()))?;
    // Another part of the process may have installed it, or another provider, already: either will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let refused = |failure: Failure| connect_error(&address.shown, &failure);
    let link = Link::open(&address, &limits).await.map_err(refused)?;
    link.ask(&check_command()).await.map_err(refused)?;
    warn_of_eviction(&link, &address.shown).await;
    let idle_ms = u64::try_from(limits.uaid_idle.as_millis()).unwrap_or(u64::MAX).clamp(1, IDLE_MS_MAX);
    Ok(RedisStore { link, idle_ms })
}

/// Tells the operator if Redis may throw clients away when its memory is full. Not every user may ask.
async fn warn_of_eviction(link: &Link, address: &str) {
    let info = link.memory_info().await.unwrap_or_default();
    if info.iter().any(|info| evicts(info)) {
        tracing::warn!(
            store.address = address,
            "Redis evicts keys when its memory is full, and with them clients and what is pending: \
             set maxmemory-policy to noeviction"
        );
    }
}

/// Whether `INFO memory` says that keys are evicted. All keys of clients have a time to live, so the policies
/// that look at those only are no better.
fn evicts(info: &str) -> bool {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let limited = field("maxmemory").is_some_and(|bytes| bytes.trim() != "0");
    limited && field("maxmemory_policy").is_some_and(|policy| policy.trim() != "noeviction")
}

/// The longest time until expiry, a thousand years: Redis refuses more than fits beside the date.
const IDLE_MS_MAX: u64 = 1000 * 365 * 24 * 60 * 60 * 1000;

/// Who has to act on a failure to connect.
fn connect_error(address: &str, failure: &Failure) -> ConnectError {
    let reason = failure.to_string();
    let Failure::Redis(error) = failure else {
        return ConnectError::Unreachable { address: address.into(), reason };
    };
    let denied = error.kind() == ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"));
    if denied {
        ConnectError::Configuration(format!("Redis at {address} refuses the user or the password"))
    } else if matches!(error.code(), Some("MOVED" | "ASK" | "CROSSSLOT")) {
        ConnectError::Configuration(format!("{address} is part of a Redis Cluster: use redis-cluster://"))
    } else if reason.contains("cluster support disabled") {
        ConnectError::Configuration(format!("{address} is not part of a Redis Cluster: use redis://"))
    } else if error.kind() == ErrorKind::InvalidClientConfig || reason.contains("DB index is out of range") {
        ConnectError::Configuration(format!("Redis at {address}: {reason}"))
    } else {
        ConnectError::Unreachable { address: address.into(), reason }
    }
}

/// Writes a key that expires: what a full, read-only or failing server refuses.
fn check_command() -> Cmd {
    let expiry_ms = ANNOUNCE_INTERVAL.as_millis() as u64;
    ::redis::cmd("SET").arg(keys::CHECK).arg("1").arg("PX").arg(expiry_ms).take()
}

impl RedisStore {
    /// Calls a script, which may be performed twice, and reads its answer.
    fn step<T: Send + 'static>(
        &self,
        script: &'static Script,
        call: Cmd,
        read: impl FnOnce(Value) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        self.perform(script, call, Repeat::Harmless, Haste::AtOnce, read)
    }

    /// Calls a script that only forgets something, which no peer is told of.
    fn forget(&self, script: &'static Script, call: Cmd) -> Answer<()> {
        self.perform(script, call, Repeat::Harmless, Haste::Patient, done)
    }

    /// Calls a script and reads its answer.
    fn perform<T: Send + 'static>(
        &self,
        script: &'static Script,
        call: Cmd,
        repeat: Repeat,
        haste: Haste,
        read: impl FnOnce(Value) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        let link = self.link.clone();
        Box::pin(async move { read(link.call(script, &call, repeat, haste).await?) })
    }
}

impl Store for RedisStore {
    fn hello(&self, hello: Hello) -> Answer<HelloOutcome> {
        self.step(&SCRIPTS.hello, hello::call(&hello, self.idle_ms), hello::outcome)
    }

    fn release(&self, uaid: Uaid, presence: Presence) -> Answer<()> {
        let script = &SCRIPTS.release;
        let mut call = script.call(&[&keys::client(uaid)], 2, 32);
        call.arg(&record::presence_bytes(presence)[..]).arg(self.idle_ms);
        self.step(script, call, done)
    }

    fn snapshot(&self, uaid: Uaid, presence: Presence) -> Answer<Result<Snapshot, NotOwner>> {
        let script = &SCRIPTS.snapshot;
        let mut call = script.call(&[&keys::client(uaid)], 2, 32);
        call.arg(&record::presence_bytes(presence)[..]).arg(self.idle_ms);
        self.step(script, call, |answer| match answer {
            Value::Int(0) => Ok(Err(NotOwner)),
            Value::Array(fields) => Ok(Ok(record::record(pairs(&fields))?.1)),
            other => Err(unexpected(&other)),
        })
    }

    fn add_channel(&self, add: AddChannel) -> Answer<AddChannelOutcome> {
        let script = &SCRIPTS.add_channel;
        let mut call = script.call(&[&keys::client(add.uaid)], 5, 80);
        call.arg(&record::presence_bytes(add.presence)[..])
            .arg(&add.channel.0[..])
            .arg(record::channel_start(add.spelling, add.restricted))
            .arg(&[add.key.0][..])
            .arg(add.channels_max);
        self.step(script, call, |answer| match answer {
            Value::Int(0) => Ok(AddChannelOutcome::NotOwner(NotOwner)),
            Value::Int(1) => Ok(AddChannelOutcome::Full),
            Value::BulkString(bytes) => {
                let (key, sequence) = record::key_and_sequence(&bytes)?;
                Ok(AddChannelOutcome::Registered { key, sequence })
            }
            other => Err(unexpected(&other)),
        })
    }

    fn remove_channel(
        &self,
        uaid: Uaid,
        presence: Presence,
        channel: ChannelId,
    ) -> Answer<Result<(), NotOwner>> {
        let script = &SCRIPTS.remove_channel;
        let mut call = script.call(&[&keys::client(uaid)], 2, 32);
        call.arg(&record::presence_bytes(presence)[..]).arg(&channel.0[..]);
        self.step(script, call, |answer| match answer {
            Value::Int(0) => Ok(Err(NotOwner)),
            Value::Int(1) => Ok(Ok(())),
            other => Err(unexpected(&other)),
        })
    }

    fn put_version(&self, put: PutVersion) -> Answer<PutVersionOutcome> {
        let script = &SCRIPTS.put_version;
        let mut call = script.call(&[&keys::client(put.uaid)], 2, 36);
        call.arg(&put.channel.0[..]).arg(put.version.number());
        self.step(script, call, |answer| match answer {
            Value::Int(0) => Ok(PutVersionOutcome::Gone),
            Value::BulkString(bytes) => {
                let record::Head { sequence, presence, .. } = record::head(&bytes)?;
                Ok(PutVersionOutcome::Stored { sequence, presence })
            }
            other => Err(unexpected(&other)),
        })
    }

    fn ack_versions(&self, uaid: Uaid, acks: Vec<Ack>) -> Answer<()> {
        let script = &SCRIPTS.ack_versions;
        let mut call = script.call(&[&keys::client(uaid)], 2 * acks.len(), 40 * acks.len());
        // No version equals a number that is not finite, and Lua would read its text as something else.
        let meaningful = |ack: &&Ack| ack.version.is_none_or(f64::is_finite);
        let mut none = true;
        for ack in acks.iter().filter(meaningful) {
            // The shortest text that is read back as this very double.
            let version = ack.version.map(|version| format!("{version:e}")).unwrap_or_default();
            call.arg(&ack.channel.0[..]).arg(version);
            none = false;
        }
        if none {
            return Box::pin(std::future::ready(Ok(())));
        }
        self.forget(script, call)
    }

    fn put_message(&self, put: PutMessage) -> Answer<PutMessageOutcome> {
        // Twice, it would be two messages, and its sender would know the place of one.
        let repeat = if put.draft.ttl.is_zero() { Repeat::Harmless } else { Repeat::Harmful };
        let call = messages::put_call(&put);
        self.perform(&SCRIPTS.put_message, call, repeat, Haste::AtOnce, messages::put_outcome)
    }

    fn find_channel(&self, find: FindChannel) -> Answer<FindChannelOutcome> {
        let script = &SCRIPTS.find_channel;
        let mut call = script.call(&[&keys::client(find.uaid)], 2, 32);
        call.arg(&find.channel.0[..]).arg(record::restriction(find.restricted));
        self.step(script, call, |answer| match answer {
            Value::Int(0) => Ok(FindChannelOutcome::UaidGone),
            Value::Int(1) => Ok(FindChannelOutcome::ChannelGone),
            Value::Int(2) => Ok(FindChannelOutcome::Registered),
            other => Err(unexpected(&other)),
        })
    }

    fn fetch(&self, fetch: Fetch) -> Answer<Result<Backlog, NotOwner>> {
        let script = &SCRIPTS.fetch;
        let mut call = script.call(&[&keys::client(fetch.uaid)], 4, 64);
        call.arg(&record::presence_bytes(fetch.presence)[..])
            .arg(self.idle_ms)
            .arg(messages::position(fetch.after))
            .arg(fetch.max);
        self.step(script, call, |answer| match answer {
            Value::Int(0) => Ok(Err(NotOwner)),
            Value::Array(parts) => messages::backlog(parts).map(Ok),
            other => Err(unexpected(&other)),
        })
    }

    fn remove_messages(&self, uaid: Uaid, places: Vec<Place>) -> Answer<()> {
        if places.is_empty() {
            return Box::pin(std::future::ready(Ok(())));
        }
        let script = &SCRIPTS.remove_messages;
        let mut call = script.call(&[&keys::client(uaid)], 2 * places.len(), 32 * places.len());
        for Place { sequence, topic } in places {
            call.arg(record::topic_field(topic)).arg(sequence.0);
        }
        self.forget(script, call)
    }

    fn set_broadcast(
        &self,
        id: BroadcastId,
        version: BroadcastVersion,
    ) -> Answer<Result<(), TooManyBroadcasts>> {
        let script = &SCRIPTS.set_broadcast;
        let mut call = script.call(&[keys::BROADCASTS], 3, id.as_str().len() + version.as_str().len() + 8);
        call.arg(id.as_str()).arg(version.as_str()).arg(BROADCASTS_MAX);
        self.step(script, call, |answer| match answer {
            Value::Int(0) => Ok(Ok(())),
            Value::Int(1) => Ok(Err(TooManyBroadcasts)),
            other => Err(unexpected(&other)),
        })
    }

    fn remove_broadcast(&self, id: BroadcastId) -> Answer<bool> {
        let script = &SCRIPTS.remove_broadcast;
        let mut call = script.call(&[keys::BROADCASTS], 1, id.as_str().len());
        call.arg(id.as_str());
        self.step(script, call, |answer| match answer {
            Value::Int(removed @ (0 | 1)) => Ok(removed == 1),
            other => Err(unexpected(&other)),
        })
    }

    fn broadcasts(&self, known: u64) -> Answer<Option<Broadcasts>> {
        let script = &SCRIPTS.broadcasts;
        let mut call = script.call(&[keys::BROADCASTS], 1, 20);
        call.arg(known);
        self.step(script, call, |answer| match answer {
            Value::Int(0) => Ok(None),
            Value::Array(fields) => broadcasts::read(&fields).map(Some),
            other => Err(unexpected(&other)),
        })
    }

    fn announce(&self, entry: NodeEntry) -> Answer<Announced> {
        let script = &SCRIPTS.announce;
        let mut call = script.call(&[keys::NODES, keys::EPOCH], 4, 256);
        // Drawn for each announcement: with the same number as before, a loss would not be noticed.
        let epoch = match getrandom::u64() {
            Ok(number) => number,
            Err(error) => {
                return failed(StoreError::unavailable(Cause::Refused, format!("no randomness: {error}")));
            }
        };
        call.arg(&directory::field(entry.node)[..])
            .arg(directory::encode(&entry))
            .arg(LEASE.as_millis() as u64)
            .arg(epoch);
        self.step(script, call, |answer| match answer {
            Value::Array(parts) => directory::announced(&parts),
            other => Err(unexpected(&other)),
        })
    }

    fn retire(&self, node: NodeId) -> Answer<()> {
        let link = self.link.clone();
        Box::pin(async move {
            let command = ::redis::cmd("HDEL").arg(keys::NODES).arg(&directory::field(node)[..]).take();
            link.ask(&command).await?;
            Ok(())
        })
    }

    fn nodes(&self) -> Answer<Vec<NodeEntry>> {
        let script = &SCRIPTS.nodes;
        self.step(script, script.call(&[keys::NODES], 0, 0), |answer| match answer {
            Value::Array(fields) => Ok(directory::entries(&fields)),
            other => Err(unexpected(&other)),
        })
    }

    fn check(&self) -> Answer<()> {
        let link = self.link.clone();
        Box::pin(async move {
            link.ask(&check_command()).await?;
            Ok(())
        })
    }

    fn close(&self) -> Answer<()> {
        let link = self.link.clone();
        Box::pin(async move {
            link.close().await;
            Ok(())
        })
    }
}

/// An answer that is there at once.
fn failed<T: Send + 'static>(error: StoreError) -> Answer<T> {
    Box::pin(std::future::ready(Err(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_with_another_policy_than_noeviction_evicts() {
        for (maxmemory, policy, expected) in
            [("0", "allkeys-lru", false), ("1", "noeviction", false), ("1", "volatile-ttl", true)]
        {
            let info = format!("# Memory\r\nmaxmemory:{maxmemory}\r\nmaxmemory_policy:{policy}\r\n");
            assert_eq!(evicts(&info), expected, "{info}");
        }
        assert!(!evicts(""));
    }
}
