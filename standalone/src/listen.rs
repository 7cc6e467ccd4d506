//! `beckon listen`: a user agent on the command line, to see notifications arrive.

mod report;
mod simple_push;
mod web_push;

use beckon_ops::exit::Failure;
use beckon_types::VapidKey;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, value_parser};
use std::path::PathBuf;

/// The WebSocket URL of a server that runs with the default settings.
const DEFAULT_URL: &str = "ws://127.0.0.1:8080/";

/// `beckon listen`.
pub(crate) fn command() -> Command {
    let url = Arg::new("url").value_name("URL").default_value(DEFAULT_URL).value_hint(ValueHint::Url);
    let web_push = Arg::new("web-push").long("web-push").action(ArgAction::SetTrue);
    let state = Arg::new("state").long("state").value_name("FILE").value_hint(ValueHint::FilePath);
    let vapid_key = Arg::new("vapid-key").long("vapid-key").value_name("KEY");
    Command::new("listen")
        .about("Connect as a user agent and print what arrives")
        .arg(url.help("WebSocket URL of the server, ws:// or wss://"))
        .arg(web_push.help("Speak Web Push: make keys, print what senders need, and decrypt messages"))
        .arg(state.requires("web-push").value_parser(value_parser!(PathBuf)).help(
            "Keep the device in this file, so that the next run has the same endpoint and keys; keep it secret",
        ))
        .arg(vapid_key.requires("web-push").value_parser(parse_key).help(
            "Only the application server with this public key may send; see `beckon vapid`",
        ))
        .after_help(
            "Registers a channel and prints its endpoint, then prints and acknowledges each notification. Reconnects \
             by itself with the same UAID; what happens to the connection is printed on stderr. Press Ctrl-C to stop.",
        )
}

fn parse_key(text: &str) -> Result<String, String> {
    VapidKey::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

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
    fn of(matches: &ArgMatches) -> Self {
        let web_push = WebPush {
            state: matches.get_one("state").cloned(),
            vapid_key: matches.get_one("vapid-key").cloned(),
        };
        let url = matches.get_one::<String>("url").cloned().unwrap_or_else(|| DEFAULT_URL.to_owned());
        Self { url, web_push: matches.get_flag("web-push").then_some(web_push) }
    }
}

/// Runs `beckon listen`. Returns at Ctrl-C, or when stdout is closed.
pub(crate) async fn run(matches: &ArgMatches) -> Result<(), Failure> {
    tokio::select! {
        listened = listen_as(Arguments::of(matches)) => listened,
        interrupt = tokio::signal::ctrl_c() => interrupt.map_err(Failure::software),
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

    fn parse(arguments: &[&str]) -> Result<Arguments, String> {
        let matches = command().no_binary_name(true).try_get_matches_from(arguments);
        matches.map(|matches| Arguments::of(&matches)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_url_is_optional() {
        let simple = |url: &str| Ok(Arguments { url: url.into(), web_push: None });
        assert_eq!(parse(&[]), simple(DEFAULT_URL));
        assert_eq!(parse(&["wss://push.example/"]), simple("wss://push.example/"));
        assert!(parse(&["ws://a/", "ws://b/"]).is_err());
        assert!(parse(&["--loud"]).is_err());
    }

    #[test]
    fn a_web_push_device_may_have_a_file_and_a_key() {
        const KEY: &str =
            "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8";
        let web_push = Some(WebPush { state: Some("d.json".into()), vapid_key: Some(KEY.into()) });
        let expected = Arguments { url: DEFAULT_URL.into(), web_push };
        assert_eq!(parse(&["--web-push", "--state=d.json", "--vapid-key", KEY]), Ok(expected));
        let bare = Arguments { url: "ws://a/".into(), web_push: Some(WebPush::default()) };
        assert_eq!(parse(&["ws://a/", "--web-push"]), Ok(bare));
        for invalid in [&["--state=d.json"][..], &["--web-push", "--vapid-key=x"]] {
            assert!(parse(invalid).is_err(), "{invalid:?}");
        }
    }
}
