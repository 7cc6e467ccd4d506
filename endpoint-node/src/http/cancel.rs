//! `DELETE /m/<message-id>`: an application server takes a stored message back (PROTOCOL.md section 5.6).

use super::{
    Endpoint, cors,
    reject::{self, MessageRejection},
};
use beckon_types::Dialect;
use warp::{
    http::{HeaderValue, Method, StatusCode},
    reply::Response,
};

/// The methods of this path, for `Allow` and for browsers.
const ALLOW_VALUE: HeaderValue = HeaderValue::from_static("DELETE, OPTIONS");

/// Answers one request.
pub(super) async fn respond(endpoint: &Endpoint, id: &str, method: &Method) -> Response {
    let mut response = if *method == Method::OPTIONS {
        Response::default()
    } else {
        match cancel(endpoint, id, method).await {
            Ok(()) => {
                let mut response = Response::default();
                *response.status_mut() = StatusCode::NO_CONTENT;
                response
            }
            Err(rejection) => reject::message(&rejection, ALLOW_VALUE),
        }
    };
    cors::add(response.headers_mut(), ALLOW_VALUE, &endpoint.url);
    endpoint.metrics.count_request(Dialect::WebPush, response.status());
    response
}

async fn cancel(endpoint: &Endpoint, id: &str, method: &Method) -> Result<(), MessageRejection> {
    if *method != Method::DELETE {
        return Err(MessageRejection::Method);
    }
    let cancelled = endpoint.delivery.cancel(id).await.map_err(|_| MessageRejection::MessageId)?;
    cancelled.map_err(|_| MessageRejection::Storage)
}
