//! The sockets that own clients. They are in memory only, since no socket outlives the process.

use beckon_types::{ClientId, Dialect, Presence};
use std::collections::HashMap;

/// The socket that owns a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) presence: Presence,
    pub(super) dialect: Dialect,
}

/// The seats of the connected clients. What a batch changes is taken back if the batch fails.
#[derive(Debug, Default)]
pub(super) struct Seats {
    seats: HashMap<ClientId, Seat>,
    /// What this batch has replaced, oldest first.
    replaced: Vec<(ClientId, Option<Seat>)>,
}

impl Seats {
    /// The seat of a client.
    pub(super) fn get(&self, client: &ClientId) -> Option<&Seat> {
        self.seats.get(client)
    }

    /// Whether a client is connected.
    pub(super) fn contains_key(&self, client: &ClientId) -> bool {
        self.seats.contains_key(client)
    }

    /// Gives a client a seat.
    pub(super) fn insert(&mut self, client: ClientId, seat: Seat) {
        let former = self.seats.insert(client, seat);
        self.replaced.push((client, former));
    }

    /// Takes the seat of a client away.
    pub(super) fn remove(&mut self, client: &ClientId) {
        let former = self.seats.remove(client);
        self.replaced.push((*client, former));
    }

    /// The batch was committed.
    pub(super) fn keep(&mut self) {
        self.replaced.clear();
    }

    /// The batch has failed: takes back what it has changed.
    pub(super) fn take_back(&mut self) {
        for (client, former) in self.replaced.drain(..).rev() {
            match former {
                Some(seat) => drop(self.seats.insert(client, seat)),
                None => drop(self.seats.remove(&client)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use beckon_types::{ConnectionId, NodeId};

    #[test]
    fn a_failed_batch_changes_no_seat() {
        let seat = |number| Seat {
            presence: Presence { node: NodeId(1), connection: ConnectionId(number) },
            dialect: Dialect::WebPush,
        };
        let [first, second, third] = [1, 2, 3].map(|byte| ClientId([byte; 16]));
        let mut seats = Seats::default();
        seats.insert(first, seat(1));
        seats.insert(second, seat(2));
        seats.keep();
        seats.insert(first, seat(11));
        seats.remove(&first);
        seats.insert(first, seat(12));
        seats.remove(&second);
        seats.insert(third, seat(3));
        seats.remove(&third);
        seats.take_back();
        assert_eq!(seats.get(&first), Some(&seat(1)));
        assert_eq!(seats.get(&second), Some(&seat(2)));
        assert!(!seats.contains_key(&third));
    }
}
