//! The steps that carry clients from one store to another.
//!
//! The clients are listed by one primary after the other. A cursor has the first slot of a primary, and where its `SCAN`
//! goes on.

use super::{
    answer::{pairs, unexpected},
    batch::Haste,
    keys,
    links::{Links, Step},
    messages,
    options::KeyPrefix,
    record,
    script::SCRIPTS,
    slot::Slot,
    topology::Topology,
};
use crate::{Cause, StoreError, codec::Unreadable};
use beckon_types::{ClientId, ClientPage, ClientRecord, Cursor, FoundClient, Revoke, Revoked};
use redis::{Cmd, Value};
use std::{collections::BTreeSet, time::Duration};

/// About how many keys a primary looks at for one page.
const SCAN_COUNT: usize = 1000;

/// Reads the next page from a primary.
pub(super) async fn list(
    topology: &Topology,
    links: &Links,
    prefix: &KeyPrefix,
    from: Option<Cursor>,
) -> Result<ClientPage, StoreError> {
    let (slot, scan) = from.map_or((0, 0), |Cursor(cursor)| ((cursor >> 64) as u64, cursor as u64));
    let map = topology.map();
    if map.has_gaps() {
        let reason = "some slots of the Redis Cluster are not served by any node";
        return Err(StoreError::unavailable(Cause::Cluster, reason));
    }
    let changed = || StoreError::unavailable(Cause::Cluster, "the slots of the Redis Cluster have moved");
    let first = Slot::new(slot).ok_or_else(changed)?;
    let primary = map.owner(first).and_then(|owner| map.primaries().get(owner)).ok_or_else(changed)?;
    let key = keys::check(prefix, map.tag_for(primary).ok_or_else(changed)?);
    let script = &SCRIPTS.list_clients;
    let mut call = script.call(&[key], 3, 64);
    call.arg(scan).arg(keys::clients(prefix)).arg(SCAN_COUNT);
    let (script, slot, haste) = (Some(script), Slot::of_key(&key), Haste::AtOnce);
    let answer = links.perform(Step { script, call, slot, haste }).await?;
    let Value::Array(parts) = answer else { return Err(unexpected(&answer)) };
    let [Value::BulkString(scan), Value::Array(found)] = &parts[..] else {
        return Err(Unreadable("a page without clients").into());
    };
    let scan = record::number(scan)?;
    // SCAN may return a key several times.
    let clients: BTreeSet<ClientId> = found
        .iter()
        .filter_map(|key| match key {
            Value::BulkString(key) => keys::client(prefix, key),
            _ => None,
        })
        .collect();
    let cursor = |slot: Slot, scan: u64| Cursor((slot.index() as u128) << 64 | u128::from(scan));
    let next = match scan {
        0 => map.next_primary(first).map(|slot| cursor(slot, 0)),
        scan => Some(cursor(first, scan)),
    };
    Ok(ClientPage { clients: clients.into_iter().collect(), next })
}

/// The call of the script that reads a client.
pub(super) fn read_call(prefix: &KeyPrefix, client: ClientId) -> Cmd {
    SCRIPTS.read_client.call(&keys::all(prefix, client), 0, 0)
}

/// Reads its answer. Records expire after `idle_ms`.
pub(super) fn read(
    client: ClientId,
    answer: Value,
    idle_ms: u64,
) -> Result<Option<ClientRecord>, StoreError> {
    match find(client, answer, idle_ms)? {
        FoundClient::Unknown | FoundClient::Blocked => Ok(None),
        FoundClient::Stored { record, presence: _ } => Ok(Some(*record)),
    }
}

/// Reads the same answer for an operator.
pub(super) fn find(client: ClientId, answer: Value, idle_ms: u64) -> Result<FoundClient, StoreError> {
    let mut parts = match answer {
        Value::Int(0) => return Ok(FoundClient::Unknown),
        Value::Int(1) => return Ok(FoundClient::Blocked),
        Value::Array(parts) => parts.into_iter(),
        other => return Err(unexpected(&other)),
    };
    let (Some(Value::Int(left_ms)), Some(Value::Array(fields)), Some(Value::Array(backlog)), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Unreadable("a client without its parts").into());
    };
    let left_ms = u64::try_from(left_ms).unwrap_or(idle_ms);
    let head = pairs(&fields).find(|(field, _)| *field == record::HEAD);
    let (_, head) = head.ok_or(Unreadable("record without a head"))?;
    let record::Head { dialect, presence, sequence } = record::head(head)?;
    let mut channels = Vec::new();
    for (field, value) in record::channels(&fields) {
        channels.push(record::channel(field, value, dialect)?);
    }
    let unseen = Duration::from_millis(idle_ms.saturating_sub(left_ms));
    let messages = messages::backlog(backlog)?.messages;
    let record = Box::new(ClientRecord { client, dialect, unseen, sequence, channels, messages });
    Ok(FoundClient::Stored { record, presence })
}

/// The call of the script that revokes a client.
pub(super) fn revoke_call(prefix: &KeyPrefix, revoke: Revoke) -> Cmd {
    let (client, what) = match revoke {
        Revoke::Forget(client) => (client, "forget"),
        Revoke::Block(client) => (client, "block"),
        Revoke::Unblock(client) => (client, "unblock"),
    };
    let mut call = SCRIPTS.revoke.call(&keys::all(prefix, client), 1, 16);
    call.arg(what);
    call
}

/// Reads its answer.
pub(super) fn revoked(answer: Value) -> Result<Revoked, StoreError> {
    let Value::Array(parts) = &answer else { return Err(unexpected(&answer)) };
    let [Value::Int(changed), Value::BulkString(former)] = &parts[..] else {
        return Err(unexpected(&answer));
    };
    let former = if former.is_empty() { None } else { record::presence(former)? };
    Ok(Revoked { changed: *changed == 1, former })
}

/// The call of the script that adds a client. Records expire after `idle_ms`.
pub(super) fn add_call(prefix: &KeyPrefix, record: &ClientRecord, idle_ms: u64) -> Result<Cmd, Unreadable> {
    let ClientRecord { client, dialect, unseen, sequence, channels, messages } = record;
    let weight: usize = messages.iter().map(messages::weight).sum();
    let arguments = 4 + 2 * channels.len() + 3 * messages.len();
    let bytes = 64 + 64 * channels.len() + 64 * messages.len() + weight;
    let script = &SCRIPTS.add_client;
    let mut call = script.call(&keys::all(prefix, *client), arguments, bytes);
    let unseen_ms = u64::try_from(unseen.as_millis()).unwrap_or(u64::MAX);
    call.arg(record::offline_head(*dialect, *sequence))
        .arg(idle_ms.saturating_sub(unseen_ms).max(1))
        .arg(channels.len());
    for channel in channels {
        call.arg(&channel.channel.id.0[..]).arg(record::channel_value(channel));
    }
    for message in messages {
        if channels.iter().all(|channel| channel.channel.id != message.channel) {
            return Err(Unreadable("message of a channel that is not registered"));
        }
        messages::add_to(&mut call, message)?;
    }
    Ok(call)
}

/// Reads its answer.
pub(super) fn added(answer: Value) -> Result<bool, StoreError> {
    match answer {
        Value::Int(added @ (0 | 1)) => Ok(added == 1),
        other => Err(unexpected(&other)),
    }
}
