//! `beckon listen`: a user agent on the command line, to see notifications arrive.

mod report;
mod simple_push;
mod web_push;

use beckon_ops::{exit::Failure, program::print};
use beckon_types::VapidKey;
use std::path::PathBuf;

/// The WebSocket URL of a server that runs with the default settings.
const DEFAULT_URL: &str = "ws://127.0.0.1:8080/";

/// The text of `beckon listen --help`.
pub(crate) const HELP: &str = "\
beckon listen: connect as a user agent and print what arrives

Usage: beckon listen [URL]
       beckon listen --web-push [--state FILE] [--vapid-key KEY] [URL]

  URL              WebSocket URL of the server, ws:// or wss:// [default: ws://127.0.0.1:8080/]
  --web-push       speak Web Push: make keys, print what senders need, and decrypt messages
  --state FILE     keep the device in this file, so that the next run has the same endpoint and keys; keep it secret
  --vapid-key KEY  only the application server with this public key may send; see `beckon vapid`

Registers a channel and prints its endpoint, then prints and acknowledges each notification. Reconnects by itself
with the same UAID; what happens to the connection is printed on stderr. Press Ctrl-C to stop.
";

/// The arguments of the command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// The server.
    pub(crate) url: String,
    /// What a Web Push device needs besides; `None` for SimplePush.
    pub(crate) web_push: Option<WebPush>,
}

/// The arguments of a Web Push device.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct WebPush {
    state: Option<PathBuf>,
    vapid_key: Option<String>,
}

impl Arguments {
    /// Parses what follows `listen`; `None` for `--help`.
    pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        use lexopt::prelude::*;
        let (mut url, mut is_web_push, mut web_push) = (None, false, WebPush::default());
        while let Some(argument) = parser.next()? {
            match argument {
                Short('h') | Long("help") => return Ok(None),
                Long("web-push") => is_web_push = true,
                Long("state") => web_push.state = Some(parser.value()?.into()),
                Long("vapid-key") => {
                    let key =
                        parser.value()?.parse_with(|text| VapidKey::parse(text).map(|_| text.to_owned()));
                    web_push.vapid_key = Some(key?);
                }
                Value(value) if url.is_none() => url = Some(value.string()?),
                Short(_) | Long(_) | Value(_) => return Err(argument.unexpected()),
            }
        }
        if !is_web_push && web_push != WebPush::default() {
            return Err("--state and --vapid-key are for --web-push".into());
        }
        let url = url.unwrap_or_else(|| DEFAULT_URL.to_owned());
        Ok(Some(Self { url, web_push: is_web_push.then_some(web_push) }))
    }
}

/// Runs `beckon listen`. Returns at Ctrl-C, or when stdout is closed.
pub(crate) async fn run(parser: lexopt::Parser) -> Result<(), Failure> {
    match Arguments::parse(parser).map_err(Failure::usage)? {
        None => print(HELP),
        Some(arguments) => {
            tokio::select! {
                listened = listen_as(arguments) => listened,
                interrupt = tokio::signal::ctrl_c() => interrupt.map_err(Failure::software),
            }
        }
    }
}

async fn listen_as(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { url, web_push } = arguments;
    match web_push {
        None => simple_push::listen(&url).await,
        Some(WebPush { state, vapid_key }) => web_push::listen(&url, vapid_key, state.as_deref()).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Option<Arguments>, String> {
        Arguments::parse(lexopt::Parser::from_args(arguments)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_url_is_optional() {
        let simple = |url: &str| Ok(Some(Arguments { url: url.into(), web_push: None }));
        assert_eq!(parse(&[]), simple(DEFAULT_URL));
        assert_eq!(parse(&["wss://push.example/"]), simple("wss://push.example/"));
        assert_eq!(parse(&["ws://a/", "--help"]), Ok(None));
        assert!(parse(&["ws://a/", "ws://b/"]).is_err());
        assert!(parse(&["--loud"]).is_err());
    }

    #[test]
    fn a_web_push_device_may_have_a_file_and_a_key() {
        const KEY: &str =
            "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8";
        let web_push = Some(WebPush { state: Some("d.json".into()), vapid_key: Some(KEY.into()) });
        let expected = Arguments { url: DEFAULT_URL.into(), web_push };
        assert_eq!(parse(&["--web-push", "--state=d.json", "--vapid-key", KEY]), Ok(Some(expected)));
        let bare = Arguments { url: "ws://a/".into(), web_push: Some(WebPush::default()) };
        assert_eq!(parse(&["ws://a/", "--web-push"]), Ok(Some(bare)));
        for invalid in [&["--state=d.json"][..], &["--web-push", "--vapid-key=x"]] {
            assert!(parse(invalid).is_err(), "{invalid:?}");
        }
    }
}
