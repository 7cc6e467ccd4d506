//! The faults: how each begins and how it is over.

use crate::{ledger::Ledger, settings::Servers, site::Site};
use beckon_testbed::{
    forwarder::Way,
    node::{Node, http},
    redis::Topology,
};
use std::{any::Any, time::Duration};

/// What happens to a part of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// To a program that holds WebSockets.
    ConnectionNode(NodeFault),
    /// To a program that accepts notifications.
    EndpointNode(NodeFault),
    /// To the link between one node and its store.
    Link(LinkFault),
    /// To the links from the endpoint-nodes to one connection-node.
    Delivery(DeliveryFault),
    Store(StoreFault),
    /// All devices lose their connections at once.
    Storm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeFault {
    Kill,
    Stop,
    Pause,
    Drain,
    Shed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkFault {
    Cut,
    Stall,
    StallRequests,
    StallAnswers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeliveryFault {
    Cut,
    Stall,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreFault {
    ResetLinks,
    Pause,
    Throttle,
    DropClients,
    WrongPassword,
    FailOver,
    FailOverByKill,
    Fill,
    LoseShard,
}

/// Every fault with its name on the command line.
pub(crate) const FAULTS: [(Fault, &str); 24] = [
    (Fault::ConnectionNode(NodeFault::Kill), "kill-connection-node"),
    (Fault::ConnectionNode(NodeFault::Stop), "stop-connection-node"),
    (Fault::ConnectionNode(NodeFault::Pause), "pause-connection-node"),
    (Fault::ConnectionNode(NodeFault::Drain), "drain-connection-node"),
    (Fault::ConnectionNode(NodeFault::Shed), "shed"),
    (Fault::EndpointNode(NodeFault::Kill), "kill-endpoint-node"),
    (Fault::EndpointNode(NodeFault::Stop), "stop-endpoint-node"),
    (Fault::EndpointNode(NodeFault::Pause), "pause-endpoint-node"),
    (Fault::Storm, "storm"),
    (Fault::Link(LinkFault::Cut), "cut-store-link"),
    (Fault::Link(LinkFault::Stall), "stall-store-link"),
    (Fault::Link(LinkFault::StallRequests), "stall-requests"),
    (Fault::Link(LinkFault::StallAnswers), "stall-answers"),
    (Fault::Delivery(DeliveryFault::Cut), "cut-delivery"),
    (Fault::Delivery(DeliveryFault::Stall), "stall-delivery"),
    (Fault::Store(StoreFault::ResetLinks), "reset-store-links"),
    (Fault::Store(StoreFault::Pause), "pause-store"),
    (Fault::Store(StoreFault::Throttle), "throttle-store"),
    (Fault::Store(StoreFault::DropClients), "drop-clients"),
    (Fault::Store(StoreFault::WrongPassword), "wrong-password"),
    (Fault::Store(StoreFault::FailOver), "fail-over"),
    (Fault::Store(StoreFault::FailOverByKill), "fail-over-by-kill"),
    (Fault::Store(StoreFault::Fill), "fill-store"),
    (Fault::Store(StoreFault::LoseShard), "lose-shard"),
];

/// The part that a fault happens to, so that two faults do not undo each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Node(String),
    Link(String),
    Delivery(String),
    Store,
    Devices,
}

/// A fault that is going on.
#[derive(Debug)]
pub(crate) struct Ongoing {
    fault: Fault,
    pub(crate) name: &'static str,
    pub(crate) part: Part,
    /// How long it lasts.
    pub(crate) lasts: Duration,
    /// Undone when dropped.
    held: Option<Box<dyn Any>>,
    /// What clients of the store had to present before.
    password: Option<String>,
}

impl Fault {
    /// Whether it can happen to these servers. What a lost shard loses, replicas lose, too.
    pub(crate) fn applies(self, servers: Servers, fail_overs_lose_nothing: bool) -> bool {
        match self {
            Self::Store(StoreFault::LoseShard) if fail_overs_lose_nothing => false,
            Self::ConnectionNode(_) | Self::Storm => true,
            Self::EndpointNode(_) | Self::Link(_) | Self::Delivery(_) | Self::Store(_) => {
                matches!(servers, Servers::Cluster(_))
            }
        }
    }

    /// Whether another server may become primary with it.
    pub(crate) fn may_fail_over(self) -> bool {
        matches!(
            self,
            Self::Store(
                StoreFault::FailOver
                    | StoreFault::FailOverByKill
                    | StoreFault::Pause
                    | StoreFault::Throttle
                    | StoreFault::WrongPassword
            )
        )
    }

    /// What it happens to, drawn at random, and how long it lasts.
    pub(crate) fn draw(self, site: &Site) -> (Part, Duration) {
        let any = |hold_sockets: bool| {
            let names = site.names(hold_sockets);
            names[fastrand::usize(..names.len())].clone()
        };
        let mortal = |hold_sockets: bool| {
            let mut names = site.names(hold_sockets);
            if names.len() > 1 {
                names.remove(0);
            }
            names.swap_remove(fastrand::usize(..names.len()))
        };
        let part = match self {
            // The first of each tier lives through the whole run, to show what grows.
            Self::ConnectionNode(NodeFault::Kill | NodeFault::Stop) => Part::Node(mortal(true)),
            Self::EndpointNode(NodeFault::Kill | NodeFault::Stop) => Part::Node(mortal(false)),
            Self::ConnectionNode(_) => Part::Node(any(true)),
            Self::EndpointNode(_) => Part::Node(any(false)),
            Self::Link(_) => Part::Link(any(fastrand::bool())),
            Self::Delivery(_) => Part::Delivery(any(true)),
            Self::Store(_) => Part::Store,
            Self::Storm => Part::Devices,
        };
        (part, Duration::from_millis(fastrand::u64(self.lasts_ms())))
    }

    /// How long it lasts; nothing for what is over when it has happened.
    fn lasts_ms(self) -> std::ops::Range<u64> {
        match self {
            Self::Storm | Self::ConnectionNode(NodeFault::Shed) | Self::EndpointNode(NodeFault::Shed) => 0..1,
            Self::ConnectionNode(_) | Self::EndpointNode(_) => 500..14_000,
            Self::Link(_) | Self::Delivery(_) => 500..15_000,
            Self::Store(StoreFault::Throttle) => 5_000..15_000,
            Self::Store(StoreFault::Pause | StoreFault::Fill | StoreFault::WrongPassword) => 1_000..6_000,
            Self::Store(
                StoreFault::ResetLinks
                | StoreFault::DropClients
                | StoreFault::FailOver
                | StoreFault::FailOverByKill
                | StoreFault::LoseShard,
            ) => 0..1,
        }
    }

    /// Begins.
    pub(crate) fn begin(
        self,
        name: &'static str,
        (part, lasts): (Part, Duration),
        site: &Site,
        ledger: &Ledger,
        storm: &dyn Fn(),
    ) -> Ongoing {
        let mut ongoing = Ongoing { fault: self, name, part, lasts, held: None, password: None };
        match (self, &ongoing.part) {
            (Self::ConnectionNode(fault) | Self::EndpointNode(fault), Part::Node(name)) => {
                fault.begin(site.node(name));
            }
            (Self::Link(fault), Part::Link(name)) => fault.begin(site, name),
            (Self::Delivery(fault), Part::Delivery(name)) => fault.begin(site, name),
            (Self::Store(fault), Part::Store) => fault.begin(site, ledger, &mut ongoing),
            (Self::Storm, Part::Devices) => storm(),
            (fault, part) => unreachable!("{fault:?} cannot happen to {part:?}"),
        }
        ongoing
    }
}

impl NodeFault {
    fn begin(self, node: &Node) {
        let admin = node.addresses().admin;
        match self {
            Self::Kill => node.kill(),
            Self::Stop => drop(node.terminate()),
            Self::Pause => node.pause(),
            Self::Shed => drop(http(admin, "POST", "/shed?share=0.5")),
            Self::Drain => drop(http(admin, "POST", "/drain")),
        }
    }

    fn end(self, node: &Node) {
        match self {
            Self::Kill | Self::Stop => node.launch(),
            Self::Pause => node.resume(),
            Self::Drain => drop(http(node.addresses().admin, "POST", "/undrain")),
            Self::Shed => {}
        }
    }
}

impl LinkFault {
    fn begin(self, site: &Site, name: &str) {
        let Some(links) = site.links(name) else { return };
        match self {
            Self::Cut => links.cut(),
            Self::Stall => links.stall(),
            Self::StallRequests => links.stall_way(Way::ToServer),
            Self::StallAnswers => links.stall_way(Way::ToClient),
        }
    }
}

impl DeliveryFault {
    fn begin(self, site: &Site, name: &str) {
        let Some(link) = site.delivery(name) else { return };
        match self {
            Self::Cut => link.cut(),
            Self::Stall => link.stall(),
        }
    }
}

impl StoreFault {
    fn begin(self, site: &Site, ledger: &Ledger, ongoing: &mut Ongoing) {
        let Some(mut store) = site.store() else { return };
        let shard = fastrand::usize(..store.shards());
        match self {
            Self::ResetLinks => {
                let links = site.nodes().iter().filter_map(|node| site.links(node.name()));
                links.for_each(beckon_testbed::redis::Links::reset);
            }
            Self::Pause => store.pause(),
            Self::Throttle => ongoing.held = Some(Box::new(store.throttle(25))),
            Self::DropClients => store.drop_clients(),
            Self::WrongPassword => {
                ongoing.password = Some(store.password());
                store.set_password(Some("another"));
                store.drop_clients();
            }
            // The former primary accepts until the Sentinels know of the new one (docs/configuration.md).
            Self::FailOver if store.topology() == Topology::Sentinel => store.fail_over(),
            Self::FailOver => ledger.while_orderly(|| store.fail_over()),
            Self::FailOverByKill => {
                let former = store.kill_primary(shard);
                // Others have somebody who makes it known.
                if store.topology() == Topology::Server {
                    ledger.primary_was_killed();
                }
                store.replace_killed(shard, former);
            }
            Self::Fill => store.fill_up(),
            Self::LoseShard => ledger.while_losing(|| store.lose_data(shard)),
        }
    }

    fn end(self, site: &Site, password: Option<&str>) {
        let Some(mut store) = site.store() else { return };
        match self {
            Self::Pause => store.resume(),
            Self::Fill => store.make_room(),
            // Sentinels may have replaced the primary meanwhile.
            Self::WrongPassword => store.set_password_everywhere(password),
            Self::ResetLinks
            | Self::Throttle
            | Self::DropClients
            | Self::FailOver
            | Self::FailOverByKill
            | Self::LoseShard => {}
        }
    }
}

impl Ongoing {
    /// It is over.
    pub(crate) fn end(self, site: &Site) {
        match (self.fault, &self.part) {
            (Fault::ConnectionNode(fault) | Fault::EndpointNode(fault), Part::Node(name)) => {
                fault.end(site.node(name));
            }
            (Fault::Link(_), Part::Link(name)) => site.links(name).into_iter().for_each(|links| links.heal()),
            (Fault::Delivery(_), Part::Delivery(name)) => {
                site.delivery(name).into_iter().for_each(|link| link.heal());
            }
            (Fault::Store(fault), _) => fault.end(site, self.password.as_deref()),
            (Fault::Storm, _) => {}
            (fault, part) => unreachable!("{fault:?} cannot happen to {part:?}"),
        }
        drop(self.held);
    }
}
