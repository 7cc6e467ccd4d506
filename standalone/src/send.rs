//! `beckon send`: an application server on the command line.

use beckon_client::{
    app_server::{Accepted, AppServer, SendError},
    webpush::post::Post,
};
use beckon_ops::{
    exit::{self, Failure},
    program::print,
};
use beckon_proto::transport::chain;
use beckon_types::{Version, WEB_PUSH_PATH};
use std::time::Duration;

/// Exit code if the server has refused the notification: sending it again does not help.
const REFUSED: u8 = 1;

/// The text of `beckon send --help`.
pub(crate) const HELP: &str = "\
beckon send: send a notification to an endpoint

Usage: beckon send ENDPOINT [--version N] [--data TEXT]
       beckon send ENDPOINT [--ttl SECONDS]

  ENDPOINT       URL that a user agent received for its channel. A Web Push endpoint (with /wpush/ in it) gets a
                 message without a body, because a body would have to be encrypted. A Web Push endpoint that is
                 restricted to a key (/wpush/v2/) refuses it
  --version N    0 to 9223372036854775807 [default: the server's Unix time in seconds]
  --data TEXT    reaches the user agent only if it is connected
  --ttl SECONDS  how long a message is kept for a user agent that is not connected [default: 86400]

Exit code: 0 accepted, 1 refused, 64 invalid arguments, 69 server not reachable or not able to store it.
";

/// The default of `--ttl`.
const TTL_DEFAULT: Duration = Duration::from_secs(24 * 60 * 60);

/// The arguments of the command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// Where to send.
    pub(crate) endpoint: String,
    /// The version; the server's time if none is given.
    pub(crate) version: Option<Version>,
    /// The data.
    pub(crate) data: Option<String>,
    /// How long a message is kept.
    pub(crate) ttl: Option<Duration>,
}

impl Arguments {
    /// Parses what follows `send`; `None` for `--help`.
    pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        use lexopt::prelude::*;
        let (mut endpoint, mut version, mut data, mut ttl) = (None, None, None, None);
        while let Some(argument) = parser.next()? {
            match argument {
                Short('h') | Long("help") => return Ok(None),
                Long("version") => version = Some(parser.value()?.parse_with(Version::parse)?),
                Long("data") => data = Some(parser.value()?.string()?),
                Long("ttl") => ttl = Some(Duration::from_secs(parser.value()?.parse()?)),
                Value(value) if endpoint.is_none() => endpoint = Some(value.string()?),
                Short(_) | Long(_) | Value(_) => return Err(argument.unexpected()),
            }
        }
        let endpoint = endpoint.ok_or("ENDPOINT is missing; see beckon send --help")?;
        let arguments = Self { endpoint, version, data, ttl };
        if arguments.is_webpush() && (arguments.version.is_some() || arguments.data.is_some()) {
            return Err("--version and --data are for SimplePush, but this is a Web Push endpoint".into());
        }
        if !arguments.is_webpush() && arguments.ttl.is_some() {
            return Err("--ttl is for Web Push, but this is a SimplePush endpoint".into());
        }
        Ok(Some(arguments))
    }

    fn is_webpush(&self) -> bool {
        self.endpoint.contains(WEB_PUSH_PATH)
    }
}

/// Runs `beckon send`.
pub(crate) async fn run(parser: lexopt::Parser) -> Result<(), Failure> {
    let Some(arguments) = Arguments::parse(parser).map_err(Failure::usage)? else {
        return print(HELP);
    };
    match send(&arguments).await {
        Ok(outcome) => print(&format!("{outcome}\n")),
        Err(error) => Err(Failure { code: code_of(&error), message: chain(&error) }),
    }
}

/// Sends, and describes the outcome.
async fn send(arguments: &Arguments) -> Result<String, SendError> {
    let app_server = AppServer::default();
    let endpoint = &arguments.endpoint;
    if arguments.is_webpush() {
        let post = Post { ttl: arguments.ttl.unwrap_or(TTL_DEFAULT), ..Post::default() };
        let posted = app_server.post(endpoint, &post).await?;
        return Ok(format!("accepted for {} s (201)", posted.ttl.as_secs()));
    }
    Ok(match app_server.put(endpoint, arguments.version, arguments.data.as_deref()).await? {
        Accepted::Delivered => "delivered to a connected client (200)".to_owned(),
        Accepted::Stored => "stored, client offline (202)".to_owned(),
    })
}

fn code_of(error: &SendError) -> u8 {
    match error {
        SendError::InvalidEndpoint { .. } => exit::USAGE,
        SendError::Refused { status, .. } if status.is_server_error() => exit::UNAVAILABLE,
        SendError::Refused { .. } => REFUSED,
        SendError::TimedOut(_) | SendError::Failed(_) | _ => exit::UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Option<Arguments>, String> {
        Arguments::parse(lexopt::Parser::from_args(arguments)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_endpoint_is_required_and_the_rest_is_not() {
        let endpoint = "http://push.example/update/x";
        let bare = Arguments { endpoint: endpoint.into(), version: None, data: None, ttl: None };
        assert_eq!(parse(&[endpoint]), Ok(Some(bare)));
        let full = Arguments {
            endpoint: endpoint.into(),
            version: Version::new(7).ok(),
            data: Some("look here".into()),
            ttl: None,
        };
        assert_eq!(parse(&["--version=7", endpoint, "--data", "look here"]), Ok(Some(full)));
        let endpoint = "http://push.example/wpush/v1/x";
        let ttl = Some(Duration::from_secs(60));
        let message = Arguments { endpoint: endpoint.into(), version: None, data: None, ttl };
        assert_eq!(parse(&[endpoint, "--ttl", "60"]), Ok(Some(message)));
        assert_eq!(parse(&["-h"]), Ok(None));
    }

    #[test]
    fn invalid_arguments_are_errors() {
        for (arguments, reason) in [
            (&[][..], "ENDPOINT is missing"),
            (&["http://a/", "--version", "-1"], "decimal number"),
            (&["http://a/", "--version"], "missing argument"),
            (&["http://a/", "http://b/"], "http://b/"),
            (&["http://a/", "--loud"], "--loud"),
            (&["http://a/wpush/v1/x", "--data", "x"], "SimplePush"),
            (&["http://a/update/x", "--ttl", "1"], "Web Push"),
            (&["http://a/wpush/v1/x", "--ttl", "soon"], "soon"),
        ] {
            let error = parse(arguments).expect_err("they are invalid");
            assert!(error.contains(reason), "{arguments:?}: {error}");
        }
    }
}
