//! `DELETE /m/<message-id>`: an application server takes a stored message back (PROTOCOL.md section 5.6).

use super::{answer, handler::Handler, reject::CancelRejection};
use beckon_types::{Dialect, MessageId};
use warp::{
    http::{HeaderValue, Method, StatusCode},
    reply::Response,
};

/// The methods of this path, for `Allow` and for browsers.
const METHODS: HeaderValue = HeaderValue::from_static("DELETE, OPTIONS");

/// Answers one request.
pub(super) async fn respond(handler: &Handler, id: &str, method: &Method) -> Response {
    let began_us = handler.clock.now_us();
    let mut response = if *method == Method::OPTIONS {
        answer::empty(StatusCode::OK)
    } else {
        match cancel(handler, id, method).await {
            Ok(()) => answer::empty(StatusCode::NO_CONTENT),
            Err(rejection) => {
                let refusal = rejection.refusal(METHODS);
                handler.metrics.count_refusal(refusal.errno);
                answer::error(refusal)
            }
        }
    };
    answer::add_webpush_headers(response.headers_mut(), METHODS, handler.settings().hsts.as_ref());
    let now_us = handler.clock.now_us();
    handler.metrics.count_request(Dialect::WebPush, response.status(), began_us, now_us);
    response
}

async fn cancel(handler: &Handler, id: &str, method: &Method) -> Result<(), CancelRejection> {
    if *method != Method::DELETE {
        return Err(CancelRejection::Method);
    }
    let message = MessageId::open(&handler.keys, id).map_err(|_| {
        if handler.key_rings.lacks_keys() { CancelRejection::Storage } else { CancelRejection::MessageId }
    })?;
    Ok(handler.dispatcher.cancel(message).await?)
}
