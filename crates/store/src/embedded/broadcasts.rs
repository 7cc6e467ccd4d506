//! The steps on broadcasts: there are few, operators write them, and they are read when their revision has changed.

use super::{
    batch::{Batch, failed},
    changes::Table,
    tables::{BROADCASTS, NUMBERS, Numbers, REVISION},
};
use crate::StoreError;
use beckon_types::{BROADCASTS_MAX, BroadcastId, BroadcastVersion, Broadcasts, TooManyBroadcasts};
use redb::{ReadableTable as _, ReadableTableMetadata as _};

impl Batch<'_, '_> {
    /// See [`crate::Store::set_broadcast`].
    pub(super) fn set_broadcast(
        &mut self,
        id: &BroadcastId,
        version: &BroadcastVersion,
    ) -> Result<Result<(), TooManyBroadcasts>, StoreError> {
        let mut broadcasts = self.transaction.open_table(BROADCASTS).map_err(failed)?;
        let former = broadcasts.get(id.as_str()).map_err(failed)?.map(|former| former.value().to_owned());
        if former.as_deref() == Some(version.as_str()) {
            return Ok(Ok(()));
        }
        if former.is_none() && broadcasts.len().map_err(failed)? >= BROADCASTS_MAX as u64 {
            return Ok(Err(TooManyBroadcasts));
        }
        broadcasts.insert(id.as_str(), version.as_str()).map_err(failed)?;
        self.changes.set(Table::Broadcasts, id.as_str().as_bytes(), version.as_str().as_bytes());
        self.raise_revision()?;
        Ok(Ok(()))
    }

    /// See [`crate::Store::remove_broadcast`].
    pub(super) fn remove_broadcast(&mut self, id: &BroadcastId) -> Result<bool, StoreError> {
        let mut broadcasts = self.transaction.open_table(BROADCASTS).map_err(failed)?;
        let removed = broadcasts.remove(id.as_str()).map_err(failed)?.is_some();
        if removed {
            self.changes.remove(Table::Broadcasts, id.as_str().as_bytes());
            self.raise_revision()?;
        }
        Ok(removed)
    }

    /// See [`crate::Store::broadcasts`].
    pub(super) fn broadcasts(&mut self, known: u64) -> Result<Option<Broadcasts>, StoreError> {
        let revision = revision(&self.transaction.open_table(NUMBERS).map_err(failed)?)?;
        if revision == known {
            return Ok(None);
        }
        let broadcasts = self.transaction.open_table(BROADCASTS).map_err(failed)?;
        let mut all = Broadcasts { revision, ..Broadcasts::default() };
        for entry in broadcasts.iter().map_err(failed)? {
            let (id, version) = entry.map_err(failed)?;
            all.values.insert(id.value().into(), version.value().into());
        }
        Ok(Some(all))
    }

    fn raise_revision(&mut self) -> Result<(), StoreError> {
        let mut numbers = self.transaction.open_table(NUMBERS).map_err(failed)?;
        let raised = revision(&numbers)? + 1;
        numbers.insert(REVISION, raised).map_err(failed)?;
        self.changes.set(Table::Numbers, REVISION.as_bytes(), &raised.to_be_bytes());
        self.is_changed = true;
        Ok(())
    }
}

fn revision(numbers: &Numbers<'_>) -> Result<u64, StoreError> {
    Ok(numbers.get(REVISION).map_err(failed)?.map_or(0, |number| number.value()))
}
