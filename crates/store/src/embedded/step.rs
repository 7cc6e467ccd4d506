//! A step and its caller, on their way through the writer's queue.

use super::batch::Batch;
use crate::StoreError;
use std::fmt;
use tokio::sync::oneshot;

/// A step that was asked for.
pub(super) trait Step: Send {
    /// Performs it and keeps the outcome.
    fn perform(&mut self, batch: &mut Batch<'_, '_>);

    /// Answers its caller: with the outcome if the batch was committed, else with the reason why it was not.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A step that was asked for, and the caller that waits for its outcome.
struct Asked<F, T> {
    /// `None` once it has been performed.
    step: Option<F>,
    /// The outcome, once it has been performed.
    outcome: Option<Result<T, StoreError>>,
    caller: oneshot::Sender<Result<T, StoreError>>,
}

/// A step, and where its caller gets the outcome.
pub(super) fn ask<T: Send + 'static>(
    step: impl FnOnce(&mut Batch<'_, '_>) -> Result<T, StoreError> + Send + 'static,
) -> (Box<dyn Step>, oneshot::Receiver<Result<T, StoreError>>) {
    let (caller, outcome) = oneshot::channel();
    (Box::new(Asked { step: Some(step), outcome: None, caller }), outcome)
}

impl<F, T> Step for Asked<F, T>
where
    F: FnOnce(&mut Batch<'_, '_>) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn perform(&mut self, batch: &mut Batch<'_, '_>) {
        let Some(step) = self.step.take() else { return };
        let outcome = step(batch);
        batch.note(outcome.as_ref().err());
        self.outcome = Some(outcome);
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { outcome, caller, .. } = *self;
        if let Err(error) = committed {
            // A caller that has given up does not want the answer.
            let _ = caller.send(Err(error));
        } else if let Some(outcome) = outcome {
            let _ = caller.send(outcome);
        }
    }
}

impl fmt::Debug for dyn Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Step")
    }
}
