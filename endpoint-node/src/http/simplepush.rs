//! `PUT /update/<token>`: an application server writes a version (PROTOCOL.md section 3).

use super::{
    answer,
    handler::{Handler, Head},
    parameters::{self, BODY_LEN_MAX, BodyKind, Unusable},
    reject::VersionRejection,
};
use crate::dispatch::{Accepted, VersionRefused};
use beckon_listener::body;
use beckon_types::{Endpoint, PutVersion, Version};
use bytes::Buf;
use futures_util::Stream;
use warp::{
    http::{HeaderValue, Method, StatusCode},
    reply::Response,
};

/// The methods of this path, for `Allow` and for browsers.
const METHODS: HeaderValue = HeaderValue::from_static("PUT, OPTIONS");

/// Answers one request.
pub(super) async fn respond<S, B, E>(handler: &Handler, path: &str, head: Head, body: S) -> Response
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
{
    let mut response = if head.method == Method::OPTIONS {
        answer::empty(StatusCode::OK)
    } else {
        match write(handler, path, &head, body).await {
            Ok(Accepted::Delivered) => answer::json(StatusCode::OK, "{}"),
            Ok(Accepted::Stored) => answer::json(StatusCode::ACCEPTED, "{}"),
            Err(rejection) => answer::text(rejection.refusal(handler.settings().sp_max_data, METHODS)),
        }
    };
    answer::add_simplepush_headers(response.headers_mut(), METHODS);
    response
}

/// Rows 2 to 10 of the table, in its order: each step can only fail with its own row.
async fn write<S, B, E>(
    handler: &Handler,
    path: &str,
    head: &Head,
    body: S,
) -> Result<Accepted, VersionRejection>
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
{
    if head.method != Method::PUT {
        return Err(VersionRejection::Method);
    }
    let (data_len_max, time_limit) = {
        let settings = handler.settings();
        (settings.sp_max_data, settings.body_timeout)
    };
    let body = body::read(body, head.body_len(), BODY_LEN_MAX, time_limit).await;
    let body = body.map_err(VersionRejection::Body)?;
    let kind = BodyKind::of(&head.headers);
    let parameters = parameters::read(kind, &body, &head.query, data_len_max)
        .await
        .map_err(VersionRejection::Parameters)?;
    let version = match parameters.version {
        Some(version) => version,
        // Only a clock beyond the year 292 277 000 000 exceeds the largest version.
        None => Version::new(handler.clock.unix_seconds())
            .map_err(|_| VersionRejection::Parameters(Unusable::Invalid))?,
    };
    let Ok(Endpoint::SimplePush { client, channel }) = Endpoint::from_path(&handler.keys, path) else {
        return Err(if handler.lacks_keys() {
            VersionRejection::Refused(VersionRefused::Storage)
        } else {
            VersionRejection::Token
        });
    };
    let admitted = handler.rates.admit_channel(client, channel, handler.clock.now_us());
    admitted.map_err(VersionRejection::TooOften)?;
    let put = PutVersion { client, channel, version };
    let accepted = handler.dispatcher.accept_version(put, parameters.data, &head.cause).await;
    accepted.map_err(VersionRejection::Refused)
}
