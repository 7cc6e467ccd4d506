//! Requests of application servers.

use crate::tls;
use beckon_client::app_server::{AppServer, Options, SendError};
use beckon_testbed::{PATIENCE, node::Node};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};

/// The header of a form body.
pub const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// How many connections to a node are kept for the next request.
pub(crate) const POOL: usize = 4;

/// The longest answer, in bytes: the dashboard of 500 nodes has about a megabyte.
const ANSWER_LEN_MAX: usize = 16 * 1024 * 1024;

/// Has more patience than the server, whose time limits are what a test is about.
pub(crate) fn app_server(idle_max: usize) -> AppServer {
    let (limit, answer_len_max, tls) = (PATIENCE, ANSWER_LEN_MAX, Some(tls::trust()));
    AppServer::new(Options { limit, idle_max, answer_len_max, tls, ..Options::default() })
}

/// The same endpoint at another node.
pub fn through(node: &Node, endpoint: &str) -> String {
    let path =
        endpoint.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    format!("{}/{path}", node.http_url())
}

pub(crate) async fn send(
    app_server: &AppServer,
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Response<Bytes> {
    let answer = try_send(app_server, method, url, headers, body).await;
    answer.unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// [`send`] to a server that may not answer.
pub(crate) async fn try_send(
    app_server: &AppServer,
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Result<Response<Bytes>, SendError> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = url.parse().unwrap_or_else(|error| panic!("{url}: {error}"));
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = http::HeaderName::try_from(*name).expect("a header name");
        map.append(name, value.parse().expect("a header value"));
    }
    *request.headers_mut() = map;
    app_server.request(request).await
}

/// PUTs a version through this node and returns the status.
pub(crate) async fn put_through(node: &Node, endpoint: &str, version: u64) -> u16 {
    let form = format!("version={version}");
    let url = through(node, endpoint);
    send(&app_server(POOL), Method::PUT, &url, &[FORM], form.into()).await.status().as_u16()
}
