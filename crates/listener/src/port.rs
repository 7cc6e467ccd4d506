//! A port that never stops accepting.

pub use crate::resting::Rested;
use crate::{
    connections::{Connections, Limits, SWEEP_INTERVAL, Visit},
    metrics::{Metrics, Reason},
    proxy_header::{self, Said},
    resting::Resting,
    settings::{Current, PortSettings},
    shares::Shares,
    source::Source,
    stream::Stream,
    tls::{self, Certificates, HandshakeError, TlsStream},
    trust::{Client, Trust},
};
use beckon_ops::{clock::Clock, listener::Listener, stage::Stage, workers::Worker};
use bytes::Bytes;
use prometheus_client::registry::Registry;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpStream, time::MissedTickBehavior};

/// Makes the public ports of a node, which share what an operator has set.
#[derive(Debug)]
pub struct Ports {
    settings: Current,
    trust: Arc<Trust>,
    shares: Arc<Shares>,
    certificates: Option<Arc<Certificates>>,
    clock: Clock,
    metrics: Metrics,
}

impl Ports {
    /// Ports with these settings, with TLS if there are certificates. `registry` exports what is measured on them.
    pub fn new(
        settings: &PortSettings,
        certificates: Option<Arc<Certificates>>,
        clock: Clock,
        registry: &mut Registry,
    ) -> Self {
        if let Some(certificates) = &certificates {
            certificates.register(registry);
        }
        let settings = Current::new(settings.clone());
        let trust = Arc::new(Trust::new(settings.clone()));
        let metrics = Metrics::register(registry);
        Self {
            shares: Arc::new(Shares::new(settings.clone(), trust.clone(), clock, metrics.clone())),
            settings,
            trust,
            certificates,
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
        let limits = Limits::new(&self.settings.load(), connections_max, idle_timeout);
        let limits = with_tls_if(self.certificates.is_some(), limits);
        let connections = Connections::new(name, limits, self.clock, &self.metrics);
        Arc::new(Port {
            trust: self.trust.clone(),
            shares: Some(self.shares.clone()),
            has_proxy_header,
            certificates: self.certificates.clone(),
            connections,
            resting: Resting::default(),
        })
    }
}

/// The limits of a port that may be without TLS.
fn with_tls_if(has_tls: bool, limits: Limits) -> Limits {
    Limits { handshakes: limits.handshakes.filter(|_| has_tls), ..limits }
}

/// A public port: its limits, its connections, and whose word counts there. It can be used from any runtime.
#[derive(Debug)]
pub struct Port {
    trust: Arc<Trust>,
    /// `None` on an internal port.
    shares: Option<Arc<Shares>>,
    /// Whether connections of trusted proxies begin with a PROXY protocol header.
    has_proxy_header: bool,
    /// `None`: there is no TLS.
    certificates: Option<Arc<Certificates>>,
    connections: Arc<Connections>,
    /// Those that are at rest, without a task.
    resting: Resting,
}

/// A connection that was accepted just now, or is served again.
#[derive(Debug)]
pub struct Accepted {
    port: Arc<Port>,
    tcp: TcpStream,
    peer: SocketAddr,
    /// From where it is, and what was read of it, if it is served again.
    before: Option<(IpAddr, Bytes)>,
    visit: Visit,
}

/// The other end of the TCP connection of a request. Requests on an internal port have it as an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// A connection, and who is at its other end.
#[derive(Debug)]
pub struct Connection {
    /// The next byte is the first of the client, after its TLS handshake.
    pub stream: Stream,
    /// The other end of the TCP connection, which may be a proxy.
    pub peer: Peer,
    /// The other end.
    pub client: Client,
    /// What was read of it before, and comes first.
    pub read: Bytes,
    /// The place in the port's table, to be kept for as long as the connection is not upgraded.
    pub visit: Visit,
}

impl Port {
    /// A port that is not public, and so knows no sources and is not measured.
    pub fn internal(name: &'static str, limits: Limits, clock: Clock) -> Arc<Self> {
        let connections = Connections::new(name, limits, clock, &Metrics::default());
        let trust = Arc::new(Trust::none());
        let resting = Resting::default();
        Arc::new(Self {
            trust,
            shares: None,
            has_proxy_header: false,
            certificates: None,
            connections,
            resting,
        })
    }

    /// Whose word counts.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Other limits, for the connections that are open too.
    pub fn set_limits(&self, limits: Limits) {
        self.connections.set_limits(with_tls_if(self.certificates.is_some(), limits));
    }

    /// Most connections that are not upgraded.
    pub fn connections_max(&self) -> usize {
        self.connections.limits().connections_max
    }

    /// Connections that are open and not upgraded.
    pub fn open_connections(&self) -> usize {
        self.connections.open()
    }

    /// Lets connections come to rest that are between two requests, or are so soon: each is taken out of its task.
    pub fn begin_rest(&self) {
        self.resting.begin();
        self.connections.wake_all();
    }

    /// Whether more connections may come to rest. Those with TLS do not.
    pub fn may_rest_more(&self) -> bool {
        self.certificates.is_none() && self.connections.open() > 0
    }

    /// Whether a request is being answered that has come in whole.
    pub fn is_answering(&self) -> bool {
        self.connections.is_answering()
    }

    /// Lets no more connections come to rest, and returns those that are. From now on each answer is the last of its
    /// connection, until [`Port::serve_again`].
    pub fn end_rest(&self) -> Vec<Rested> {
        self.resting.end()
    }

    /// Serves these connections, as if they had been accepted or answered just now.
    pub fn serve_again(&self, rested: Vec<Rested>) {
        self.resting.wake(rested);
    }

    /// The connections that are at rest.
    pub(crate) fn resting(&self) -> &Resting {
        &self.resting
    }

    /// Whether the port is for operators, not for strangers.
    pub(crate) fn is_internal(&self) -> bool {
        self.shares.is_none()
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

    /// A connection that was at rest. `None` if there are too many.
    fn again(self: &Arc<Self>, rested: Rested) -> io::Result<Option<Accepted>> {
        let Rested { tcp, address, was_answered, read } = rested;
        let (peer, tcp) = (tcp.peer_addr()?, TcpStream::from_std(tcp)?);
        let Some(visit) = self.connections.enter() else { return Ok(None) };
        if was_answered {
            visit.answered();
        }
        Ok(Some(Accepted { port: self.clone(), tcp, peer, before: Some((address, read)), visit }))
    }

    /// Accepts connections until `stage` is asked to stop, and for `linger` after that those that have begun by then. Hands
    /// each of them over, without waiting.
    pub async fn accept(
        self: Arc<Self>,
        listener: Listener,
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
                rested = self.resting.woken() => {
                    // What fails here has ended.
                    rested.into_iter().filter_map(|rested| self.again(rested).ok()?).for_each(&mut hand_over);
                }
                (tcp, peer) = beckon_ops::listener::accept(&listener) => {
                    if let Some(visit) = self.connections.enter() {
                        hand_over(Accepted { port: self.clone(), tcp, peer, before: None, visit });
                    }
                }
            }
        }
    }
}

impl Accepted {
    /// Moves the connection to a worker. `None` if it cannot be moved.
    pub fn adopted_by(self, worker: &Worker) -> Option<Self> {
        let Self { port, tcp, peer, before, visit } = self;
        match worker.adopt(tcp) {
            Ok(tcp) => Some(Self { port, tcp, peer, before, visit }),
            Err(error) => {
                tracing::warn!(%error, "connection lost before it was served");
                None
            }
        }
    }

    /// Finds out who is at the other end, and agrees on TLS. `None` if the connection ends before that, also to make room.
    pub async fn identify(self) -> Option<Connection> {
        let Self { port, mut tcp, peer, before, visit } = self;
        let mut client = port.trust.client(before.as_ref().map_or(peer.ip(), |(address, _)| *address));
        if before.is_none() && port.has_proxy_header && client.is_proxy() {
            match visit.until_ended(proxy_header::read(&mut tcp)).await? {
                Ok(Said::From(address)) => client = port.trust.client(address),
                Ok(Said::Local) => {}
                Err(_) => {
                    visit.connections().refused(Reason::ProxyHeader);
                    return None;
                }
            }
        }
        if visit.is_opening()
            && let Some(source) = port.trust.connection_source(client)
        {
            visit.belongs_to(source);
        }
        let stream = match &port.certificates {
            None => Stream::Plain(tcp),
            Some(certificates) => Stream::Tls(agree(tcp, certificates, &visit).await?),
        };
        let read = before.map(|(_, read)| read).unwrap_or_default();
        Some(Connection { stream, peer: Peer(peer), client, read, visit })
    }
}

/// Performs the TLS handshake. `None` if it fails, or the connection has to end first.
async fn agree(tcp: TcpStream, certificates: &Certificates, visit: &Visit) -> Option<Box<TlsStream>> {
    let connections = visit.connections();
    if visit.until_ended(tls::is_plain_http(&tcp)).await?.ok()? {
        connections.refused(Reason::PlainHttp);
        visit.until_ended(Box::pin(tls::refuse(tcp))).await?;
        return None;
    }
    match visit.until_ended(TlsStream::accept(tcp, certificates.config())).await? {
        Ok(stream) => {
            visit.handshake_done();
            connections.handshake(stream.agreed());
            Some(stream)
        }
        Err(error) => {
            if let HandshakeError::Failed(_) = error {
                connections.refused(Reason::Handshake);
            }
            tracing::debug!(%error, port = connections.port(), "no TLS");
            None
        }
    }
}
