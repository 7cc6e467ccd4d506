//! From a session at rest to data and back.

use crate::{
    api::Settings,
    budget::Budget,
    parked::{Damaged, Parked, ParkedPeer},
    peer::{Client, Peer},
    seen::Seen,
    session::Session,
    silence::Silence,
    simplepush::SimplePush,
    steps::Steps,
    webpush::WebPush,
};
use beckon_types::{Broadcasts, ClientId, Dialect, Moment, Presence};
use std::num::NonZeroU64;

impl Session {
    /// The session as data. `None` if it is not at rest: its hello or another step of the store is under way, or its end has
    /// begun.
    pub fn park(&self) -> Option<Parked> {
        let peer = match &self.peer {
            _ if !self.steps.is_empty() => return None,
            Peer::Stranger { since } => ParkedPeer::Stranger(since.0),
            Peer::Client(identity, Client::SimplePush(client)) => {
                let mut parked = client.park(*identity);
                self.seen.park(&mut parked.client);
                ParkedPeer::SimplePush(parked)
            }
            Peer::Client(identity, Client::WebPush(client)) => {
                let mut parked = client.park(*identity);
                self.seen.park(&mut parked.client);
                ParkedPeer::WebPush(parked)
            }
            Peer::Greeting(_) | Peer::Leaving(_) | Peer::Gone => return None,
        };
        let (silent_since, is_asked) = match self.silence {
            Silence::Heard(at) => (at.0, false),
            Silence::Asked(at) => (at.0, true),
        };
        let pinged = self.pinged.map_or(0, NonZeroU64::get);
        Some(Parked { silent_since, is_asked, full_at: self.budget.full_at().0, pinged, peer: Some(peer) })
    }

    /// The session that was parked, on the connection with this presence. Its times count from the same clock.
    ///
    /// # Errors
    /// The data is not that of a session.
    pub fn resume(presence: Presence, parked: Parked, broadcasts: &Broadcasts) -> Result<Self, Damaged> {
        let mut seen = Seen::default();
        let peer = match parked.peer.ok_or(Damaged("peer"))? {
            ParkedPeer::Stranger(since) => Peer::Stranger { since: Moment(since) },
            ParkedPeer::SimplePush(client) => {
                seen = Seen::resume(&client.client);
                let (identity, client) = SimplePush::resume_parked(&client)?;
                Peer::Client(identity, Client::SimplePush(client))
            }
            ParkedPeer::WebPush(client) => {
                seen = Seen::resume(&client.client);
                let (identity, client) = WebPush::resume_parked(client, broadcasts)?;
                Peer::Client(identity, Client::WebPush(client))
            }
        };
        let silent_since = Moment(parked.silent_since);
        let silence =
            if parked.is_asked { Silence::Asked(silent_since) } else { Silence::Heard(silent_since) };
        Ok(Self {
            presence,
            peer,
            seen,
            steps: Steps::default(),
            silence,
            budget: Budget::new(Moment(parked.full_at)),
            pinged: NonZeroU64::new(parked.pinged),
        })
    }

    /// The client that the socket owns, and its dialect, if there is one.
    pub fn client(&self, settings: &Settings) -> Option<(ClientId, Dialect)> {
        let Peer::Client(identity, _) = &self.peer else { return None };
        Some((identity.client(settings), self.dialect()?))
    }

    /// Whether the client has subscribed to a broadcast ([`crate::Effect::Subscribed`]).
    pub fn is_subscribed(&self) -> bool {
        matches!(&self.peer, Peer::Client(_, Client::WebPush(client)) if client.is_subscribed())
    }
}
