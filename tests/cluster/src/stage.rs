//! One test's view of a fleet.

use crate::{
    connected::wait_until_connected,
    contract::Contract,
    requests,
    shared::{self, Profile},
    talk::Client,
    tls, webpush,
};
use beckon_conformance::server::{Options, Server};
use beckon_testbed::{
    PATIENCE,
    fleet::Fleet,
    node::Node,
    plan::{ADMIN_TOKEN, Plan, Shape},
    redis::RedisServer,
    until,
};
use bytes::Bytes;
use http::{Method, Response};
use serde_json::json;
use std::{
    ops::Deref,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

pub use beckon_conformance::server::Registered;

/// A fleet, used in turn as one server: each connection goes to the next node that holds WebSockets, each request to the
/// next one that takes PUTs. Messages have to match the schemas of docs/api.
///
/// Shows the logs of the programs if the test panics.
#[derive(Debug)]
pub struct Stage {
    fleet: Arc<Fleet>,
    server: Server,
    turns: AtomicUsize,
}

impl Stage {
    /// A view of the fleet that all tests of this profile share.
    pub fn shared(shape: Shape, profile: Profile) -> Self {
        let mut stage = Self::of(shared::fleet(shape, profile));
        stage.server = server(&stage.fleet, Options { times: profile.times(), ..options() });
        stage
    }

    /// A fleet of the test's own, which it may break.
    pub fn own(plan: Plan) -> Self {
        let stage = Self::apart(plan);
        stage.wait_until_connected();
        stage
    }

    /// A fleet of the test's own, whose nodes need not find each other.
    pub fn apart(plan: Plan) -> Self {
        Self::of(Arc::new(plan.start()))
    }

    /// A fleet of the test's own, whose nodes need not start.
    pub fn launch(plan: Plan) -> Self {
        Self::of(Arc::new(plan.launch()))
    }

    fn of(fleet: Arc<Fleet>) -> Self {
        let server = server(&fleet, options());
        Self { fleet, server, turns: AtomicUsize::new(0) }
    }

    /// The fleet as its clients see it.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Node] {
        self.fleet.nodes()
    }

    /// The node of this name.
    pub fn node(&self, name: &str) -> &Node {
        self.fleet.node(name)
    }

    /// The nodes that hold WebSockets.
    pub fn connection_nodes(&self) -> Vec<&Node> {
        self.fleet.connection_nodes()
    }

    /// The nodes that take PUTs.
    pub fn endpoint_nodes(&self) -> Vec<&Node> {
        self.fleet.endpoint_nodes()
    }

    /// The folder of the fleet's files.
    pub fn folder(&self) -> &Path {
        self.fleet.folder()
    }

    /// The Redis that the fleet has started.
    pub fn redis(&self) -> Option<&RedisServer> {
        self.fleet.redis()
    }

    /// What the programs have logged.
    pub fn logs(&self) -> String {
        self.fleet.logs()
    }

    /// Waits until each node is ready.
    pub fn wait_until_ready(&self) {
        self.fleet.wait_until_ready();
    }

    /// Waits until a PUT to any node that takes PUTs reaches a client on any node that holds WebSockets.
    pub fn wait_until_connected(&self) {
        wait_until_connected(&self.fleet);
    }

    /// Waits until every node says that it can use the store: each has links of its own to it.
    pub async fn wait_until_well(&self) {
        for node in self.fleet.nodes() {
            let health = format!("http://{}/health", node.addresses().admin);
            let is_well = async || (self.get(&health).await.status() == 200).then_some(());
            until(&format!("{} can use the store", node.name()), is_well).await;
        }
    }

    /// One of the nodes that hold WebSockets, in turn.
    pub fn next_connection_node(&self) -> &Node {
        let nodes = self.fleet.connection_nodes();
        nodes[self.turns.fetch_add(1, Ordering::Relaxed) % nodes.len()]
    }

    /// Connects to one node.
    pub async fn client_of(node: &Node) -> Client {
        tls::client(&node.ws_url()).await
    }

    /// PUTs a version through this node and returns the status.
    pub async fn put_through(node: &Node, endpoint: &str, version: u64) -> u16 {
        requests::put_through(node, endpoint, version).await
    }

    /// Sends an operator's request to a URL, whoever serves it.
    pub async fn ask(&self, method: Method, url: &str, body: impl Into<Bytes>) -> Response<Bytes> {
        let token = ("authorization", &*format!("Bearer {ADMIN_TOKEN}"));
        self.send(method, url, &[token], body).await
    }

    /// Sets a broadcast through the next node that has them.
    pub async fn set_broadcast(&self, id: &str, version: &str) {
        let url = broadcast_url(self.next_connection_node(), id);
        let answer = self.ask(Method::PUT, &url, version.to_owned()).await;
        assert!(answer.status().is_success(), "{answer:?}");
    }

    /// Waits until a broadcast has this version for those who say hello, on every node.
    pub async fn until_broadcast(&self, id: &str, version: &str) {
        for node in self.connection_nodes() {
            until(&format!("{id} is {version} on {}", node.name()), async || {
                let mut client = webpush::Client::from(Self::client_of(node).await);
                let reply = client.hello_with(json!({"broadcasts": {id: "none yet"}})).await;
                client.leave().await;
                (reply["broadcasts"][id] == version).then_some(())
            })
            .await;
        }
    }
}

/// Where an operator sets a broadcast.
pub fn broadcast_url(node: &Node, id: &str) -> String {
    format!("http://{}/broadcasts/{id}", node.addresses().admin)
}

fn options() -> Options {
    Options {
        patience: PATIENCE,
        tls: Some(tls::trust()),
        answer_len_max: requests::ANSWER_LEN_MAX,
        inspector: Some(|| Box::new(Contract::default())),
        ..Options::default()
    }
}

fn server(fleet: &Fleet, options: Options) -> Server {
    let ws = fleet.connection_nodes().iter().map(|node| node.ws_url()).collect();
    let http = fleet.endpoint_nodes().iter().map(|node| node.http_url()).collect();
    Server::new(ws, http, options)
}

impl Deref for Stage {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Drop for Stage {
    #[expect(clippy::print_stderr, reason = "shown with the panic of the test, and only then")]
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.fleet.logs());
        }
    }
}
