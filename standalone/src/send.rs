//! `beckon send`: an application server on the command line.

use client::app_server::{Accepted, AppServer, SendError};
use ops::exit::{self, Failure};
use std::io::{self, Write as _};
use types::version::Version;

/// Exit code if the server was reached and refused the update, so that sending it again cannot help.
const REFUSED: u8 = 1;

/// The text of `beckon send --help`.
pub(crate) const HELP: &str = "\
beckon send: send a notification to an endpoint

Usage: beckon send ENDPOINT [--version N] [--data TEXT]

  ENDPOINT       URL that a user agent got for its channel
  --version N    0 to 9223372036854775807 [default: the server's Unix time in seconds]
  --data TEXT    reaches the user agent only if it is connected

Exit code: 0 accepted, 1 refused, 64 wrong arguments, 69 server not reachable or not able to store it.
";

/// What the command line says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// Where to send.
    pub(crate) endpoint: String,
    /// The version; the server's time if none is given.
    pub(crate) version: Option<Version>,
    /// The data.
    pub(crate) data: Option<String>,
}

impl Arguments {
    /// Reads what follows `send`; `None` if help is asked for.
    pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        use lexopt::prelude::*;
        let (mut endpoint, mut version, mut data) = (None, None, None);
        while let Some(argument) = parser.next()? {
            match argument {
                Short('h') | Long("help") => return Ok(None),
                Long("version") => version = Some(parser.value()?.parse_with(Version::parse)?),
                Long("data") => data = Some(parser.value()?.string()?),
                Value(value) if endpoint.is_none() => endpoint = Some(value.string()?),
                Short(_) | Long(_) | Value(_) => return Err(argument.unexpected()),
            }
        }
        let endpoint = endpoint.ok_or("ENDPOINT is missing; see beckon send --help")?;
        Ok(Some(Self { endpoint, version, data }))
    }
}

/// Parses the command line that follows `send` and does what it says.
pub(crate) async fn run(parser: lexopt::Parser) -> Result<(), Failure> {
    let Some(arguments) = Arguments::parse(parser).map_err(Failure::usage)? else {
        return print(HELP);
    };
    let Arguments { endpoint, version, data } = &arguments;
    let version = version.map(Version::number);
    match AppServer::default().put(endpoint, version, data.as_deref()).await {
        Ok(Accepted::Delivered) => print("delivered to a connected client (200)\n"),
        Ok(Accepted::Stored) => print("stored, client offline (202)\n"),
        Err(error) => Err(Failure { code: code_of(&error), message: error.to_string() }),
    }
}

fn code_of(error: &SendError) -> u8 {
    match error {
        SendError::InvalidEndpoint { .. } => exit::USAGE,
        SendError::Refused { status, .. } if status.is_server_error() => exit::UNAVAILABLE,
        SendError::Refused { .. } => REFUSED,
        SendError::TimedOut(_) | SendError::Failed(_) => exit::UNAVAILABLE,
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::unavailable)
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
        let bare = Arguments { endpoint: endpoint.into(), version: None, data: None };
        assert_eq!(parse(&[endpoint]), Ok(Some(bare)));
        let full = Arguments {
            endpoint: endpoint.into(),
            version: Version::new(7).ok(),
            data: Some("look here".into()),
        };
        assert_eq!(parse(&["--version=7", endpoint, "--data", "look here"]), Ok(Some(full)));
        assert_eq!(parse(&["-h"]), Ok(None));
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (arguments, told) in [
            (&[][..], "ENDPOINT is missing"),
            (&["http://a/", "--version", "-1"], "decimal number"),
            (&["http://a/", "--version"], "missing argument"),
            (&["http://a/", "http://b/"], "http://b/"),
            (&["http://a/", "--loud"], "--loud"),
        ] {
            let error = parse(arguments).expect_err("it is wrong");
            assert!(error.contains(told), "{arguments:?}: {error}");
        }
    }
}
