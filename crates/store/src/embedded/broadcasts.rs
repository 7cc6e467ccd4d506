//! The broadcasts: few, read when their revision is another, written by operators.

use super::{
    clients::{Batch, failed},
    writer::{BROADCASTS, NUMBERS},
};
use crate::{Cause, StoreError};
use beckon_types::{BROADCASTS_MAX, BroadcastId, BroadcastVersion, Broadcasts, TooManyBroadcasts};
use redb::{ReadableTable as _, ReadableTableMetadata as _, Table, TableError};

/// The number that is their revision.
const REVISION: &str = "broadcasts";

impl Batch<'_, '_> {
    /// See [`crate::Store::set_broadcast`].
    pub(super) fn set_broadcast(
        &mut self,
        id: &BroadcastId,
        version: &BroadcastVersion,
    ) -> Result<Result<(), TooManyBroadcasts>, StoreError> {
        let mut broadcasts = self.transaction.open_table(BROADCASTS).map_err(unopened)?;
        let former = broadcasts.get(id.as_str()).map_err(failed)?.map(|former| former.value().to_owned());
        if former.as_deref() == Some(version.as_str()) {
            return Ok(Ok(()));
        }
        if former.is_none() && broadcasts.len().map_err(failed)? >= BROADCASTS_MAX as u64 {
            return Ok(Err(TooManyBroadcasts));
        }
        broadcasts.insert(id.as_str(), version.as_str()).map_err(failed)?;
        self.raise_revision()?;
        Ok(Ok(()))
    }

    /// See [`crate::Store::remove_broadcast`].
    pub(super) fn remove_broadcast(&mut self, id: &BroadcastId) -> Result<bool, StoreError> {
        let mut broadcasts = self.transaction.open_table(BROADCASTS).map_err(unopened)?;
        let removed = broadcasts.remove(id.as_str()).map_err(failed)?.is_some();
        if removed {
            self.raise_revision()?;
        }
        Ok(removed)
    }

    /// See [`crate::Store::broadcasts`].
    pub(super) fn broadcasts(&mut self, known: u64) -> Result<Option<Broadcasts>, StoreError> {
        let revision = revision(&self.transaction.open_table(NUMBERS).map_err(unopened)?)?;
        if revision == known {
            return Ok(None);
        }
        let broadcasts = self.transaction.open_table(BROADCASTS).map_err(unopened)?;
        let mut all = Broadcasts { revision, ..Broadcasts::default() };
        for entry in broadcasts.iter().map_err(failed)? {
            let (id, version) = entry.map_err(failed)?;
            all.values.insert(id.value().into(), version.value().into());
        }
        Ok(Some(all))
    }

    fn raise_revision(&mut self) -> Result<(), StoreError> {
        let mut numbers = self.transaction.open_table(NUMBERS).map_err(unopened)?;
        let raised = revision(&numbers)? + 1;
        numbers.insert(REVISION, raised).map_err(failed)?;
        self.changed = true;
        Ok(())
    }
}

fn revision(numbers: &Table<'_, &'static str, u64>) -> Result<u64, StoreError> {
    Ok(numbers.get(REVISION).map_err(failed)?.map_or(0, |number| number.value()))
}

/// A table could not be opened.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unopened(error: TableError) -> StoreError {
    StoreError::unavailable(Cause::Disk, format!("database: {error}"))
}
