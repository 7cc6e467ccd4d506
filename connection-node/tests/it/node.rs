//! A connection-node on a free port.

use beckon_connection_node::{
    Announcement, BUILD, DeliveryService, Membership, Server, config::SocketSettings,
};
use beckon_node::{admin::Admin, config::CommonSettings, store::Embedded};
use beckon_ops::{clock::Clock, config::Source, shutdown::Shutdown};
use beckon_store::Store;
use beckon_types::{KeyRing, TOKEN_KEY_LEN};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

pub(crate) struct TestNode {
    pub(crate) address: SocketAddr,
    /// The admin listener.
    pub(crate) admin: SocketAddr,
    pub(crate) delivery: DeliveryService,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) token_keys: KeyRing,
    pub(crate) shutdown: Shutdown,
    running: JoinHandle<()>,
    _data: tempfile::TempDir,
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
        let key = KeyRing::key_text(&[1; TOKEN_KEY_LEN]);
        let mut variables = vec![
            ("BECKON_ENDPOINT_URL", "http://push.example"),
            ("BECKON_TOKEN_KEYS", key.as_str()),
            ("BECKON_STORE_TIMEOUT", "10s"),
        ];
        variables.extend(settings);
        let mut source = Source::new(std::iter::empty::<&str>(), variables);
        let parts = SocketSettings::read(&mut source).zip(CommonSettings::read(&mut source));
        let (settings, common) = source.finish(parts).unwrap();
        let data = tempfile::tempdir().unwrap();
        let (clock, shutdown) = (Clock::start(), Shutdown::new());
        let embedded = Embedded { data_dir: data.path().to_owned(), fsync: false };
        let url = store.to_owned().into();
        let store = beckon_node::store::open(&url, Some(embedded), &common, &shutdown).await;
        let store = store.map_err(|failure| failure.message).unwrap().unwrap();
        prepare(&*store).await;
        let membership = Membership {
            name: "test".into(),
            announcement: Announcement {
                grpc_address: String::new(),
                ws_url: None,
                drain_time: common.drain_time,
            },
            secret: None,
            tls: None,
        };
        let mut measured = beckon_ops::metrics::registry("test", BUILD.version, BUILD.commit);
        let limits = settings.limits(beckon_ops::process::open_files_max());
        let server =
            Server::start(&settings, &common, limits, membership, store.clone(), clock, &mut measured)
                .await
                .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let delivery = server.delivery();
        let admin = Arc::new(Admin::new(Arc::new(server.vitals()), BUILD, measured, clock));
        let admin_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin_address = admin_listener.local_addr().unwrap();
        let added = server.broadcast_paths(admin.clone());
        shutdown.spawn(admin.clone().serve_with(admin_listener, added, shutdown.clone()));
        let running = {
            let shutdown = shutdown.clone();
            shutdown.clone().spawn(async move { server.run(listener, admin, &shutdown).await })
        };
        let token_keys = common.token_keys;
        Self { address, admin: admin_address, delivery, store, token_keys, shutdown, running, _data: data }
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
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Stops the node and waits until it has drained.
    pub(crate) async fn stop(self) {
        self.shutdown.trigger();
        self.running.await.unwrap();
    }
}
