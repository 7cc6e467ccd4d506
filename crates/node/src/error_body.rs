//! The body of an error answer (PROTOCOL.md section 5.8), on every HTTP port.

use hyper::{StatusCode, body::Bytes};
use serde::Serialize;

/// What went wrong with a request, in JSON.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ErrorBody<'a> {
    code: u16,
    errno: Option<u16>,
    error: &'a str,
    message: &'a str,
    more_info: &'a str,
}

impl<'a> ErrorBody<'a> {
    /// `errno` is a number that never changes its meaning, if there is one for this error; `message` is for people.
    pub fn new(status: StatusCode, errno: Option<u16>, message: &'a str) -> Self {
        let error = status.canonical_reason().unwrap_or_default();
        Self { code: status.as_u16(), errno, error, message, more_info: beckon_types::ERRORS_PAGE }
    }

    /// The bytes to send, of type `application/json`.
    pub fn to_json(&self) -> Bytes {
        // A struct of strings and numbers always has a JSON form.
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}
