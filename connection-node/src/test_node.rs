//! A node without tasks of its own, and peers of its connections over real sockets: tests decide what runs when.

use crate::{
    BUILD, config::SocketSettings, connection::Connection, node::Node, peers::Peers, shard::Shard,
    socket::Socket, suspended::Suspended,
};
use beckon_listener::{settings::PortSettings, stream::Stream};
use beckon_node::{
    assembly::{Assembly, Run},
    config::CommonSettings,
    store::Embedded,
};
use beckon_ops::{config::Source, shutdown::Shutdown, stage::Stage, workers::Workers};
use beckon_proto::{auth::ClusterSecret, channels::Channels};
use beckon_store::EMBEDDED;
use beckon_types::{KeyRing, TOKEN_KEY_LEN};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use std::{sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

pub(crate) struct TestNode {
    pub(crate) node: Arc<Node>,
    pub(crate) shard: Arc<Shard>,
    pub(crate) suspended: mpsc::Receiver<Suspended>,
    /// The tasks of the connections that run. They are stopped when this is dropped.
    pub(crate) running: JoinSet<()>,
    _data: TempDir,
}

impl TestNode {
    /// A node over an embedded store. So many connections may be suspended at once.
    pub(crate) async fn start(suspended_max: usize) -> Self {
        let key = KeyRing::key_text(&[1; TOKEN_KEY_LEN]);
        let variables = [
            ("BECKON_ENDPOINT_URL", "http://push.example"),
            ("BECKON_TOKEN_KEYS", key.as_str()),
            ("BECKON_UAID_KEY", key.as_str()),
            ("BECKON_MAX_CONNECTIONS", "100"),
        ];
        let mut source = Source::new(std::iter::empty::<&str>(), variables);
        let ports = PortSettings::read(&mut source).unwrap();
        let parts = SocketSettings::read(&mut source).zip(CommonSettings::read(&mut source));
        let (settings, common) = source.finish(parts).unwrap();
        let data = tempfile::tempdir().unwrap();
        let embedded = Embedded { data_dir: data.path().to_owned(), fsync: false };
        let (url, shutdown) = (EMBEDDED.to_owned().into(), Shutdown::new());
        let store = beckon_node::store::open(&url, Some(embedded), &common, None, &shutdown).await;
        let store = store.map_err(|failure| failure.message).unwrap().unwrap();
        let (suspended_sender, suspended) = mpsc::channel(suspended_max);
        let peers = Peers::new(Channels::new(ClusterSecret::default(), None), Stage::new(&shutdown, "peers"));
        let run = Run::new(shutdown, Workers::current());
        let node = Node::new(
            "test".into(),
            None,
            settings.tunables(&common, settings.limits(None)),
            peers,
            &mut Assembly::new(BUILD, store.clone(), run, &common, &ports, None),
        );
        let node = Arc::new(node);
        let shard = Arc::new(Shard::new(node.clone(), 0, store, suspended_sender));
        Self { node, shard, suspended, running: JoinSet::new(), _data: data }
    }

    /// A connection that does not run yet, and its peer.
    pub(crate) async fn connection(&self) -> (Connection, Peer) {
        let (server, client) = tcp_pair().await;
        let peer = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
        let tunables = self.node.tunables();
        let registration = self.node.registry.enter(0, tunables.limits.connections_max, None).unwrap();
        let socket = Socket::new(Stream::Plain(server), Bytes::new(), tunables.messages.before_hello);
        (Connection::new(self.shard.clone(), socket, registration), Peer(peer))
    }

    /// The peer of a connection that runs.
    pub(crate) async fn peer(&mut self) -> Peer {
        let (connection, peer) = self.connection().await;
        self.running.spawn(connection.run());
        peer
    }

    /// Runs a connection that was suspended.
    pub(crate) fn resume(&mut self, suspended: Suspended) {
        let connection = Connection::resume(self.shard.clone(), suspended).unwrap();
        self.running.spawn(connection.run());
    }
}

/// The client's end of a connection.
pub(crate) struct Peer(pub(crate) WebSocketStream<TcpStream>);

impl Peer {
    pub(crate) async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// The next message, which has to come within 20 s.
    pub(crate) async fn receive(&mut self) -> Message {
        let limit = Duration::from_secs(20);
        tokio::time::timeout(limit, self.0.next()).await.expect("in time").unwrap().unwrap()
    }

    /// Sends a Ping frame and waits for the answer.
    pub(crate) async fn ping(&mut self) {
        self.0.send(Message::Ping(Bytes::new())).await.unwrap();
        assert!(self.receive().await.is_pong());
    }

    /// Sends a message and returns the answer to it.
    pub(crate) async fn ask(&mut self, text: &str) -> String {
        self.send(text).await;
        self.receive().await.into_text().unwrap().to_string()
    }
}

/// Both ends of a TCP connection.
pub(crate) async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, accepted) =
        tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (accepted.unwrap().0, client.unwrap())
}
