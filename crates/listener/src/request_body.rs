//! The body of a request, which tells its connection when it has come in, or that a part of it is left unread.

use crate::connections::Visit;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// The body of a request.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Incoming,
    visit: Arc<Visit>,
    has_ended: bool,
}

impl RequestBody {
    pub(crate) fn new(incoming: Incoming, visit: Arc<Visit>) -> Self {
        let has_ended = incoming.is_end_stream();
        if !has_ended {
            visit.receives();
        }
        Self { incoming, visit, has_ended }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(context);
        if !self.has_ended && (matches!(polled, Poll::Ready(None)) || self.incoming.is_end_stream()) {
            self.has_ended = true;
            self.visit.received();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !self.has_ended {
            self.visit.left_body_unread();
            self.visit.received();
        }
    }
}
