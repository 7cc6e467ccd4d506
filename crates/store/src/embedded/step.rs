//! A step and its caller, on their way through the writer's queue.

use super::batch::Batch;
use crate::StoreError;
use std::fmt;
use tokio::sync::oneshot;

/// A step that was asked for.
pub(super) trait Step: Send {
    /// Performs it and keeps the outcome, unless its caller has given up: that one has been told that it failed, and
    /// may have asked for something else since. It can be performed again in another batch if this one fails.
    fn perform(&mut self, batch: &mut Batch<'_, '_>);

    /// Replaces the outcome by the reason why the batch was not committed.
    fn fail(&mut self, error: StoreError);

    /// Answers its caller with the outcome.
    fn answer(self: Box<Self>);
}

/// What becomes of a step whose caller has given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forsaken {
    /// It is not performed.
    Skipped,
    /// It is performed all the same, since it only takes away what is the caller's own.
    Performed,
}

/// A step that was asked for, and the caller that waits for its outcome.
struct Asked<F, T> {
    step: F,
    forsaken: Forsaken,
    /// The outcome, once it has been performed or has failed.
    outcome: Option<Result<T, StoreError>>,
    caller: oneshot::Sender<Result<T, StoreError>>,
}

/// A step, and where its caller gets the outcome.
pub(super) fn ask<T: Send + 'static>(
    forsaken: Forsaken,
    step: impl Fn(&mut Batch<'_, '_>) -> Result<T, StoreError> + Send + 'static,
) -> (Box<dyn Step>, oneshot::Receiver<Result<T, StoreError>>) {
    let (caller, outcome) = oneshot::channel();
    (Box::new(Asked { step, forsaken, outcome: None, caller }), outcome)
}

impl<F, T> Step for Asked<F, T>
where
    F: Fn(&mut Batch<'_, '_>) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn perform(&mut self, batch: &mut Batch<'_, '_>) {
        if self.caller.is_closed() && self.forsaken == Forsaken::Skipped {
            return;
        }
        let outcome = (self.step)(batch);
        batch.note(outcome.as_ref().err());
        self.outcome = Some(outcome);
    }

    fn fail(&mut self, error: StoreError) {
        self.outcome = Some(Err(error));
    }

    fn answer(self: Box<Self>) {
        if let Some(outcome) = self.outcome {
            // A caller that has given up does not want the answer.
            let _ = self.caller.send(outcome);
        }
    }
}

impl fmt::Debug for dyn Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Step")
    }
}
