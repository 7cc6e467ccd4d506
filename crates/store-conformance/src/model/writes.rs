//! The sequences of a store and those of the reference. A store draws its own, in the same order: the reference counts.

use super::{Outcome, Step, tag};
use beckon_types::{
    AddChannelOutcome, Backlog, HelloOutcome, Nonce, Place, PutMessageOutcome, PutVersionOutcome, Sequence,
};
use std::collections::BTreeMap;

/// What a store made of the writes of one run.
#[derive(Debug, Default)]
pub struct Writes {
    /// For each client, the sequence that the store gave to each write to its present record, by that of the reference.
    given: BTreeMap<usize, BTreeMap<u64, Sequence>>,
    /// The nonces of messages.
    pub(super) nonces: BTreeMap<(usize, Sequence), Nonce>,
}

impl Writes {
    /// The sequence of the store for one of the reference. One that is not that of a write is below all that are later.
    pub(super) fn stores(&self, client: usize, sequence: u64) -> Sequence {
        let before = self.given.get(&client).and_then(|given| given.range(..=sequence).next_back());
        before.map_or(Sequence(0), |(_, given)| *given)
    }

    /// The place of a message in the store.
    pub(super) fn place(&self, client: usize, sequence: u64, topic: Option<u8>) -> Place {
        let is_known = self.given.get(&client).is_some_and(|given| given.contains_key(&sequence));
        let sequence = if is_known { self.stores(client, sequence) } else { Sequence(1) };
        let nonce = self.nonces.get(&(client, sequence)).copied().unwrap_or_default();
        Place { sequence, nonce, topic: topic.map(tag) }
    }

    /// The outcome of a store in terms of the reference, whose outcome was `expected`.
    ///
    /// # Panics
    /// The sequence of a write is not above that of the write before, or a message has another nonce than it was put with.
    pub fn in_terms_of_the_reference(
        &mut self,
        step: &Step,
        expected: &Outcome,
        mut outcome: Outcome,
    ) -> Outcome {
        let client = step.client();
        if let Outcome::Hello(HelloOutcome::Claimed { snapshot, .. }) = expected
            && snapshot.sequence == Sequence(0)
        {
            self.given.remove(&client);
        }
        match (&mut outcome, expected) {
            (
                Outcome::Put(PutVersionOutcome::Stored { sequence, previous, .. }),
                Outcome::Put(PutVersionOutcome::Stored { sequence: counted, .. }),
            )
            | (
                Outcome::Sent(PutMessageOutcome::Accepted { sequence, previous, .. }),
                Outcome::Sent(PutMessageOutcome::Accepted { sequence: counted, .. }),
            ) => {
                self.count(client, previous);
                let given = self.given.entry(client).or_default();
                assert!(given.values().all(|before| before < sequence), "{sequence:?} after {given:?}");
                given.insert(counted.0, *sequence);
                *sequence = *counted;
            }
            (Outcome::Hello(HelloOutcome::Claimed { snapshot, backlog, .. }), _) => {
                self.count(client, &mut snapshot.sequence);
                self.count_messages(client, backlog);
            }
            (Outcome::Snapshot(Ok(snapshot)), _) => self.count(client, &mut snapshot.sequence),
            (Outcome::Added(AddChannelOutcome::Registered { sequence, .. }), _) => {
                self.count(client, sequence)
            }
            (Outcome::Fetched(Ok(backlog)), _) => self.count_messages(client, backlog),
            _ => {}
        }
        outcome
    }

    /// Replaces a sequence of the store by that of the reference, if it is one.
    fn count(&self, client: usize, sequence: &mut Sequence) {
        let given =
            self.given.get(&client).and_then(|given| given.iter().find(|(_, given)| *given == sequence));
        if let Some((counted, _)) = given {
            *sequence = Sequence(*counted);
        }
    }

    fn count_messages(&self, client: usize, backlog: &mut Backlog) {
        for message in &mut backlog.messages {
            let nonce = self.nonces.get(&(client, message.place.sequence)).copied();
            assert_eq!(Some(message.place.nonce), nonce, "the nonce is kept");
            message.place.nonce = Nonce::default();
            self.count(client, &mut message.place.sequence);
        }
    }
}

impl Step {
    /// The client that the step is about.
    fn client(&self) -> usize {
        match self {
            Self::Hello { client, .. }
            | Self::Release { client, .. }
            | Self::Snapshot { client, .. }
            | Self::Add { client, .. }
            | Self::Remove { client, .. }
            | Self::Put { client, .. }
            | Self::Ack { client, .. }
            | Self::Send { client, .. }
            | Self::Fetch { client, .. }
            | Self::RemoveMessages { client, .. } => *client,
        }
    }
}
