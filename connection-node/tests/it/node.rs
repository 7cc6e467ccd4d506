//! A connection-node on a free port.

use beckon_connection_node::{ConnectionNode, DeliveryService, Listeners, config::Config};
use beckon_node::{assembly::Run, store::Embedded};
use beckon_ops::{
    config::Source, exit::Failure, program::ServerConfig as _, shutdown::Shutdown, workers::Threads,
};
use beckon_store::Store;
use beckon_types::{ClientId, KeyRing, TOKEN_KEY_LEN, Uaid, UaidKey};
use std::{net::SocketAddr, num::NonZero, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};

/// What operators show.
pub(crate) const ADMIN_TOKEN: &str = "admin-token-of-a-test";

/// The threads of a node: enough for its connections to be on several.
pub(crate) const WORKERS: u8 = 3;

pub(crate) struct TestNode {
    pub(crate) address: SocketAddr,
    /// The admin listener.
    pub(crate) admin: SocketAddr,
    /// The listener for other nodes.
    pub(crate) grpc: SocketAddr,
    pub(crate) delivery: DeliveryService,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) token_keys: KeyRing,
    pub(crate) shutdown: Shutdown,
    running: JoinHandle<()>,
    _threads: Threads,
    _data: tempfile::TempDir,
}

/// The key of token keys, and the one that makes client ids.
const KEY: [u8; TOKEN_KEY_LEN] = [1; TOKEN_KEY_LEN];

/// The client with this UAID.
pub(crate) fn client_id(uaid: &str) -> ClientId {
    UaidKey::new(&KEY).client_id(Uaid::parse(uaid).unwrap().0)
}

impl TestNode {
    /// A node with these settings, the others by default.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_over("embedded", settings, async |_| {}).await
    }

    /// The same over this store, after something was done to it.
    pub(crate) async fn start_over(
        store: &str,
        settings: &[(&str, &str)],
        prepare: impl AsyncFnOnce(&dyn Store),
    ) -> Self {
        let key = KeyRing::key_text(&KEY);
        let mut variables = vec![
            ("BECKON_WS_LISTEN", "127.0.0.1:0"),
            ("BECKON_GRPC_LISTEN", "127.0.0.1:0"),
            ("BECKON_ADMIN_LISTEN", "127.0.0.1:0"),
            ("BECKON_ADMIN_TOKEN", ADMIN_TOKEN),
            ("BECKON_ENDPOINT_URL", "http://push.example"),
            ("BECKON_TOKEN_KEYS", key.as_str()),
            ("BECKON_UAID_KEY", key.as_str()),
            // A node of a cluster may not name the embedded store; a test may open it.
            ("BECKON_STORE", "redis://127.0.0.1"),
            ("BECKON_STORE_TIMEOUT", "10s"),
            ("BECKON_DRAIN_DELAY", "0"),
        ];
        variables.extend(settings);
        let config = Config::read(Source::new(std::iter::empty::<&str>(), variables)).unwrap();
        let data = tempfile::tempdir().unwrap();
        let embedded = Embedded { data_dir: data.path().to_owned(), fsync: false };
        let (url, shutdown) = (store.to_owned().into(), Shutdown::new());
        let store = beckon_node::store::open(&url, Some(embedded), &config.common, None, &shutdown).await;
        let store = store.map_err(|failure| failure.message).unwrap().unwrap();
        prepare(&*store).await;
        let listeners = Listeners::bind(&config).unwrap();
        let address = listeners.sockets.local_addr().unwrap();
        let admin = listeners.admin.local_addr().unwrap();
        let grpc = listeners.grpc.local_addr().unwrap();
        let threads = Threads::start(NonZero::new(WORKERS), &shutdown);
        let threads = threads.map_err(|failure| failure.message).unwrap();
        let workers = threads.workers().clone();
        let running =
            ConnectionNode::start(&config, listeners, store.clone(), Run::new(shutdown.clone(), workers))
                .await;
        let running = running.map_err(|failure| failure.message).unwrap();
        let (delivery, token_keys) = (running.server().delivery(), config.common.token_keys);
        #[expect(
            clippy::disallowed_methods,
            reason = "the handle is kept, and waited for when the node stops"
        )]
        let running = tokio::spawn(running.run());
        Self {
            address,
            admin,
            grpc,
            delivery,
            store,
            token_keys,
            shutdown,
            running,
            _threads: threads,
            _data: data,
        }
    }

    /// Waits until the metric of this name satisfies the condition.
    pub(crate) async fn until(&self, metric: &str, condition: impl Fn(u64) -> bool) {
        let waiting = async {
            while !condition(self.metric(metric).await) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let limit = Duration::from_secs(20);
        tokio::time::timeout(limit, waiting).await.unwrap_or_else(|_| panic!("{metric} in time"));
    }

    /// The value of a metric.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let metrics = self.metrics().await;
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} in {metrics}")).parse().unwrap()
    }

    /// All metrics, as they are scraped.
    pub(crate) async fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(self.admin).await.unwrap();
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Stops the node and waits until it has.
    pub(crate) async fn stop(self) {
        self.shutdown.request();
        self.ended().await.map_err(|failure| failure.message).unwrap();
    }

    /// Waits until the node has stopped by itself, and returns how its program would end.
    pub(crate) async fn ended(self) -> Result<(), Failure> {
        let ended = tokio::time::timeout(Duration::from_secs(20), self.running).await;
        ended.expect("it stops").unwrap();
        self.shutdown.result()
    }
}
