//! Who attacks what, and what both sides share while they do.

use super::caller::Caller;
use beckon_ops::config::{parsed_option, positive};
use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

beckon_ops::settings! {
    /// Who attacks what.
    pub struct AbuseSettings {
        /// Address and port on which WebSockets are accepted. Required.
        ws: SocketAddr,
        /// Address and port on which application servers send. Required.
        http: SocketAddr,
        /// Address and port of the admin listener, which must refuse what shows no token. Empty: it is not tried.
        admin: Option<SocketAddr> = "",
        /// Address that the attacks come from: one of this machine. Empty: the system's choice.
        stranger: Option<IpAddr> = "" => parsed_option,
        /// Address that the honest requests come from: another one of this machine. Empty: the system's choice. With
        /// limits by source it has to be another source than the stranger.
        honest: Option<IpAddr> = "" => parsed_option,
        /// Attacks to run, separated by commas. Empty: all.
        only: Vec<String> = "",
        /// Connections of an attack that holds connections.
        connections: u32 = "600",
        /// Time of each attack.
        attack_for: Duration = "10s" => positive,
        /// Time limit for each answer to an honest request.
        limit: Duration = "1s" => positive,
    }
}

/// What attacks and honest requests are made with.
pub(super) struct Scene<'a> {
    pub(super) settings: &'a AbuseSettings,
    pub(super) stranger: Caller,
    pub(super) honest: Caller,
    /// The attack should end.
    pub(super) is_over: AtomicBool,
    /// What the attack has done.
    pub(super) done: AtomicU64,
    /// What it has done to others, if it finds that out by itself.
    pub(super) harm: OnceLock<String>,
}

impl Scene<'_> {
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Counts one connection, request or message of the attack.
    pub(super) fn count(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }
}
