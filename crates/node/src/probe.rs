//! Asking the store for a sign of life, however many ask for the answer.

use beckon_ops::clock::Clock;
use std::{pin::Pin, time::Duration};
use tokio::sync::Mutex;

/// Time limit for an answer of the store; after that it counts as silent.
const LIMIT: Duration = Duration::from_secs(2);

/// How long an answer is valid, in milliseconds: many requests at once cost one question.
const LIFETIME_MS: u64 = 1000;

/// The answer of the store, or why there is none. The reason is logged and not shown.
pub type StorageCheck<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// One question to the store, and its last answer.
#[derive(Debug)]
pub(crate) struct Probe {
    /// What is not so if the answer is an error, for the log: `all of the store`.
    of: &'static str,
    last: Mutex<Option<Last>>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    at_ms: u64,
    /// When the first of the errors came; `None` if the last answer is none.
    failing_since_ms: Option<u64>,
}

impl Probe {
    /// A question that has not been asked.
    pub(crate) fn new(of: &'static str) -> Self {
        Self { of, last: Mutex::default() }
    }

    /// For how long the answer has been an error: `None` if it is not. The store is asked at most once in
    /// [`LIFETIME_MS`], and those who ask meanwhile wait for the same answer. A change is logged.
    pub(crate) async fn failing_for<'a>(
        &self,
        clock: &Clock,
        ask: impl FnOnce() -> StorageCheck<'a>,
    ) -> Option<Duration> {
        let mut last = self.last.lock().await;
        let before = *last;
        let asked_ms = clock.now_ms();
        let is_valid = |last: &Last| asked_ms.saturating_sub(last.at_ms) < LIFETIME_MS;
        let now = match before.filter(is_valid) {
            Some(valid) => valid,
            None => {
                let answer = match tokio::time::timeout(LIMIT, ask()).await {
                    Ok(answer) => answer,
                    Err(_) => Err(format!("no answer within {LIMIT:?}")),
                };
                let since_ms = before.and_then(|before| before.failing_since_ms);
                match &answer {
                    Err(error) if since_ms.is_none() => {
                        tracing::warn!(%error, "{} does not answer", self.of);
                    }
                    Ok(()) if since_ms.is_some() => tracing::info!("{} answers again", self.of),
                    Ok(()) | Err(_) => {}
                }
                let failing_since_ms = answer.is_err().then(|| since_ms.unwrap_or(asked_ms));
                Last { at_ms: clock.now_ms(), failing_since_ms }
            }
        };
        *last = Some(now);
        let since_ms = now.failing_since_ms?;
        Some(Duration::from_millis(clock.now_ms().saturating_sub(since_ms)))
    }
}
