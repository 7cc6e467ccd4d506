//! One test's view of a fleet.

use crate::{
    connected::wait_until_connected,
    requests::{self, FORM, POOL, app_server, send, through},
    shared::{self, Profile},
    talk::{Client, new_channel},
};
use beckon_client::app_server::AppServer;
use beckon_testbed::{
    fleet::Fleet,
    node::Node,
    plan::{ADMIN_TOKEN, Plan, Shape},
    until,
};
use bytes::Bytes;
use http::{Method, Response};
use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// A fleet, used in turn: each connection goes to the next node that holds WebSockets, each request to the next
/// one that takes PUTs. So in a cluster a reconnect is always a move to another node.
///
/// Shows the logs of the programs if the test panics.
#[derive(Debug)]
pub struct Stage {
    fleet: Arc<Fleet>,
    app_server: AppServer,
    /// A POST is not repeated when its connection turns out to be dead, as those of a killed server are.
    app_server_without_pool: AppServer,
    connections: AtomicUsize,
    requests: AtomicUsize,
}

impl Stage {
    /// A view of the fleet that all tests of this profile share.
    pub fn shared(shape: Shape, profile: Profile) -> Self {
        Self::of(shared::fleet(shape, profile))
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
        let (app_server, app_server_without_pool) = (app_server(POOL), app_server(0));
        Self {
            fleet,
            app_server,
            app_server_without_pool,
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
        }
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

    /// Connects to the next node.
    pub async fn connect(&self) -> Client {
        Self::client_of(self.next_connection_node()).await
    }

    /// The node that the next connection goes to.
    pub fn next_connection_node(&self) -> &Node {
        let nodes = self.fleet.connection_nodes();
        nodes[self.connections.fetch_add(1, Ordering::Relaxed) % nodes.len()]
    }

    /// Connects to one node.
    pub async fn client_of(node: &Node) -> Client {
        Client::connect(&node.ws_url()).await
    }

    /// A client with a new UAID and one registered channel: itself, UAID, channel, endpoint.
    pub async fn registered(&self) -> Registered {
        let mut client = self.connect().await;
        let uaid = client.hello().await;
        let channel = new_channel();
        let endpoint = client.register(&channel).await;
        Registered { client, uaid, channel, endpoint }
    }

    /// PUTs a version through the next node and returns the status.
    pub async fn put(&self, endpoint: &str, version: u64) -> u16 {
        self.put_form(endpoint, &format!("version={version}")).await
    }

    /// PUTs a version with data and returns the status.
    pub async fn put_data(&self, endpoint: &str, version: u64, data: &str) -> u16 {
        self.put_form(endpoint, &format!("version={version}&data={data}")).await
    }

    /// PUTs a literal form and returns the status.
    pub async fn put_form(&self, endpoint: &str, form: &str) -> u16 {
        let answer = self.request(Method::PUT, endpoint, &[FORM], form.to_owned()).await;
        answer.status().as_u16()
    }

    /// Sends a request through the next node.
    pub async fn request(
        &self,
        method: Method,
        endpoint: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Bytes> {
        let nodes = self.fleet.endpoint_nodes();
        let node = nodes[self.requests.fetch_add(1, Ordering::Relaxed) % nodes.len()];
        let app_server =
            if method == Method::POST { &self.app_server_without_pool } else { &self.app_server };
        send(app_server, method, &through(node, endpoint), headers, body.into()).await
    }

    /// PUTs a version through this node and returns the status.
    pub async fn put_through(node: &Node, endpoint: &str, version: u64) -> u16 {
        requests::put_through(node, endpoint, version).await
    }

    /// GETs a URL, whoever serves it.
    pub async fn get(&self, url: &str) -> Response<Bytes> {
        send(&self.app_server, Method::GET, url, &[], Bytes::new()).await
    }

    /// Sends an operator's request to a URL, whoever serves it.
    pub async fn ask(&self, method: Method, url: &str, body: impl Into<Bytes>) -> Response<Bytes> {
        let token = ("authorization", &*format!("Bearer {ADMIN_TOKEN}"));
        send(&self.app_server, method, url, &[token], body.into()).await
    }

    /// HEADs a URL, whoever serves it.
    pub async fn head(&self, url: &str) -> Response<Bytes> {
        send(&self.app_server, Method::HEAD, url, &[], Bytes::new()).await
    }
}

/// What [`Stage::registered`] returns.
#[derive(Debug)]
pub struct Registered {
    /// The connected client.
    pub client: Client,
    /// Its UAID.
    pub uaid: String,
    /// Its channel.
    pub channel: String,
    /// The endpoint of the channel.
    pub endpoint: String,
}

impl Deref for Stage {
    type Target = Fleet;

    fn deref(&self) -> &Fleet {
        &self.fleet
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
