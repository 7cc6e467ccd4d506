//! A port that never stops accepting.

use crate::{
    connections::{Connections, Limits, SWEEP_INTERVAL, Visit},
    metrics::{Metrics, Reason},
    proxy_header::{self, Said},
    settings::PortSettings,
    shares::Shares,
    source::Source,
    trust::{Client, Trust},
};
use beckon_ops::{clock::Clock, stage::Stage, workers::Worker};
use prometheus_client::registry::Registry;
use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    time::MissedTickBehavior,
};

/// Makes the public ports of a node, which share what an operator has set.
#[derive(Debug)]
pub struct Ports {
    trust: Arc<Trust>,
    shares: Arc<Shares>,
    head_timeout: Duration,
    source_opening_max: usize,
    clock: Clock,
    metrics: Metrics,
}

impl Ports {
    /// Ports with these settings. `registry` exports what is measured on them.
    pub fn new(settings: &PortSettings, clock: Clock, registry: &mut Registry) -> Self {
        let trust = Arc::new(Trust::new(settings.clone()));
        let metrics = Metrics::register(registry);
        Self {
            shares: Arc::new(Shares::new(settings, trust.clone(), clock, metrics.clone())),
            trust,
            head_timeout: settings.head_timeout,
            source_opening_max: settings.source_max_pending,
            clock,
            metrics,
        }
    }

    /// What each source may take.
    pub fn shares(&self) -> &Arc<Shares> {
        &self.shares
    }

    /// A port. `name` is the label of its metrics; `has_proxy_header` says whether connections of trusted proxies begin
    /// with a PROXY protocol header.
    pub fn open(
        &self,
        name: &'static str,
        connections_max: usize,
        idle_timeout: Duration,
        has_proxy_header: bool,
    ) -> Arc<Port> {
        let limits = Limits {
            connections_max,
            source_opening_max: self.source_opening_max,
            head_timeout: self.head_timeout,
            idle_timeout,
        };
        let connections = Connections::new(name, limits, self.clock, &self.metrics);
        Arc::new(Port {
            trust: self.trust.clone(),
            shares: Some(self.shares.clone()),
            has_proxy_header,
            connections,
        })
    }
}

/// A public port: its limits, its connections, and whose word counts there. It can be used from any runtime.
#[derive(Debug)]
pub struct Port {
    trust: Arc<Trust>,
    /// `None` on an internal port.
    shares: Option<Arc<Shares>>,
    /// Whether connections of trusted proxies begin with a PROXY protocol header.
    has_proxy_header: bool,
    connections: Arc<Connections>,
}

/// A connection that was accepted just now.
#[derive(Debug)]
pub struct Accepted {
    port: Arc<Port>,
    tcp: TcpStream,
    peer: SocketAddr,
    visit: Visit,
}

/// A connection, and who is at its other end.
#[derive(Debug)]
pub struct Connection {
    /// The next byte is the first of the client.
    pub tcp: TcpStream,
    /// The other end.
    pub client: Client,
    /// The place in the port's table, to be kept for as long as the connection is not upgraded.
    pub visit: Visit,
}

impl Port {
    /// A port that is not public, and so knows no sources and is not measured.
    pub fn internal(name: &'static str, limits: Limits, clock: Clock) -> Arc<Self> {
        let connections = Connections::new(name, limits, clock, &Metrics::default());
        let trust = Arc::new(Trust::none());
        Arc::new(Self { trust, shares: None, has_proxy_header: false, connections })
    }

    /// Whose word counts.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The label of the metrics.
    pub fn name(&self) -> &'static str {
        self.connections.port()
    }

    /// One more request of a source.
    ///
    /// # Errors
    /// Too many: when to try again.
    pub(crate) fn request(&self, source: Option<Source>) -> Result<(), Duration> {
        self.shares.as_ref().map_or(Ok(()), |shares| shares.request(self.name(), source))
    }

    /// Counts something that was not served.
    pub fn refused(&self, reason: Reason) {
        self.connections.refused(reason);
    }

    /// Accepts connections until `stage` is asked to stop, and for `linger` after that those that have begun by then. Hands
    /// each of them over, without waiting.
    pub async fn accept(
        self: Arc<Self>,
        listener: TcpListener,
        stage: Stage,
        linger: Duration,
        mut hand_over: impl FnMut(Accepted),
    ) {
        let mut sweeps = tokio::time::interval(SWEEP_INTERVAL);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let last = async {
            stage.stopping().await;
            if !linger.is_zero() {
                if let Err(error) = beckon_ops::listener::stop_new(&listener) {
                    tracing::debug!(%error, "connections that begin now may be reset");
                }
                tokio::time::sleep(linger).await;
            }
        };
        let mut last = pin!(last);
        loop {
            tokio::select! {
                biased;
                () = &mut last => return,
                _ = sweeps.tick() => self.connections.sweep(),
                (tcp, peer) = beckon_ops::listener::accept(&listener) => {
                    if let Some(visit) = self.connections.enter() {
                        hand_over(Accepted { port: self.clone(), tcp, peer, visit });
                    }
                }
            }
        }
    }
}

impl Accepted {
    /// Moves the connection to a worker. `None` if it cannot be moved.
    pub fn adopted_by(self, worker: &Worker) -> Option<Self> {
        let Self { port, tcp, peer, visit } = self;
        match worker.adopt(tcp) {
            Ok(tcp) => Some(Self { port, tcp, peer, visit }),
            Err(error) => {
                tracing::warn!(%error, "connection lost before it was served");
                None
            }
        }
    }

    /// Finds out who is at the other end. `None` if the connection ends before that is known, also to make room.
    pub async fn identify(self) -> Option<Connection> {
        let Self { port, mut tcp, peer, visit } = self;
        let mut client = port.trust.client(peer.ip());
        if port.has_proxy_header && client.is_proxy() {
            match visit.until_ended(proxy_header::read(&mut tcp)).await? {
                Ok(Said::From(address)) => client = port.trust.client(address),
                Ok(Said::Local) => {}
                Err(_) => {
                    visit.connections().refused(Reason::ProxyHeader);
                    return None;
                }
            }
        }
        if let Some(source) = port.trust.connection_source(client) {
            visit.belongs_to(source);
        }
        Some(Connection { tcp, client, visit })
    }
}
