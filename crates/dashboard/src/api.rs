//! What the page and scripts ask over HTTP, on the admin listener of any node, about the whole cluster.
//!
//! | request | answer |
//! | --- | --- |
//! | `POST /api/session` `{"token"}` | 200, and a cookie with a session for the page |
//! | `GET /api/session` | 200, whose it is and when it ends; 401 |
//! | `DELETE /api/session` | 204 |
//! | `GET /api/cluster`, `?since=MS` | 200, each node, and the points of the charts that are newer |
//! | `GET /api/audit` | 200, what operators have changed, newest first |
//! | `POST /api/nodes/drain`, `/api/nodes/undrain` `{"node"}` | 200 |
//! | `POST /api/nodes/shed` `{"node", "share" or "count"}` | 200, `{"sockets"}` |
//! | `GET /api/broadcasts` | 200, `{"broadcasts": {"<id>": "<version>", ...}}` |
//! | `POST /api/broadcasts/set` `{"id", "version"}` | 200 |
//! | `POST /api/broadcasts/remove` `{"id"}` | 200 |
//! | `POST /api/client/…` | see [`crate::clients`] |
//!
//! A request has `admin_token`, or a session and comes from a page of this origin ([`beckon_node::guard`]). It names a node by its
//! id, or by its name if no other node has that. Errors have the body of PROTOCOL.md section 5.8: 404 for what does not exist, 409
//! for what the node does not do now, 504 if a node has not answered within a second, and whether it has done it is unknown.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;

use crate::{
    clients::{Clients, Verb},
    cluster::Cluster,
    others::Others,
    refusal::Refusal,
};
use beckon_listener::{body, port::Peer};
use beckon_node::{
    admin::{BODY_TIMEOUT, empty, json},
    audit,
    guard::{Guard, SESSION_PATH},
    routes::Route,
    session::Session,
};
use beckon_proto::admin::{Answer, AuditLine, Quantity, Question};
use beckon_store::{NodeEntry, Store};
use beckon_types::{BroadcastId, BroadcastVersion, NodeId};
use futures_util::Stream;
use hyper::{
    HeaderMap, Method, Response, StatusCode,
    body::{Buf, Bytes},
    header::{HeaderValue, SET_COOKIE},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

/// The longest body of a request, in bytes: an endpoint and some words.
const BODY_LEN_MAX: usize = 16 * 1024;

/// What a path of the API is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    Session,
    Cluster,
    Audit,
    Drain,
    Undrain,
    Shed,
    Broadcasts,
    SetBroadcast,
    RemoveBroadcast,
    Client(Verb),
}

/// Every path of the API, and what it is for.
const PATHS: [(Route, Path); 15] = [
    (Route::new("GET, HEAD, POST, DELETE", SESSION_PATH), Path::Session),
    (Route::new("GET, HEAD", "/api/cluster"), Path::Cluster),
    (Route::new("GET, HEAD", "/api/audit"), Path::Audit),
    (Route::new("POST", "/api/nodes/drain"), Path::Drain),
    (Route::new("POST", "/api/nodes/undrain"), Path::Undrain),
    (Route::new("POST", "/api/nodes/shed"), Path::Shed),
    (Route::new("GET, HEAD", "/api/broadcasts"), Path::Broadcasts),
    (Route::new("POST", "/api/broadcasts/set"), Path::SetBroadcast),
    (Route::new("POST", "/api/broadcasts/remove"), Path::RemoveBroadcast),
    (Route::new("POST", "/api/client/find"), Path::Client(Verb::Find)),
    (Route::new("POST", "/api/client/disconnect"), Path::Client(Verb::Disconnect)),
    (Route::new("POST", "/api/client/test"), Path::Client(Verb::Test)),
    (Route::new("POST", "/api/client/forget"), Path::Client(Verb::Forget)),
    (Route::new("POST", "/api/client/block"), Path::Client(Verb::Block)),
    (Route::new("POST", "/api/client/unblock"), Path::Client(Verb::Unblock)),
];

/// Its routes. Methods that are not listed do not get here.
pub(crate) const ROUTES: &[Route] = &{
    let mut routes = [PATHS[0].0; PATHS.len()];
    let mut at = 1;
    while at < routes.len() {
        routes[at] = PATHS[at].0;
        at += 1;
    }
    routes
};

impl Path {
    fn of(path: &str) -> Option<Self> {
        PATHS.iter().find(|(route, _)| route.path == path).map(|(_, path)| *path)
    }
}

/// The API of a node.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) cluster: Cluster,
    pub(crate) others: Arc<Others>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clients: Clients,
}

/// A request to the API.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) peer: Option<Peer>,
}

#[derive(Deserialize)]
struct SignIn {
    token: String,
}

#[derive(Serialize)]
struct SignedIn {
    operator: String,
    /// In seconds since 1970.
    expires: u64,
}

#[derive(Deserialize)]
struct Named {
    node: String,
}

#[derive(Deserialize)]
struct Shed {
    node: String,
    share: Option<f64>,
    count: Option<usize>,
}

#[derive(Deserialize)]
struct SetBroadcast {
    id: String,
    version: String,
}

#[derive(Deserialize)]
struct RemoveBroadcast {
    id: String,
}

#[derive(Serialize)]
struct Done {
    sockets: u64,
}

#[derive(Serialize)]
struct Broadcasts<'a> {
    broadcasts: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
struct Audit {
    /// How many nodes have not answered.
    silent: usize,
    lines: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    at_ms: u64,
    operator: String,
    peer: String,
    change: String,
    status: u16,
}

impl Api {
    /// Answers a request below `/api/` that the guard has admitted.
    pub(crate) async fn answer<B: Buf>(
        &self,
        asked: Asked,
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Response<Bytes> {
        let answered = async {
            let body = body::read(body, None, BODY_LEN_MAX, BODY_TIMEOUT).await?;
            self.perform(asked, &body).await
        };
        answered.await.unwrap_or_else(|refusal: Refusal| refusal.answer())
    }

    async fn perform(&self, asked: Asked, body: &[u8]) -> Result<Response<Bytes>, Refusal> {
        match Path::of(&asked.path).ok_or(Refusal::Path)? {
            Path::Session => self.session(&asked, body),
            Path::Cluster => Ok(json(StatusCode::OK, &self.cluster.overview(since(&asked.query)).await)),
            Path::Audit => {
                let (lines, silent) = self.cluster.audit().await;
                let lines = lines.into_iter().map(Line::from).collect();
                Ok(json(StatusCode::OK, &Audit { silent, lines }))
            }
            Path::Drain => {
                self.tell(parse::<Named>(body)?.node, "drain".into(), Question::Drain { begin: true }).await
            }
            Path::Undrain => {
                self.tell(parse::<Named>(body)?.node, "undrain".into(), Question::Drain { begin: false })
                    .await
            }
            Path::Shed => self.shed(parse(body)?).await,
            Path::Broadcasts => {
                let found = self.store.broadcasts(0).await?.unwrap_or_default();
                let broadcasts = found.values.iter().map(|(id, version)| (&**id, &**version)).collect();
                Ok(json(StatusCode::OK, &Broadcasts { broadcasts }))
            }
            Path::SetBroadcast => self.set_broadcast(parse(body)?).await,
            Path::RemoveBroadcast => self.remove_broadcast(parse(body)?).await,
            Path::Client(verb) => self.of_client(verb, body).await,
        }
    }

    async fn of_client(&self, verb: Verb, body: &[u8]) -> Result<Response<Bytes>, Refusal> {
        let (view, change) = self.clients.perform(&self.cluster, verb, parse(body)?).await?;
        let mut response = json(StatusCode::OK, &view);
        audit::describe(&mut response, change);
        Ok(response)
    }

    fn session(&self, asked: &Asked, body: &[u8]) -> Result<Response<Bytes>, Refusal> {
        let guard: &Guard = self.others.local.guard();
        match asked.method {
            Method::POST => {
                let SignIn { token } = parse(body)?;
                let peer: Option<SocketAddr> = asked.peer.map(|Peer(peer)| peer);
                let (session, cookie) = match guard.sign_in(&token, &asked.headers, peer) {
                    Ok(begun) => begun,
                    Err(refused) => return Ok(*refused),
                };
                let mut response = json(StatusCode::OK, &SignedIn::from(session));
                set_cookie(&mut response, &cookie);
                Ok(response)
            }
            Method::GET | Method::HEAD => match guard.session(&asked.headers) {
                Some(session) => Ok(json(StatusCode::OK, &SignedIn::from(session))),
                // A token was shown.
                None => Err(Refusal::Unknown("session")),
            },
            Method::DELETE => {
                let mut response = empty(StatusCode::NO_CONTENT);
                set_cookie(&mut response, &guard.sign_out());
                audit::describe(&mut response, "sign out".into());
                Ok(response)
            }
            _ => Err(Refusal::Path),
        }
    }

    async fn shed(&self, shed: Shed) -> Result<Response<Bytes>, Refusal> {
        let (quantity, what) = quantity(&shed)?;
        self.tell(shed.node, what, Question::Shed(quantity)).await
    }

    /// Has a node do something, which the audit calls `what`.
    async fn tell(
        &self,
        named: String,
        what: String,
        question: Question,
    ) -> Result<Response<Bytes>, Refusal> {
        let directory = self.cluster.directory().await;
        let entry = find(&directory, &named)?;
        let answered = match self.others.ask(&directory, entry.node, question).await {
            Ok(Answer::Done { sockets }) => Ok(json(StatusCode::OK, &Done { sockets })),
            Ok(Answer::Refused(reason)) => Err(Refusal::Conflict(reason)),
            Ok(Answer::Status(_) | Answer::Audit(_) | Answer::Socket { .. }) => {
                Err(Refusal::Conflict("the node is of another version".into()))
            }
            Err(unanswered) => Err(unanswered.into()),
        };
        let mut response = answered.unwrap_or_else(|refusal| refusal.answer());
        audit::describe(&mut response, format!("{what} of {}", entry.name));
        Ok(response)
    }

    async fn set_broadcast(&self, set: SetBroadcast) -> Result<Response<Bytes>, Refusal> {
        let (id, version) = (BroadcastId::parse(&set.id)?, BroadcastVersion::parse(&set.version)?);
        let change = format!("set broadcast {id}");
        self.store.set_broadcast(id, version).await??;
        Ok(done(change))
    }

    async fn remove_broadcast(&self, remove: RemoveBroadcast) -> Result<Response<Bytes>, Refusal> {
        let id = BroadcastId::parse(&remove.id)?;
        let change = format!("remove broadcast {id}");
        if !self.store.remove_broadcast(id).await? {
            return Err(Refusal::Unknown("broadcast"));
        }
        Ok(done(change))
    }
}

/// The answer to a change that was made, and what the audit says about it.
fn done(change: String) -> Response<Bytes> {
    let mut response = json(StatusCode::OK, &Done { sockets: 0 });
    audit::describe(&mut response, change);
    response
}

/// How many sockets to shed, and what the audit calls it.
fn quantity(shed: &Shed) -> Result<(Quantity, String), Refusal> {
    let named = match (shed.share, shed.count) {
        (Some(share), None) => Quantity::share(share).map(|quantity| (quantity, format!("shed {share}"))),
        (None, Some(count)) => Some((Quantity::Count(count), format!("shed {count} sockets"))),
        (Some(_), Some(_)) | (None, None) => None,
    };
    named.ok_or_else(|| Refusal::Body("name a share from 0 to 1, or a count".into()))
}

/// The node with this id, or with this name if only one has it.
fn find<'a>(directory: &'a [NodeEntry], named: &str) -> Result<&'a NodeEntry, Refusal> {
    let id = NodeId::parse(named);
    if let Some(entry) = directory.iter().find(|entry| Some(entry.node) == id) {
        return Ok(entry);
    }
    let mut of_name = directory.iter().filter(|entry| entry.name == named);
    match (of_name.next(), of_name.next()) {
        (Some(entry), None) => Ok(entry),
        (Some(_), Some(_)) => Err(Refusal::Conflict("several nodes have this name; give the id".into())),
        (None, _) => Err(Refusal::NoSuchNode),
    }
}

fn since(query: &str) -> u64 {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == "since").and_then(|(_, ms)| ms.parse().ok()).unwrap_or(0)
}

fn set_cookie(response: &mut Response<Bytes>, cookie: &str) {
    // Names of operators have no character that a header cannot have.
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
}

/// Reads a body in JSON. The error does not quote it: it may have a token in it.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        let kind = match error.classify() {
            serde_json::error::Category::Data => "a field is missing, or of another type",
            serde_json::error::Category::Io
            | serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof => "it is not JSON",
        };
        Refusal::Body(kind.into())
    })
}

impl From<Session> for SignedIn {
    fn from(session: Session) -> Self {
        Self { operator: session.operator, expires: session.expires_s }
    }
}

impl From<AuditLine> for Line {
    fn from(line: AuditLine) -> Self {
        let AuditLine { at_ms, operator, peer, change, status } = line;
        Self { at_ms, operator, peer, change, status }
    }
}
