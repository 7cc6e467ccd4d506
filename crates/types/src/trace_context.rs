//! Which trace something belongs to (W3C Trace Context).

use std::fmt;

/// The length of a `traceparent` of version 0.
const TRACEPARENT_LEN: usize = 55;

/// The bit of the flags that says that the trace is sampled.
const SAMPLED: u8 = 1;

/// The longest `tracestate` that is passed on, in bytes. A longer one is dropped, as section 3.3.1.5 allows.
pub const TRACESTATE_LEN_MAX: usize = 512;

/// The name of a trace. Not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(pub u128);

/// The name of a span in its trace. Not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(pub u64);

/// A sampled trace, and the span in it that caused what comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// The header `tracestate` of the request that the trace came with. Empty if there was none.
    pub state: Box<str>,
}

/// What a request says about the trace that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace: TraceId,
    /// The span of the sender.
    pub span: SpanId,
    /// Whether the sender samples the trace.
    pub is_sampled: bool,
}

impl TraceParent {
    /// Reads the value of a header `traceparent` (W3C Trace Context, section 3.2). `None` if it is to be ignored.
    pub fn parse(text: &str) -> Option<Self> {
        let (head, rest) = text.split_at_checked(TRACEPARENT_LEN)?;
        let mut parts = head.split('-');
        let mut next = |len: usize| parts.next().filter(|part| part.len() == len && is_lower_hex(part));
        let (version, trace, span, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
        // A later version may add something behind another hyphen.
        let is_whole = rest.is_empty() || version != "00" && rest.starts_with('-');
        if version == "ff" || !is_whole || parts.next().is_some() {
            return None;
        }
        let trace = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        let span = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
        let is_sampled = u8::from_str_radix(flags, 16).ok()? & SAMPLED != 0;
        Some(Self { trace: TraceId(trace), span: SpanId(span), is_sampled })
    }
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn a_traceparent_names_a_trace_and_a_span() {
        let expected = |is_sampled| TraceParent {
            trace: TraceId(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736),
            span: SpanId(0x00f0_67aa_0ba9_02b7),
            is_sampled,
        };
        for (version, flags, rest, is_sampled) in [
            ("00", "01", "", true),
            ("00", "00", "", false),
            ("00", "03", "", true),
            ("00", "fe", "", false),
            ("cc", "01", "", true),
            ("cc", "01", "-what-the-future-brings", true),
        ] {
            let text = format!("{version}-{TRACE}-{SPAN}-{flags}{rest}");
            assert_eq!(TraceParent::parse(&text), Some(expected(is_sampled)), "{text}");
        }
        assert_eq!(expected(true).trace.to_string(), TRACE);
    }

    #[test]
    fn what_is_no_traceparent_is_ignored() {
        let (no_trace, no_span) = ("0".repeat(32), "0".repeat(16));
        for text in [
            "",
            "00",
            &format!("00-{TRACE}-{SPAN}"),
            &format!("00-{TRACE}-{SPAN}-1"),
            &format!("00-{TRACE}-{SPAN}-0g"),
            &format!("00-{TRACE}-{SPAN}-01-"),
            &format!("00-{TRACE}-{SPAN}-01-more"),
            &format!("cc-{TRACE}-{SPAN}-01more"),
            &format!("ff-{TRACE}-{SPAN}-01"),
            &format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            &format!("00-{no_trace}-{SPAN}-01"),
            &format!("00-{TRACE}-{no_span}-01"),
            &format!("00-{}-{SPAN}-01", "+".repeat(32)),
            &format!(" 00-{TRACE}-{SPAN}-01"),
            &format!("00-{TRACE}{SPAN}--01"),
            &"é".repeat(40),
        ] {
            assert_eq!(TraceParent::parse(text), None, "{text}");
        }
    }
}
