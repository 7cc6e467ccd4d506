//! One request of an application server while it is answered: its name, its trace, and what is measured and logged of it.

use super::{
    handler::{Handler, Head},
    message_headers::value,
};
use beckon_node::trace::Span;
use beckon_types::{Cause, Dialect, RequestId, TraceParent};
use bytes::BytesMut;
use std::fmt::Write as _;
use warp::{
    http::{HeaderName, HeaderValue, StatusCode},
    reply::Response,
};

/// `X-Request-Id`: names a request in its answer, and in the logs of both tiers (PROTOCOL.md section 3).
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What says of each request what became of it, at the level `debug`.
const LOG_TARGET: &str = "beckon_requests";

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What a request wants, by its path.
#[derive(Debug, Clone, Copy)]
pub(super) enum Route<'a> {
    /// To write a version.
    Update,
    /// To send a message.
    Message,
    /// To take back the message with this id.
    Cancel(&'a str),
}

impl Route<'_> {
    fn dialect(self) -> Dialect {
        match self {
            Self::Update => Dialect::SimplePush,
            Self::Message | Self::Cancel(_) => Dialect::WebPush,
        }
    }

    /// The method that does it.
    fn method(self) -> &'static str {
        match self {
            Self::Update => "PUT",
            Self::Message => "POST",
            Self::Cancel(_) => "DELETE",
        }
    }

    /// The path, without what is secret in it.
    fn path(self) -> &'static str {
        match self {
            Self::Update => "/update/{token}",
            Self::Message => "/wpush/{token}",
            Self::Cancel(_) => "/m/{message}",
        }
    }

    /// The name of its span: the method and the path.
    fn name(self) -> &'static str {
        match self {
            Self::Update => "PUT /update/{token}",
            Self::Message => "POST /wpush/{token}",
            Self::Cancel(_) => "DELETE /m/{message}",
        }
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Exchange<'a> {
    handler: &'a Handler,
    route: Route<'a>,
    id: RequestId,
    began_us: u64,
    span: Span,
}

impl<'a> Exchange<'a> {
    /// A request that begins now. What follows from it has its head's [`Head::cause`].
    pub(super) fn begin(handler: &'a Handler, route: Route<'a>, head: &mut Head) -> Self {
        let (id, began_us) = (handler.request_ids.draw(), handler.clock.now_us());
        let mut span = Span::NONE;
        if handler.tracer.is_on() && head.method == route.method() {
            let state = || value(&head.headers, &TRACESTATE).unwrap_or_default().into_owned();
            span = handler.tracer.begin(id, parent(head), state, route.name());
            span.set("http.request.method", route.method());
            span.set("http.route", route.path());
        }
        // Nodes that would do nothing with the id are not told it.
        let is_of_use = span.is_traced() || tracing::enabled!(target: LOG_TARGET, tracing::Level::DEBUG);
        let trace = span.context().cloned().map(Box::new);
        head.cause = Cause { request: is_of_use.then_some(id), trace };
        Self { handler, route, id, began_us, span }
    }

    /// Measures and logs the answer, and puts the id into it.
    pub(super) fn end(mut self, response: &mut Response) {
        let Self { handler, route, id, began_us, .. } = self;
        let (status, now_us) = (response.status(), handler.clock.now_us());
        handler.metrics.count_request(route.dialect(), status, began_us, now_us);
        response.headers_mut().insert(REQUEST_ID, header_value(id));
        self.span.set("http.response.status_code", status.as_u16());
        if status.is_server_error() {
            self.span.fail("the request was not performed");
            self.log_failure(status);
        }
        tracing::debug!(
            target: LOG_TARGET,
            request_id = %id,
            trace_id = self.span.context().map(|context| tracing::field::display(context.trace)),
            http_route = route.path(),
            http_status = status.as_u16(),
            duration_us = now_us - began_us,
            "answered"
        );
    }

    /// Logs a request that failed through no fault of its sender: one for each status and second.
    fn log_failure(&self, status: StatusCode) {
        let Self { handler, id, route, .. } = self;
        if let Some(suppressed) = handler.server_errors.admit(status.as_u16(), handler.clock.now_ms()) {
            tracing::warn!(
                target: LOG_TARGET,
                request_id = %id,
                http_route = route.path(),
                http_status = status.as_u16(),
                suppressed,
                "a request was not performed"
            );
        }
    }
}

/// The value of [`REQUEST_ID`]: the digits are written where they stay.
fn header_value(id: RequestId) -> HeaderValue {
    let mut digits = BytesMut::with_capacity(size_of::<RequestId>() * 2);
    let _ = write!(digits, "{id}");
    HeaderValue::from_maybe_shared(digits.freeze()).unwrap_or(HeaderValue::from_static("0"))
}

/// The `traceparent` of a request. More than one are none.
fn parent(head: &Head) -> Option<TraceParent> {
    let mut values = head.headers.get_all(&TRACEPARENT).iter();
    let (first, second) = (values.next()?, values.next());
    first.to_str().ok().filter(|_| second.is_none()).and_then(TraceParent::parse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp::http::{HeaderMap, Method};

    #[test]
    fn a_request_with_two_parents_has_none() {
        let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut headers = HeaderMap::new();
        let of = |headers: &HeaderMap| {
            let (method, query, headers) = (Method::PUT, String::new(), headers.clone());
            parent(&Head { method, query, headers, cause: Cause::default() })
        };
        assert_eq!(of(&headers), None);
        headers.append(TRACEPARENT, HeaderValue::from_static(traceparent));
        assert!(of(&headers).is_some_and(|parent| parent.is_sampled));
        headers.append(TRACEPARENT, HeaderValue::from_static(traceparent));
        assert_eq!(of(&headers), None);
    }
}
