//! Requests of application servers.

use crate::{
    tls,
    webpush::{ENCRYPTED, KEPT, id_of},
};
use beckon_client::app_server::{AppServer, Options};
use beckon_conformance::server;
use beckon_testbed::{PATIENCE, node::Node};
use bytes::Bytes;
use http::{Method, Request, StatusCode};

pub use beckon_conformance::server::{FORM, send, try_send};

/// How many connections to a node are kept for the next request.
pub(crate) const POOL: usize = 4;

/// The longest answer, in bytes: the dashboard of 500 nodes has about a megabyte.
pub(crate) const ANSWER_LEN_MAX: usize = 16 * 1024 * 1024;

/// Has more patience than the server, whose time limits are what a test is about.
pub(crate) fn app_server(idle_max: usize) -> AppServer {
    let (limit, answer_len_max, tls) = (PATIENCE, ANSWER_LEN_MAX, Some(tls::trust()));
    AppServer::new(Options { limit, idle_max, answer_len_max, tls, ..Options::default() })
}

/// The same endpoint at another node.
pub fn through(node: &Node, endpoint: &str) -> String {
    server::through(&node.http_url(), endpoint)
}

/// PUTs a version through this node and returns the status.
pub(crate) async fn put_through(node: &Node, endpoint: &str, version: u64) -> u16 {
    let form = format!("version={version}");
    let url = through(node, endpoint);
    send(&app_server(POOL), Method::PUT, &url, &[FORM], form.into()).await.status().as_u16()
}

/// Sends messages to an endpoint until its server is gone, and returns the ids of those that were accepted.
pub async fn send_until_gone(endpoint: String) -> Vec<String> {
    let app_server = AppServer::new(Options::default());
    let mut accepted = Vec::new();
    loop {
        let request = Request::builder().method(Method::POST).uri(&endpoint).header(KEPT.0, KEPT.1);
        let request = request.header(ENCRYPTED.0, ENCRYPTED.1).body(Bytes::from_static(&[b'x'; 1000]));
        let Ok(answer) = app_server.request(request.expect("a request")).await else { return accepted };
        match answer.status() {
            StatusCode::CREATED => accepted.push(id_of(&answer)),
            status => assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}"),
        }
    }
}
