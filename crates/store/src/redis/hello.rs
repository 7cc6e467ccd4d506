//! The step hello: the arguments of its script, and its answer.

use super::{answer::unexpected, idle::IdleMs, keys, messages, options::KeyPrefix, record, script::SCRIPTS};
use crate::{StoreError, codec};
use beckon_types::{ChannelId, Dialect, Hello, HelloOutcome, Listed};
use redis::{Cmd, Value};

/// The call of the script, whose first comment lists the arguments.
pub(super) fn call(prefix: &KeyPrefix, hello: &Hello, idle: IdleMs) -> Cmd {
    let listed: &[ChannelId] = match &hello.listed {
        Some(Listed::Channels(channels)) => channels,
        Some(Listed::Impossible) | None => &[],
    };
    let list = match &hello.listed {
        None => "none",
        Some(Listed::Impossible) => "impossible",
        Some(Listed::Channels(_)) => "given",
    };
    let arguments = 10 + listed.len();
    let mut call = SCRIPTS.hello.call(&keys::all(prefix, hello.client), arguments, 72 + 16 * listed.len());
    call.arg(hello.named.map_or(0, codec::dialect_byte))
        .arg(codec::dialect_byte(hello.otherwise))
        .arg(&record::presence_bytes(hello.presence)[..])
        .arg(u8::from(hello.adopt))
        .arg(u8::from(hello.room))
        .arg(list);
    idle.add_to(&mut call);
    call.arg(hello.backlog_max);
    for channel in listed {
        call.arg(&channel.0[..]);
    }
    call
}

/// Reads the answer of the script.
pub(super) fn outcome(answer: Value) -> Result<HelloOutcome, StoreError> {
    match answer {
        Value::Int(1) => Ok(HelloOutcome::ListMissing),
        Value::Int(2) => Ok(HelloOutcome::NoRoom),
        Value::Int(3) => Ok(HelloOutcome::Blocked),
        Value::Int(11) => Ok(HelloOutcome::Unknown { dialect: Dialect::SimplePush }),
        Value::Int(12) => Ok(HelloOutcome::Unknown { dialect: Dialect::WebPush }),
        Value::BulkString(former) => Ok(HelloOutcome::Deleted { former: record::presence(&former)? }),
        Value::Array(mut fields) => {
            let (Some(Value::Array(backlog)), Some(Value::Int(dialect))) = (fields.pop(), fields.pop())
            else {
                return Err(StoreError::Unreadable("answer of hello without a dialect".into()));
            };
            let dialect = codec::dialect(u8::try_from(dialect).unwrap_or(0))?;
            let (head, snapshot) = record::record(&fields)?;
            let former = head.and_then(|head| head.presence);
            Ok(HelloOutcome::Claimed { dialect, former, snapshot, backlog: messages::backlog(backlog)? })
        }
        other => Err(unexpected(&other)),
    }
}
