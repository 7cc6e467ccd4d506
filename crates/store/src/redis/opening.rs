//! What is made sure of before a node starts: that the URL fits the server, that the user may do what steps need, and
//! that at least one primary can be used. Whoever can mend it is told what to do.

use super::{
    address::{Address, Node},
    dial::Dialer,
    fault::Fault,
    keys,
    options::{KeyPrefix, RedisOptions},
    primary::Primary,
    script::SCRIPTS,
    topology::Topology,
};
use crate::Cause;
use futures_util::stream::{self, StreamExt as _};
use redis::{Pipeline, Value};
use std::sync::Arc;
use tokio::time::timeout;

/// Primaries that are examined at the same time.
const EXAMINED_MAX: usize = 32;

/// Every command that is sent, or called by a script, as an ACL rule names it. What this side does without if it is
/// refused stands at the end.
const COMMANDS: &str = "+eval +evalsha +time +cluster|slots +select +hset +hget +hmget +hgetall +hkeys +hlen +hdel \
                        +hincrby +set +get +mget +getrange +exists +del +pexpire +pttl +info +client|setinfo";

/// A store in Redis could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The URL, or what it asks for, is wrong: the operator's configuration has to change (exit code 64).
    #[error("store: {0}")]
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
        tracing::warn!(redis = %primary, error = %fault, "one primary cannot be used; its clients have to wait");
    }
    Ok(topology)
}

/// What is wrong with a primary, if anything is.
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
        if let Some(tag) = topology.map().tag_at(primary) {
            let call = SCRIPTS.rights.call(&[&keys::trial(&options.access.key_prefix, tag)], 0, 0);
            pipeline.add_command(SCRIPTS.rights.with_text(&call));
        }
        let count = pipeline.len();
        let answers = connection.send_packed_commands(&pipeline, 0, count).await;
        let mut answers = answers.map_err(|error| Fault::from_dial(&error, &at))?.into_iter();
        if answers.next().is_some_and(|info| evicts(&info)) {
            tracing::warn!(
                redis = %at,
                "Redis evicts keys when its memory is full, and with them clients and what is pending: \
                 set maxmemory-policy to noeviction"
            );
        }
        answers.next().map_or(Ok(()), |refused| check_rights(refused, &at))
    });
    let fault = examined.await.unwrap_or_else(|_| Err(Fault::silent(limit))).err()?;
    Some((primary.clone(), fault))
}

/// Reads which commands were refused to a script.
fn check_rights(answer: Value, at: &Node) -> Result<(), Fault> {
    let refused = answer.extract_error().map_err(|error| Fault::from_redis(&error, at))?;
    let refused: Vec<String> = redis::from_redis_value(refused).unwrap_or_default();
    // A full server refuses some of them as well, and says so when it matters.
    let refused: Vec<_> = refused.into_iter().filter(|refused| !refused.contains("OOM ")).collect();
    match refused.first() {
        Some(first) => Err(Fault::refused(Cause::Denied, format!("a script may not call {first}"))),
        None => Ok(()),
    }
}

/// Who has to act on a failure.
fn connect_error(address: &str, fault: &Fault, prefix: &KeyPrefix) -> ConnectError {
    let words = &fault.words;
    if fault.cause != Cause::Denied {
        return ConnectError::Unreachable { address: address.into(), reason: words.clone() };
    }
    let lacks_right = words.starts_with("NOPERM") || words.starts_with("a script may not");
    let rule = if lacks_right {
        format!(". This ACL rule is enough: {} {COMMANDS}", patterns(prefix))
    } else {
        String::new()
    };
    ConnectError::Configuration(format!("Redis at {address}: {words}{rule}"))
}

/// The key patterns of the ACL rule.
fn patterns(prefix: &KeyPrefix) -> String {
    if prefix.as_bytes().is_empty() {
        "~c{* ~m{* ~{beckon}* ~check{*".to_owned()
    } else {
        format!("~{prefix}*")
    }
}

/// Whether `INFO memory` says that keys are evicted. All keys of clients have a time to live, so the policies
/// that look at those only are no better. Not every user may ask.
fn evicts(info: &Value) -> bool {
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
