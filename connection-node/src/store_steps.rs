//! The store steps of a connection: what a session asks for becomes a call of the store, whose result becomes an
//! outcome for the session.

use beckon_session::{Outcome, Step};
use beckon_store::{Answer, Store, StoreError};
use beckon_types::{AddChannelOutcome, Backlog, Claim, HelloOutcome, NotOwner, Snapshot};
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// A step that the store is performing. It ends within the store's time limit.
///
/// One variant for each type of answer, so that the store's own boxed future needs no second box around it.
pub(crate) enum StepUnderWay {
    Hello(Answer<HelloOutcome>),
    AddChannel(Answer<AddChannelOutcome>),
    Fetch(Answer<Result<Backlog, NotOwner>>),
    Snapshot(Answer<Result<Snapshot, NotOwner>>),
    Verify(Answer<Claim>),
    /// A step of the owner without a result.
    OfOwner(Answer<Result<(), NotOwner>>),
    /// A step of any socket without a result.
    OfAny(Answer<()>),
}

/// Asks the store to perform a step.
pub(crate) fn perform(store: &dyn Store, step: Step) -> StepUnderWay {
    match step {
        Step::Hello(hello) => StepUnderWay::Hello(store.hello(hello)),
        Step::AddChannel(add) => StepUnderWay::AddChannel(store.add_channel(add)),
        Step::RemoveChannel(uaid, presence, channel) => {
            StepUnderWay::OfOwner(store.remove_channel(uaid, presence, channel))
        }
        Step::AckVersions(uaid, acks) => StepUnderWay::OfAny(store.ack_versions(uaid, acks)),
        Step::RemoveMessages(uaid, places) => StepUnderWay::OfAny(store.remove_messages(uaid, places)),
        Step::Fetch(fetch) => StepUnderWay::Fetch(store.fetch(fetch)),
        Step::Snapshot(uaid, presence) => StepUnderWay::Snapshot(store.snapshot(uaid, presence)),
        Step::Verify(uaid, presence) => StepUnderWay::Verify(store.verify(uaid, presence)),
        Step::Release(uaid, presence) => StepUnderWay::OfAny(store.release(uaid, presence)),
    }
}

impl Future for StepUnderWay {
    type Output = Result<Outcome, StoreError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        fn poll<T: Into<Outcome>>(
            answer: &mut Answer<T>,
            context: &mut Context<'_>,
        ) -> Poll<Result<Outcome, StoreError>> {
            answer.as_mut().poll(context).map_ok(Into::into)
        }
        match self.get_mut() {
            Self::Hello(answer) => poll(answer, context),
            Self::AddChannel(answer) => poll(answer, context),
            Self::Fetch(answer) => poll(answer, context),
            Self::Snapshot(answer) => poll(answer, context),
            Self::Verify(answer) => poll(answer, context),
            Self::OfOwner(answer) => poll(answer, context),
            Self::OfAny(answer) => poll(answer, context),
        }
    }
}

impl fmt::Debug for StepUnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StepUnderWay")
    }
}
