//! The table of paths.
//!
//! | path | method | answered by |
//! | --- | --- | --- |
//! | `/update/<token>` | PUT, OPTIONS | [`simplepush`] |
//! | `/wpush/v1/<token>`, `/wpush/v2/<token>`, `/wpush/<token>` | POST, OPTIONS | [`webpush`] |
//! | `/m/<message-id>` | DELETE, OPTIONS | [`cancel`] |
//! | `/status`, `/status/`, `/health`, `/__lbheartbeat__` | GET, HEAD | [`beckon_ops::admin`] |
//! | anything else | any | [`reject::unknown_path`] |
//!
//! How long a request takes is bounded: its head by the server's limits, its body by `body_timeout`, the rest by
//! the time limits of the store and of [`beckon_proto::delivery::Deliver`].

mod authorization;
mod body;
mod cancel;
mod cors;
mod encryption;
mod message_headers;
mod parameters;
mod reject;
mod simplepush;
mod webpush;

pub(crate) use body::BODY_LEN_MAX;
pub(crate) use encryption::PARAMETERS_LEN_MAX;

use crate::{delivery::Delivery, metrics::Metrics, vapid::Verifier};
use beckon_ops::{
    admin::{Admin, Audience, Vitals},
    clock::Clock,
};
use beckon_types::{EndpointUrl, UPDATE_PATH, WEB_PUSH_PATH};
use parameters::BodyKind;
use std::{convert::Infallible, sync::Arc, time::Duration};
use warp::{
    Filter, Rejection,
    http::{HeaderMap, HeaderValue, Method},
    path::{FullPath, Tail},
    reply::Response,
};

/// The content type of bodies.
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What an operator sets of the endpoints.
#[derive(Debug, Clone)]
pub(crate) struct EndpointSettings {
    /// Bytes of `data` at most, after decoding.
    pub(crate) sp_max_data: usize,
    /// Bytes of a message's body at most.
    pub(crate) wp_max_data: usize,
    /// The longest time to live of a message; a longer one is shortened.
    pub(crate) ttl_max: Duration,
    /// Stored messages of a client at most.
    pub(crate) messages_max: u32,
    /// Time for a request body to arrive.
    pub(crate) body_timeout: Duration,
}

/// What answers a request for an endpoint needs.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) delivery: Delivery,
    pub(crate) settings: EndpointSettings,
    pub(crate) vapid: Verifier,
    /// What endpoints begin with.
    pub(crate) url: EndpointUrl,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Clock,
}

/// The filter of the public listener. It answers every request.
pub(crate) fn paths<V: Vitals>(
    endpoint: Arc<Endpoint>,
    admin: Arc<Admin<V>>,
) -> impl Filter<Extract = (Response,), Error = Infallible, Future: Send> + Clone + Send {
    // First, and without a rejection on its way: nearly all requests are for endpoints.
    update(endpoint.clone())
        .or(wpush(endpoint.clone()))
        .unify()
        .or(message(endpoint))
        .unify()
        .or(others(admin))
        .unify()
}

/// `/update/<token>`, whatever the method.
fn update(
    endpoint: Arc<Endpoint>,
) -> impl Filter<Extract = (Response,), Error = Rejection, Future: Send> + Clone + Send {
    // A value that is not ASCII is a type like any other that is not a form's.
    let body_kind = warp::header::optional("content-type")
        .map(|kind: Option<BodyKind>| kind.unwrap_or(BodyKind::Form))
        .or(warp::any().map(|| BodyKind::Other))
        .unify();
    // The HTTP server has refused what is not a number.
    let body_len = warp::header::optional::<u64>("content-length").or(warp::any().map(|| None)).unify();
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let head =
        warp::method().and(query).and(body_kind).and(body_len).map(|method, query, body_kind, body_len| {
            simplepush::Head { method, query, body_kind, body_len }
        });
    warp::path("update").and(warp::path::full()).and(head).and(warp::body::stream()).then(
        move |path: FullPath, head, body| {
            let endpoint = endpoint.clone();
            async move {
                let path = path.as_str();
                if !path.strip_prefix(UPDATE_PATH).is_some_and(is_last_part) {
                    return reject::unknown_path();
                }
                simplepush::respond(&endpoint, path, head, body).await
            }
        },
    )
}

/// `/wpush/...`, whatever the method.
fn wpush(
    endpoint: Arc<Endpoint>,
) -> impl Filter<Extract = (Response,), Error = Rejection, Future: Send> + Clone + Send {
    let head = warp::method()
        .and(warp::header::headers_cloned())
        .map(|method: Method, headers: HeaderMap| webpush::Head { method, headers });
    warp::path("wpush").and(warp::path::full()).and(head).and(warp::body::stream()).then(
        move |path: FullPath, head, body| {
            let endpoint = endpoint.clone();
            async move {
                let path = path.as_str();
                if path.strip_prefix(WEB_PUSH_PATH).is_none_or(str::is_empty) {
                    return reject::unknown_path();
                }
                webpush::respond(&endpoint, path, head, body).await
            }
        },
    )
}

/// `/m/<message-id>`, whatever the method.
fn message(
    endpoint: Arc<Endpoint>,
) -> impl Filter<Extract = (Response,), Error = Rejection, Future: Send> + Clone + Send {
    warp::path("m").and(warp::path::tail()).and(warp::method()).then(move |id: Tail, method: Method| {
        let endpoint = endpoint.clone();
        async move {
            let id = id.as_str();
            if !is_last_part(id) {
                return reject::unknown_path();
            }
            cancel::respond(&endpoint, id, &method).await
        }
    })
}

/// Whether the rest of a path is a token or an id, rather than nothing or further parts.
fn is_last_part(rest: &str) -> bool {
    !rest.is_empty() && !rest.contains('/')
}

/// What load balancers ask, and everything there is not.
fn others<V: Vitals>(
    admin: Arc<Admin<V>>,
) -> impl Filter<Extract = (Response,), Error = Infallible, Future: Send> + Clone + Send {
    warp::method().and(warp::path::full()).then(move |method: Method, path: FullPath| {
        let admin = admin.clone();
        async move {
            match admin.answer(Audience::Public, &method, path.as_str()).await {
                Some(response) => response.map(Into::into),
                None => reject::unknown_path(),
            }
        }
    })
}
