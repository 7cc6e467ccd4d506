//! A server as its clients see it: where user agents connect, and where application servers send.

use crate::{
    bare::{self, BareSocket, Stream},
    patience::PATIENCE,
    registered::Registrations,
    talk::{Client, Inspect, new_channel},
};
use beckon_client::{
    app_server::{self, AppServer, SendError},
    error::Error,
    raw,
    tls::system,
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, Method, Request, Response, Uri,
    uri::{Authority, PathAndQuery},
};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

/// The header of a form body.
pub const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// How many connections to a node are kept for the next request.
const POOL: usize = 4;

/// The default of [`Options::answer_len_max`].
const ANSWER_LEN_MAX: usize = 64 * 1024;

/// How a server is used.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long an answer or a message may take. [`PATIENCE`] by default.
    pub patience: Duration,
    /// Trust anchors. The system's by default.
    pub tls: Option<Arc<ClientConfig>>,
    /// The longest body of an answer, bytes. 64 KiB by default.
    pub answer_len_max: usize,
    /// The times that the server is set to.
    pub times: Times,
    /// What looks at the messages of each socket. Nothing by default.
    pub inspector: Option<fn() -> Box<dyn Inspect>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            patience: PATIENCE,
            tls: None,
            answer_len_max: ANSWER_LEN_MAX,
            times: Times::default(),
            inspector: None,
        }
    }
}

/// The times of PROTOCOL.md section 1.10 that checks wait for.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// How long a socket may be silent before hello.
    pub hello_timeout: Duration,
    /// The shortest time between two pings in SimplePush.
    pub ping_min_sp: Duration,
    /// After so long without a message, the server pings.
    pub keepalive_interval: Duration,
    /// How long the answer to that may take.
    pub keepalive_timeout: Duration,
    /// After so long, an update is sent again that is not acknowledged.
    pub sp_retry_interval: Duration,
}

impl Default for Times {
    /// Those that a server has unless it is set to others.
    fn default() -> Self {
        Self {
            hello_timeout: Duration::from_secs(30),
            ping_min_sp: Duration::from_secs(20),
            keepalive_interval: Duration::from_secs(300),
            keepalive_timeout: Duration::from_secs(30),
            sp_retry_interval: Duration::from_secs(60),
        }
    }
}

/// A server, or several nodes that are used in turn: each connection goes to the next URL for WebSockets, each request
/// to the next base of endpoints. So in a cluster a reconnect is always a move to another node.
///
/// Its functions panic if the server does not do what they are for.
#[derive(Debug, Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ws: Vec<String>,
    http: Vec<String>,
    options: Options,
    app_server: AppServer,
    /// A POST is not repeated when its connection turns out to be dead, as those of a killed server are.
    app_server_without_pool: AppServer,
    connections: AtomicUsize,
    requests: AtomicUsize,
    registrations: Registrations,
}

/// What [`Server::registered`] returns.
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

impl Server {
    /// A server with these URLs for WebSockets, and these bases of endpoints, without a slash at the end.
    pub fn new(ws: Vec<String>, http: Vec<String>, options: Options) -> Self {
        let app_server = |idle_max: usize| {
            let Options { patience: limit, tls, answer_len_max, .. } = options.clone();
            AppServer::new(app_server::Options { limit, idle_max, tls, answer_len_max, ..Default::default() })
        };
        let (app_server, app_server_without_pool) = (app_server(POOL), app_server(0));
        let (connections, requests) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let registrations = Registrations::default();
        Self {
            shared: Arc::new(Shared {
                ws,
                http,
                options,
                app_server,
                app_server_without_pool,
                connections,
                requests,
                registrations,
            }),
        }
    }

    /// The URLs for WebSockets.
    pub fn ws_urls(&self) -> &[String] {
        &self.shared.ws
    }

    /// The bases of endpoints, without a slash at the end.
    pub fn http_urls(&self) -> &[String] {
        &self.shared.http
    }

    /// How long an answer or a message may take.
    pub fn patience(&self) -> Duration {
        self.shared.options.patience
    }

    /// The times that the server is set to.
    pub fn times(&self) -> Times {
        self.shared.options.times
    }

    /// Trust anchors, unless they are the system's.
    pub(crate) fn trust(&self) -> Option<Arc<ClientConfig>> {
        self.shared.options.tls.clone()
    }

    /// What the clients of this server have registered.
    pub(crate) fn registrations(&self) -> &Registrations {
        &self.shared.registrations
    }

    /// An application server, which sends to URLs as they are.
    pub fn app_server(&self) -> &AppServer {
        &self.shared.app_server
    }

    fn next_ws(&self) -> &str {
        let ws = &self.shared.ws;
        &ws[self.shared.connections.fetch_add(1, Ordering::Relaxed) % ws.len()]
    }

    fn next_http(&self) -> &str {
        let http = &self.shared.http;
        &http[self.shared.requests.fetch_add(1, Ordering::Relaxed) % http.len()]
    }

    /// Connects to the next node.
    pub async fn connect(&self) -> Client {
        self.connect_to(self.next_ws()).await
    }

    /// Connects to this URL.
    pub async fn connect_to(&self, url: &str) -> Client {
        let options = raw::Options { tls: self.trust(), ..raw::Options::default() };
        self.try_connect_to(url, &options)
            .await
            .unwrap_or_else(|error| panic!("no WebSocket at {url}: {error}"))
    }

    /// Connects to this URL; the error is the caller's to judge.
    pub async fn try_connect_to(&self, url: &str, options: &raw::Options) -> Result<Client, Error> {
        let Options { patience, inspector, .. } = &self.shared.options;
        let client = Client::connect_with(url, options).await?.with_patience(*patience);
        let client = client.inspected_by(self.shared.registrations.ledger());
        Ok(match inspector {
            Some(make) => client.inspected_by(make()),
            None => client,
        })
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

    /// Sends a request to an endpoint through the next node.
    pub async fn request(
        &self,
        method: Method,
        endpoint: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Bytes> {
        let Shared { app_server, app_server_without_pool, .. } = &*self.shared;
        let app_server = if method == Method::POST { app_server_without_pool } else { app_server };
        send(app_server, method, &through(self.next_http(), endpoint), headers, body.into()).await
    }

    /// Sends a request to a URL as it is.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Bytes> {
        send(&self.shared.app_server, method, url, headers, body.into()).await
    }

    /// GETs a URL, whoever serves it.
    pub async fn get(&self, url: &str) -> Response<Bytes> {
        self.send(Method::GET, url, &[], Bytes::new()).await
    }

    /// HEADs a URL, whoever serves it.
    pub async fn head(&self, url: &str) -> Response<Bytes> {
        self.send(Method::HEAD, url, &[], Bytes::new()).await
    }

    /// Asks the next node for a WebSocket, with further header lines, each ended by CRLF. Returns the head of the answer
    /// and what follows it.
    pub async fn upgrade(&self, further: &str) -> (String, Box<dyn Stream>) {
        let url = self.next_ws();
        let uri = parsed(url);
        let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        self.literally(url, &bare::upgrade_request_to(host_of(&uri), path, further)).await
    }

    /// A WebSocket without any help at the next node.
    pub async fn bare(&self) -> BareSocket {
        let (head, stream) = self.upgrade("").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "no upgrade: {head}");
        BareSocket::over(stream)
    }

    /// Sends literal HTTP to where the next requests to endpoints go: the method with the path, and what follows the
    /// `Host`. Returns the head of the answer.
    pub async fn literal_request(&self, begin: &str, rest: &str) -> String {
        let url = self.next_http();
        let text = format!("{begin} HTTP/1.1\r\nHost: {}\r\n{rest}", host_of(&parsed(url)));
        self.literally(url, &text).await.0
    }

    async fn literally(&self, url: &str, text: &str) -> (String, Box<dyn Stream>) {
        let connected = timeout(self.patience(), self.open(url)).await;
        let stream = connected.unwrap_or_else(|_| panic!("{url}: no connection in time"));
        bare::exchange(stream, text, self.patience()).await
    }

    /// TCP, and TLS if the URL is for it.
    async fn open(&self, url: &str) -> Box<dyn Stream> {
        let uri = parsed(url);
        let is_tls = matches!(uri.scheme_str(), Some("wss" | "https"));
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let connected = TcpStream::connect((host.as_str(), port)).await;
        let stream = connected.unwrap_or_else(|error| panic!("{url}: {error}"));
        stream.set_nodelay(true).unwrap_or_else(|error| panic!("{url}: {error}"));
        if !is_tls {
            return Box::new(stream);
        }
        let tls = self.shared.options.tls.clone().unwrap_or_else(system);
        let name = ServerName::try_from(host).unwrap_or_else(|error| panic!("{url}: {error}"));
        let connected = TlsConnector::from(tls).connect(name, stream).await;
        Box::new(connected.unwrap_or_else(|error| panic!("{url}: {error}")))
    }
}

fn parsed(url: &str) -> Uri {
    url.parse().unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// What the header `Host` says. What stands in front of a server may go by it.
fn host_of(uri: &Uri) -> &str {
    uri.authority().map_or("", Authority::as_str)
}

/// The same endpoint at another base.
pub fn through(base: &str, endpoint: &str) -> String {
    let path =
        endpoint.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    format!("{base}/{path}")
}

/// Sends a request, which has to be answered.
pub async fn send(
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
pub async fn try_send(
    app_server: &AppServer,
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Result<Response<Bytes>, SendError> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = parsed(url);
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::try_from(*name).expect("a header name");
        map.append(name, value.parse().expect("a header value"));
    }
    *request.headers_mut() = map;
    app_server.request(request).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        thread,
    };

    #[tokio::test]
    async fn literal_requests_are_for_the_host_of_the_url() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let heads = thread::spawn(move || {
            [(); 2].map(|()| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut buffer = [0; 1024];
                let length = stream.read(&mut buffer).unwrap();
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
                String::from_utf8(buffer[..length].to_vec()).unwrap()
            })
        });
        let server =
            Server::new(vec![format!("ws://{host}/a?b")], vec![format!("http://{host}")], Options::default());
        server.upgrade("").await;
        server.literal_request("POST /c", "\r\n").await;
        let [upgrade, post] = heads.join().unwrap();
        assert!(upgrade.starts_with(&format!("GET /a?b HTTP/1.1\r\nHost: {host}\r\n")), "{upgrade}");
        assert_eq!(post, format!("POST /c HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }
}
