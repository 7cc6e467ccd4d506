//! `beckon drain`, `undrain` and `shed`: sending the clients of a node elsewhere, through its admin listener.

use crate::admin::{AdminListener, asking, foreign, refusal};
use beckon_ops::{
    exit::Failure,
    program::{print, printable},
};
use bytes::Bytes;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use http::{Method, Response, StatusCode};
use std::time::Duration;
use tokio::time::sleep;

/// How often a node is asked whether it has drained.
const WAIT_INTERVAL: Duration = Duration::from_millis(200);

/// `beckon drain`.
pub(crate) fn drain_command() -> Command {
    let wait = Arg::new("wait").long("wait").action(ArgAction::SetTrue);
    asking(Command::new("drain"))
        .about("Send the clients of a node elsewhere, before it stops")
        .arg(wait.help("Return when the last socket has gone"))
        .after_help(format!(
            "The node is not ready any more; after drain_delay it closes its sockets. It keeps answering requests.\n\n{CODES}"
        ))
}

/// `beckon undrain`.
pub(crate) fn undrain_command() -> Command {
    asking(Command::new("undrain")).about("Take a drain back").after_help(CODES)
}

/// `beckon shed`.
pub(crate) fn shed_command() -> Command {
    let share = Arg::new("share").long("share").value_name("SHARE").value_parser(share);
    let count = Arg::new("count").long("count").value_name("COUNT").value_parser(value_parser!(u64));
    asking(Command::new("shed"))
        .about("Close some sockets of a node that serves on")
        .arg(share.help("Such as 0.25: a quarter of the open sockets").required_unless_present("count"))
        .arg(count.help("So many sockets").conflicts_with("share"))
        .after_help(format!("The clients of these sockets connect to another node.\n\n{CODES}"))
}

/// What the exit codes of these commands mean.
const CODES: &str = "Exit code: 0 done, 1 refused, 64 invalid arguments, 69 server not reachable.";

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "a share is a number from 0 to 1".to_owned())
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

/// Runs `beckon drain`.
pub(crate) async fn drain(matches: &ArgMatches) -> Result<(), Failure> {
    let admin = AdminListener::of(matches);
    let mut now = state(&post(&admin, "/drain").await?)?;
    if !matches.get_flag("wait") {
        return print(&now.line());
    }
    while now.phase != "closing" || now.clients > 0 {
        if now.phase == "serving" {
            return Err(Failure::unavailable("the drain was taken back"));
        }
        sleep(WAIT_INTERVAL).await;
        now = state(&ok(admin.ask(Method::GET, "/drain", Bytes::new()).await?)?)?;
    }
    print("drained\n")
}

/// Runs `beckon undrain`.
pub(crate) async fn undrain(matches: &ArgMatches) -> Result<(), Failure> {
    print(&state(&post(&AdminListener::of(matches), "/undrain").await?)?.line())
}

/// Runs `beckon shed`.
pub(crate) async fn shed(matches: &ArgMatches) -> Result<(), Failure> {
    let answer = post(&AdminListener::of(matches), &format!("/shed?{}", query(matches))).await?;
    let Shedding { sockets } = serde_json::from_slice(answer.body()).map_err(foreign)?;
    print(&format!("closing {sockets} sockets\n"))
}

/// How many sockets are to be closed.
fn query(matches: &ArgMatches) -> String {
    match (matches.get_one::<f64>("share"), matches.get_one::<u64>("count")) {
        (Some(share), _) => format!("share={share}"),
        (None, count) => format!("count={}", count.copied().unwrap_or_default()),
    }
}

impl State {
    fn line(&self) -> String {
        format!("{}, {} clients\n", printable(&self.phase), self.clients)
    }
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

    fn parse(command: Command, arguments: &[&str]) -> Result<ArgMatches, String> {
        command.no_binary_name(true).try_get_matches_from(arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn each_command_takes_its_options() {
        let matches = parse(drain_command(), &["--wait", "--admin=http://n:1"]).unwrap();
        assert!(matches.get_flag("wait"));
        assert_eq!(AdminListener::of(&matches), AdminListener::at("http://n:1"));
        for (arguments, expected) in [
            (&["--share", "0.25"][..], "share=0.25"),
            (&["--count=7"], "count=7"),
            (&["--share=0"], "share=0"),
        ] {
            assert_eq!(query(&parse(shed_command(), arguments).unwrap()), expected);
        }
    }

    #[test]
    fn invalid_arguments_are_errors() {
        for (command, arguments, reason) in [
            (shed_command(), &[][..], "--share"),
            (shed_command(), &["--share=1.5"], "from 0 to 1"),
            (shed_command(), &["--share=NaN"], "from 0 to 1"),
            (shed_command(), &["--count=-1"], "-1"),
            (shed_command(), &["--count=1", "--share=1"], "share"),
            (undrain_command(), &["--wait"], "wait"),
            (drain_command(), &["now"], "now"),
        ] {
            let error = parse(command, arguments).expect_err("they are invalid");
            assert!(error.contains(reason), "{arguments:?}: {error}");
        }
    }
}
