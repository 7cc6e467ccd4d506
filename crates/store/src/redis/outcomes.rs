//! The outcomes of steps on claims and channels, from the answers of their scripts.

use super::{answer::unexpected, fault::Fault, record};
use crate::{Cause, StoreError};
use beckon_types::{AddChannelOutcome, Claim, FindChannelOutcome, NotOwner, PutVersionOutcome, Snapshot};
use redis::Value;

/// Of `snapshot`.
pub(super) fn snapshot(answer: Value) -> Result<Result<Snapshot, NotOwner>, StoreError> {
    match answer {
        Value::Int(0) => Ok(Err(NotOwner)),
        Value::Array(fields) => Ok(Ok(record::record(&fields)?.1)),
        other => Err(unexpected(&other)),
    }
}

/// Of `verify`.
pub(super) fn claim(answer: Result<Value, Fault>) -> Result<Claim, StoreError> {
    let answer = match answer {
        Err(fault) if fault.cause == Cause::Overloaded => return Ok(Claim::Postponed),
        answer => answer?,
    };
    match answer {
        Value::Int(0) => Ok(Claim::Lost),
        Value::Int(1) => Ok(Claim::Taken),
        Value::Array(values) => match &values[..] {
            [Value::BulkString(head), Value::Int(channels)] => {
                let last = record::head(head)?.sequence;
                Ok(Claim::Owned { last, channels: usize::try_from(*channels).unwrap_or_default() })
            }
            _ => Err(unexpected(&Value::Array(values))),
        },
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

/// Of `remove_channel`.
pub(super) fn remove_channel(answer: Value) -> Result<Result<(), NotOwner>, StoreError> {
    match answer {
        Value::Int(0) => Ok(Err(NotOwner)),
        Value::Int(1) => Ok(Ok(())),
        other => Err(unexpected(&other)),
    }
}

/// Of `find_channel`.
pub(super) fn find_channel(answer: Value) -> Result<FindChannelOutcome, StoreError> {
    match answer {
        Value::Int(0) => Ok(FindChannelOutcome::UaidGone),
        Value::Int(1) => Ok(FindChannelOutcome::ChannelGone),
        Value::Int(2) => Ok(FindChannelOutcome::Registered),
        other => Err(unexpected(&other)),
    }
}

/// Of `put_version`.
pub(super) fn put_version(answer: Value) -> Result<PutVersionOutcome, StoreError> {
    match answer {
        Value::Int(0) => Ok(PutVersionOutcome::Gone),
        Value::BulkString(bytes) => {
            let record::Written { sequence, previous, presence } = record::written(&bytes)?;
            Ok(PutVersionOutcome::Stored { sequence, previous, presence })
        }
        other => Err(unexpected(&other)),
    }
}
