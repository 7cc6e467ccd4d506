//! Which servers are the primaries, and which slots each of them serves.
//!
//! All links of the process share one topology:
//!
//! * one server: it is the primary, and its name is resolved for each connection;
//! * Sentinel: the Sentinels are asked for the primary for each connection, and say when it is another one;
//! * Redis Cluster: a node is asked for all slots after a redirection, after a connection has failed, and once a minute.
//!   A `MOVED` also updates its slot at once.

pub(super) mod slots;

use super::{
    address::{Node, Seeds},
    backoff::{jittered, random},
    dial::{Dialed, Dialer, Mode, now},
    fault::Fault,
    keys,
    options::KeyPrefix,
    primary::Primary,
    script::SCRIPTS,
    sentinels::Sentinels,
    slot::Slot,
};
use crate::{Cause, Disturbances};
use futures_util::{
    FutureExt as _,
    future::BoxFuture,
    stream::{FuturesUnordered, StreamExt as _},
};
use redis::{Cmd, Value};
use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

pub(super) use slots::Map;

/// The slots are read again after this time even if no link asks for it.
const READ_INTERVAL: Duration = Duration::from_secs(60);

/// The shortest time between two readings.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// Most nodes that are asked in one reading. They are chosen at random each time.
const ASKED_MAX: usize = 16;

/// A replica is remembered for this time after it was listed last: a primary does not list those that it does not reach.
const REPLICA_MEMORY: Duration = Duration::from_secs(10 * 60);

/// Another node is asked if there is no answer after this time.
const ASK_INTERVAL: Duration = Duration::from_millis(200);

/// The primaries and their slots.
#[derive(Debug)]
pub(super) struct Topology {
    shared: Arc<Shared>,
    /// The tasks that read the slots of a Redis Cluster, or ask the Sentinels.
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    seeds: Seeds,
    dialer: Arc<Dialer>,
    /// If there are any.
    sentinels: Option<Arc<Sentinels>>,
    prefix: KeyPrefix,
    map: RwLock<Arc<Map>>,
    /// The replicas of a Redis Cluster, and when they were listed last.
    replicas: RwLock<Vec<(Node, Instant)>>,
    /// Increases whenever the map changes.
    version: AtomicU64,
    outdated: Notify,
    /// How often a primary was lost or found again, or was replaced.
    interruptions: AtomicU64,
    /// How often a primary has lost its data.
    losses: AtomicU64,
}

impl Topology {
    /// Finds the primaries.
    pub(super) async fn find(seeds: Seeds, dialer: Dialer, prefix: KeyPrefix) -> Result<Self, Fault> {
        let (mut tasks, dialer) = (JoinSet::new(), Arc::new(dialer));
        let (map, sentinels) = match &seeds {
            Seeds::Server(node) => (Map::of_one(Primary::new(Some(node.clone()))), None),
            Seeds::Sentinel { sentinels, name } => {
                let sentinels = Sentinels::watch(sentinels, name, dialer.clone(), &mut tasks);
                (Map::of_one(Primary::new(None)), Some(sentinels))
            }
            Seeds::Cluster(_) => (Map::default(), None),
        };
        let shared = Arc::new(Shared {
            seeds,
            dialer,
            sentinels,
            prefix,
            map: RwLock::new(Arc::new(map)),
            replicas: RwLock::default(),
            version: AtomicU64::new(0),
            outdated: Notify::new(),
            interruptions: AtomicU64::new(0),
            losses: AtomicU64::new(0),
        });
        if let Seeds::Cluster(_) = shared.seeds {
            shared.read_slots().await?;
            tasks.spawn(shared.clone().keep_reading());
        }
        Ok(Self { shared, _tasks: tasks })
    }

    /// The current map.
    pub(super) fn map(&self) -> Arc<Map> {
        self.shared.map()
    }

    /// Whether other nodes know which of them serves a slot.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.shared.seeds, Seeds::Cluster(_))
    }

    /// The replicas of a Redis Cluster, now and until a while ago. They redirect to the primary that they follow.
    pub(super) fn replicas(&self) -> Vec<Node> {
        let replicas = self.shared.replicas.read().unwrap_or_else(PoisonError::into_inner);
        replicas.iter().map(|(node, _)| node.clone()).collect()
    }

    /// A number that changes with the map.
    pub(super) fn version(&self) -> u64 {
        self.shared.version.load(Ordering::Acquire)
    }

    /// What happened after which a primary may lack what it had acknowledged.
    pub(super) fn disturbances(&self) -> Disturbances {
        let interruptions = self.shared.interruptions.load(Ordering::Relaxed);
        Disturbances { interruptions, losses: self.shared.losses.load(Ordering::Relaxed) }
    }

    /// A primary was lost, or is reached again. A replica of a Redis Cluster that is asked to redirect does not count.
    pub(super) fn interrupted(&self, primary: &Primary) {
        if !primary.node().is_some_and(|node| self.replicas().contains(node)) {
            self.shared.interruptions.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Asks for the slots to be read again: the map may be out of date, or a primary cannot be reached.
    pub(super) fn request_refresh(&self) {
        self.shared.outdated.notify_one();
    }

    /// A redirection has shown where a slot is now. The other slots are read again soon.
    pub(super) fn moved(&self, slot: Slot, to: &Node) {
        self.shared.change(|map| map.with_slot(slot, to));
        self.request_refresh();
    }

    /// How many replicas have to have what a step stores.
    pub(super) fn replicas_wanted(&self) -> u32 {
        self.shared.dialer.replicas()
    }

    /// Connects to a primary and checks that it accepts writes. One that lacks memory or replicas is accepted as well,
    /// because steps that only read or remove can still succeed.
    pub(super) async fn dial(&self, primary: &Primary) -> Result<(Node, Dialed), Fault> {
        let at = self.locate(primary).await?;
        let (check, slot) = self.check_call(primary).unzip();
        let check = check.map(|call| SCRIPTS.check.with_text(&call));
        let dialed = self.shared.dialer.dial(&at, check).await?;
        self.shared.check_mode(&at, dialed.mode)?;
        let (sent, received) = dialed.round_trip;
        learn_time(primary, sent, &dialed.time, received);
        match slot.zip(dialed.answer.clone().map(Value::extract_error)) {
            None => {}
            Some((slot, Ok(epoch))) => self.learn_epoch(primary, slot, &epoch),
            Some((_, Err(error))) => {
                let fault = Fault::from_redis(&error, &at);
                match fault.cause {
                    Cause::Full | Cause::NotDurable => primary.mark_degraded(fault, received),
                    Cause::Cluster => self.request_refresh(),
                    _ => return Err(fault),
                }
            }
        }
        Ok((at, dialed))
    }

    /// The call that writes to a primary, and the slot of its key. `None` for a node of a Redis
    /// Cluster that serves no slot.
    pub(super) fn check_call(&self, primary: &Primary) -> Option<(Cmd, Slot)> {
        let key = keys::check(&self.shared.prefix, self.map().tag_for(primary)?);
        let mut call = SCRIPTS.check.call(&[key], 2, 32);
        call.arg(keys::CHECK_LIFETIME.as_millis() as u64).arg(random());
        Some((call, Slot::of_key(&key)))
    }

    /// Learns the epoch of a primary from an answer to [`Topology::check_call`]. If it is another one than before, the primary has
    /// lost its data.
    pub(super) fn learn_epoch(&self, primary: &Primary, slot: Slot, answer: &Value) {
        if let Value::BulkString(epoch) = answer
            && primary.learn_epoch(slot, epoch)
        {
            self.shared.losses.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(redis = %primary, "Redis has lost its data");
        }
    }

    async fn locate(&self, primary: &Primary) -> Result<Node, Fault> {
        match (primary.node(), self.sentinels()) {
            (Some(node), _) => Ok(node.clone()),
            (None, Some(sentinels)) => sentinels.locate().await,
            (None, None) => Err(Fault::refused(Cause::Unreachable, "a primary without an address")),
        }
    }

    /// The Sentinels, if there are any.
    pub(super) fn sentinels(&self) -> Option<&Sentinels> {
        self.shared.sentinels.as_deref()
    }

    /// Ready when the Sentinels have named another server than this as the primary.
    pub(super) async fn deposed(&self, server: &Node) -> Fault {
        match self.sentinels() {
            Some(sentinels) => sentinels.deposed(server).await,
            None => std::future::pending().await,
        }
    }
}

impl Shared {
    fn map(&self) -> Arc<Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the map, unless there is nothing to change. Another primary in the place of one may lack what that had acknowledged.
    fn change(&self, change: impl FnOnce(&Map) -> Option<Map>) {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = change(&map) {
            if map.has_lost_one_in(&other) {
                self.interruptions.fetch_add(1, Ordering::Relaxed);
            }
            *map = Arc::new(other);
            self.version.fetch_add(1, Ordering::Release);
        }
    }

    /// Checks that the URL is for this kind of server.
    fn check_mode(&self, at: &Node, mode: Option<Mode>) -> Result<(), Fault> {
        let use_instead = match (&self.seeds, mode) {
            (_, None)
            | (Seeds::Cluster(_), Some(Mode::Cluster))
            | (Seeds::Server(_) | Seeds::Sentinel { .. }, Some(Mode::Standalone)) => return Ok(()),
            (Seeds::Server(_) | Seeds::Sentinel { .. }, Some(Mode::Cluster)) => {
                "is part of a Redis Cluster: use redis-cluster://"
            }
            (Seeds::Cluster(_), Some(Mode::Standalone)) => "is not part of a Redis Cluster: use redis://",
            (_, Some(Mode::Sentinel)) => "is a Sentinel: use redis-sentinel://",
        };
        Err(Fault::refused(Cause::Denied, format!("{at} {use_instead}")))
    }

    /// Reads the slots of a Redis Cluster when a link asks for it, and regularly.
    async fn keep_reading(self: Arc<Self>) {
        loop {
            let _ = timeout(jittered(READ_INTERVAL, random()), self.outdated.notified()).await;
            if let Err(fault) = self.read_slots().await {
                tracing::warn!(error = %fault, "the slots of the Redis Cluster cannot be read");
            }
            sleep(jittered(READ_PAUSE, random())).await;
        }
    }

    async fn read_slots(&self) -> Result<(), Fault> {
        let known = self.map();
        let known = known.primaries().iter().filter_map(|primary| primary.node().cloned());
        let nodes = mixed(shuffled(self.seeds.nodes()), shuffled(known));
        let (ranges, replicas) = first_answer(nodes, |node| self.slots_of(node).boxed()).await?;
        self.change(|map| map.with_ranges(&ranges));
        let (mut known, now) = (self.replicas.write().unwrap_or_else(PoisonError::into_inner), now());
        known.retain(|(node, listed)| *listed + REPLICA_MEMORY > now && !replicas.contains(node));
        known.extend(replicas.into_iter().map(|node| (node, now)));
        Ok(())
    }

    /// Asks one node of the Redis Cluster for all slots, and for the replicas.
    async fn slots_of(&self, node: Node) -> Result<(Vec<slots::Range>, Vec<Node>), Fault> {
        let command = redis::cmd("CLUSTER").arg("SLOTS").take();
        let Dialed { mode, answer, .. } = self.dialer.dial(&node, Some(command)).await?;
        self.check_mode(&node, mode)?;
        let slots =
            answer.unwrap_or(Value::Nil).extract_error().map_err(|error| Fault::from_redis(&error, &node))?;
        let ranges = slots::read(&slots, &node);
        ranges
            .map(|ranges| (ranges, slots::replicas(&slots, &node)))
            .ok_or_else(|| Fault::refused(Cause::Cluster, format!("{node} does not know any slots")))
    }
}

/// Learns a primary's time from an answer to `TIME`.
pub(super) fn learn_time(primary: &Primary, sent: Instant, answer: &Value, received: Instant) {
    if let Some(time) = time(answer) {
        note_time(primary, sent, time, received);
    }
}

/// The time in an answer to `TIME`, since the Unix epoch. `None` if there is none, or one that is not a number of milliseconds.
pub(super) fn time(answer: &Value) -> Option<Duration> {
    let (seconds, micros) = redis::from_redis_value::<(u64, u64)>(answer.clone()).ok()?;
    let time = Duration::from_secs(seconds).checked_add(Duration::from_micros(micros))?;
    u64::try_from(time.as_millis()).is_ok().then_some(time)
}

/// Learns a primary's time, since the Unix epoch, and logs a jump of its clock.
pub(super) fn note_time(primary: &Primary, sent: Instant, time: Duration, received: Instant) {
    if let Some(jump_ms) = primary.learn_time(sent, received, time) {
        tracing::warn!(redis = %primary, jump_ms, "the clock of Redis has jumped; synchronize it with NTP");
    }
}

/// Asks nodes, each a little later than the one before, and returns the first answer. If all fail, the error is that of
/// the last one, or of one that refused the user.
async fn first_answer<'a, T>(
    nodes: Vec<Node>,
    ask: impl Fn(Node) -> BoxFuture<'a, Result<T, Fault>>,
) -> Result<T, Fault> {
    let mut nodes = nodes.into_iter();
    let mut asked = FuturesUnordered::new();
    let mut fault: Option<Fault> = None;
    loop {
        match nodes.next() {
            Some(node) => asked.push(ask(node)),
            None if asked.is_empty() => break,
            None => {}
        }
        let answer =
            if nodes.len() > 0 { timeout(ASK_INTERVAL, asked.next()).await } else { Ok(asked.next().await) };
        match answer {
            Ok(Some(Ok(answer))) => return Ok(answer),
            Ok(Some(Err(other))) => {
                fault = fault.filter(|fault| fault.cause == Cause::Denied).or(Some(other));
            }
            Ok(None) | Err(_) => {}
        }
    }
    Err(fault.unwrap_or_else(|| Fault::refused(Cause::Unreachable, "no node is known")))
}

fn shuffled(nodes: impl IntoIterator<Item = Node>) -> Vec<Node> {
    let mut nodes: Vec<_> = nodes.into_iter().collect();
    nodes.sort_by_cached_key(|_| random());
    nodes
}

/// Nodes of both lists in turn, because all nodes of either list may be gone.
fn mixed(some: Vec<Node>, others: Vec<Node>) -> Vec<Node> {
    let mut nodes = Vec::new();
    let (mut some, mut others) = (some.into_iter(), others.into_iter());
    while nodes.len() < ASKED_MAX {
        let before = nodes.len();
        nodes.extend(some.next());
        nodes.extend(others.next());
        if nodes.len() == before {
            break;
        }
    }
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(port: u16) -> Node {
        Node { host: "h".into(), port }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_node_delays_the_answer_by_one_interval() {
        let start = now();
        let answer = first_answer(vec![node(1), node(2)], |node| match node.port {
            1 => std::future::pending().boxed(),
            port => std::future::ready(Ok(port)).boxed(),
        });
        assert_eq!(answer.await, Ok(2));
        assert!(start.elapsed() < 2 * ASK_INTERVAL);
    }

    #[tokio::test(start_paused = true)]
    async fn the_error_is_that_of_a_node_that_refuses_the_user_if_there_is_one() {
        let ask = |node: Node| {
            let cause = if node.port == 2 { Cause::Denied } else { Cause::Unreachable };
            std::future::ready(Err::<(), _>(Fault::refused(cause, node.to_string()))).boxed()
        };
        let fault = first_answer(vec![node(1), node(2), node(3)], ask).await.unwrap_err();
        assert_eq!((fault.cause, fault.message.as_str()), (Cause::Denied, "h:2"));
        assert_eq!(first_answer(Vec::new(), ask).await.unwrap_err().cause, Cause::Unreachable);
    }

    #[test]
    fn a_time_that_is_no_number_of_milliseconds_is_not_learned() {
        let answer = |seconds: &str, micros: &str| {
            let bulk = |text: &str| Value::BulkString(text.into());
            Value::Array(vec![bulk(seconds), bulk(micros)])
        };
        assert_eq!(time(&answer("1795730000", "250000")), Some(Duration::from_millis(1_795_730_000_250)));
        for (seconds, micros) in
            [("18446744073709551615", "1000000"), ("18446744073709552", "0"), ("-1", "0"), ("now", "0")]
        {
            assert_eq!(time(&answer(seconds, micros)), None, "{seconds} {micros}");
        }
    }

    #[test]
    fn known_nodes_and_seeds_are_asked_in_turn() {
        let ports = |nodes: Vec<Node>| nodes.iter().map(|node| node.port).collect::<Vec<_>>();
        assert_eq!(ports(mixed(vec![node(1)], vec![node(10), node(11), node(12)])), [1, 10, 11, 12]);
        assert_eq!(ports(mixed(Vec::new(), Vec::new())), [0; 0]);
        let many = (0..100).map(node).collect::<Vec<_>>();
        assert_eq!(mixed(many.clone(), many).len(), ASKED_MAX);
    }
}
