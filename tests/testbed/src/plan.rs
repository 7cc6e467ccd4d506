//! Which programs a fleet has, and with which settings: fixed before anything runs, so that a test can put
//! itself in between.

use crate::{
    certificates::Certificates,
    ports::Port,
    programs::{Program, Programs},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
};

/// What the nodes of a planned cluster tell each other.
pub const SECRET: &str = "a secret of the test cluster";

/// What operators show to the programs of a plan.
pub const ADMIN_TOKEN: &str = "admin-token-of-the-test-bed";

/// How the server is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One process with the embedded store.
    Standalone,
    /// Connection-nodes, endpoint-nodes and Redis, each a process.
    Cluster,
}

/// Where a program listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// WebSockets.
    pub ws: Option<SocketAddr>,
    /// Application servers.
    pub http: Option<SocketAddr>,
    /// Other nodes.
    pub grpc: Option<SocketAddr>,
    /// Health and metrics.
    pub admin: SocketAddr,
}

impl Default for Addresses {
    fn default() -> Self {
        Self { ws: None, http: None, grpc: None, admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) }
    }
}

/// A program that does not run yet.
#[derive(Debug)]
pub struct Planned {
    /// The program.
    pub program: Program,
    /// `beckon`; in a cluster `c0`, `c1` … for connection-nodes and `e0`, `e1` … for endpoint-nodes.
    pub name: String,
    /// Where it will listen.
    pub addresses: Addresses,
    /// Its environment.
    pub settings: BTreeMap<String, String>,
    /// What it listens on belongs to it for as long as it exists.
    pub(crate) ports: Vec<Port>,
}

/// A fleet that does not run yet.
#[derive(Debug)]
pub struct Plan {
    pub(crate) shape: Shape,
    pub(crate) programs: Vec<Planned>,
    pub(crate) store: Option<String>,
    pub(crate) build: Option<Programs>,
}

impl Plan {
    /// One server, or two connection-nodes and two endpoint-nodes.
    pub fn new(shape: Shape) -> Self {
        match shape {
            Shape::Standalone => Self::standalone(),
            Shape::Cluster => Self::cluster(2, 2),
        }
    }

    /// One server with the embedded store.
    pub fn standalone() -> Self {
        Self { shape: Shape::Standalone, programs: vec![standalone()], store: None, build: None }
    }

    /// So many nodes of each kind. They get a Redis server of their own, unless [`Plan::store`] names another store.
    ///
    /// # Panics
    /// Without endpoint-nodes.
    pub fn cluster(connection_nodes: usize, endpoint_nodes: usize) -> Self {
        let endpoint_nodes = (0..endpoint_nodes).map(|number| endpoint_node(&format!("e{number}")));
        let connection_nodes = (0..connection_nodes).map(|number| connection_node(&format!("c{number}")));
        let mut programs: Vec<_> = endpoint_nodes.chain(connection_nodes).collect();
        let endpoint_url = format!("http://{}", programs[0].addresses.http.expect("an endpoint-node"));
        for node in &mut programs {
            node.set("BECKON_ENDPOINT_URL", &endpoint_url);
            node.set("BECKON_TOKEN_KEYS", &key(1));
            node.set("BECKON_UAID_KEY", &key(2));
            node.set("BECKON_CLUSTER_SECRET", SECRET);
        }
        Self { shape: Shape::Cluster, programs, store: None, build: None }
    }

    /// Uses this store; in a standalone server instead of the embedded one.
    pub fn store(mut self, url: impl Into<String>) -> Self {
        self.store = Some(url.into());
        self
    }

    /// Starts programs of this build instead of [`Programs::built`].
    pub fn build(mut self, build: Programs) -> Self {
        self.build = Some(build);
        self
    }

    /// TLS on the public ports of all programs, with these certificates.
    pub fn tls(mut self, certificates: &Certificates) -> Self {
        for node in &mut self.programs {
            node.set("BECKON_TLS_CERT", &certificates.certificate().to_string_lossy());
            node.set("BECKON_TLS_KEY", &certificates.key().to_string_lossy());
            if let Some(url) = node.settings.get_mut("BECKON_ENDPOINT_URL") {
                *url = url.replace("http://", "https://");
            }
        }
        self
    }

    /// A setting of the programs that hold WebSockets.
    pub fn sockets(self, variable: &str, value: &str) -> Self {
        self.set_where(|node| node.addresses.ws.is_some(), variable, value)
    }

    /// A setting of the programs that accept notifications.
    pub fn http(self, variable: &str, value: &str) -> Self {
        self.set_where(|node| node.addresses.http.is_some(), variable, value)
    }

    /// A setting of all programs.
    pub fn all(self, variable: &str, value: &str) -> Self {
        self.set_where(|_| true, variable, value)
    }

    fn set_where(mut self, applies: impl Fn(&Planned) -> bool, variable: &str, value: &str) -> Self {
        for node in self.programs.iter_mut().filter(|node| applies(node)) {
            node.set(variable, value);
        }
        self
    }

    /// The programs with their settings, for tests that start one alone.
    pub fn into_programs(self) -> Vec<Planned> {
        self.programs
    }

    /// All programs, to change what each is started with.
    pub fn programs_mut(&mut self) -> &mut [Planned] {
        &mut self.programs
    }

    /// One program, by name.
    ///
    /// # Panics
    /// If there is none of this name.
    pub fn node(&mut self, name: &str) -> &mut Planned {
        let node = self.programs.iter_mut().find(|node| node.name == name);
        node.unwrap_or_else(|| panic!("no {name} in the plan"))
    }
}

impl Planned {
    /// Sets an environment variable.
    pub fn set(&mut self, variable: &str, value: &str) {
        self.settings.insert(variable.to_owned(), value.to_owned());
    }

    fn new(program: Program, name: &str) -> Self {
        Self {
            program,
            name: name.to_owned(),
            addresses: Addresses::default(),
            // There is no load balancer that has to notice.
            settings: BTreeMap::from([
                ("BECKON_ADMIN_TOKEN".to_owned(), ADMIN_TOKEN.to_owned()),
                ("BECKON_DRAIN_DELAY".to_owned(), "0".to_owned()),
            ]),
            ports: Vec::new(),
        }
    }

    /// Lets the program listen on a port of its own.
    fn listen(&mut self, variable: &str) -> SocketAddr {
        let port = Port::free();
        let address = port.address();
        self.set(variable, &address.to_string());
        self.ports.push(port);
        address
    }

    fn listen_ws(mut self) -> Self {
        self.addresses.ws = Some(self.listen("BECKON_WS_LISTEN"));
        self
    }

    fn listen_http(mut self) -> Self {
        self.addresses.http = Some(self.listen("BECKON_HTTP_LISTEN"));
        self
    }

    fn listen_grpc(mut self) -> Self {
        self.addresses.grpc = Some(self.listen("BECKON_GRPC_LISTEN"));
        self
    }

    fn listen_admin(mut self) -> Self {
        self.addresses.admin = self.listen("BECKON_ADMIN_LISTEN");
        self
    }
}

/// A token key, as `beckon genkey` prints it. The same number makes the same key.
pub fn key(number: u8) -> String {
    URL_SAFE_NO_PAD.encode([number; 32])
}

fn standalone() -> Planned {
    Planned::new(Program::Beckon, "beckon").listen_ws().listen_http().listen_admin()
}

fn connection_node(name: &str) -> Planned {
    Planned::new(Program::ConnectionNode, name).listen_ws().listen_grpc().listen_admin()
}

fn endpoint_node(name: &str) -> Planned {
    Planned::new(Program::EndpointNode, name).listen_http().listen_admin()
}
