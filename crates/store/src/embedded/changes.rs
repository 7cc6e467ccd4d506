//! What a batch changes in the tables, as the log keeps it.
//!
//! ```text
//! change  table, 1 byte | length of the key, 2 bytes | the key | 0 if it is removed, else 1, and the value: its length in
//!         4 bytes, and the bytes
//! ```
//!
//! Changes of other tables than those below were made by a newer version, which can do without them. They are passed over.

#[cfg(feature = "next-format")]
use super::tables::NEXT;
use super::tables::{self, BROADCASTS, CLIENTS, MESSAGES, NUMBERS};
use crate::codec::{Unreadable, take};
use redb::WriteTransaction;

/// A table, as a change names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// [`CLIENTS`].
    Clients = 1,
    /// [`MESSAGES`].
    Messages = 2,
    /// [`BROADCASTS`].
    Broadcasts = 3,
    /// [`NUMBERS`].
    Numbers = 4,
    /// [`NEXT`].
    #[cfg(feature = "next-format")]
    Next = 200,
}

/// The changes of a batch.
#[derive(Debug, Default)]
pub(super) struct Changes {
    bytes: Vec<u8>,
    /// How many bytes more [`CLIENTS`] and [`MESSAGES`] have.
    pub(super) grown: i64,
}

impl Changes {
    /// A key has this value from now on.
    pub(super) fn set(&mut self, table: Table, key: &[u8], value: &[u8]) {
        self.key(table, key);
        self.bytes.push(1);
        // A value that is longer does not fit into the database either.
        self.bytes.extend(u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.bytes.extend(value);
    }

    /// A key is not there any more.
    pub(super) fn remove(&mut self, table: Table, key: &[u8]) {
        self.key(table, key);
        self.bytes.push(0);
    }

    fn key(&mut self, table: Table, key: &[u8]) {
        self.bytes.push(table as u8);
        // Keys are ids of at most 128 bytes.
        self.bytes.extend(u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes());
        self.bytes.extend(key);
    }

    /// All of them.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Why changes could not be made again.
#[derive(Debug)]
pub(super) enum ApplyError {
    /// The database failed.
    Database(redb::Error),
    /// They are not as this version writes them.
    Unreadable(Unreadable),
}

impl<E: Into<redb::Error>> From<E> for ApplyError {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

/// Makes changes again, in their order. Returns how many bytes more [`CLIENTS`] and [`MESSAGES`] have.
pub(super) fn apply(changes: &[u8], transaction: &WriteTransaction) -> Result<i64, ApplyError> {
    let mut grown = 0;
    let mut clients = transaction.open_table(CLIENTS)?;
    let mut messages = transaction.open_table(MESSAGES)?;
    let mut broadcasts = transaction.open_table(BROADCASTS)?;
    let mut numbers = transaction.open_table(NUMBERS)?;
    let mut rest = changes;
    while !rest.is_empty() {
        let (table, key, value) = change(&mut rest).map_err(ApplyError::Unreadable)?;
        let Some(table) = table else { continue };
        match table {
            Table::Clients => {
                let key = fixed(key)?;
                grown += match value {
                    Some(value) => tables::set(&mut clients, &key, value)?,
                    None => tables::remove(&mut clients, &key)?,
                };
            }
            Table::Messages => {
                let key = fixed(key)?;
                grown += match value {
                    Some(value) => tables::set(&mut messages, &key, value)?,
                    None => tables::remove(&mut messages, &key)?,
                };
            }
            Table::Broadcasts => match value {
                Some(value) => drop(broadcasts.insert(text(key)?, text(value)?)?),
                None => drop(broadcasts.remove(text(key)?)?),
            },
            Table::Numbers => match value {
                Some(value) => drop(numbers.insert(text(key)?, u64::from_be_bytes(fixed(value)?))?),
                None => drop(numbers.remove(text(key)?)?),
            },
            #[cfg(feature = "next-format")]
            Table::Next => {
                let mut next = transaction.open_table(NEXT)?;
                match value {
                    Some(value) => drop(next.insert(key, value)?),
                    None => drop(next.remove(key)?),
                }
            }
        }
    }
    Ok(grown)
}

/// The table, if this version has it; the key; the value, unless it is removed.
pub(super) type Change<'a> = (Option<Table>, &'a [u8], Option<&'a [u8]>);

/// Takes a change off the front.
pub(super) fn change<'a>(rest: &mut &'a [u8]) -> Result<Change<'a>, Unreadable> {
    let table = match take(rest)? {
        [1] => Some(Table::Clients),
        [2] => Some(Table::Messages),
        [3] => Some(Table::Broadcasts),
        [4] => Some(Table::Numbers),
        #[cfg(feature = "next-format")]
        [200] => Some(Table::Next),
        [_] => None,
    };
    let len = usize::from(u16::from_be_bytes(take(rest)?));
    let key = take_slice(rest, len)?;
    let value = match take(rest)? {
        [0] => None,
        [1] => {
            let len = u32::from_be_bytes(take(rest)?) as usize;
            Some(take_slice(rest, len)?)
        }
        [_] => return Err(Unreadable("neither 0 nor 1")),
    };
    Ok((table, key, value))
}

fn take_slice<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], Unreadable> {
    let (taken, after) = rest.split_at_checked(len).ok_or(Unreadable("too short"))?;
    *rest = after;
    Ok(taken)
}

fn fixed<const LEN: usize>(bytes: &[u8]) -> Result<[u8; LEN], ApplyError> {
    bytes.try_into().map_err(|_| ApplyError::Unreadable(Unreadable("wrong length")))
}

fn text(bytes: &[u8]) -> Result<&str, ApplyError> {
    str::from_utf8(bytes).map_err(|_| ApplyError::Unreadable(Unreadable("text is not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_as_they_were_written() {
        let mut changes = Changes::default();
        changes.set(Table::Clients, b"key", b"value");
        changes.set(Table::Messages, b"", b"");
        changes.remove(Table::Broadcasts, b"other");
        changes.set(Table::Numbers, &[7; 300], &[8; 70_000]);
        // A table of a newer version.
        let bytes = [changes.bytes(), &[9, 0, 1, 6, 1, 0, 0, 0, 1, 7]].concat();
        let mut rest = &bytes[..];
        let expected: [Change<'_>; 5] = [
            (Some(Table::Clients), b"key", Some(b"value")),
            (Some(Table::Messages), b"", Some(b"")),
            (Some(Table::Broadcasts), b"other", None),
            (Some(Table::Numbers), &[7; 300], Some(&[8; 70_000])),
            (None, &[6], Some(&[7])),
        ];
        for expected in expected {
            assert_eq!(change(&mut rest), Ok(expected));
        }
        assert_eq!(rest, b"");
        for garbage in [&[][..], &[9], &[1, 0, 1], &[1, 0, 0, 2], &[1, 0, 0, 1, 0, 0, 0, 1]] {
            assert!(change(&mut &*garbage).is_err(), "{garbage:?}");
        }
    }
}
