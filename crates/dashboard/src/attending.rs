//! The nodes that attend at this one: they cannot be called, so they call, and are asked on the stream that they opened.

use beckon_proto::{
    admin::{Answer, Question},
    push_v1::{Attendance, Call},
};
use beckon_types::NodeId;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::{mpsc, oneshot};

/// Questions on their way to one node, and so those that wait for its answer. Further ones are not asked.
pub(crate) const CALLS_MAX: usize = 64;

/// The lines to the nodes that attend here. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attending(Arc<Mutex<HashMap<NodeId, Arc<Line>>>>);

/// The way to one node.
#[derive(Debug)]
pub(crate) struct Line {
    calls: mpsc::Sender<Call>,
    tags: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
}

impl Attending {
    /// Enters a node; an earlier line of it is forgotten. The receiver gets the questions.
    pub(crate) fn enter(&self, node: NodeId) -> (Arc<Line>, mpsc::Receiver<Call>) {
        let (calls, receiver) = mpsc::channel(CALLS_MAX);
        let line = Arc::new(Line { calls, tags: AtomicU64::new(1), waiting: Mutex::default() });
        self.0.lock().insert(node, line.clone());
        (line, receiver)
    }

    /// Forgets a node, unless it has another line by now.
    pub(crate) fn leave(&self, node: NodeId, line: &Arc<Line>) {
        let mut lines = self.0.lock();
        if lines.get(&node).is_some_and(|known| Arc::ptr_eq(known, line)) {
            lines.remove(&node);
        }
        // Whoever waits for an answer learns that there will be none.
        line.waiting.lock().clear();
    }

    /// The way to a node, if it attends here.
    pub(crate) fn line(&self, node: NodeId) -> Option<Arc<Line>> {
        self.0.lock().get(&node).cloned()
    }
}

impl Line {
    /// Asks the node; `None` if it has left or too much is asked of it. The caller limits the time.
    pub(crate) async fn ask(&self, question: Question) -> Option<Answer> {
        let tag = self.tags.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock();
            waiting.retain(|_, sender| !sender.is_closed());
            if waiting.len() >= CALLS_MAX {
                return None;
            }
            waiting.insert(tag, sender);
        }
        self.calls.try_send(Call { tag, question: Some(question.into()) }).ok()?;
        answer.await.ok()
    }

    /// Hands an answer to whoever waits for it. One that comes late has no effect.
    pub(crate) fn answered(&self, attendance: Attendance) {
        let Some(sender) = self.waiting.lock().remove(&attendance.tag) else { return };
        if let Some(Ok(answer)) = attendance.answer.map(Answer::try_from) {
            let _ = sender.send(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(7);

    #[tokio::test]
    async fn answers_find_their_questions() {
        let attending = Attending::default();
        let (line, mut calls) = attending.enter(NODE);
        let node = async {
            let calls = [calls.recv().await.unwrap(), calls.recv().await.unwrap()];
            for Call { tag, .. } in calls.into_iter().rev() {
                let answer = Some(Answer::Done { sockets: tag }.into());
                line.answered(Attendance { node: NODE.0, tag, answer });
            }
        };
        let asked = attending.line(NODE).unwrap();
        let ((), first, second) = tokio::join!(node, asked.ask(Question::Status), asked.ask(Question::Audit));
        assert_eq!(first, Some(Answer::Done { sockets: 1 }));
        assert_eq!(second, Some(Answer::Done { sockets: 2 }));
    }

    #[tokio::test]
    async fn a_node_that_has_left_answers_nothing() {
        let attending = Attending::default();
        let (line, _calls) = attending.enter(NODE);
        let (asked, ()) = tokio::join!(line.ask(Question::Status), async {
            attending.leave(NODE, &line);
        });
        assert_eq!(asked, None);
        assert!(attending.line(NODE).is_none());
        let (newer, _calls) = attending.enter(NODE);
        attending.leave(NODE, &line);
        assert!(Arc::ptr_eq(&attending.line(NODE).unwrap(), &newer));
    }

    #[tokio::test]
    async fn a_silent_node_is_not_asked_without_end() {
        let attending = Attending::default();
        let (line, _calls) = attending.enter(NODE);
        let asked: Vec<_> = (0..CALLS_MAX).map(|_| Box::pin(line.ask(Question::Status))).collect();
        let mut asked = futures_util::future::join_all(asked);
        assert!(futures_util::poll!(&mut asked).is_pending());
        assert_eq!(line.ask(Question::Status).await, None);
        drop(asked);
        assert_eq!(line.ask(Question::Status).await, None, "its queue is still full");
    }
}
