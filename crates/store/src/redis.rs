//! The store in Redis: a single server, one that Sentinels watch, or a Redis Cluster, shared by many nodes.
//!
//! * `keys`: the names of the keys; `record`, `messages`, `broadcasts`, `directory` and `format`: what is in them;
//! * `outcomes`: of steps on channels; `records`: the steps that carry clients from one store to another;
//! * `hello`: the step with the most arguments and the longest answer; `answer`: what is common to answers;
//! * `script`: one Lua script for each step, so that each is atomic and one round trip.
//!
//! How Redis is reached, from the URL down to one connection:
//!
//! * `address` and `options`: what an operator sets; `opening`: the checks at start;
//! * `topology`: which servers are the primaries, and which `slot`s each of them serves; `sentinels`, who say so, and are
//!   asked in `rounds`;
//! * `links`: one `link` to each `primary`, with its own queue (`batch`), `load` and `backoff`;
//! * `dial`: one connection; `fault`: what can go wrong and what follows; `health`: whether all primaries work.
//!
//! A client costs nothing between its messages, since it has no heartbeat: presence is part of its record, and the
//! lease in the directory shows whether the node that it names is alive.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "`Value` has every answer that Redis can give; a script gives one of two or three"
)]

mod address;
mod announcement;
mod answer;
mod backoff;
mod batch;
mod broadcasts;
mod dial;
mod directory;
mod fault;
mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod health;
mod hello;
mod idle;
mod keys;
mod link;
mod links;
mod load;
mod messages;
mod names;
mod opening;
mod options;
mod outcomes;
mod primary;
mod record;
mod records;
mod rounds;
mod script;
mod sentinels;
mod slot;
mod survey;
mod topology;

pub use opening::ConnectError;
pub use options::{
    Access, InvalidKeyPrefix, KEY_PREFIX_LEN_MAX, KeyPrefix, RedisOptions, TlsFiles, TlsIdentity,
};
pub use survey::{Info, Surveyed, survey};

use crate::{
    Announced, Answer, Disturbances, MISSED_LIFETIME, MISSED_MAX, Missed, NodeEntry, Store, StoreError,
};
use ::redis::{Cmd, Value};
use answer::{done, failed, unexpected};
use batch::Haste;
use beckon_types::{
    Ack, AddChannel, AddChannelOutcome, BROADCASTS_MAX, Backlog, BroadcastId, BroadcastVersion, Broadcasts,
    ChannelId, Claim, ClientId, ClientPage, ClientRecord, Cursor, Fetch, FindChannel, FindChannelOutcome,
    FoundClient, Hello, HelloOutcome, NodeId, NotOwner, Place, Presence, PutMessage, PutMessageOutcome,
    PutVersion, PutVersionOutcome, Revoke, Revoked, Snapshot, TooManyBroadcasts,
};
use futures_util::future::{BoxFuture, join_all};
use health::Health;
use idle::IdleMs;
use links::{Links, Step};
use script::{SCRIPTS, Script};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use topology::Topology;

/// The store in Redis.
#[derive(Debug)]
pub struct RedisStore {
    links: Arc<Links>,
    shared: Arc<Shared>,
    prefix: KeyPrefix,
    idle: IdleMs,
}

/// What all stores of a process share that use the same Redis.
#[derive(Debug)]
struct Shared {
    topology: Arc<Topology>,
    /// Links that are reserved for leases and health, so that the steps of clients cannot delay them.
    vital: Links,
    /// The links of all of them.
    links: Mutex<Vec<Arc<Links>>>,
    health: Health,
    /// The last copy of the directory.
    copy: announcement::Copy,
    step_timeout: Duration,
    /// How full it is when newcomers are forgotten sooner.
    memory_high: f64,
    /// Whether it was so full when it was asked last.
    is_high: AtomicBool,
    uaid_key: Option<u64>,
    /// Cancelled if the store turns out not to be one that this process can use.
    unfit: CancellationToken,
}

/// Connects to Redis and checks that it accepts writes.
///
/// The URL is `redis://[[user]:password@]host[:port][/database]`,
/// `redis-sentinel://[[user]:password@]host[:port],host[:port]/name[/database]`, or
/// `redis-cluster://[[user]:password@]host:port,host:port`, with `rediss` in place of `redis` over TLS. One usable
/// primary is enough. This is one attempt, which takes up to a few times [`Access::connect_timeout`] or
/// [`RedisOptions::step_timeout`]; after [`ConnectError::Unreachable`] it can be tried again.
///
/// # Errors
/// The URL or an option does not fit the server, or no server can be reached.
pub async fn connect(url: &str, options: RedisOptions) -> Result<RedisStore, ConnectError> {
    let address = address::parse(url).map_err(|reason| ConnectError::Configuration(reason.into()))?;
    // Another part of the process may have installed it, or another provider, already: either will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let topology = Arc::new(opening::open(address, &options).await?);
    let step_timeout = options.step_timeout;
    let idle = IdleMs::new(options.uaid_idle, options.newcomers.idle);
    let links = Arc::new(Links::new(topology.clone(), step_timeout, Handle::current()));
    Ok(RedisStore {
        links: links.clone(),
        shared: Arc::new(Shared {
            vital: Links::new(topology.clone(), step_timeout, Handle::current()),
            links: Mutex::new(vec![links]),
            health: Health::default(),
            copy: announcement::Copy::default(),
            topology,
            step_timeout,
            memory_high: options.newcomers.memory_high,
            is_high: AtomicBool::new(false),
            uaid_key: options.uaid_key,
            unfit: CancellationToken::new(),
        }),
        prefix: options.access.key_prefix,
        idle,
    })
}

impl RedisStore {
    /// After how long records expire now.
    fn idle(&self) -> IdleMs {
        if self.shared.is_high.load(Ordering::Relaxed) { self.idle.when_high() } else { self.idle }
    }

    /// Calls a script over the links that are reserved for leases and health, and reads its answer.
    fn vital<T: Send + 'static>(
        &self,
        script: &'static Script,
        call: Cmd,
        read: impl FnOnce(Value) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        let (shared, links) = (self.shared.clone(), self.links.clone());
        let step = step(script, call, Haste::AtOnce);
        Box::pin(async move {
            links.ensure_open()?;
            read(shared.vital.perform(step).await?)
        })
    }

    /// Calls a script, which may be performed twice, and reads its answer.
    fn step<T: Send + 'static>(
        &self,
        script: &'static Script,
        call: Cmd,
        read: impl FnOnce(Value) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        self.perform(script, call, Haste::AtOnce, read)
    }

    /// Calls a script that only removes something, and whose outcome no peer waits for.
    fn forget(&self, script: &'static Script, call: Cmd) -> Answer<()> {
        self.perform(script, call, Haste::Patient, done)
    }

    /// Calls a script and reads its answer.
    fn perform<T: Send + 'static>(
        &self,
        script: &'static Script,
        call: Cmd,
        haste: Haste,
        read: impl FnOnce(Value) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        let links = self.links.clone();
        let step = step(script, call, haste);
        Box::pin(async move { read(links.perform(step).await?) })
    }
}

/// A call of a script, with the slot of its first key.
fn step(script: &'static Script, call: Cmd, haste: Haste) -> Step {
    let slot = script::first_key(&call).map(slot::Slot::of_key).unwrap_or_default();
    Step { script: Some(script), call, slot, haste }
}

impl Store for RedisStore {
    fn hello(&self, hello: Hello) -> Answer<HelloOutcome> {
        self.step(&SCRIPTS.hello, hello::call(&self.prefix, &hello, self.idle()), hello::outcome)
    }

    fn release(&self, client: ClientId, presence: Presence, former: Option<Presence>) -> Answer<()> {
        let script = &SCRIPTS.release;
        let mut call = script.call(&keys::all(&self.prefix, client), 4, 64);
        let idle = self.idle();
        call.arg(&record::presence_bytes(presence)[..]).arg(idle.known).arg(idle.newcomer);
        call.arg(former.map(record::presence_bytes).as_ref().map_or(&[][..], |former| &former[..]));
        self.step(script, call, done)
    }

    fn snapshot(&self, client: ClientId, presence: Presence) -> Answer<Result<Snapshot, NotOwner>> {
        let script = &SCRIPTS.snapshot;
        let mut call = script.call(&[keys::record(&self.prefix, client)], 4, 56);
        self.idle().add_to(call.arg(&record::presence_bytes(presence)[..]));
        self.step(script, call, outcomes::snapshot)
    }

    fn verify(&self, client: ClientId, presence: Presence) -> Answer<Claim> {
        let script = &SCRIPTS.verify;
        let mut call = script.call(&[keys::record(&self.prefix, client)], 4, 56);
        self.idle().add_to(call.arg(&record::presence_bytes(presence)[..]));
        let (links, step) = (self.links.clone(), step(script, call, Haste::Spare));
        Box::pin(async move { outcomes::claim(links.perform(step).await) })
    }

    fn add_channel(&self, add: AddChannel) -> Answer<AddChannelOutcome> {
        let script = &SCRIPTS.add_channel;
        let mut call = script.call(&[keys::record(&self.prefix, add.client)], 7, 104);
        let idle = self.idle();
        call.arg(&record::presence_bytes(add.presence)[..])
            .arg(&add.channel.0[..])
            .arg(record::channel_start(add.spelling, add.restricted))
            .arg(&[add.key.0][..])
            .arg(add.channels_max)
            .arg(idle.known)
            .arg(idle.newcomer);
        self.step(script, call, outcomes::add_channel)
    }

    fn remove_channel(
        &self,
        client: ClientId,
        presence: Presence,
        channel: ChannelId,
    ) -> Answer<Result<(), NotOwner>> {
        let script = &SCRIPTS.remove_channel;
        let keys = [keys::record(&self.prefix, client), keys::topics(&self.prefix, client)];
        let mut call = script.call(&keys, 2, 32);
        call.arg(&record::presence_bytes(presence)[..]).arg(&channel.0[..]);
        self.step(script, call, outcomes::remove_channel)
    }

    fn put_version(&self, put: PutVersion) -> Answer<PutVersionOutcome> {
        let script = &SCRIPTS.put_version;
        let mut call = script.call(&[keys::record(&self.prefix, put.client)], 3, 48);
        call.arg(&put.channel.0[..]).arg(put.version.number()).arg(self.idle.after_a_write());
        self.step(script, call, outcomes::put_version)
    }

    fn ack_versions(&self, client: ClientId, acks: Vec<Ack>) -> Answer<()> {
        let script = &SCRIPTS.ack_versions;
        let mut call = script.call(&[keys::record(&self.prefix, client)], 2 * acks.len(), 40 * acks.len());
        // No version equals a number that is not finite, and Lua would misread its text.
        let meaningful = |ack: &&Ack| ack.version.is_none_or(f64::is_finite);
        let mut none = true;
        for ack in acks.iter().filter(meaningful) {
            // The shortest text that reads back as the same double.
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
        let call = messages::put_call(&self.prefix, &put, self.idle);
        self.step(&SCRIPTS.put_message, call, messages::put_outcome)
    }

    fn find_channel(&self, find: FindChannel) -> Answer<FindChannelOutcome> {
        let script = &SCRIPTS.find_channel;
        let mut call = script.call(&[keys::record(&self.prefix, find.client)], 2, 32);
        call.arg(&find.channel.0[..]).arg(record::restriction(find.restricted));
        self.step(script, call, outcomes::find_channel)
    }

    fn fetch(&self, fetch: Fetch) -> Answer<Result<Backlog, NotOwner>> {
        let script = &SCRIPTS.fetch;
        let mut call = script.call(&keys::all(&self.prefix, fetch.client), 6, 88);
        self.idle().add_to(call.arg(&record::presence_bytes(fetch.presence)[..]));
        call.arg(messages::position(fetch.after)).arg(fetch.max);
        self.step(script, call, |answer| match answer {
            Value::Int(0) => Ok(Err(NotOwner)),
            Value::Array(parts) => messages::backlog(parts).map(Ok),
            other => Err(unexpected(&other)),
        })
    }

    fn remove_messages(&self, client: ClientId, places: Vec<Place>) -> Answer<()> {
        if places.is_empty() {
            return Box::pin(std::future::ready(Ok(())));
        }
        let (call, slot, script) = messages::remove_call(&self.prefix, client, &places);
        let links = self.links.clone();
        let step = Step { script, call, slot, haste: Haste::Patient };
        Box::pin(async move { links.perform(step).await.map(drop).map_err(StoreError::from) })
    }

    fn set_broadcast(
        &self,
        id: BroadcastId,
        version: BroadcastVersion,
    ) -> Answer<Result<(), TooManyBroadcasts>> {
        let script = &SCRIPTS.set_broadcast;
        let mut call =
            script.call(&[keys::broadcasts(&self.prefix)], 3, id.as_str().len() + version.as_str().len() + 8);
        call.arg(id.as_str()).arg(version.as_str()).arg(BROADCASTS_MAX);
        self.step(script, call, |answer| match answer {
            Value::Int(0) => Ok(Ok(())),
            Value::Int(1) => Ok(Err(TooManyBroadcasts)),
            other => Err(unexpected(&other)),
        })
    }

    fn remove_broadcast(&self, id: BroadcastId) -> Answer<bool> {
        let script = &SCRIPTS.remove_broadcast;
        let mut call = script.call(&[keys::broadcasts(&self.prefix)], 1, id.as_str().len());
        call.arg(id.as_str());
        self.step(script, call, |answer| match answer {
            Value::Int(removed @ (0 | 1)) => Ok(removed == 1),
            other => Err(unexpected(&other)),
        })
    }

    fn broadcasts(&self, known: u64) -> Answer<Option<Broadcasts>> {
        let script = &SCRIPTS.broadcasts;
        let mut call = script.call(&[keys::broadcasts(&self.prefix)], 1, 20);
        call.arg(known);
        self.step(script, call, |answer| match answer {
            Value::Int(0) => Ok(None),
            Value::Array(fields) => broadcasts::read(&fields).map(Some),
            other => Err(unexpected(&other)),
        })
    }

    fn list_clients(&self, from: Option<Cursor>) -> Answer<ClientPage> {
        let (shared, links, prefix) = (self.shared.clone(), self.links.clone(), self.prefix);
        Box::pin(async move { records::list(&shared.topology, &links, &prefix, from).await })
    }

    fn read_client(&self, client: ClientId) -> Answer<Option<ClientRecord>> {
        let (call, idle_ms) = (records::read_call(&self.prefix, client), self.idle.known);
        self.step(&SCRIPTS.read_client, call, move |answer| records::read(client, answer, idle_ms))
    }

    fn add_client(&self, record: ClientRecord) -> Answer<bool> {
        match records::add_call(&self.prefix, &record, self.idle.known) {
            Ok(call) => self.step(&SCRIPTS.add_client, call, records::added),
            Err(error) => failed(error.into()),
        }
    }

    fn find_client(&self, client: ClientId) -> Answer<FoundClient> {
        let (call, idle_ms) = (records::read_call(&self.prefix, client), self.idle.known);
        self.step(&SCRIPTS.read_client, call, move |answer| records::find(client, answer, idle_ms))
    }

    fn revoke(&self, revoke: Revoke) -> Answer<Revoked> {
        self.step(&SCRIPTS.revoke, records::revoke_call(&self.prefix, revoke), records::revoked)
    }

    fn announce(&self, entry: NodeEntry) -> Answer<Announced> {
        let (shared, links) = (self.shared.clone(), self.links.clone());
        let step = match announcement::call(&self.prefix, &entry, shared.uaid_key) {
            Ok(call) => step(&SCRIPTS.announce, call, Haste::AtOnce),
            Err(error) => return failed(error),
        };
        Box::pin(async move {
            links.ensure_open()?;
            let disturbances = shared.topology.disturbances();
            shared.copy.announce(step, &shared.vital, disturbances, &shared.unfit).await
        })
    }

    fn retire(&self, node: NodeId) -> Answer<()> {
        let script = &SCRIPTS.retire;
        let mut call = script.call(&keys::directory(&self.prefix), 1, 8);
        call.arg(&directory::field(node)[..]);
        self.vital(script, call, done)
    }

    fn note_missed(&self, presence: Presence) -> Answer<()> {
        let script = &SCRIPTS.note_missed;
        let mut call = script.call(&[keys::missed(&self.prefix, presence.node)], 3, 24);
        call.arg(&presence.connection.0.to_be_bytes()[..])
            .arg(MISSED_MAX)
            .arg(MISSED_LIFETIME.as_millis() as u64);
        self.step(script, call, done)
    }

    fn take_missed(&self, node: NodeId) -> Answer<Missed> {
        let script = &SCRIPTS.take_missed;
        let call = script.call(&[keys::missed(&self.prefix, node)], 0, 0);
        self.vital(script, call, |answer| match answer {
            Value::Array(connections) => directory::missed(&connections),
            other => Err(unexpected(&other)),
        })
    }

    fn nodes(&self) -> Answer<Vec<NodeEntry>> {
        let script = &SCRIPTS.nodes;
        self.step(script, script.call(&keys::listed(&self.prefix), 0, 0), |answer| match answer {
            Value::Array(fields) => Ok(directory::entries(&fields)),
            other => Err(unexpected(&other)),
        })
    }

    fn check(&self) -> Answer<()> {
        let (shared, links) = (self.shared.clone(), self.links.clone());
        Box::pin(async move {
            links.ensure_open()?;
            shared.health.check(&shared.topology, &shared.vital, &links).await.all
        })
    }

    fn reach(&self) -> Answer<()> {
        let (shared, links) = (self.shared.clone(), self.links.clone());
        Box::pin(async move {
            links.ensure_open()?;
            shared.health.check(&shared.topology, &shared.vital, &links).await.any
        })
    }

    fn fullness(&self) -> Answer<Option<f64>> {
        let shared = self.shared.clone();
        Box::pin(async move {
            let fullness = health::fullness(&shared.topology, &shared.vital).await?;
            let is_high = fullness.is_some_and(|fullness| fullness >= shared.memory_high);
            shared.is_high.store(is_high, Ordering::Relaxed);
            Ok(fullness)
        })
    }

    fn hurry(&self) {
        self.links.hurry();
    }

    fn disturbances(&self) -> Disturbances {
        self.shared.topology.disturbances()
    }

    fn on_runtime(self: Arc<Self>, runtime: &Handle) -> Arc<dyn Store> {
        let Shared { topology, step_timeout, .. } = &*self.shared;
        let links = Arc::new(Links::new(topology.clone(), *step_timeout, runtime.clone()));
        self.shared.links.lock().unwrap_or_else(PoisonError::into_inner).push(links.clone());
        Arc::new(Self { links, shared: self.shared.clone(), prefix: self.prefix, idle: self.idle })
    }

    fn close(&self) -> Answer<()> {
        let links = self.shared.links.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move {
            join_all(links.iter().map(|links| links.close())).await;
            Ok(())
        })
    }

    fn ended(&self) -> BoxFuture<'static, ()> {
        Box::pin(self.shared.unfit.clone().cancelled_owned())
    }
}
