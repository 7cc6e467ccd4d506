//! A question that many have at the same time, asked for all of them together.

use super::dial::now;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until},
};

/// Rounds of one question. One is under way at a time, with a pause between the beginnings of two.
#[derive(Debug)]
pub(super) struct Rounds<T> {
    pause: Duration,
    /// How many have begun.
    begun: AtomicU64,
    last: Mutex<Option<Round<T>>>,
}

#[derive(Debug)]
struct Round<T> {
    number: u64,
    begun: Instant,
    answer: T,
}

impl<T: Clone> Rounds<T> {
    pub(super) fn new(pause: Duration) -> Self {
        Self { pause, begun: AtomicU64::new(0), last: Mutex::default() }
    }

    /// The answer of a round that has begun after this call. `question` is asked unless another caller's serves as well.
    pub(super) async fn ask(&self, question: impl Future<Output = T>) -> T {
        let before = self.begun.load(Ordering::Acquire);
        let mut last = self.last.lock().await;
        if let Some(round) = &*last {
            if round.number > before {
                return round.answer.clone();
            }
            sleep_until(round.begun + self.pause).await;
        }
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let begun = now();
        let answer = question.await;
        *last = Some(Round { number, begun, answer: answer.clone() });
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use tokio::time::{sleep, timeout};

    const PAUSE: Duration = Duration::from_millis(50);

    /// A question that takes a while, and is answered with how many were asked before.
    async fn question(asked: &AtomicU64) -> u64 {
        let number = asked.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(10)).await;
        number
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_shares_a_round_that_begins_after_it_came() {
        let (rounds, asked, start) = (Rounds::new(PAUSE), AtomicU64::new(0), now());
        let early = rounds.ask(question(&asked));
        let crowd = async {
            // The first round is under way.
            sleep(Duration::from_millis(5)).await;
            join_all((0..1000).map(|_| rounds.ask(question(&asked)))).await
        };
        let (early, crowd) = tokio::join!(early, crowd);
        assert_eq!((early, crowd), (0, vec![1; 1000]));
        assert_eq!(start.elapsed(), PAUSE + Duration::from_millis(10));
        assert_eq!(rounds.ask(question(&asked)).await, 2, "an answer is not kept for later");
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_gives_up_leaves_the_question_to_the_next() {
        let (rounds, asked) = (Rounds::new(PAUSE), AtomicU64::new(0));
        let silent = rounds.ask(std::future::pending());
        let (given_up, answer) = tokio::join!(timeout(PAUSE, silent), rounds.ask(question(&asked)));
        assert!(given_up.is_err());
        assert_eq!(answer, 0);
    }
}
