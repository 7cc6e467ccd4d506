//! `DELETE /m/<message-id>`: an application server takes a stored message back (PROTOCOL.md section 5.6).

use super::{
    answer,
    handler::{Handler, Head},
    reject::CancelRejection,
};
use beckon_types::MessageId;
use warp::{
    http::{HeaderValue, Method, StatusCode},
    reply::Response,
};

/// The methods of this path, for `Allow` and for browsers.
const METHODS: HeaderValue = HeaderValue::from_static("DELETE, OPTIONS");

/// Answers one request.
pub(super) async fn respond(handler: &Handler, id: &str, head: &Head) -> Response {
    let mut response = if head.method == Method::OPTIONS {
        answer::empty(StatusCode::OK)
    } else {
        match cancel(handler, id, head).await {
            Ok(()) => answer::empty(StatusCode::NO_CONTENT),
            Err(rejection) => {
                let refusal = rejection.refusal(METHODS);
                handler.metrics.count_refusal(refusal.errno);
                answer::error(refusal)
            }
        }
    };
    answer::add_webpush_headers(response.headers_mut(), METHODS, handler.settings().hsts.as_ref());
    response
}

async fn cancel(handler: &Handler, id: &str, head: &Head) -> Result<(), CancelRejection> {
    if head.method != Method::DELETE {
        return Err(CancelRejection::Method);
    }
    let message = MessageId::open(&handler.keys, id).map_err(|_| {
        if handler.lacks_keys() { CancelRejection::Storage } else { CancelRejection::MessageId }
    })?;
    Ok(handler.dispatcher.cancel(message, &head.cause).await?)
}
