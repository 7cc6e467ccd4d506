//! The network with one user agent of each dialect.

use super::{
    agent::Agent,
    event::{AgentEvent, Event},
    network::{Cures, Network},
    simplepush::SimplePush,
    webpush::WebPush,
};
use beckon_session::Settings;
use beckon_types::Dialect;
use std::time::Duration;

/// Seconds that pass while the world settles: twice what a session waits after a failed read, and then more than the
/// time after which an update is sent again.
const SETTLING: [u64; 8] = [11, 11, 11, 11, 61, 61, 61, 61];

/// Seconds that pass while it settles without failures: more than a session waits when it notices that it has missed a write.
const SETTLING_BRIEFLY: [u64; 2] = [2, 2];

#[derive(Debug)]
pub(super) struct World {
    network: Network,
    simplepush: Agent<SimplePush>,
    webpush: Agent<WebPush>,
    /// The dialects whose user agents take part.
    dialects: Vec<Dialect>,
}

/// Calls a method of each user agent that takes part.
macro_rules! each {
    ($world:ident, $($call:tt)*) => {
        for dialect in $world.dialects.clone() {
            match dialect {
                Dialect::SimplePush => $world.simplepush.$($call)*,
                Dialect::WebPush => $world.webpush.$($call)*,
            }
        }
    };
}

impl World {
    pub(super) fn new(settings: Settings, cures: Cures, dialects: &[Dialect]) -> Self {
        Self {
            network: Network::new(settings, cures),
            simplepush: Agent::new(),
            webpush: Agent::new(),
            dialects: dialects.to_vec(),
        }
    }

    /// Each user agent connects and registers two of its channels.
    pub(super) fn begin(&mut self) {
        for event in [AgentEvent::Connect(0), AgentEvent::Register(0), AgentEvent::Register(1)] {
            each!(self, happen(&mut self.network, event));
            self.calm_down();
        }
    }

    /// Each user agent says hello once more.
    pub(super) fn reconnect(&mut self) {
        each!(self, happen(&mut self.network, AgentEvent::Connect(0)));
    }

    pub(super) fn happen(&mut self, event: Event) {
        let network = &mut self.network;
        match event {
            Event::Of(Dialect::SimplePush, event) => self.simplepush.happen(network, event),
            Event::Of(Dialect::WebPush, event) => self.webpush.happen(network, event),
            Event::Arrive(n) => self.arrive(n, false),
            Event::Repeat(n) => self.arrive(n, true),
            Event::Stray(n) => {
                if let Some(delivery) = network.arrive(n, true) {
                    match delivery.notification {
                        beckon_types::Notification::Update(_) => self.webpush.stray(network, &delivery),
                        beckon_types::Notification::Message(_) => self.simplepush.stray(network, &delivery),
                        beckon_types::Notification::Missed => each!(self, stray(network, &delivery)),
                    }
                }
            }
            Event::Lose(n) => network.lose(n),
            Event::Evict(n) => {
                if let Some(presence) = network.take_eviction(n) {
                    each!(self, evict(network, presence));
                }
            }
            Event::Late(n) => {
                if let Some(step) = network.perform_late(n) {
                    each!(self, has_been_performed(network, &step));
                }
            }
            Event::Keep => network.keep(),
            Event::GoBack { clock_is_behind } => {
                if network.go_back(clock_is_behind) {
                    each!(self, gone_back());
                }
            }
            Event::Wait(seconds) => {
                network.now = network.now + Duration::from_secs(seconds);
                each!(self, check_time(network));
            }
        }
    }

    fn arrive(&mut self, n: usize, keep: bool) {
        if let Some(delivery) = self.network.arrive(n, keep) {
            each!(self, arrive(&self.network, &delivery));
        }
    }

    /// Lets everything happen that is on its way, without failures, while the user agents acknowledge what they were
    /// sent; and everything that is due in the minutes after that.
    pub(super) fn settle(&mut self) {
        for seconds in SETTLING {
            self.calm_down();
            self.happen(Event::Wait(seconds));
        }
        self.calm_down();
    }

    fn calm_down(&mut self) {
        for _ in 0..500 {
            for _ in 0..4 {
                self.happen(Event::Arrive(0));
                self.happen(Event::Evict(0));
            }
            each!(self, calm_down(&mut self.network));
            if self.network.is_quiet() && self.simplepush.is_quiet() && self.webpush.is_quiet() {
                return;
            }
        }
        panic!("still busy: {self:?}");
    }

    /// One more notification to each user agent, and a few seconds.
    pub(super) fn settle_briefly(&mut self) {
        each!(self, publish_once(&mut self.network));
        for seconds in SETTLING_BRIEFLY {
            self.calm_down();
            self.happen(Event::Wait(seconds));
        }
        self.calm_down();
    }

    pub(super) fn assert_known_channels_are_drained(&mut self) {
        each!(self, assert_known_channels_are_drained(&self.network));
    }

    /// While nothing is under way, the client of the socket in use belongs to it, unless an outcome was lost.
    pub(super) fn assert_claims_are_held(&mut self) {
        self.calm_down();
        each!(self, assert_claim_is_held(&self.network, false));
    }

    /// After [`World::settle`], the client of the socket in use belongs to it.
    pub(super) fn assert_claims_are_verified(&mut self) {
        each!(self, assert_claim_is_held(&self.network, true));
    }

    pub(super) fn assert_all_channels_are_drained(&mut self) {
        each!(self, assert_all_channels_are_drained(&self.network));
    }

    pub(super) fn assert_former_sockets_ended(&self) {
        each!(self, assert_former_sockets_ended());
    }
}
