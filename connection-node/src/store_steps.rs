//! The store steps of a connection: what a session asks for becomes a call of the store, whose result becomes an
//! outcome for the session.

use crate::metrics::StepKind;
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
#[derive(Debug)]
pub(crate) struct StepUnderWay {
    /// What is measured by.
    pub(crate) kind: StepKind,
    /// When it began: the low half of the clock's microseconds, so that it takes little memory.
    began_us: u32,
    /// When the message came that it follows from, in the same way.
    asked_us: u32,
    answer: Pending,
}

/// One variant for each type of answer, so that the store's own boxed future needs no second box around it.
enum Pending {
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

impl StepUnderWay {
    /// Whether the store may delay it ([`Store::hurry`]).
    pub(crate) fn is_patient(&self) -> bool {
        matches!(self.kind, StepKind::AckVersions | StepKind::RemoveMessages)
    }

    /// When it began, if it ends now. Both are microseconds of the clock.
    pub(crate) fn began_us(&self, now_us: u64) -> u64 {
        whole(self.began_us, now_us)
    }

    /// When the message came that it follows from, if it ends now.
    pub(crate) fn asked_us(&self, now_us: u64) -> u64 {
        whole(self.asked_us, now_us)
    }

    /// It follows from the same message as a step before it, which came then.
    pub(crate) fn goes_on_from(&mut self, asked_us: u64) {
        self.asked_us = asked_us as u32;
    }
}

/// A reading of the clock of which there is only the low half, at most an hour before `now_us`.
fn whole(low_us: u32, now_us: u64) -> u64 {
    now_us - u64::from((now_us as u32).wrapping_sub(low_us))
}

/// Asks the store to perform a step. `now_us` is a reading of the clock.
pub(crate) fn perform(store: &dyn Store, step: Step, now_us: u64) -> StepUnderWay {
    let kind = StepKind::from(&step);
    let answer = match step {
        Step::Hello(hello) => Pending::Hello(store.hello(hello)),
        Step::AddChannel(add) => Pending::AddChannel(store.add_channel(add)),
        Step::RemoveChannel(client, presence, channel) => {
            Pending::OfOwner(store.remove_channel(client, presence, channel))
        }
        Step::AckVersions(client, acks) => Pending::OfAny(store.ack_versions(client, acks)),
        Step::RemoveMessages(client, places) => Pending::OfAny(store.remove_messages(client, places)),
        Step::Fetch(fetch) => Pending::Fetch(store.fetch(fetch)),
        Step::Snapshot(client, presence) => Pending::Snapshot(store.snapshot(client, presence)),
        Step::Verify(client, presence) => Pending::Verify(store.verify(client, presence)),
        Step::Release(client, presence, former) => Pending::OfAny(store.release(client, presence, former)),
        Step::NoteMissed(presence) => Pending::OfAny(store.note_missed(presence)),
    };
    StepUnderWay { kind, began_us: now_us as u32, asked_us: now_us as u32, answer }
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
        match &mut self.get_mut().answer {
            Pending::Hello(answer) => poll(answer, context),
            Pending::AddChannel(answer) => poll(answer, context),
            Pending::Fetch(answer) => poll(answer, context),
            Pending::Snapshot(answer) => poll(answer, context),
            Pending::Verify(answer) => poll(answer, context),
            Pending::OfOwner(answer) => poll(answer, context),
            Pending::OfAny(answer) => poll(answer, context),
        }
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pending")
    }
}
