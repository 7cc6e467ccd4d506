//! Reading a request body within a size and a time.

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use std::{pin::pin, time::Duration};

/// Bytes of a form at most; more is refused (PROTOCOL.md section 3, row 3).
pub(crate) const BODY_LEN_MAX: usize = 64 * 1024;

/// Bytes of a refused body that are read and thrown away. A client that is still sending when the connection is
/// closed under it does not get to see the answer; a client that sends more than this has to live with that.
pub(crate) const DISCARD_LEN_MAX: usize = 1024 * 1024;

/// A body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// It is longer than it may be.
    TooLarge,
    /// It did not come within the time limit.
    TooSlow,
    /// The connection broke, or what came was not HTTP.
    Broken,
}

/// Reads a body of `declared` bytes, or of unknown length, if it has `most` bytes or less, within the time limit.
pub(crate) async fn read<S, B, E>(
    body: S,
    declared: Option<u64>,
    most: usize,
    limit: Duration,
) -> Result<Bytes, BodyError>
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
{
    if declared.is_some_and(|length| length > DISCARD_LEN_MAX as u64) {
        return Err(BodyError::TooLarge);
    }
    // A body that is there already costs no timer.
    tokio::time::timeout(limit, collect(body, most)).await.unwrap_or(Err(BodyError::TooSlow))
}

/// Reads what a client sends that gets its answer without it, within the time limit and up to [`DISCARD_LEN_MAX`].
pub(crate) async fn discard<S, B, E>(body: S, declared: Option<u64>, limit: Duration)
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
{
    // Whatever comes of it, the answer is another one.
    let _ = read(body, declared, 0, limit).await;
}

async fn collect<S, B, E>(body: S, most: usize) -> Result<Bytes, BodyError>
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
{
    let mut body = pin!(body);
    let mut next = async || body.next().await.transpose().map_err(|_| BodyError::Broken);
    let Some(mut chunk) = next().await? else { return Ok(Bytes::new()) };
    let first = chunk.copy_to_bytes(chunk.remaining());
    let Some(mut chunk) = next().await? else {
        // Nearly always: one small chunk, which is not copied.
        return if first.len() <= most { Ok(first) } else { Err(BodyError::TooLarge) };
    };
    let mut length = first.len();
    let mut whole = BytesMut::from(first);
    loop {
        length += chunk.remaining();
        if length <= most {
            whole.extend_from_slice(&chunk.copy_to_bytes(chunk.remaining()));
        } else if length > DISCARD_LEN_MAX {
            return Err(BodyError::TooLarge);
        }
        match next().await? {
            Some(another) => chunk = another,
            None if length <= most => return Ok(whole.freeze()),
            None => return Err(BodyError::TooLarge),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    const LIMIT: Duration = Duration::from_secs(10);

    /// A stream of chunks of these lengths.
    fn chunks(lengths: &[usize]) -> impl Stream<Item = Result<Bytes, ()>> + use<> {
        stream::iter(lengths.iter().map(|&length| Ok(Bytes::from(vec![7; length]))).collect::<Vec<_>>())
    }

    #[tokio::test]
    async fn a_body_may_have_64_kib() {
        let most = BODY_LEN_MAX;
        for (lengths, length) in [
            (&[][..], Ok(0)),
            (&[3], Ok(3)),
            (&[3, 4, 5], Ok(12)),
            (&[most], Ok(most)),
            (&[most - 1, 1], Ok(most)),
            (&[1, most], Err(BodyError::TooLarge)),
            (&[most + 1], Err(BodyError::TooLarge)),
            (&[most; 32], Err(BodyError::TooLarge)),
        ] {
            let read = read(chunks(lengths), None, BODY_LEN_MAX, LIMIT).await;
            assert_eq!(read.map(|body| body.len()), length, "{lengths:?}");
        }
    }

    #[tokio::test]
    async fn a_body_that_says_it_is_huge_is_not_waited_for() {
        let never = stream::pending::<Result<Bytes, ()>>();
        let declared = Some(DISCARD_LEN_MAX as u64 + 1);
        assert_eq!(read(never, declared, BODY_LEN_MAX, LIMIT).await, Err(BodyError::TooLarge));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_is_given_up() {
        let slow = chunks(&[1]).chain(stream::pending());
        assert_eq!(read(slow, None, BODY_LEN_MAX, LIMIT).await, Err(BodyError::TooSlow));
    }

    #[tokio::test]
    async fn a_broken_body_is_told_from_a_short_one() {
        let broken = chunks(&[1]).chain(stream::iter([Err(())]));
        assert_eq!(read(broken, Some(2), BODY_LEN_MAX, LIMIT).await, Err(BodyError::Broken));
    }
}
