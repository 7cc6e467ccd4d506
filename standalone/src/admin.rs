//! Requests of the commands to the admin listener of a node.

use beckon_client::app_server::{self, AppServer, Options, SendError};
use beckon_ops::exit::{self, Failure};
use beckon_proto::transport::chain;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};

/// Where the admin listener is by default.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8083";

/// Exit code if the server has refused: trying again does not help.
pub(crate) const REFUSED: u8 = 1;

/// The longest answer that is read, in bytes. The longest possible listing of broadcasts, in which every character is
/// escaped, has two thirds of that.
const ANSWER_LEN_MAX: usize = 1024 * 1024;

/// Sends a request to the admin listener at `url`. `path` begins with a slash.
///
/// # Errors
/// The URL is not usable, or the server does not answer.
pub(crate) async fn ask(
    url: &str,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<Response<Bytes>, Failure> {
    let url = url.trim_end_matches('/');
    let request = Request::builder().method(method).uri(format!("{url}{path}")).body(body);
    let request = request.map_err(|error| Failure::usage(format!("`{url}` is not a usable URL: {error}")))?;
    let options = Options { answer_len_max: ANSWER_LEN_MAX, ..Options::default() };
    AppServer::new(options).request(request).await.map_err(failure)
}

/// What the server refuses, with its reason.
pub(crate) fn refusal(answer: &Response<Bytes>) -> Failure {
    let status = answer.status();
    let reason = app_server::reason(answer.body());
    // 507 is the server's decision. Other server errors may pass.
    let try_again = status.is_server_error() && status != StatusCode::INSUFFICIENT_STORAGE;
    let code = if try_again { exit::UNAVAILABLE } else { REFUSED };
    Failure { code, message: format!("the server refused with HTTP status {status}: {reason}") }
}

fn failure(error: SendError) -> Failure {
    match error {
        SendError::InvalidEndpoint { .. } => Failure::usage(error),
        SendError::Refused { .. } | SendError::TimedOut(_) | SendError::Failed(_) | _ => {
            Failure::unavailable(chain(&error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_shows_its_message() {
        let answer = |status: u16, body: &'static str| {
            refusal(&Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).unwrap())
        };
        let shown = answer(404, r#"{"code":404,"message":"there is no broadcast of that id"}"#);
        assert!(shown.message.ends_with("there is no broadcast of that id"), "{}", shown.message);
        for (status, code) in [(404, REFUSED), (507, REFUSED), (503, exit::UNAVAILABLE)] {
            assert_eq!(answer(status, "").code, code, "{status}");
        }
    }
}
