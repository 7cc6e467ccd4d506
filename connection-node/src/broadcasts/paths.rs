//! Where operators see and set the broadcasts, on the admin listener.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /broadcasts` | 200, `{"broadcasts": {"<id>": "<version>", ...}}`, as the store has them now |
//! | `PUT /broadcasts/<id>`, the version as the body | 204 |
//! | `DELETE /broadcasts/<id>` | 204; 404 if there is none of that id |
//!
//! An id may have slashes in it; other characters that a path cannot have are percent-encoded. Errors have the body
//! of PROTOCOL.md section 5.8.

use crate::node::Node;
use beckon_listener::body::{self, BodyError};
use beckon_node::{
    admin::{Admin, BODY_TIMEOUT, empty, json},
    routes::Route,
};
use beckon_store::{Store, StoreError};
use beckon_types::{
    BROADCAST_VERSION_LEN_MAX, BroadcastId, BroadcastVersion, InvalidBroadcast, TooManyBroadcasts,
};
use bytes::{Buf, Bytes};
use futures_util::Stream;
use http::{Method, Response, StatusCode};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};
use warp::{Filter, Rejection};

/// What operators ask for here.
pub(crate) const ROUTES: [Route; 2] =
    [Route::new("GET, HEAD", "/broadcasts"), Route::new("PUT, DELETE", "/broadcasts/{id}")];

/// Why a request is not done.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Invalid(#[from] InvalidBroadcast),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("there is no broadcast of that id")]
    Unknown,
    #[error(transparent)]
    TooMany(#[from] TooManyBroadcasts),
    #[error("the store does not answer")]
    Store(#[from] StoreError),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Body(error) => error.status(),
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::TooMany(_) => StatusCode::INSUFFICIENT_STORAGE,
            Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

#[derive(Serialize)]
struct Listing<'a> {
    broadcasts: BTreeMap<&'a str, &'a str>,
}

/// The paths, for [`Admin::serve_with`]. Everything else is rejected.
pub(crate) fn paths(
    node: Arc<Node>,
    admin: Arc<Admin>,
) -> impl Filter<Extract = (Response<Bytes>,), Error = Rejection, Future: Send> + Clone + Send + Sync + 'static
{
    let answer = move |id: warp::path::Tail, method, body| {
        let (node, admin) = (node.clone(), admin.clone());
        async move {
            let refusal = match perform(&*node.store, id.as_str(), &method, body).await {
                Ok(response) => return response,
                Err(refusal) => refusal,
            };
            if let Refusal::Store(error) = &refusal {
                node.step_failed(error);
            }
            admin.error(refusal.status(), &refusal.to_string())
        }
    };
    warp::path("broadcasts")
        .and(warp::path::tail())
        .and(warp::method())
        .and(warp::body::stream())
        .then(answer)
}

async fn perform(
    store: &dyn Store,
    id: &str,
    method: &Method,
    body: impl Stream<Item = Result<impl Buf, warp::Error>>,
) -> Result<Response<Bytes>, Refusal> {
    match (id, method) {
        ("", _) => {
            let found = store.broadcasts(0).await?.unwrap_or_default();
            let broadcasts = found.values.iter().map(|(id, version)| (&**id, &**version)).collect();
            Ok(json(StatusCode::OK, &Listing { broadcasts }))
        }
        (id, &Method::PUT) => {
            let (id, version) = (parse_id(id)?, read_version(body).await?);
            store.set_broadcast(id.clone(), version.clone()).await??;
            tracing::info!(broadcast.id = %id, broadcast.version = %version, "broadcast set");
            Ok(empty(StatusCode::NO_CONTENT))
        }
        (id, &Method::DELETE) => {
            let id = parse_id(id)?;
            if !store.remove_broadcast(id.clone()).await? {
                return Err(Refusal::Unknown);
            }
            tracing::info!(broadcast.id = %id, "broadcast removed");
            Ok(empty(StatusCode::NO_CONTENT))
        }
        (_, _) => Err(Refusal::Unknown),
    }
}

fn parse_id(encoded: &str) -> Result<BroadcastId, InvalidBroadcast> {
    let text = percent_encoding::percent_decode_str(encoded).decode_utf8();
    BroadcastId::parse(&text.map_err(|_| InvalidBroadcast::Id)?)
}

/// Reads the body, which is no longer than a version can be.
async fn read_version(
    body: impl Stream<Item = Result<impl Buf, warp::Error>>,
) -> Result<BroadcastVersion, Refusal> {
    let read = body::read(body, None, BROADCAST_VERSION_LEN_MAX, BODY_TIMEOUT).await;
    let text = match read {
        Err(BodyError::TooLarge) => return Err(InvalidBroadcast::Version.into()),
        read => read?,
    };
    let text = str::from_utf8(&text).map_err(|_| InvalidBroadcast::Version)?;
    Ok(BroadcastVersion::parse(text)?)
}
