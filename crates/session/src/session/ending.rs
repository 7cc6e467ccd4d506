//! Outcomes of steps, closing, and what is still done after it.

use super::{Job, Phase, Session};
use crate::{
    api::{CloseCode, Context, Effect, Outcome},
    message::error_reply,
    violation::INTERNAL_ERROR,
};
use beckon_types::HelloOutcome;

impl Session {
    /// Brings the outcome of the step under way to whoever asked for it, and starts the next one.
    pub(super) fn conclude(&mut self, context: &Context<'_>, outcome: Outcome, effects: &mut Vec<Effect>) {
        let Some(job) = self.steps.finish() else { return };
        match self.phase {
            Phase::Open => {
                self.answer(context, job, outcome, effects);
                if self.phase == Phase::Open {
                    self.start_next(effects);
                }
            }
            Phase::Ending { .. } => self.conclude_ending(&job, &outcome, effects),
            Phase::Over => {}
        }
    }

    /// An outcome of another kind than the step counts as a failure of the store.
    fn answer(&mut self, context: &Context<'_>, job: Job, outcome: Outcome, effects: &mut Vec<Effect>) {
        match (job, outcome) {
            (Job::Greet(greeting), Outcome::Hello(outcome)) => {
                self.greeted(context, greeting, outcome, effects);
            }
            (_, Outcome::NotOwner) => self.close_disowned(effects),
            (Job::Register { request, add, missed }, Outcome::Registered { key, sequence }) => {
                self.registered(context, (&request, add, missed), (key, sequence), effects);
            }
            (Job::Register { request, .. }, Outcome::Full) => {
                effects.push(Effect::Send(error_reply(&request, INTERNAL_ERROR, &[])));
            }
            (Job::Register { request, missed, .. }, _) => {
                self.register_failed(context, &request, missed, effects);
            }
            (Job::Unregister { channel, spelling, .. }, Outcome::Done) => {
                self.unregistered(context, channel, spelling, effects);
            }
            (Job::Look, Outcome::Snapshot(snapshot)) => self.looked(context, snapshot, effects),
            (Job::GreetAgain, Outcome::Snapshot(snapshot)) => {
                self.greeted_again(context.now, snapshot, effects);
            }
            (Job::Fetch(fetch), Outcome::Backlog(backlog)) => self.fetched(context, fetch, backlog, effects),
            (Job::Unregister { request, .. }, _) => self.unregister_failed(context, &request, effects),
            (Job::Acknowledge(_), Outcome::Done) => {}
            (Job::Acknowledge(_), _) => self.acknowledge_failed(context),
            // If the store did not keep it, the next hello brings the message again; the user agent has it.
            (Job::Remove(_), _) => {}
            (Job::Look, _) => self.look_failed(context.now),
            (Job::Fetch(fetch), _) => self.fetch_failed(context.now, fetch),
            (Job::Greet(_) | Job::GreetAgain | Job::Release, _) => self.close(CloseCode::Error, effects),
        }
    }

    /// Closes the socket. What was received is still performed; then the UAID is released.
    pub(crate) fn close(&mut self, code: CloseCode, effects: &mut Vec<Effect>) {
        effects.push(Effect::Close(code));
        self.wind_up(effects);
    }

    /// Closes a socket that does not own its UAID any more. Its acknowledgements still count, but everything
    /// else would be refused, and there is nothing to release.
    pub(crate) fn close_disowned(&mut self, effects: &mut Vec<Effect>) {
        effects.push(Effect::Close(CloseCode::Normal));
        self.phase = Phase::Ending { release: false };
        self.steps.keep_acknowledgements();
        self.go_on_ending(effects);
    }

    /// Goes on without a socket.
    pub(super) fn wind_up(&mut self, effects: &mut Vec<Effect>) {
        self.phase = Phase::Ending { release: true };
        self.steps.keep_writes();
        self.go_on_ending(effects);
    }

    fn conclude_ending(&mut self, job: &Job, outcome: &Outcome, effects: &mut Vec<Effect>) {
        match outcome {
            Outcome::Hello(HelloOutcome::Claimed { former, .. }) => self.evict(*former, effects),
            Outcome::Hello(outcome) => {
                if let HelloOutcome::Deleted { former } = outcome {
                    self.evict(*former, effects);
                }
                self.identity = None;
            }
            Outcome::NotOwner => {
                self.phase = Phase::Ending { release: false };
                self.steps.keep_acknowledgements();
            }
            // Nobody waits for the rest, and the user agent will have it again.
            Outcome::Failed => self.steps.keep(|_| false),
            Outcome::Registered { .. }
            | Outcome::Full
            | Outcome::Backlog(_)
            | Outcome::Snapshot(_)
            | Outcome::Done => {}
        }
        if matches!(job, Job::Release) {
            self.phase = Phase::Ending { release: false };
        }
        self.go_on_ending(effects);
    }

    /// Starts the next step of the end: what waits, then the release, then nothing.
    fn go_on_ending(&mut self, effects: &mut Vec<Effect>) {
        if self.start_next(effects) || !self.steps.are_done() {
            return;
        }
        if self.phase == (Phase::Ending { release: true }) && self.identity.is_some() {
            self.ask(Job::Release, effects);
        } else {
            self.phase = Phase::Over;
            effects.push(Effect::End);
        }
    }
}
