//! A question that many have at the same time, asked for all of them together.

use super::dial::now;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::sleep_until,
};

/// Rounds of one question. One task holds them, one after the other, with a pause between the beginnings of two. Whoever has
/// waited for a round is woken when it ends, by that task: if they woke each other, each would wait until its thread has done
/// everything else that is ready.
#[derive(Debug)]
pub(super) struct Rounds<T> {
    pause: Duration,
    /// Notified when a round is wanted.
    pub(super) wanted: Arc<Notify>,
    /// How many have begun.
    begun: AtomicU64,
    last: watch::Sender<Option<Round<T>>>,
}

#[derive(Debug)]
struct Round<T> {
    number: u64,
    answer: T,
}

impl<T: Clone> Rounds<T> {
    pub(super) fn new(pause: Duration) -> Self {
        Self { pause, wanted: Arc::default(), begun: AtomicU64::new(0), last: watch::Sender::new(None) }
    }

    /// The answer of a round that begins after this call.
    pub(super) async fn ask(&self) -> T {
        let before = self.begun.load(Ordering::Acquire);
        self.wanted.notify_one();
        let mut last = self.last.subscribe();
        let is_later = |round: &Option<Round<T>>| round.as_ref().is_some_and(|round| round.number > before);
        match last
            .wait_for(is_later)
            .await
            .ok()
            .and_then(|round| round.as_ref().map(|round| round.answer.clone()))
        {
            Some(answer) => answer,
            // The sender is in `self`.
            None => std::future::pending().await,
        }
    }

    /// Holds a round, and waits until the next one may begin.
    pub(super) async fn hold(&self, question: impl Future<Output = T>) -> T {
        let end = now() + self.pause;
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let answer = question.await;
        self.last.send_replace(Some(Round { number, answer: answer.clone() }));
        sleep_until(end).await;
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use std::{future::poll_fn, task::Poll};
    use tokio::{
        task::JoinSet,
        time::{sleep, timeout},
    };

    const PAUSE: Duration = Duration::from_millis(50);

    /// Rounds of a question that takes a while, and is answered with how many were asked before. They end with the set.
    fn held() -> (Arc<Rounds<u64>>, JoinSet<()>) {
        let (rounds, mut holder) = (Arc::new(Rounds::new(PAUSE)), JoinSet::new());
        let held = rounds.clone();
        holder.spawn(async move {
            for number in 0.. {
                held.wanted.notified().await;
                let question = async {
                    sleep(Duration::from_millis(10)).await;
                    number
                };
                held.hold(question).await;
            }
        });
        (rounds, holder)
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_shares_a_round_that_begins_after_it_came() {
        let (start, (rounds, _holder)) = (now(), held());
        let early = rounds.ask();
        let crowd = async {
            // The first round is under way.
            sleep(Duration::from_millis(5)).await;
            join_all((0..1000).map(|_| rounds.ask())).await
        };
        let (early, crowd) = tokio::join!(early, crowd);
        assert_eq!((early, crowd), (0, vec![1; 1000]));
        assert_eq!(start.elapsed(), PAUSE + Duration::from_millis(10));
        assert_eq!(rounds.ask().await, 2, "an answer is not kept for later");
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_gives_up_leaves_the_answer_to_the_others() {
        let (rounds, _holder) = held();
        let (given_up, answer) = tokio::join!(timeout(Duration::ZERO, rounds.ask()), rounds.ask());
        assert!(given_up.is_err());
        assert_eq!(answer, 0);
    }

    /// The thread always has something else to do, as that of a busy node has.
    #[tokio::test]
    async fn a_crowd_does_not_wait_for_other_work_one_by_one() {
        const CROWD: u64 = 1000;
        let ((rounds, _holder), turns) = (held(), Arc::new(AtomicU64::new(0)));
        let (mut crowd, mut other_work) = (JoinSet::new(), JoinSet::new());
        for _ in 0..CROWD {
            let (rounds, turns) = (rounds.clone(), turns.clone());
            crowd.spawn(async move {
                rounds.ask().await;
                turns.load(Ordering::Relaxed)
            });
        }
        let turn = turns.clone();
        other_work.spawn(poll_fn(move |context| {
            turn.fetch_add(1, Ordering::Relaxed);
            context.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        let answered = crowd.join_all().await;
        let (first, last) = (answered.iter().min().unwrap(), answered.iter().max().unwrap());
        assert!(
            last - first < CROWD / 10,
            "{} turns of other work between the first and the last",
            last - first
        );
    }
}
