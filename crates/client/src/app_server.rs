//! The application server's side: PUT to an endpoint (PROTOCOL.md section 3). For Web Push, see
//! [`crate::webpush::post`].

use crate::{error::retry_after, tls};
use beckon_types::Version;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::ClientConfig;
use std::{error::Error, sync::Arc, time::Duration};
use tokio::time::timeout;

/// The default of [`Options::answer_len_max`]. Answers of endpoints are far shorter.
const ANSWER_LEN_MAX: usize = 64 * 1024;

/// How to send.
#[derive(Debug, Clone)]
pub struct Options {
    /// Time limit from the first attempt to connect to the last byte of the answer. 30 s by default; after it
    /// [`SendError::TimedOut`].
    pub limit: Duration,
    /// How many idle connections per host are kept for the next request. 32 by default.
    pub idle_max: usize,
    /// How long an idle connection is kept. 50 s by default, which is below the usual limits of servers.
    pub idle_time: Duration,
    /// The longest body of an answer, in bytes. 64 KiB by default; a longer one is [`SendError::Failed`].
    pub answer_len_max: usize,
    /// Trust anchors for `https`. The system's by default.
    pub tls: Option<Arc<ClientConfig>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limit: Duration::from_secs(30),
            idle_max: 32,
            idle_time: Duration::from_secs(50),
            answer_len_max: ANSWER_LEN_MAX,
            tls: None,
        }
    }
}

/// What became of an update that the server accepted. In both cases the server stores it until the user agent
/// acknowledges it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// 200: handed to a connected user agent.
    Delivered,
    /// 202: stored until the user agent connects.
    Stored,
}

/// Why an update or a message was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The caller's endpoint is not usable.
    #[error("`{endpoint}` is not a usable http or https URL: {reason}")]
    InvalidEndpoint {
        /// The endpoint.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server answered with a status that does not mean success; PROTOCOL.md sections 3 and 5 list them.
    #[error("the server refused with HTTP status {status}: {reason}")]
    Refused {
        /// The status: 404 and 410 mean that the endpoint no longer works.
        status: StatusCode,
        /// The body, as text.
        reason: String,
        /// When the server wants the caller to try again (with 429 and 503).
        retry_after: Option<Duration>,
    },
    /// No complete answer arrived in time. The update may have been accepted.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The connection could not be made, or broke. If it broke, the update may have been accepted.
    #[error("the request failed")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

/// The body of a PUT. The serializer is not `Sync`, so it must not live in a future.
fn form(version: Option<Version>, data: Option<&str>) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    if let Some(version) = version {
        form.append_pair("version", &version.number().to_string());
    }
    if let Some(data) = data {
        form.append_pair("data", data);
    }
    form.finish()
}

/// Sends to http and https endpoints over pooled connections. Clones are cheap and share the pool.
#[derive(Debug, Clone)]
pub struct AppServer {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    limit: Duration,
    answer_len_max: usize,
}

impl Default for AppServer {
    fn default() -> Self {
        Self::new(Options::default())
    }
}

impl AppServer {
    /// An application server that has no connections yet.
    pub fn new(options: Options) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let tls = options.tls.unwrap_or_else(tls::system);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config((*tls).clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(options.idle_max)
            .pool_idle_timeout(options.idle_time)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self { client, limit: options.limit, answer_len_max: options.answer_len_max }
    }

    /// Sends an update. Without `version` the server uses the current Unix time in seconds; `data` reaches the user
    /// agent only if it is connected.
    ///
    /// # Errors
    ///
    /// [`SendError`] says for each variant whether the update may have been accepted.
    pub async fn put(
        &self,
        endpoint: &str,
        version: Option<Version>,
        data: Option<&str>,
    ) -> Result<Accepted, SendError> {
        let request = Request::builder()
            .method(Method::PUT)
            .uri(endpoint)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Bytes::from(form(version, data)))
            .map_err(|error| SendError::InvalidEndpoint {
                endpoint: endpoint.to_owned(),
                reason: error.to_string(),
            })?;
        let response = self.request(request).await?;
        match response.status() {
            StatusCode::OK => Ok(Accepted::Delivered),
            StatusCode::ACCEPTED => Ok(Accepted::Stored),
            status => Err(SendError::Refused {
                status,
                retry_after: retry_after(response.headers()),
                reason: reason(response.body()),
            }),
        }
    }

    /// Sends any request and reads the whole answer, whatever its status. If the connection breaks before an answer
    /// arrives, the request is sent once more on another connection, because sending the same update twice does no harm.
    /// A POST is not sent again, because each one creates a message.
    ///
    /// # Errors
    ///
    /// [`SendError::InvalidEndpoint`], [`SendError::TimedOut`] or [`SendError::Failed`]; never [`SendError::Refused`].
    pub async fn request(&self, request: Request<Bytes>) -> Result<Response<Bytes>, SendError> {
        let uri = request.uri();
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
            return Err(SendError::InvalidEndpoint {
                endpoint: uri.to_string(),
                reason: "it must start with http:// or https:// and a host".to_owned(),
            });
        }
        match timeout(self.limit, self.exchange(request)).await {
            Ok(response) => response,
            Err(_) => Err(SendError::TimedOut(self.limit)),
        }
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, SendError> {
        let request = request.map(Full::new);
        // The server may close an idle connection just as it is used again.
        let response = match self.client.request(request.clone()).await {
            Err(error) if !error.is_connect() && request.method() != Method::POST => {
                self.client.request(request).await
            }
            response => response,
        };
        let response = response.map_err(|error| SendError::Failed(error.into()))?;
        let (head, body) = response.into_parts();
        let body =
            Limited::new(body, self.answer_len_max).collect().await.map_err(SendError::Failed)?.to_bytes();
        Ok(Response::from_parts(head, body))
    }
}

/// The text of an error body for people: a JSON string, the `message` of a JSON object (PROTOCOL.md section 5.8), or the
/// body as it is.
pub fn reason(body: &[u8]) -> String {
    match serde_json::from_slice(body) {
        Ok(ErrorBody::Text(message) | ErrorBody::Object { message }) => message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    }
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum ErrorBody {
    Text(String),
    Object { message: String },
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        task::JoinSet,
    };

    #[tokio::test]
    async fn an_answer_is_read_up_to_its_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
                let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 10\r\n\r\n";
                stream.write_all(format!("{head}0123456789").as_bytes()).await.unwrap();
            }
        });
        for (answer_len_max, is_read) in [(10, true), (9, false)] {
            let server = AppServer::new(Options { answer_len_max, ..Options::default() });
            let answer = server.request(Request::get(&url).body(Bytes::new()).unwrap()).await;
            let failed = matches!(answer, Err(SendError::Failed(_)));
            assert_eq!((answer.is_ok(), failed), (is_read, !is_read), "{answer:?}");
        }
    }

    #[test]
    fn a_reason_is_the_part_of_a_body_for_people() {
        for (body, expected) in [
            (r#""Invalid Version""#, "Invalid Version"),
            (
                r#"{"code":400,"errno":111,"message":"The TTL header is missing"}"#,
                "The TTL header is missing",
            ),
            (r#"{"code":400}"#, r#"{"code":400}"#),
            ("<html>", "<html>"),
            ("", ""),
        ] {
            assert_eq!(reason(body.as_bytes()), expected);
        }
    }
}
