//! The keys with which a database is used. Without its token keys all endpoints are lost, and with another UAID key no client
//! is known, so a database and its keys have to belong together.

use super::{
    batch::{Batch, failed},
    changes::Table,
    tables::{NUMBERS, UAID_KEY},
};
use crate::StoreError;
use redb::{ReadableTable as _, WriteTransaction};

/// The names of the numbers for keys begin with this, and go on with a fingerprint.
const PREFIX: &str = "token key ";

/// Behind all names that begin with [`PREFIX`].
const PREFIX_END: &str = "token key!";

/// Whether one of these fingerprints is among those of the last time, or there was no last time. If so, these are the ones
/// of the last time from now on: so keys can be added and removed, but not all at once.
pub(super) fn belong(transaction: &WriteTransaction, keys: &[u64]) -> Result<bool, redb::Error> {
    if keys.is_empty() {
        return Ok(true);
    }
    let mut numbers = transaction.open_table(NUMBERS)?;
    let mut known = Vec::new();
    for entry in numbers.range(PREFIX..PREFIX_END)? {
        known.push(entry?.0.value().to_owned());
    }
    let names: Vec<_> = keys.iter().copied().map(name).collect();
    if !known.is_empty() && !known.iter().any(|name| names.contains(name)) {
        return Ok(false);
    }
    for name in known.iter().filter(|name| !names.contains(name)) {
        numbers.remove(&**name)?;
    }
    for name in names.iter().filter(|name| !known.contains(name)) {
        numbers.insert(&**name, 1)?;
    }
    Ok(true)
}

/// Whether this is the fingerprint of the UAID key of the last time, or there was no last time, or the key is not known now.
pub(super) fn is_uaid_key(
    transaction: &WriteTransaction,
    uaid_key: Option<u64>,
) -> Result<bool, redb::Error> {
    let Some(uaid_key) = uaid_key else { return Ok(true) };
    let mut numbers = transaction.open_table(NUMBERS)?;
    let known = numbers.get(UAID_KEY)?.map(|known| known.value());
    if known.is_none() {
        numbers.insert(UAID_KEY, uaid_key)?;
    }
    Ok(known.is_none_or(|known| known == uaid_key))
}

impl Batch<'_, '_> {
    /// See [`super::EmbeddedStore::know_keys`].
    pub(super) fn know_keys(&mut self, keys: &[u64]) -> Result<(), StoreError> {
        let mut numbers = self.transaction.open_table(NUMBERS).map_err(failed)?;
        for name in keys.iter().copied().map(name) {
            if numbers.insert(&*name, 1).map_err(failed)?.is_none() {
                self.changes.set(Table::Numbers, name.as_bytes(), &1_u64.to_be_bytes());
                self.is_changed = true;
            }
        }
        Ok(())
    }
}

fn name(key: u64) -> String {
    format!("{PREFIX}{key:016x}")
}
