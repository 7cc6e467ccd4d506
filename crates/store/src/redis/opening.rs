//! Checks before a node starts: the URL fits the server, the user has all rights that steps need, and at least one
//! primary can be used. The errors say what to do.

use super::{
    address::{Address, Node},
    dial::Dialer,
    fault::Fault,
    format, keys,
    options::{KeyPrefix, RedisOptions},
    primary::Primary,
    script::SCRIPTS,
    slot::Slot,
    topology::Topology,
};
use crate::Cause;
use futures_util::stream::{self, StreamExt as _};
use redis::{Pipeline, Value};
use std::sync::Arc;
use tokio::time::timeout;

/// Most primaries that are examined at the same time.
const EXAMINED_MAX: usize = 32;

/// The ACL rule for every command that is sent or called by a script. Without the last one it is not known how full the store is,
/// nor whether it evicts keys.
const COMMANDS: &str = "-@all +eval +evalsha +time +cluster|slots +asking +select +hset +hget +hmget +hgetall +hkeys +hlen \
                        +hdel +hexists +hrandfield +zadd +zcard +zrangebyscore +zrem +set +get +del +pexpire +pttl +wait +info";

/// Refusals that say nothing about rights, and are no reason not to start: a lack of memory, of replicas, or of space on the disk.
const PASSING: [&str; 3] = ["OOM ", "NOREPLICAS ", "MISCONF "];

/// A store in Redis could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The URL, another setting or the server's configuration has to change (exit code 64).
    #[error("store: {0}")]
    Configuration(String),
    /// Redis does not accept the user or the password (exit code 64). Someone may be changing it: a node that waits for
    /// the store tries again.
    #[error("store: {0}")]
    Password(String),
    /// There is no usable Redis at the address at the moment. It can be tried again (exit code 69).
    #[error("store not usable: Redis at {address}: {reason}")]
    Unreachable {
        /// The hosts and ports in the URL.
        address: String,
        /// Why.
        reason: String,
    },
}

/// Finds the primaries and examines each.
pub(super) async fn open(address: Address, options: &RedisOptions) -> Result<Topology, ConnectError> {
    let shown = address.seeds.to_string();
    let dialer = Dialer::new(&address, options.access.clone());
    let prefix = options.access.key_prefix;
    let refused = |fault: Fault| connect_error(&shown, &fault, &prefix);
    let topology = Topology::find(address.seeds, dialer, prefix).await.map_err(refused)?;
    let map = topology.map();
    let examined = stream::iter(map.primaries()).map(|primary| examine(&topology, primary, options));
    let faults: Vec<_> =
        examined.buffer_unordered(EXAMINED_MAX).filter_map(async |fault| fault).collect().await;
    if let Some((_, fault)) = faults.iter().find(|(_, fault)| fault.cause == Cause::Denied) {
        return Err(refused(fault.clone()));
    }
    match faults.first() {
        Some((_, fault)) if faults.len() == map.primaries().len() => return Err(refused(fault.clone())),
        _ => {}
    }
    for (primary, fault) in faults {
        tracing::warn!(redis = %primary, error = %fault, "a primary cannot be used yet");
    }
    Ok(topology)
}

/// What is wrong with a primary, if anything.
async fn examine(
    topology: &Topology,
    primary: &Arc<Primary>,
    options: &RedisOptions,
) -> Option<(Arc<Primary>, Fault)> {
    let limit = options.access.connect_timeout.max(options.step_timeout);
    let examined = timeout(limit, async {
        let (at, dialed) = topology.dial(primary).await?;
        let mut connection = dialed.connection;
        let mut pipeline = Pipeline::new();
        pipeline.cmd("INFO").arg("memory");
        add_probe_of_rights(&mut pipeline, topology, primary, &options.access.key_prefix);
        let compares = has_directory(topology, primary, &options.access.key_prefix);
        if compares {
            let call = format::call(&options.access.key_prefix, options.uaid_key);
            pipeline.add_command(SCRIPTS.compare_format.with_text(&call));
        }
        let count = pipeline.len();
        let answers = connection.send_packed_commands(&pipeline, 0, count).await;
        let mut answers = answers.map_err(|error| Fault::from_dial(&error, &at))?.into_iter();
        if let Some(info) = answers.next() {
            warn_about_memory(info, &at, options.newcomers.memory_high);
        }
        let compared = if compares { answers.next_back() } else { None };
        answers.try_for_each(|refused| check_rights(refused, &at))?;
        compared.map_or(Ok(()), |compared| check_format(compared, &at))
    });
    let fault = examined.await.unwrap_or_else(|_| Err(Fault::silent(limit))).err()?;
    Some((primary.clone(), fault))
}

/// Adds commands that do everything that steps do, on keys that belong to no client.
fn add_probe_of_rights(pipeline: &mut Pipeline, topology: &Topology, primary: &Primary, prefix: &KeyPrefix) {
    let map = topology.map();
    if topology.is_cluster() {
        // It allows the next command what that may do anyway.
        pipeline.cmd("ASKING");
    }
    if let Some(tag) = map.tag_for(primary) {
        let call = SCRIPTS.rights.call(&keys::probes(prefix, tag), 0, 0);
        pipeline.add_command(SCRIPTS.rights.with_text(&call)).add_command(call);
    }
    if topology.replicas_wanted() > 0 {
        // Answered at once.
        pipeline.cmd("WAIT").arg(0).arg(1);
    }
}

/// Whether the directory, and what belongs to all nodes, is at this primary.
fn has_directory(topology: &Topology, primary: &Primary, prefix: &KeyPrefix) -> bool {
    let map = topology.map();
    let owner = map.owner(Slot::of_key(&keys::nodes(prefix))).and_then(|owner| map.primaries().get(owner));
    owner.is_some_and(|owner| std::ptr::eq(Arc::as_ptr(owner), primary))
}

/// Reads the answer of the script that compares the format.
fn check_format(answer: Value, at: &Node) -> Result<(), Fault> {
    let answer = answer.extract_error().map_err(|error| Fault::from_redis(&error, at))?;
    format::outcome(&answer).map_err(|error| Fault::refused(Cause::Denied, error.to_string()))
}

/// Reads the answer of the script that tries all commands: those that the user may not call.
pub(super) fn check_rights(answer: Value, at: &Node) -> Result<(), Fault> {
    let refused = answer.extract_error().map_err(|error| Fault::from_redis(&error, at))?;
    let refused: Vec<String> = redis::from_redis_value(refused).unwrap_or_default();
    let is_passing = |refused: &String| PASSING.iter().any(|code| refused.contains(code));
    let refused: Vec<_> = refused.into_iter().filter(|refused| !is_passing(refused)).collect();
    match refused.first() {
        Some(first) => Err(Fault::refused(Cause::Denied, first.clone())),
        None => Ok(()),
    }
}

/// The error for a fault, by who can fix it.
fn connect_error(address: &str, fault: &Fault, prefix: &KeyPrefix) -> ConnectError {
    let message = &fault.message;
    if fault.cause != Cause::Denied {
        return ConnectError::Unreachable { address: address.into(), reason: message.clone() };
    }
    let rule = if fault.is_lack_of_rights() {
        format!(". This ACL rule is enough: {} {COMMANDS}", patterns(prefix))
    } else {
        String::new()
    };
    let message = format!("Redis at {address}: {message}{rule}");
    if fault.is_wrong_password() {
        return ConnectError::Password(message);
    }
    ConnectError::Configuration(message)
}

/// The key patterns of the ACL rule.
fn patterns(prefix: &KeyPrefix) -> String {
    if prefix.as_bytes().is_empty() {
        "~c{* ~m{* ~t{* ~i{* ~n{* ~{beckon}* ~check{*".to_owned()
    } else {
        format!("~{prefix}*")
    }
}

/// Warns of what the answer to `INFO memory` says, and of what follows if it says nothing: not every user may send it.
fn warn_about_memory(info: Value, at: &Node, memory_high: f64) {
    match info.extract_error() {
        Ok(info) if evicts(&info) => tracing::warn!(
            redis = %at,
            "Redis evicts keys when its memory is full, which forgets clients and what is pending: set \
             maxmemory-policy to noeviction"
        ),
        Ok(_) => {}
        Err(error) if memory_high < 1.0 => tracing::warn!(
            redis = %at,
            error = %Fault::from_redis(&error, at),
            "Redis does not say how full its memory is, so nothing is refused when it fills up: allow the user +info, or \
             set store_memory_high to 1"
        ),
        Err(_) => {}
    }
}

/// Whether `INFO memory` shows a policy that evicts keys. The `volatile-*` policies are no better, because all keys of
/// clients have a time to live.
pub(super) fn evicts(info: &Value) -> bool {
    let info: String = redis::from_redis_value(info.clone()).unwrap_or_default();
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let limited = field("maxmemory").is_some_and(|bytes| bytes.trim() != "0");
    limited && field("maxmemory_policy").is_some_and(|policy| policy.trim() != "noeviction")
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
            assert_eq!(evicts(&Value::BulkString(info.clone().into())), expected, "{info}");
        }
        assert!(!evicts(&Value::Nil));
    }
}
