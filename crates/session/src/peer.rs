//! Who is at the other end of a socket.

use crate::{
    api::Settings, greeting::Greeting, identity::Identity, leaving::Leaving, simplepush::SimplePush,
    webpush::WebPush,
};
use beckon_types::{Dialect, Moment};

/// Who is at the other end.
#[derive(Debug, Clone)]
pub(crate) enum Peer {
    /// A user agent that has not said hello since its socket was upgraded at this time.
    Stranger { since: Moment },
    /// A user agent whose first hello is under way.
    Greeting(Box<Greeting>),
    /// A user agent that owns its UAID.
    Client(Identity, Client),
    /// A client that is sent nothing any more: the socket is closed or has ended, but steps are left.
    Leaving(Leaving),
    /// No client, and nothing is left to do: `Effect::End` was emitted.
    Gone,
}

/// A user agent that has said hello, by the dialect that the hello has fixed.
#[derive(Debug, Clone)]
pub(crate) enum Client {
    SimplePush(SimplePush),
    WebPush(WebPush),
}

impl Client {
    /// When it has something to do by itself.
    pub(crate) fn due(&self, settings: &Settings) -> Moment {
        match self {
            Self::SimplePush(client) => client.due(settings),
            Self::WebPush(client) => client.due(),
        }
    }
}

impl Peer {
    /// The dialect; `None` unless there is a client.
    pub(crate) fn dialect(&self) -> Option<Dialect> {
        match self {
            Peer::Client(_, Client::SimplePush(_)) => Some(Dialect::SimplePush),
            Peer::Client(_, Client::WebPush(_)) => Some(Dialect::WebPush),
            Peer::Stranger { .. } | Peer::Greeting(_) | Peer::Leaving(_) | Peer::Gone => None,
        }
    }

    /// About how many bytes it holds while its hello waits for the store.
    pub(crate) fn held(&self) -> usize {
        match self {
            Peer::Greeting(greeting) => greeting.held(),
            Peer::Stranger { .. } | Peer::Client(..) | Peer::Leaving(_) | Peer::Gone => 0,
        }
    }

    /// Whether the conversation goes on.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Peer::Stranger { .. } | Peer::Greeting(_) | Peer::Client(..) => true,
            Peer::Leaving(_) | Peer::Gone => false,
        }
    }
}
