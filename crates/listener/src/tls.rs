//! TLS of public ports.
//!
//! * `certificates`: what the files hold, and how it is read again;
//! * `plain_http`: what a client gets that does not speak TLS;
//! * `stream`: the only user of rustls' unbuffered API.

mod certificates;
mod names;
mod plain_http;
mod stream;

pub use certificates::{CertificateError, Certificates, Changed, Files};
pub(crate) use plain_http::{is_plain_http, refuse};
pub use stream::TlsStream;
pub(crate) use stream::{HandshakeError, Session};
