//! How the world comes to rest, and what must have arrived by then.

use super::{SOCKETS_MAX, Told, World};
use crate::webpush::simulation::{action::Action, socket::Socket, store::Stored};
use beckon_types::ConnectionId;

impl World {
    /// Lets everything happen that is on its way, without failures, while the user agent acknowledges what it
    /// was sent; and what is due in the seconds after that.
    pub(crate) fn settle(&mut self) {
        for _ in 0..4 {
            self.calm_down();
            self.act(Action::Wait(11));
        }
    }

    pub(super) fn calm_down(&mut self) {
        for _ in 0..200 {
            if self.is_quiet() {
                return;
            }
            for n in 0..self.sockets.len().max(SOCKETS_MAX) {
                self.act(Action::Serve(n));
                self.act(Action::Arrive(0));
                self.act(Action::Evict(0));
                self.act(Action::Acknowledge(0));
            }
        }
        panic!("still busy");
    }

    fn is_quiet(&self) -> bool {
        let quiet = |socket: &Socket| {
            socket.work.is_none()
                && socket.mailbox.is_empty()
                && (socket.closed || socket.inbox.is_empty() && socket.session.is_settled())
        };
        let nothing_on_its_way = self.deliveries.is_empty() && self.evictions.is_empty();
        // Only over a socket in use can the user agent acknowledge what it has received.
        let newest = ConnectionId(self.connections);
        let in_use =
            |socket: &Socket| socket.greeted && !socket.closed && socket.presence.connection == newest;
        let acknowledged = self.received.is_empty() || !self.sockets.last().is_some_and(in_use);
        nothing_on_its_way && acknowledged && self.sockets.iter().all(quiet)
    }

    /// What is stored for channels that the user agent was told of, and matters enough, has arrived and was
    /// acknowledged; what the store did not remove is left to the next hello.
    pub(crate) fn assert_wanted_messages_are_drained(&mut self) {
        let Some(socket) = self.current().filter(|socket| socket.greeted) else { return };
        let (min, not_removed) = (socket.min[0], std::mem::take(&mut socket.not_removed));
        let left = self.stored().into_iter().find(|Stored { message, .. }| {
            self.told[&message.channel] == Told::Registered
                && message.draft.urgency >= min
                && !not_removed.contains(&message.place)
        });
        assert!(left.is_none(), "{left:?} is stored for a connected client");
    }

    pub(crate) fn assert_all_drained(&mut self) {
        assert!(self.current().is_some_and(|socket| socket.greeted), "no hello");
        assert!(self.stored().is_empty(), "{:?} still stored after a hello", self.stored());
    }

    /// Of all sockets only the newest is left.
    pub(crate) fn assert_former_sockets_ended(&self) {
        assert_eq!(self.sockets.len(), 1);
    }
}
