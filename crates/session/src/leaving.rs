//! The end of a conversation: what is still done after the socket was closed or has ended.

use crate::{
    api::{Effect, Outcome, Step},
    greeting::evict,
    message::error_reply,
    steps::Steps,
    violation::Violation,
};
use beckon_types::{ClientId, HelloOutcome, Presence};

/// A client that is sent nothing more. Its steps are finished, then its UAID is released.
#[derive(Debug, Clone)]
pub(crate) struct Leaving {
    client: ClientId,
    /// The socket that gets the UAID back when it is released.
    former: Option<Presence>,
    awaits: Awaits,
}

#[derive(Debug, Clone, Copy)]
enum Awaits {
    /// The outcome of the hello.
    Hello,
    /// The outcomes of the steps that were asked for before.
    Steps {
        /// Whether the socket may own the UAID, so that it has to be released.
        is_owner: bool,
    },
    /// The outcome of the release.
    Release,
    /// The outcome of the note for the socket that has got the UAID back.
    Note,
}

impl Leaving {
    /// The socket has ended while it was claiming the UAID.
    pub(crate) fn during_hello(client: ClientId) -> Self {
        Self { client, former: None, awaits: Awaits::Hello }
    }

    /// The socket has ended and may own the UAID.
    pub(crate) fn as_owner(client: ClientId) -> Self {
        Self { client, former: None, awaits: Awaits::Steps { is_owner: true } }
    }

    /// The socket does not own the UAID any more. Its acknowledgements still count; everything else would be refused.
    pub(crate) fn disowned(client: ClientId) -> Self {
        Self { client, former: None, awaits: Awaits::Steps { is_owner: false } }
    }

    /// Handles the outcome of the step under way.
    pub(crate) fn conclude(
        &mut self,
        outcome: &Outcome,
        steps: &mut Steps,
        own: Presence,
        effects: &mut Vec<Effect>,
    ) {
        match self.awaits {
            Awaits::Hello => {
                let is_owner = match outcome {
                    // The user agent may have said hello on that socket since.
                    Outcome::Hello(HelloOutcome::Claimed { former, .. }) => {
                        self.former = former.filter(|former| *former != own);
                        true
                    }
                    Outcome::Hello(HelloOutcome::Deleted { former }) => {
                        evict(*former, own, effects);
                        false
                    }
                    Outcome::Hello(
                        HelloOutcome::Unknown { .. }
                        | HelloOutcome::ListMissing
                        | HelloOutcome::NoRoom
                        | HelloOutcome::Blocked,
                    ) => false,
                    // The store has failed, but may have performed the step.
                    Outcome::Registered { .. }
                    | Outcome::Full
                    | Outcome::Backlog(_)
                    | Outcome::Snapshot(_)
                    | Outcome::Verified { .. }
                    | Outcome::Done
                    | Outcome::ClaimLost
                    | Outcome::NotOwner
                    | Outcome::Postponed
                    | Outcome::Failed => true,
                };
                self.awaits = Awaits::Steps { is_owner };
            }
            Awaits::Steps { .. } => {
                steps.finish();
                match outcome {
                    Outcome::NotOwner | Outcome::ClaimLost => {
                        self.awaits = Awaits::Steps { is_owner: false };
                        steps.keep_acknowledgements();
                    }
                    // The node does not wait for a store that fails. What is lost is sent again after the next hello.
                    Outcome::Failed => steps.keep_none(),
                    Outcome::Hello(_)
                    | Outcome::Registered { .. }
                    | Outcome::Full
                    | Outcome::Backlog(_)
                    | Outcome::Snapshot(_)
                    | Outcome::Verified { .. }
                    | Outcome::Postponed
                    | Outcome::Done => {}
                }
            }
            Awaits::Release | Awaits::Note => {
                self.awaits = Awaits::Steps { is_owner: false };
            }
        }
    }

    /// Asks for the next step, unless one is under way. Returns true if nothing is left to do.
    pub(crate) fn go_on(&mut self, steps: &mut Steps, own: Presence, effects: &mut Vec<Effect>) -> bool {
        let Awaits::Steps { is_owner } = self.awaits else { return false };
        if let Some(step) = steps.start(|| self.client, own) {
            effects.push(Effect::Store(step));
        }
        if !steps.is_empty() {
            return false;
        }
        if is_owner {
            self.awaits = Awaits::Release;
            effects.push(Effect::Store(Step::Release(self.client, own, self.former)));
        } else if let Some(former) = self.former.take() {
            // In the meantime it may have been refused something, or have missed it.
            self.awaits = Awaits::Note;
            effects.push(Effect::Store(Step::NoteMissed(former)));
        } else {
            return true;
        }
        false
    }
}

/// Replies to a request that breaks the rules, if it gets a reply, and closes the socket.
pub(crate) fn refuse(request: &str, violation: Violation, effects: &mut Vec<Effect>) {
    if let Some(error) = violation.error() {
        effects.push(Effect::Send(error_reply(request, error, violation.omitted_members())));
    }
    effects.push(Effect::Close(violation.close_code()));
}
