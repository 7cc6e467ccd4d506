//! An endpoint-node in this process, over a Redis of its own.

use crate::http_client::{self, Answer};
use beckon_endpoint_node::{EndpointNode, Listeners, config::Config};
use beckon_node::assembly::Run;
use beckon_ops::{config::Source, program::ServerConfig as _, shutdown::Shutdown, workers::Threads};
use beckon_store::{NodeEntry, Store};
use beckon_testbed::{redis::RedisServer, until};
use beckon_types::{
    AddChannel, AddChannelOutcome, Backlog, ChannelId, ClientId, ConnectionId, Dialect, Endpoint, Hello,
    HelloOutcome, KeyHash, KeyId, KeyRing, Listed, Message, NodeId, Presence, Spelling,
};
use std::{net::SocketAddr, num::NonZero, sync::Arc};
use tokio::task::JoinHandle;

/// An endpoint-node and what it needs.
#[derive(Debug)]
pub(crate) struct TestNode {
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) redis: RedisServer,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) shutdown: Shutdown,
    pub(crate) keys: KeyRing,
    run: JoinHandle<()>,
    _threads: Threads,
}

impl TestNode {
    /// Starts a node with the defaults.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a node with further settings.
    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::start_on(2, settings).await
    }

    /// Starts a node with so many workers and further settings.
    pub(crate) async fn start_on(workers: u8, settings: &[(&str, &str)]) -> Self {
        let redis = RedisServer::start();
        let limits = beckon_store::redis::RedisOptions::default();
        let store: Arc<dyn Store> =
            Arc::new(beckon_store::redis::connect(&redis.url(), limits).await.unwrap());
        let (key, url) = (KeyRing::key_text(&[7; 32]), redis.url());
        let mut all = vec![
            ("BECKON_HTTP_LISTEN", "127.0.0.1:0"),
            ("BECKON_ADMIN_LISTEN", "127.0.0.1:0"),
            ("BECKON_ENDPOINT_URL", "http://push.example.net"),
            ("BECKON_STORE", &url),
            ("BECKON_TOKEN_KEYS", &key),
            ("BECKON_DRAIN_DELAY", "0"),
        ];
        all.extend(settings);
        let config = Config::read(Source::new(std::iter::empty::<&str>(), all)).unwrap();
        let listeners = Listeners::bind(&config).unwrap();
        let (http, admin) = (listeners.http.local_addr().unwrap(), listeners.admin.local_addr().unwrap());
        let shutdown = Shutdown::new();
        let threads = Threads::start(NonZero::new(workers), &shutdown);
        let threads = threads.map_err(|failure| failure.message).unwrap();
        let keys = config.common.token_keys.clone();
        #[expect(clippy::disallowed_methods, reason = "the handle is kept, and waited for by `stop`")]
        let run = {
            let (shutdown, workers) = (shutdown.clone(), threads.workers().clone());
            let node =
                EndpointNode::start(&config, listeners, store.clone(), Run::new(shutdown, workers)).await;
            tokio::spawn(node.run())
        };
        Self { http, admin, redis, store, shutdown, keys, run, _threads: threads }
    }

    /// Announces a connection-node, at an address where there is none, and waits until the node has read of it: before, it does not
    /// know whether it has all keys.
    pub(crate) async fn expect_other_nodes(&self) {
        let entry = NodeEntry {
            node: NodeId(99),
            name: "other".to_owned(),
            grpc_address: "127.0.0.1:1".to_owned(),
            workers: 1,
            ws_url: None,
            room: true,
            keys: self.keys.fingerprints(),
        };
        self.store.announce(entry).await.unwrap();
        let has_read = async || (self.put("/update/unknown", "").await.status == 404).then_some(());
        until("the node has read the directory", has_read).await;
    }

    /// Stops the node and waits for its end.
    pub(crate) async fn stop(self) {
        self.shutdown.request();
        self.run.await.unwrap();
    }

    /// Registers a channel for a client connected to this node and connection, and returns its endpoint's path.
    pub(crate) async fn register(&self, client: u8, presence: Presence) -> String {
        self.claim(client, presence, Dialect::SimplePush).await;
        let key = self.add_channel(client, presence, None).await;
        let (client, channel) = (ClientId([client; 16]), ChannelId([client; 16]));
        Endpoint::SimplePush { client, channel }.path(&self.keys, key)
    }

    /// Registers a Web Push channel for a client connected to this node and connection, and returns its endpoint's
    /// path.
    pub(crate) async fn subscribe(
        &self,
        client: u8,
        presence: Presence,
        restricted: Option<KeyHash>,
    ) -> String {
        self.claim(client, presence, Dialect::WebPush).await;
        let key = self.add_channel(client, presence, restricted).await;
        let (client, channel) = (ClientId([client; 16]), ChannelId([client; 16]));
        Endpoint::WebPush { client, channel, restricted }.path(&self.keys, key)
    }

    /// Registers a Web Push channel without a key, for a client that is not connected.
    pub(crate) async fn subscribe_offline(&self, client: u8) -> String {
        let presence = connected_to(NodeId(1), client);
        let path = self.subscribe(client, presence, None).await;
        self.store.release(ClientId([client; 16]), presence, None).await.unwrap();
        path
    }

    /// What is stored for a Web Push client that is not connected.
    pub(crate) async fn stored(&self, client: u8) -> Vec<Message> {
        let presence = connected_to(NodeId(9), client);
        let backlog = self.claim(client, presence, Dialect::WebPush).await;
        self.store.release(ClientId([client; 16]), presence, None).await.unwrap();
        backlog.messages
    }

    async fn claim(&self, client: u8, presence: Presence, dialect: Dialect) -> Backlog {
        let hello = Hello {
            client: ClientId([client; 16]),
            presence,
            named: Some(dialect),
            otherwise: dialect,
            listed: (dialect == Dialect::SimplePush).then(|| Listed::Channels(Vec::new())),
            adopt: true,
            room: true,
            backlog_max: 1000,
        };
        let outcome = self.store.hello(hello).await.unwrap();
        let HelloOutcome::Claimed { backlog, .. } = outcome else { panic!("client {client}: {outcome:?}") };
        backlog
    }

    async fn add_channel(&self, client: u8, presence: Presence, restricted: Option<KeyHash>) -> KeyId {
        let (client, channel) = (ClientId([client; 16]), ChannelId([client; 16]));
        let (spelling, key) = (Spelling::HYPHENATED, self.keys.newest());
        let add = AddChannel { client, presence, channel, spelling, key, channels_max: 10, restricted };
        let added = self.store.add_channel(add).await.unwrap();
        assert!(matches!(added, AddChannelOutcome::Registered { .. }), "{added:?}");
        key
    }

    /// Registers a channel for a client that is not connected.
    pub(crate) async fn register_offline(&self, client: u8) -> String {
        let presence = connected_to(NodeId(1), client);
        let path = self.register(client, presence).await;
        self.store.release(ClientId([client; 16]), presence, None).await.unwrap();
        path
    }

    /// Sends a POST to this node, with the headers that every message requires and others.
    pub(crate) async fn post(&self, path: &str, headers: &str, body: &[u8]) -> Answer {
        let headers = format!("TTL: 60\r\nContent-Encoding: aes128gcm\r\n{headers}");
        http_client::send(self.http, "POST", path, &headers, body).await
    }

    /// Sends a PUT of a form to this node.
    pub(crate) async fn put(&self, path: &str, form: &str) -> Answer {
        http_client::put(self.http, path, form).await
    }
}

/// The presence of a client whose connection has the client's number.
pub(crate) fn connected_to(node: NodeId, connection: u8) -> Presence {
    Presence { node, connection: ConnectionId(connection.into()) }
}
