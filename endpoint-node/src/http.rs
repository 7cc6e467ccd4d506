//! The table of paths.
//!
//! | path | method | handled by |
//! | --- | --- | --- |
//! | `/update/<token>` | PUT, OPTIONS | [`simplepush`] |
//! | `/wpush/v1/<token>`, `/wpush/v2/<token>`, `/wpush/<token>` | POST, OPTIONS | [`webpush`] |
//! | `/m/<message-id>` | DELETE, OPTIONS | [`cancel`] |
//! | `/status`, `/status/`, `/health`, `/__lbheartbeat__` | GET, HEAD | [`beckon_node::admin`] |
//! | anything else | any | [`Refusal::unknown_path`] |
//!
//! Every part of a request has a time limit: its head that of the server, its body `body_timeout`, the rest those of the
//! store and of [`beckon_proto::delivery::Deliver`].

mod answer;
mod authorization;
mod cancel;
mod encryption;
mod exchange;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod handler;
mod message_headers;
mod parameters;
mod persistent;
mod rates;
mod reject;
mod request_ids;
mod simplepush;
mod webpush;

pub(crate) use encryption::PARAMETERS_LEN_MAX;
pub(crate) use handler::{Handler, HandlerSettings};
pub(crate) use parameters::BODY_LEN_MAX;
pub(crate) use rates::Rates;
pub(crate) use request_ids::RequestIds;

use beckon_node::{
    admin::{Admin, Audience},
    drain::Drain,
};
use beckon_ops::stage::Stage;
use beckon_types::{Cause, MESSAGE_PATH, UPDATE_PATH, WEB_PUSH_PATH};
use bytes::Buf;
use exchange::{Exchange, Route};
use futures_util::Stream;
use handler::Head;
use persistent::Persistence;
use reject::Refusal;
use std::{convert::Infallible, sync::Arc};
use warp::{
    Filter, Rejection,
    http::{HeaderValue, header::CONNECTION},
    path::FullPath,
    reply::Response,
};

/// The filter of the public listener. It answers every request. Those whose senders give up belong to `stage`.
pub(crate) fn filter(
    handler: Arc<Handler>,
    admin: Arc<Admin>,
    drain: Drain,
    stage: Stage,
) -> impl Filter<Extract = (Response,), Error = Infallible, Future: Send> + Clone + Send {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let head = warp::method()
        .and(query)
        .and(warp::header::headers_cloned())
        .map(|method, query, headers| Head { method, query, headers, cause: Cause::default() });
    let persistence = Persistence::new(stage);
    warp::path::full()
        .and(head)
        .and(warp::body::stream())
        .then(move |path: FullPath, head, body| {
            let (handler, admin, drain) = (handler.clone(), admin.clone(), drain.clone());
            persistence.carry(async move {
                let mut response = respond(&handler, &admin, path.as_str(), head, body).await;
                // The client opens its next connection elsewhere, and no request is on its way when this one closes.
                if drain.is_draining() {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                response
            })
        })
        // None of these filters rejects a request, but the type of `body::stream` says that it could.
        .recover(async |_: Rejection| Ok::<_, Infallible>(unknown_path()))
        .unify()
}

/// Answers one request.
async fn respond<S, B, E>(handler: &Handler, admin: &Admin, path: &str, mut head: Head, body: S) -> Response
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
{
    let Some(route) = route(path) else {
        let response = admin.answer(Audience::Public, &head.method, path).await;
        return response.map_or_else(unknown_path, |response| response.map(Into::into));
    };
    let exchange = Exchange::begin(handler, route, &mut head);
    let mut response = match route {
        Route::Update => simplepush::respond(handler, path, head, body).await,
        Route::Message => webpush::respond(handler, path, head, body).await,
        Route::Cancel(id) => cancel::respond(handler, id, &head).await,
    };
    exchange.end(&mut response);
    response
}

/// What a path stands for. `None`: nothing of this node's own.
fn route(path: &str) -> Option<Route<'_>> {
    // A token and an id are the last part of a path.
    let last_part = |prefix| path.strip_prefix(prefix).filter(|rest| !rest.is_empty() && !rest.contains('/'));
    if last_part(UPDATE_PATH).is_some() {
        Some(Route::Update)
    } else if path.len() > WEB_PUSH_PATH.len() && path.starts_with(WEB_PUSH_PATH) {
        Some(Route::Message)
    } else {
        last_part(MESSAGE_PATH).map(Route::Cancel)
    }
}

fn unknown_path() -> Response {
    answer::error(Refusal::unknown_path())
}
