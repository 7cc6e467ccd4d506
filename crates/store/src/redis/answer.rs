//! What is common to the answers of scripts.

use crate::{Answer, StoreError};
use redis::Value;

/// Fields and values, as a hash is listed.
pub(super) fn pairs(fields: &[Value]) -> impl Iterator<Item = (&[u8], &[u8])> {
    fields.chunks_exact(2).filter_map(|pair| match pair {
        [Value::BulkString(field), Value::BulkString(value)] => Some((&field[..], &value[..])),
        _ => None,
    })
}

/// Reads the answer of a step that has no result.
pub(super) fn done(answer: Value) -> Result<(), StoreError> {
    match answer {
        Value::Int(0) => Ok(()),
        other => Err(unexpected(&other)),
    }
}

/// An answer that is ready.
pub(super) fn failed<T: Send + 'static>(error: StoreError) -> Answer<T> {
    Box::pin(std::future::ready(Err(error)))
}

/// The error for any answer that a step does not expect. A script answers -1 for a record that it cannot read.
pub(super) fn unexpected(answer: &Value) -> StoreError {
    match answer {
        Value::Int(-1) => StoreError::Unreadable("written by another version, or damaged".into()),
        _ => StoreError::Unreadable("a script gave an answer that it never gives".into()),
    }
}
