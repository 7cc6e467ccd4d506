//! All checks, several at a time, and what became of each item.

use crate::{
    Check,
    checklist::{self, Item},
    server::Server,
};
use serde::Serialize;
use std::{
    any::Any,
    collections::HashMap,
    panic::{self, PanicHookInfo},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::Semaphore,
    task::{self, Id, JoinError, JoinSet, LocalSet},
    time::timeout,
};

/// How many checks run at the same time.
const AT_ONCE: usize = 8;

/// The longest reason that is reported, in characters.
const REASON_MAX: usize = 600;

/// What became of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    /// The server does what the item says.
    Passed,
    /// It does not.
    Failed {
        /// What was expected and what came.
        reason: String,
        /// The line of the check that found it.
        place: Option<String>,
    },
    /// The item was not checked.
    Skipped {
        /// What that would need.
        reason: String,
    },
}

/// An item and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `SP-27`.
    pub item: &'static str,
    /// The requirement, as PROTOCOL.md words it.
    pub requirement: &'static str,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Which checks are made, and how long each may take.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Only these items; `WP-` stands for all of Web Push. Empty: all.
    pub items: Vec<String>,
    /// Also those that wait for the server's times to pass, which takes a quarter of an hour.
    pub slow: bool,
    /// The longest that one check may take, besides the times that it waits for.
    pub limit: Duration,
    /// The longest that all of them may take. What is not done by then has failed.
    pub total: Duration,
}

impl Choice {
    fn has(&self, item: &str) -> bool {
        self.items.is_empty() || self.items.iter().any(|choice| checklist::is_chosen(item, choice))
    }
}

/// Checks the items of the checklist, and returns what became of each, in the order of the document. `progress` is
/// called with each item whose check has ended. While this runs, panics of checks are not printed.
pub async fn examine(server: &Server, choice: &Choice, progress: impl Fn(&str)) -> Vec<Finding> {
    let places = Places::collect();
    let (local, permits) = (LocalSet::new(), Arc::new(Semaphore::new(AT_ONCE)));
    let (mut running, mut begun) = (JoinSet::new(), HashMap::new());
    let checks = crate::checks().into_iter().filter(|check| choice.has(&check.item()));
    for check in checks.filter(|check| choice.slow || !check.is_slow) {
        let limit = limit(server, check, choice);
        let (server, permits) = (server.clone(), Arc::clone(&permits));
        let task = async move {
            // Slow ones wait most of the time.
            let _permit = if check.is_slow { None } else { permits.acquire_owned().await.ok() };
            timeout(limit, (check.run)(server)).await.is_ok()
        };
        begun.insert(running.spawn_local_on(task, &local).id(), (check.item(), limit));
    }
    let mut outcomes = HashMap::new();
    let all = local.run_until(async {
        while let Some(ended) = running.join_next_with_id().await {
            let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
            let Some((item, limit)) = begun.remove(&id) else { continue };
            progress(&item);
            let outcome = match ended {
                Ok((_, true)) => Outcome::Passed,
                Ok((_, false)) => not_done_within(limit),
                Err(error) => Outcome::Failed { reason: reason(error), place: places.of(id) },
            };
            note(&mut outcomes, item, outcome);
        }
    });
    let _ = timeout(choice.total, all).await;
    for (item, _) in begun.into_values() {
        note(&mut outcomes, item, not_done_within(choice.total));
    }
    let items = checklist::items().into_iter().filter(|item| choice.has(item.name));
    items
        .map(|Item { name, requirement }| {
            let outcome = outcomes.remove(name).unwrap_or_else(|| skipped(name));
            Finding { item: name, requirement, outcome }
        })
        .collect()
}

/// An item has failed if one of its checks has.
fn note(outcomes: &mut HashMap<String, Outcome>, item: String, outcome: Outcome) {
    let known = outcomes.entry(item).or_insert(Outcome::Passed);
    if *known == Outcome::Passed {
        *known = outcome;
    }
}

fn not_done_within(limit: Duration) -> Outcome {
    Outcome::Failed { reason: format!("not done within {limit:?}"), place: None }
}

fn skipped(item: &str) -> Outcome {
    let reason = match checklist::needs(item) {
        Some(need) => format!("needs {need}"),
        None => "takes minutes; --slow includes it".to_owned(),
    };
    Outcome::Skipped { reason }
}

fn limit(server: &Server, check: Check, choice: &Choice) -> Duration {
    let times = server.times();
    let waits = times.hello_timeout
        + 3 * times.keepalive_interval
        + times.keepalive_timeout
        + 6 * times.sp_retry_interval;
    if check.is_slow { choice.limit + waits } else { choice.limit }
}

/// What a check has panicked with.
fn reason(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => in_words(&text_of(&*payload)),
        Err(error) => error.to_string(),
    }
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("it has panicked").to_owned()
}

/// The words of `assert_eq!` for a reader who does not see the code: the left is what came, the right what was expected.
fn in_words(text: &str) -> String {
    let sides = text.strip_prefix("assertion `left == right` failed").and_then(|body| {
        let (remark, sides) = body.split_once("\n  left: ")?;
        let (got, expected) = sides.split_once("\n right: ")?;
        Some((remark.trim_start_matches(": "), got, expected))
    });
    let words = match sides {
        Some(("", got, expected)) => format!("got {got}, expected {expected}"),
        Some((remark, got, expected)) => format!("got {got}, expected {expected} ({remark})"),
        None => text.to_owned(),
    };
    match words.char_indices().nth(REASON_MAX) {
        Some((end, _)) => format!("{}...", &words[..end]),
        None => words,
    }
}

/// A hook for panics.
type Hook = dyn Fn(&PanicHookInfo<'_>) + Send + Sync;

/// Where the tasks of this process have panicked. The hook that was there before returns when this is dropped.
struct Places {
    found: Arc<Mutex<HashMap<Id, String>>>,
    before: Arc<Hook>,
}

impl Places {
    fn collect() -> Self {
        let found = Arc::new(Mutex::new(HashMap::new()));
        let before: Arc<Hook> = Arc::from(panic::take_hook());
        let (of_hook, otherwise) = (Arc::clone(&found), Arc::clone(&before));
        panic::set_hook(Box::new(move |info| match (task::try_id(), info.location()) {
            (Some(id), Some(location)) => {
                of_hook.lock().unwrap_or_else(PoisonError::into_inner).insert(id, location.to_string());
            }
            _ => otherwise(info),
        }));
        Self { found, before }
    }

    fn of(&self, task: Id) -> Option<String> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).get(&task).cloned()
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        let before = Arc::clone(&self.before);
        panic::set_hook(Box::new(move |info| before(info)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_comparison_is_told_in_words() {
        let text = "assertion `left == right` failed: ping\n  left: 200\n right: 202";
        assert_eq!(in_words(text), "got 200, expected 202 (ping)");
        assert_eq!(in_words("assertion `left == right` failed\n  left: 1\n right: 2"), "got 1, expected 2");
        assert_eq!(in_words("no message: timed out"), "no message: timed out");
        assert!(in_words(&"x".repeat(10_000)).len() < 1000);
    }

    #[test]
    fn items_are_chosen_by_name_or_dialect() {
        let choice = |items: &[&str]| Choice {
            items: items.iter().map(|item| (*item).to_owned()).collect(),
            slow: false,
            limit: Duration::from_secs(1),
            total: Duration::from_secs(1),
        };
        assert!(choice(&[]).has("SP-1") && choice(&["SP-"]).has("SP-1") && choice(&["SP-1"]).has("SP-1"));
        assert!(!choice(&["SP-1"]).has("SP-10") && !choice(&["WP-"]).has("SP-1"));
    }
}
