//! `beckon listen`: a user agent on the command line, to see notifications arrive.

use beckon_client::{
    error::Error,
    raw,
    user_agent::{Event, Options, Update, UserAgent, new_channel},
};
use beckon_ops::{exit::Failure, program::print};

/// The WebSocket URL of a server that runs with the default settings.
const DEFAULT_URL: &str = "ws://127.0.0.1:8080/";

/// The text of `beckon listen --help`.
pub(crate) const HELP: &str = "\
beckon listen: connect as a user agent and print what arrives

Usage: beckon listen [URL]

  URL   WebSocket URL of the server, ws:// or wss:// [default: ws://127.0.0.1:8080/]

Registers a channel and prints its endpoint, then prints and acknowledges each notification. Reconnects by itself
with the same UAID; what happens to the connection is printed on stderr. Press Ctrl-C to stop.
";

/// The arguments of the command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// The server.
    pub(crate) url: String,
}

impl Arguments {
    /// Parses what follows `listen`; `None` for `--help`.
    pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        use lexopt::prelude::*;
        let mut url = None;
        while let Some(argument) = parser.next()? {
            match argument {
                Short('h') | Long("help") => return Ok(None),
                Value(value) if url.is_none() => url = Some(value.string()?),
                Short(_) | Long(_) | Value(_) => return Err(argument.unexpected()),
            }
        }
        Ok(Some(Self { url: url.unwrap_or_else(|| DEFAULT_URL.to_owned()) }))
    }
}

/// Runs `beckon listen`. Returns at Ctrl-C, or when stdout is closed.
pub(crate) async fn run(parser: lexopt::Parser) -> Result<(), Failure> {
    match Arguments::parse(parser).map_err(Failure::usage)? {
        None => print(HELP),
        Some(arguments) => {
            tokio::select! {
                listened = listen(&arguments) => listened,
                interrupt = tokio::signal::ctrl_c() => interrupt.map_err(Failure::software),
            }
        }
    }
}

async fn listen(arguments: &Arguments) -> Result<(), Failure> {
    let url = &arguments.url;
    let mut agent = UserAgent::connect(url, Options::default()).await.map_err(failure)?;
    report(&format!("connected to {url} ({})", raw::SUBPROTOCOL));
    let endpoint = agent.register(new_channel()).await.map_err(Failure::unavailable)?;
    introduce(&endpoint)?;
    loop {
        match agent.next_event().await {
            Event::Notification(updates) => {
                for update in &updates {
                    // A closed pipe (`| head -1`) ends the command.
                    if print(&line_of(update)).is_err() {
                        return Ok(());
                    }
                }
                if let Err(error) = agent.acknowledge(&updates).await {
                    report(&format!("could not acknowledge, so it will arrive again: {error}"));
                }
            }
            Event::Connected { new_uaid: false } => report("connected again, same UAID, same endpoint"),
            Event::Connected { new_uaid: true } => {
                report("connected again, but the server no longer knows this UAID")
            }
            Event::NewEndpoint { endpoint, .. } => introduce(&endpoint)?,
            Event::Disconnected { error, retry_in } => {
                report(&format!("not connected: {error}; trying again in {:.1} s", retry_in.as_secs_f64()));
            }
        }
    }
}

fn failure(error: Error) -> Failure {
    if matches!(error, Error::InvalidUrl { .. }) {
        Failure::usage(error)
    } else {
        Failure::unavailable(error)
    }
}

/// Shows the endpoint and how to use it.
fn introduce(endpoint: &str) -> Result<(), Failure> {
    print(&format!("endpoint {endpoint}\ntry      curl -X PUT -d version=1 {endpoint}\n"))
}

/// One line for an update. Anyone may have sent `data`, so control characters are escaped.
fn line_of(update: &Update) -> String {
    match &update.data {
        None => format!("version {}\n", update.version.number()),
        Some(data) => format!("version {} data {data:?}\n", update.version.number()),
    }
}

/// Reports what happens to the connection, on stderr, where it does not mix with notifications.
#[expect(clippy::print_stderr, reason = "a command for people; stdout is for notifications")]
fn report(text: &str) {
    eprintln!("beckon listen: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use beckon_types::Version;

    fn parse(arguments: &[&str]) -> Result<Option<Arguments>, String> {
        Arguments::parse(lexopt::Parser::from_args(arguments)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_url_is_optional() {
        assert_eq!(parse(&[]), Ok(Some(Arguments { url: DEFAULT_URL.into() })));
        assert_eq!(
            parse(&["wss://push.example/"]),
            Ok(Some(Arguments { url: "wss://push.example/".into() }))
        );
        assert_eq!(parse(&["ws://a/", "--help"]), Ok(None));
        assert!(parse(&["ws://a/", "ws://b/"]).is_err());
        assert!(parse(&["--loud"]).is_err());
    }

    #[test]
    fn data_cannot_control_the_terminal() {
        let version = Version::new(7).unwrap();
        let update = Update { channel: new_channel(), version, data: Some("a\u{1b}[2J\nb".into()) };
        assert_eq!(line_of(&update), "version 7 data \"a\\u{1b}[2J\\nb\"\n");
    }
}
