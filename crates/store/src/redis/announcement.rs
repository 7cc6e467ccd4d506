//! Announcements of a node, and the copy of the directory that they keep up to date.
//!
//! Each node announces itself every few seconds, so an announcement must not cost more when there are more nodes. It has
//! the revision of this process's copy, and is answered with what has changed since. The copy is read as a whole if the
//! store does not know what has changed since, and whenever the store may have lost some of the changes.

use super::{
    answer::{pairs, unexpected},
    backoff::{jittered, random},
    dial::now,
    directory, format, keys,
    links::{Links, Step},
    options::KeyPrefix,
    record,
    script::SCRIPTS,
};
use crate::{Announced, Cause, Disturbances, LEASE, NodeEntry, StoreError};
use beckon_types::NodeId;
use redis::{Cmd, Value};
use std::{collections::BTreeMap, time::Duration};
use tokio::{sync::Mutex, time::Instant};
use tokio_util::sync::CancellationToken;

/// The copy is read as a whole after this time or half of it, whatever its revision: nothing that a change has missed
/// stays for longer.
const WHOLE_AFTER: Duration = Duration::from_secs(2 * 60);

/// What this process knows of the directory. Announcements wait for each other.
#[derive(Debug, Default)]
pub(super) struct Copy(Mutex<Known>);

/// A copy of the directory.
#[derive(Debug, Default)]
pub(super) struct Known {
    nodes: BTreeMap<NodeId, NodeEntry>,
    /// The last change that is in `nodes`.
    revision: u64,
    /// Until when changes are enough. `None` if it was never read.
    is_good_until: Option<Instant>,
    /// Those that there were when it was read last.
    disturbances: Disturbances,
}

/// The call that announces a node. What it lacks is added when it is sent.
pub(super) fn call(prefix: &KeyPrefix, entry: &NodeEntry, uaid_key: Option<u64>) -> Result<Cmd, StoreError> {
    // Drawn for each announcement: if it were the same number as before, a loss would go unnoticed.
    let no_randomness = |error| StoreError::unavailable(Cause::Refused, format!("no randomness: {error}"));
    let epoch = getrandom::u64().map_err(no_randomness)?;
    let mut call = SCRIPTS.announce.call(&keys::announced(prefix), 7, 256);
    call.arg(&directory::field(entry.node)[..])
        .arg(directory::encode(entry))
        .arg(LEASE.as_millis() as u64)
        .arg(epoch);
    format::add(&mut call, uaid_key);
    Ok(call)
}

impl Copy {
    /// Performs the step of a [`call`], and returns the directory. `disturbances` are those so far
    /// ([`crate::Store::disturbances`]). `unfit` is cancelled if this process cannot use the store.
    pub(super) async fn announce(
        &self,
        mut step: Step,
        links: &Links,
        disturbances: Disturbances,
        unfit: &CancellationToken,
    ) -> Result<Announced, StoreError> {
        let mut known = self.0.lock().await;
        let now = now();
        step.call.arg(known.revision(now, disturbances));
        let answer = links.perform(step).await?;
        let Value::Array(parts) = answer else { return Err(unexpected(&answer)) };
        format::check(&parts).inspect_err(|_| unfit.cancel())?;
        let announced = known.learn(&parts, now)?;
        known.disturbances = disturbances;
        Ok(announced)
    }
}

impl Known {
    /// The revision to name in an announcement; zero if the directory has to be read as a whole.
    fn revision(&self, now: Instant, disturbances: Disturbances) -> u64 {
        let is_good = self.is_good_until.is_some_and(|until| now < until);
        if is_good && self.disturbances == disturbances { self.revision } else { 0 }
    }

    /// Reads the answer of the script.
    pub(super) fn learn(&mut self, parts: &[Value], now: Instant) -> Result<Announced, StoreError> {
        let [
            Value::Int(lapsed),
            Value::BulkString(epoch),
            Value::BulkString(revision),
            Value::Int(is_whole),
            entries @ ..,
        ] = parts
        else {
            return Err(StoreError::Unreadable("answer of announce".into()));
        };
        let (epoch, revision) = (record::number(epoch)?, record::number(revision)?);
        if *is_whole == 1 {
            self.nodes.clear();
            self.is_good_until = Some(now + jittered(WHOLE_AFTER, random()));
        }
        for (field, value) in pairs(entries) {
            // A node that has left has no entry.
            match if value.is_empty() { None } else { directory::entry(field, value) } {
                Some(entry) => self.nodes.insert(entry.node, entry),
                None => directory::node(field).ok().and_then(|node| self.nodes.remove(&node)),
            };
        }
        self.revision = revision;
        Ok(Announced { nodes: self.nodes.values().cloned().collect(), epoch, lapsed: *lapsed == 1 })
    }
}
