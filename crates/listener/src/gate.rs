//! What is checked of every request on a public port before it is served, and what happens if serving it panics.

use crate::{metrics::Reason, port::Port, source::Source};
use bytes::Bytes;
use futures_util::FutureExt as _;
use hyper::{
    Request, Response, StatusCode,
    header::{CONNECTION, HeaderValue, RETRY_AFTER},
};
use std::{panic::AssertUnwindSafe, time::Duration};

/// The longest target of a request, bytes.
const TARGET_LEN_MAX: usize = 8 * 1024;

/// The longest names and values of a request's header, together, bytes.
const FIELDS_LEN_MAX: usize = 32 * 1024;

/// Most header fields of a request.
const FIELDS_MAX: usize = 64;

/// Header fields that an HTTP server should read: twice as many as are allowed, so that those above are refused with a body
/// that says so.
pub const FIELDS_READ_MAX: usize = 2 * FIELDS_MAX;

/// After this long, a client of a port that is full may try again.
const BUSY_RETRY: Duration = Duration::from_secs(5);

const FAILED: &str = "The server has failed";

const TOO_MANY: &str = "Too many requests come from your address";

/// What the owner of a port says to its requests.
#[derive(Debug, Clone, Copy)]
pub struct Gate {
    /// Whether a path belongs to a health check, which is answered whatever else is full.
    pub is_health: fn(&str) -> bool,
    /// Whether requests count towards the share of their source; not where its upgrades are counted.
    pub counts_requests: bool,
    /// The answer to a request that is refused.
    pub answer: fn(&Refusal) -> Response<Bytes>,
}

/// Why a request is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// For the metrics. `None` if it has been counted.
    pub reason: Option<Reason>,
    /// The status.
    pub status: StatusCode,
    /// For the developer of the client.
    pub text: &'static str,
    /// When the client may try again.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    fn new(reason: Reason, status: StatusCode, text: &'static str) -> Self {
        Self { reason: Some(reason), status, text, retry_after: None }
    }
}

impl Gate {
    /// Whether a request is served; if not, it is counted.
    ///
    /// # Errors
    /// It is not.
    pub fn admit<B>(
        &self,
        port: &Port,
        source: Option<Source>,
        is_spare: bool,
        request: &Request<B>,
    ) -> Result<(), Box<Response<Bytes>>> {
        self.check(port, source, is_spare, request).map_err(|refusal| Box::new(self.refuse(port, &refusal)))
    }

    fn check<B>(
        &self,
        port: &Port,
        source: Option<Source>,
        is_spare: bool,
        request: &Request<B>,
    ) -> Result<(), Refusal> {
        let target = request.uri();
        // `CONNECT host:443`, or any method with such a target.
        let Some(path) = target.path_and_query() else {
            let text = "The target of a request has to be a path";
            return Err(Refusal::new(Reason::Target, StatusCode::BAD_REQUEST, text));
        };
        if path.as_str().len() > TARGET_LEN_MAX {
            return Err(Refusal::new(Reason::Length, StatusCode::URI_TOO_LONG, "The URL is too long"));
        }
        let fields = request.headers();
        let fields_len: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if fields.len() > FIELDS_MAX || fields_len > FIELDS_LEN_MAX {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Err(Refusal::new(
                Reason::Length,
                status,
                "There are too many headers, or they are too long",
            ));
        }
        if (self.is_health)(path.path()) {
            return Ok(());
        }
        if is_spare {
            let refusal = Refusal::new(Reason::Busy, StatusCode::SERVICE_UNAVAILABLE, "This server is busy");
            return Err(Refusal { retry_after: Some(BUSY_RETRY), ..refusal });
        }
        if !self.counts_requests {
            return Ok(());
        }
        port.request(source).map_err(|wait| Refusal {
            reason: None,
            retry_after: Some(wait),
            ..Refusal::new(Reason::SourceRequests, StatusCode::TOO_MANY_REQUESTS, TOO_MANY)
        })
    }

    /// Serves a request that was admitted. If that panics, the request is counted and answered with 500, and its connection
    /// ends; the others go on.
    ///
    /// # Errors
    /// The service has panicked.
    pub async fn serve<R>(
        &self,
        port: &Port,
        work: impl Future<Output = R>,
    ) -> Result<R, Box<Response<Bytes>>> {
        // Requests share state only behind locks, which are not poisoned, and whose holders leave it valid.
        let served = AssertUnwindSafe(work).catch_unwind().await;
        served.map_err(|_| {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Box::new(self.refuse(port, &Refusal::new(Reason::Panic, status, FAILED)))
        })
    }

    /// Counts and answers a request that is not served, and ends its connection.
    fn refuse(&self, port: &Port, refusal: &Refusal) -> Response<Bytes> {
        if let Some(reason) = refusal.reason {
            port.refused(reason);
        }
        let mut response = (self.answer)(refusal);
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        if let Some(retry_after) = refusal.retry_after {
            headers.insert(RETRY_AFTER, seconds(retry_after));
        }
        response
    }
}

/// The value of `Retry-After`: whole seconds, rounded up.
pub fn seconds(wait: Duration) -> HeaderValue {
    HeaderValue::from(wait.as_millis().div_ceil(1000).max(1) as u64)
}
