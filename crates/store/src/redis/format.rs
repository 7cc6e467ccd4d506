//! What all programs that use one store have to agree on: how records are written, and the key that makes client ids.
//!
//! It is compared before a program starts. If the primary with the directory cannot be reached then, it is compared with the
//! first announcement, and the store ends if it does not fit.

use super::{answer::unexpected, keys, options::KeyPrefix, script::SCRIPTS};
use crate::{Cause, StoreError};
use redis::{Cmd, Value};

/// The version of everything that is stored in Redis. A program refuses a store with another one.
pub(super) const VERSION: u32 = 1;

/// The field with the version.
const VERSION_FIELD: &[u8] = b"version";

/// The field with the fingerprint of the key.
const UAID_KEY_FIELD: &[u8] = b"uaid-key";

/// The call that compares what this program has with what the store has.
pub(super) fn call(prefix: &KeyPrefix, uaid_key: Option<u64>) -> Cmd {
    let mut call = SCRIPTS.compare_format.call(&[keys::format(prefix)], 2, 18);
    add(&mut call, uaid_key);
    call
}

/// Adds the arguments that are compared.
pub(super) fn add(call: &mut Cmd, uaid_key: Option<u64>) {
    call.arg(VERSION).arg(uaid_key.map(|key| format!("{key:016x}")).unwrap_or_default());
}

/// Reads the answer of an announcement.
///
/// # Errors
/// The store does not fit, which is logged.
pub(super) fn check(answer: &[Value]) -> Result<(), StoreError> {
    match misfit(answer) {
        None => Ok(()),
        Some(reason) => {
            tracing::error!(reason, "the store cannot be used");
            Err(StoreError::unavailable(Cause::Denied, reason))
        }
    }
}

/// What the operator can do about a store that does not fit; `None` if it is not the answer of a comparison that has
/// failed.
fn misfit(answer: &[Value]) -> Option<String> {
    let [Value::BulkString(field), Value::BulkString(found)] = answer else { return None };
    match &field[..] {
        VERSION_FIELD => Some(format!(
            "it is used by another version of this program (format {}; this one has {VERSION}): start that version, or give \
             this one another database or another store_key_prefix",
            String::from_utf8_lossy(found)
        )),
        UAID_KEY_FIELD => Some(
            "it is used with another uaid_key, so that no client would be known: set the same uaid_key on all nodes, and never \
             change it"
                .to_owned(),
        ),
        _ => None,
    }
}

/// Reads the answer of [`call`].
pub(super) fn outcome(answer: &Value) -> Result<(), StoreError> {
    match answer {
        Value::Int(0) => Ok(()),
        Value::Array(parts) => {
            let reason = misfit(parts).ok_or_else(|| unexpected(answer))?;
            Err(StoreError::unavailable(Cause::Denied, reason))
        }
        other => Err(unexpected(other)),
    }
}
