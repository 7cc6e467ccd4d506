//! The tables of the database.

use beckon_types::{ClientId, Sequence};
use redb::{StorageError, Table, TableDefinition};

/// The records of the clients, by their ids ([`super::record`]).
pub(super) const CLIENTS: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("clients");

/// What the stored messages carry, by client and sequence ([`crate::codec::message`]).
pub(super) const MESSAGES: TableDefinition<'_, &[u8; MESSAGE_KEY_LEN], &[u8]> =
    TableDefinition::new("messages");

/// The version of each broadcast, by its id.
pub(super) const BROADCASTS: TableDefinition<'_, &str, &str> = TableDefinition::new("broadcasts");

/// Numbers about the database, by their names: [`FORMAT`], [`EPOCH`], [`REVISION`], [`LOGGED`], [`HAS_LOG`], [`UAID_KEY`] and
/// [`CONTENT`], and those of the token keys ([`super::keys`]).
pub(super) const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

/// The name of the number that is the version of the tables.
pub(super) const FORMAT: &str = "format";

/// The name of the random number that was drawn when the database was made.
pub(super) const EPOCH: &str = "epoch";

/// The name of the number that is the revision of the broadcasts.
pub(super) const REVISION: &str = "broadcasts";

/// The name of the number of the last entry of the log that is in the database.
pub(super) const LOGGED: &str = "logged";

/// The name of the number that is there since the log was made.
pub(super) const HAS_LOG: &str = "has log";

/// The name of the number that is the fingerprint of the UAID key.
pub(super) const UAID_KEY: &str = "UAID key";

/// The name of the number of bytes that [`CLIENTS`] and [`MESSAGES`] have in their keys and values.
pub(super) const CONTENT: &str = "content";

/// A table as a next version could have it.
#[cfg(feature = "next-format")]
pub(super) const NEXT: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("next");

/// [`CLIENTS`], opened.
pub(super) type Clients<'txn> = Table<'txn, &'static [u8; 16], &'static [u8]>;

/// [`MESSAGES`], opened.
pub(super) type Messages<'txn> = Table<'txn, &'static [u8; MESSAGE_KEY_LEN], &'static [u8]>;

/// [`NUMBERS`], opened.
pub(super) type Numbers<'txn> = Table<'txn, &'static str, u64>;

/// [`CLIENTS`] or [`MESSAGES`], opened.
pub(super) type Content<'txn, const KEY_LEN: usize> = Table<'txn, &'static [u8; KEY_LEN], &'static [u8]>;

/// Gives a key a value, and returns how many bytes more the table has.
pub(super) fn set<const KEY_LEN: usize>(
    table: &mut Content<'_, KEY_LEN>,
    key: &[u8; KEY_LEN],
    value: &[u8],
) -> Result<i64, StorageError> {
    let former = table.insert(key, value)?.map_or(0, |former| KEY_LEN + former.value().len());
    Ok((KEY_LEN + value.len()) as i64 - former as i64)
}

/// Removes a key, and returns how many bytes more the table has: none, or fewer.
pub(super) fn remove<const KEY_LEN: usize>(
    table: &mut Content<'_, KEY_LEN>,
    key: &[u8; KEY_LEN],
) -> Result<i64, StorageError> {
    let former = table.remove(key)?.map_or(0, |former| KEY_LEN + former.value().len());
    Ok(-(former as i64))
}

/// Bytes of a key of [`MESSAGES`].
const MESSAGE_KEY_LEN: usize = 24;

/// The key of a message. The messages of one client are beside each other, the oldest first.
pub(super) fn message_key(client: ClientId, sequence: Sequence) -> [u8; MESSAGE_KEY_LEN] {
    let mut key = [0; MESSAGE_KEY_LEN];
    key[..16].copy_from_slice(&client.0);
    key[16..].copy_from_slice(&sequence.0.to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_order_of_the_sequences() {
        let keys =
            [0, 1, 255, 256, u64::MAX].map(|sequence| message_key(ClientId([7; 16]), Sequence(sequence)));
        assert!(keys.is_sorted());
    }
}
