//! What the metadata services of AWS say: the task metadata endpoint of ECS, version 4, and the instance metadata service of
//! EC2, version 2.

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1,
    header::{HOST, HeaderName},
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::time::Duration;
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

/// Time limit for one request.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How often a request is made: these services may not answer while an instance starts.
const ATTEMPTS: usize = 4;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// The longest answer, in bytes.
const ANSWER_LEN_MAX: usize = 64 * 1024;

/// For how long a token is asked for, in seconds.
const TOKEN_TTL: &str = "60";

/// What is read of the metadata of a container.
#[derive(Debug, Deserialize)]
struct Container {
    #[serde(rename = "Networks", default)]
    networks: Vec<Network>,
}

#[derive(Debug, Deserialize)]
struct Network {
    #[serde(rename = "NetworkMode", default)]
    mode: String,
    #[serde(rename = "IPv4Addresses", default)]
    v4: Vec<String>,
    #[serde(rename = "IPv6Addresses", default)]
    v6: Vec<String>,
}

/// The address of the ECS task whose container has its metadata at `url`. `None`: it has that of its instance.
pub(super) async fn ecs(url: &str) -> Result<Option<String>, String> {
    let answer = ask("GET", url, "", None).await?;
    let container: Container =
        serde_json::from_slice(&answer).map_err(|error| format!("{url} answers something else: {error}"))?;
    let network = container.networks.into_iter().next().ok_or_else(|| format!("{url} names no network"))?;
    match network.mode.as_str() {
        "host" => Ok(None),
        "awsvpc" => {
            let address = network.v4.into_iter().chain(network.v6).find(|address| !address.is_empty());
            address.map(Some).ok_or_else(|| format!("{url} names no address"))
        }
        mode => Err(format!("in the network mode {mode:?} no other node can reach the task; use awsvpc")),
    }
}

/// The private address of the EC2 instance whose metadata is at `url`.
pub(super) async fn ec2(url: &str) -> Result<String, String> {
    let ttl = (HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds"), TOKEN_TTL);
    let token = text(ask("PUT", url, "/latest/api/token", Some(ttl)).await?)?;
    let token = (HeaderName::from_static("x-aws-ec2-metadata-token"), token.trim());
    text(ask("GET", url, "/latest/meta-data/local-ipv4", Some(token)).await?)
}

fn text(answer: Bytes) -> Result<String, String> {
    String::from_utf8(answer.into()).map_err(|_| "the answer is not text".to_owned())
}

/// Makes a request until it is answered with 200.
async fn ask(
    method: &str,
    url: &str,
    path: &str,
    header: Option<(HeaderName, &str)>,
) -> Result<Bytes, String> {
    let url = format!("{}{path}", url.trim_end_matches('/'));
    let mut error = String::new();
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            sleep(PAUSE).await;
        }
        match timeout(TIMEOUT, ask_once(method, &url, header.as_ref())).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(reason)) => error = reason,
            Err(_) => error = format!("no answer within {TIMEOUT:?}"),
        }
    }
    Err(format!("{url}: {error}"))
}

async fn ask_once(method: &str, url: &str, header: Option<&(HeaderName, &str)>) -> Result<Bytes, String> {
    let uri: http::Uri = url.parse().map_err(|_| "is not a URL".to_owned())?;
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http"));
    let authority = authority.ok_or_else(|| "is not an http:// URL".to_owned())?;
    let mut request = Request::builder()
        .method(method)
        .uri(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(HOST, authority.as_str());
    if let Some((name, value)) = header {
        request = request.header(name, *value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await;
    let stream = stream.map_err(|error| error.to_string())?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_LEN_MAX).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        if status == StatusCode::OK { Ok(body) } else { Err(format!("it answers with {status}")) }
    };
    tokio::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // The connection may end with the answer, which is there then.
        _ = connection => exchange.await,
    }
}
