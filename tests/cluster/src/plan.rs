//! Which programs a fleet has, and with which settings: fixed before anything runs, so that a test can put
//! itself in between.

use crate::{
    fleet::{Fleet, Shape},
    node::Addresses,
    ports,
    programs::Program,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use std::collections::BTreeMap;

/// What the nodes of a planned cluster tell each other.
pub const SECRET: &str = "a secret of the test cluster";

/// A program that does not run yet.
#[derive(Debug)]
pub struct Planned {
    /// The program.
    pub program: Program,
    /// `beckon`; in a cluster `c0`, `c1` for connection-nodes and `e0`, `e1` for endpoint-nodes.
    pub name: String,
    /// Where it will listen.
    pub addresses: Addresses,
    /// Its environment.
    pub settings: BTreeMap<String, String>,
}

/// A fleet that does not run yet.
#[derive(Debug)]
pub struct Plan {
    pub(crate) shape: Shape,
    pub(crate) programs: Vec<Planned>,
    pub(crate) store: Option<String>,
}

impl Plan {
    /// One server, or two connection-nodes and two endpoint-nodes. The cluster gets a Redis of its own, unless
    /// [`Plan::store`] names one.
    pub fn new(shape: Shape) -> Self {
        let programs = match shape {
            Shape::Standalone => vec![standalone()],
            Shape::Cluster => {
                let mut nodes = vec![
                    endpoint_node("e0"),
                    endpoint_node("e1"),
                    connection_node("c0"),
                    connection_node("c1"),
                ];
                let key = key(1);
                let endpoint_url = format!("http://{}", nodes[0].addresses.http.expect("an endpoint-node"));
                for node in &mut nodes {
                    node.set("BECKON_ENDPOINT_URL", &endpoint_url);
                    node.set("BECKON_TOKEN_KEYS", &key);
                    node.set("BECKON_CLUSTER_SECRET", SECRET);
                }
                nodes
            }
        };
        Self { shape, programs, store: None }
    }

    /// Uses this store; in a standalone server instead of the embedded one.
    pub fn store(mut self, url: impl Into<String>) -> Self {
        self.store = Some(url.into());
        self
    }

    /// A setting of the programs that hold WebSockets.
    pub fn sockets(self, variable: &str, value: &str) -> Self {
        self.set_where(|node| node.addresses.ws.is_some(), variable, value)
    }

    /// A setting of the programs that take PUTs.
    pub fn http(self, variable: &str, value: &str) -> Self {
        self.set_where(|node| node.addresses.http.is_some(), variable, value)
    }

    /// A setting of all programs.
    pub fn all(self, variable: &str, value: &str) -> Self {
        self.set_where(|_| true, variable, value)
    }

    fn set_where(mut self, wanted: impl Fn(&Planned) -> bool, variable: &str, value: &str) -> Self {
        for node in self.programs.iter_mut().filter(|node| wanted(node)) {
            node.set(variable, value);
        }
        self
    }

    /// The environment of each program, for tests that start one alone.
    pub fn into_settings(self) -> Vec<(Program, Vec<(String, String)>)> {
        self.programs.into_iter().map(|node| (node.program, node.settings.into_iter().collect())).collect()
    }

    /// One program, by name.
    pub fn node(&mut self, name: &str) -> &mut Planned {
        let node = self.programs.iter_mut().find(|node| node.name == name);
        node.unwrap_or_else(|| panic!("no {name} in the plan"))
    }

    /// Starts all programs and waits until PUTs reach clients by every way.
    pub fn start(self) -> Fleet {
        let fleet = Fleet::launch(self);
        fleet.wait_until_ready();
        fleet
    }

    /// Starts all programs and waits until each is ready, whether or not they find each other.
    pub fn start_apart(self) -> Fleet {
        let fleet = Fleet::launch(self);
        for node in fleet.nodes() {
            node.wait_until_ready();
        }
        fleet
    }
}

impl Planned {
    /// Sets an environment variable.
    pub fn set(&mut self, variable: &str, value: &str) {
        self.settings.insert(variable.to_owned(), value.to_owned());
    }
}

/// A token key, as `beckon genkey` prints it. The same number makes the same key.
pub fn key(number: u8) -> String {
    URL_SAFE_NO_PAD.encode([number; 32])
}

fn planned(program: Program, name: &str, addresses: Addresses) -> Planned {
    let mut node = Planned { program, name: name.to_owned(), addresses, settings: BTreeMap::new() };
    let Addresses { ws, http, grpc, admin } = addresses;
    let listeners = [
        ("BECKON_WS_LISTEN", ws),
        ("BECKON_HTTP_LISTEN", http),
        ("BECKON_GRPC_LISTEN", grpc),
        ("BECKON_ADMIN_LISTEN", Some(admin)),
    ];
    for (variable, address) in listeners {
        if let Some(address) = address {
            node.set(variable, &address.to_string());
        }
    }
    node
}

fn standalone() -> Planned {
    let (ws, http) = (Some(ports::free()), Some(ports::free()));
    planned(Program::Beckon, "beckon", Addresses { ws, http, grpc: None, admin: ports::free() })
}

fn connection_node(name: &str) -> Planned {
    let (ws, grpc) = (Some(ports::free()), Some(ports::free()));
    planned(Program::ConnectionNode, name, Addresses { ws, http: None, grpc, admin: ports::free() })
}

fn endpoint_node(name: &str) -> Planned {
    let http = Some(ports::free());
    planned(Program::EndpointNode, name, Addresses { ws: None, http, grpc: None, admin: ports::free() })
}
