//! Reading a request body within a size and a time.

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use hyper::StatusCode;
use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

/// How many bytes of a refused body are read and discarded. A client that is still sending when its connection is closed
/// may not receive the answer; that can happen to a client that sends more than this.
pub const DISCARD_LEN_MAX: usize = 1024 * 1024;

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is longer than the limit.
    #[error("the body is too long")]
    TooLarge,
    /// It did not arrive within the time limit.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// The connection broke, or the bytes were not HTTP.
    #[error("the body did not arrive whole")]
    Broken,
}

impl BodyError {
    /// The status of the answer to such a request.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
        }
    }
}

/// Reads a body of `declared` bytes, or of unknown length, within the time limit. More than `len_max` bytes are an error.
///
/// # Errors
/// As of [`BodyError`].
pub async fn read<S, B, E>(
    body: S,
    declared: Option<u64>,
    len_max: usize,
    limit: Duration,
) -> Result<Bytes, BodyError>
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
{
    if declared.is_some_and(|length| length > DISCARD_LEN_MAX as u64) {
        return Err(BodyError::TooLarge);
    }
    let mut collected = pin!(collect(body, len_max));
    // Most bodies have arrived together with the head, and cost neither a timer nor a look at the clock.
    if let Poll::Ready(body) = poll_fn(|context| Poll::Ready(collected.as_mut().poll(context))).await {
        return body;
    }
    tokio::time::timeout(limit, collected).await.unwrap_or(Err(BodyError::TooSlow))
}

/// Reads and discards the body of a request that is refused anyway, within the time limit and up to
/// [`DISCARD_LEN_MAX`].
pub async fn discard<S, B, E>(body: S, declared: Option<u64>, limit: Duration)
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
{
    // The answer is the refusal, whatever happens to the body.
    let _ = read(body, declared, 0, limit).await;
}

async fn collect<S, B, E>(body: S, len_max: usize) -> Result<Bytes, BodyError>
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
{
    let mut body = pin!(body);
    let mut next = async || body.next().await.transpose().map_err(|_| BodyError::Broken);
    let Some(mut chunk) = next().await? else { return Ok(Bytes::new()) };
    let first = chunk.copy_to_bytes(chunk.remaining());
    let Some(mut chunk) = next().await? else {
        // The usual case, one small chunk, is not copied.
        return if first.len() <= len_max { Ok(first) } else { Err(BodyError::TooLarge) };
    };
    let mut length = first.len();
    let mut whole = BytesMut::from(first);
    loop {
        length += chunk.remaining();
        if length <= len_max {
            whole.extend_from_slice(&chunk.copy_to_bytes(chunk.remaining()));
        } else if length > DISCARD_LEN_MAX {
            return Err(BodyError::TooLarge);
        }
        match next().await? {
            Some(another) => chunk = another,
            None if length <= len_max => return Ok(whole.freeze()),
            None => return Err(BodyError::TooLarge),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    const LIMIT: Duration = Duration::from_secs(10);

    const LEN_MAX: usize = 64 * 1024;

    /// A stream of chunks of these lengths.
    fn chunks(lengths: &[usize]) -> impl Stream<Item = Result<Bytes, ()>> + use<> {
        stream::iter(lengths.iter().map(|&length| Ok(Bytes::from(vec![7; length]))).collect::<Vec<_>>())
    }

    #[tokio::test]
    async fn a_body_may_be_as_long_as_its_limit() {
        let most = LEN_MAX;
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
            let read = read(chunks(lengths), None, LEN_MAX, LIMIT).await;
            assert_eq!(read.map(|body| body.len()), length, "{lengths:?}");
        }
    }

    #[tokio::test]
    async fn a_body_that_is_declared_too_large_is_not_read() {
        let never = stream::pending::<Result<Bytes, ()>>();
        let declared = Some(DISCARD_LEN_MAX as u64 + 1);
        assert_eq!(read(never, declared, LEN_MAX, LIMIT).await, Err(BodyError::TooLarge));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_times_out() {
        let slow = chunks(&[1]).chain(stream::pending());
        assert_eq!(read(slow, None, LEN_MAX, LIMIT).await, Err(BodyError::TooSlow));
    }

    #[tokio::test]
    async fn a_broken_body_is_not_a_short_body() {
        let broken = chunks(&[1]).chain(stream::iter([Err(())]));
        assert_eq!(read(broken, Some(2), LEN_MAX, LIMIT).await, Err(BodyError::Broken));
    }
}
