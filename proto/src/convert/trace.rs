//! A trace on the wire.

use crate::push_v1 as wire;
use beckon_types::{SpanId, TRACESTATE_LEN_MAX, TraceContext, TraceId};

impl From<&TraceContext> for wire::Trace {
    fn from(context: &TraceContext) -> Self {
        let TraceContext { trace: TraceId(trace), span: SpanId(span), state } = context;
        Self {
            trace_high: (trace >> u64::BITS) as u64,
            trace_low: *trace as u64,
            span: *span,
            state: state.to_string(),
        }
    }
}

/// Reads a trace. `None` if it has no valid name: a fault in a trace is no reason to lose a notification.
pub(super) fn read(trace: wire::Trace) -> Option<TraceContext> {
    let wire::Trace { trace_high, trace_low, span, state } = trace;
    let trace = u128::from(trace_high) << u64::BITS | u128::from(trace_low);
    if trace == 0 || span == 0 {
        return None;
    }
    let state = if state.len() <= TRACESTATE_LEN_MAX { state.into() } else { Box::default() };
    Some(TraceContext { trace: TraceId(trace), span: SpanId(span), state })
}
