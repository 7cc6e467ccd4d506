//! `beckon drain`, `undrain` and `shed`: sending the clients of a node elsewhere, through its admin listener.

use crate::admin::{self, AdminListener, foreign, refusal};
use beckon_ops::{exit::Failure, program::print};
use bytes::Bytes;
use http::{Method, Response, StatusCode};
use std::time::Duration;
use tokio::time::sleep;

/// How often a node is asked whether it has drained.
const WAIT_INTERVAL: Duration = Duration::from_millis(200);

/// The text of `beckon drain --help`, and of the other two.
const HELP: &str = concat!(
    "\
beckon drain, undrain, shed: send the clients of a node elsewhere

Usage: beckon drain [--wait] [OPTIONS]
       beckon undrain [OPTIONS]
       beckon shed --share SHARE | --count COUNT [OPTIONS]

  drain          the node is not ready any more; after drain_delay it closes its sockets. It keeps answering requests
  undrain        take that back
  shed           close some sockets of a node that serves on, so that their clients connect to another one
  --wait                   return when the last socket has gone
  --share SHARE            such as 0.25: a quarter of the open sockets
  --count COUNT            so many sockets
",
    admin::help!(),
    "
Exit code: 0 done, 1 refused, 64 invalid arguments, 69 server not reachable.
"
);

/// The arguments of a command.
#[derive(Debug, PartialEq, Eq)]
struct Arguments {
    admin: AdminListener,
    action: Action,
}

#[derive(Debug, PartialEq, Eq)]
enum Action {
    Drain { waits: bool },
    Undrain,
    Shed { query: String },
}

/// How far a node has drained.
#[derive(Debug, serde::Deserialize)]
struct State {
    phase: String,
    clients: u64,
}

/// The answer to `POST /shed`.
#[derive(Debug, serde::Deserialize)]
struct Shedding {
    sockets: u64,
}

impl Arguments {
    /// Parses what follows the command of this name; `None` for `--help`.
    fn parse(command: &str, mut parser: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        use lexopt::prelude::*;
        let (mut admin, mut waits, mut query) = (AdminListener::default(), false, None);
        while let Some(argument) = parser.next()? {
            match argument {
                Short('h') | Long("help") => return Ok(None),
                Long("wait") if command == "drain" => waits = true,
                Long("share") if command == "shed" && query.is_none() => {
                    let share: f64 = parser.value()?.parse()?;
                    if !(0.0..=1.0).contains(&share) {
                        return Err("a share is a number from 0 to 1".into());
                    }
                    query = Some(format!("share={share}"));
                }
                Long("count") if command == "shed" && query.is_none() => {
                    query = Some(format!("count={}", parser.value()?.parse::<u64>()?));
                }
                Long(name) => {
                    let name = name.to_owned();
                    if !admin.take(&name, &mut parser)? {
                        return Err(Long(&name).unexpected());
                    }
                }
                Short(_) | Value(_) => return Err(argument.unexpected()),
            }
        }
        let action = match (command, query) {
            ("drain", _) => Action::Drain { waits },
            ("undrain", _) => Action::Undrain,
            (_, Some(query)) => Action::Shed { query },
            (_, None) => return Err("say --share SHARE or --count COUNT; see beckon shed --help".into()),
        };
        Ok(Some(Self { admin, action }))
    }
}

/// Runs `beckon drain`, `undrain` or `shed`.
pub(crate) async fn run(command: &str, parser: lexopt::Parser) -> Result<(), Failure> {
    let parsed = Arguments::parse(command, parser).map_err(Failure::usage)?;
    let Some(Arguments { admin, action }) = parsed else { return print(HELP) };
    let state = match action {
        Action::Drain { waits: false } => state(&post(&admin, "/drain").await?)?,
        Action::Drain { waits: true } => {
            let mut now = state(&post(&admin, "/drain").await?)?;
            while now.phase != "closing" || now.clients > 0 {
                if now.phase == "serving" {
                    return Err(Failure::unavailable("the drain was taken back"));
                }
                sleep(WAIT_INTERVAL).await;
                now = state(&ok(admin.ask(Method::GET, "/drain", Bytes::new()).await?)?)?;
            }
            return print("drained\n");
        }
        Action::Undrain => state(&post(&admin, "/undrain").await?)?,
        Action::Shed { query } => {
            let answer = post(&admin, &format!("/shed?{query}")).await?;
            let Shedding { sockets } = serde_json::from_slice(answer.body()).map_err(foreign)?;
            return print(&format!("closing {sockets} sockets\n"));
        }
    };
    print(&format!("{}, {} clients\n", state.phase, state.clients))
}

async fn post(admin: &AdminListener, path: &str) -> Result<Response<Bytes>, Failure> {
    ok(admin.ask(Method::POST, path, Bytes::new()).await?)
}

fn ok(answer: Response<Bytes>) -> Result<Response<Bytes>, Failure> {
    match answer.status() {
        StatusCode::OK | StatusCode::ACCEPTED => Ok(answer),
        _ => Err(refusal(&answer)),
    }
}

fn state(answer: &Response<Bytes>) -> Result<State, Failure> {
    serde_json::from_slice(answer.body()).map_err(foreign)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(command: &str, arguments: &[&str]) -> Result<Option<Arguments>, String> {
        let parsed = Arguments::parse(command, lexopt::Parser::from_args(arguments));
        parsed.map_err(|error| error.to_string())
    }

    #[test]
    fn each_command_takes_its_options() {
        let shed = |query: &str| Action::Shed { query: query.into() };
        for (command, arguments, admin, action) in [
            ("drain", &[][..], admin::DEFAULT_URL, Action::Drain { waits: false }),
            ("drain", &["--wait", "--admin=http://n:1"], "http://n:1", Action::Drain { waits: true }),
            ("undrain", &[], admin::DEFAULT_URL, Action::Undrain),
            ("shed", &["--share", "0.25"], admin::DEFAULT_URL, shed("share=0.25")),
            ("shed", &["--count=7"], admin::DEFAULT_URL, shed("count=7")),
        ] {
            let expected = Arguments { admin: AdminListener::at(admin), action };
            assert_eq!(parse(command, arguments), Ok(Some(expected)), "{command} {arguments:?}");
        }
        assert_eq!(parse("shed", &["--help"]), Ok(None));
    }

    #[test]
    fn invalid_arguments_are_errors() {
        for (command, arguments, reason) in [
            ("shed", &[][..], "see beckon shed --help"),
            ("shed", &["--share=1.5"], "from 0 to 1"),
            ("shed", &["--share=NaN"], "from 0 to 1"),
            ("shed", &["--count=-1"], "-1"),
            ("shed", &["--count=1", "--share=1"], "share"),
            ("undrain", &["--wait"], "wait"),
            ("drain", &["now"], "now"),
        ] {
            let error = parse(command, arguments).expect_err("they are invalid");
            assert!(error.contains(reason), "{command} {arguments:?}: {error}");
        }
    }
}
