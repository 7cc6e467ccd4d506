//! The request that something follows from.

use crate::{request_id::RequestId, trace_context::TraceContext};

/// The request of an application server that a notification follows from. It takes 24 bytes, and allocates nothing unless the
/// request is traced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cause {
    /// The request. `None`: no request has caused it, or it comes from a node that does not say.
    pub request: Option<RequestId>,
    /// The trace that it is part of, and the span that comes before it. `None`: it is not traced.
    pub trace: Option<Box<TraceContext>>,
}
