//! The outcomes of steps on channels, from the answers of their scripts.

use super::{answer::unexpected, record};
use crate::StoreError;
use beckon_types::{AddChannelOutcome, Claim, NotOwner, PutVersionOutcome};
use redis::Value;

/// Of `verify`.
pub(super) fn claim(answer: Value) -> Result<Claim, StoreError> {
    match answer {
        Value::Int(0) => Ok(Claim::Lost),
        Value::Int(1) => Ok(Claim::Taken),
        Value::BulkString(head) => Ok(Claim::Owned(record::head(&head)?.sequence)),
        other => Err(unexpected(&other)),
    }
}

/// Of `add_channel`.
pub(super) fn add_channel(answer: Value) -> Result<AddChannelOutcome, StoreError> {
    match answer {
        Value::Int(0) => Ok(AddChannelOutcome::NotOwner(NotOwner)),
        Value::Int(1) => Ok(AddChannelOutcome::Full),
        Value::BulkString(bytes) => {
            let (key, sequence) = record::key_and_sequence(&bytes)?;
            Ok(AddChannelOutcome::Registered { key, sequence })
        }
        other => Err(unexpected(&other)),
    }
}

/// Of `put_version`.
pub(super) fn put_version(answer: Value) -> Result<PutVersionOutcome, StoreError> {
    match answer {
        Value::Int(0) => Ok(PutVersionOutcome::Gone),
        Value::BulkString(bytes) => {
            let record::Head { sequence, presence, .. } = record::head(&bytes)?;
            Ok(PutVersionOutcome::Stored { sequence, presence })
        }
        other => Err(unexpected(&other)),
    }
}
