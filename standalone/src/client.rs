//! `beckon client`: one client on the command line, through the admin listener of any node.

use crate::admin::{self, AdminListener, asking};
use beckon_ops::{
    exit::Failure,
    program::{print, printable},
};
use bytes::Bytes;
use clap::{Arg, ArgMatches, Command};
use http::Method;
use std::io;

/// The verbs, the paths of the API that they are, and what they do.
const VERBS: [(&str, &str, &str); 6] = [
    ("show", "find", "Show where a client is connected and what waits for it"),
    ("test", "test", "Send it a notification, and say after how long it was acknowledged"),
    ("disconnect", "disconnect", "Close its socket; it connects again"),
    (
        "forget",
        "forget",
        "Delete everything that is stored for it and close its socket: its endpoints are gone",
    ),
    ("block", "block", "Forget it, and refuse its hello until it is unblocked"),
    ("unblock", "unblock", "Accept its hello again"),
];

/// `beckon client`.
pub(crate) fn command() -> Command {
    let name = Arg::new("name").value_name("NAME").required(true).help(
        "A UAID, an endpoint, or the client id in an answer. With - it is read from stdin and appears neither in the \
         list of processes nor in a shell's history. Endpoint-nodes do not know UAIDs",
    );
    let verbs = VERBS.map(|(verb, _, about)| asking(Command::new(verb).about(about).arg(name.clone())));
    Command::new("client")
        .about("Show, test, disconnect, forget, block or unblock one client")
        .subcommands(verbs)
        .subcommand_required(true)
        .arg_required_else_help(true)
}

/// Characters of the id of a client. A UAID has 32 or 36.
const CLIENT_ID_LEN: usize = 22;

/// The arguments of the command.
#[derive(Debug, PartialEq, Eq)]
struct Arguments {
    admin: AdminListener,
    /// The path of the API.
    path: &'static str,
    name: String,
}

/// A client, as the API shows it.
#[derive(serde::Deserialize)]
struct Client {
    client: String,
    state: String,
    stored: Option<Stored>,
    socket: Option<Socket>,
    changed: Option<bool>,
    test: Option<Test>,
}

#[derive(serde::Deserialize)]
struct Stored {
    dialect: String,
    channels: u64,
    pending: u64,
    message_bytes: u64,
    unseen_s: u64,
}

#[derive(serde::Deserialize)]
struct Socket {
    name: String,
    open_s: Option<u64>,
}

#[derive(serde::Deserialize)]
struct Test {
    acknowledged_ms: Option<u64>,
}

impl Arguments {
    fn of(matches: &ArgMatches) -> Option<Self> {
        let (verb, matches) = matches.subcommand()?;
        let (_, path, _) = VERBS.into_iter().find(|(known, ..)| *known == verb)?;
        let name = matches.get_one::<String>("name").cloned()?;
        Some(Self { admin: AdminListener::of(matches), path, name })
    }
}

/// Runs `beckon client`.
pub(crate) async fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let arguments =
        Arguments::of(matches).ok_or_else(|| Failure::usage("say what to do with which client"))?;
    let Arguments { admin, path, name } = arguments;
    let name = match name.as_str() {
        "-" => io::read_to_string(io::stdin()).map_err(Failure::unavailable)?,
        name => name.to_owned(),
    };
    let answer = admin.ask(Method::POST, &format!("/api/client/{path}"), body(name.trim())).await?;
    print(&text(&admin::answered(&answer)?))
}

fn body(name: &str) -> Bytes {
    let kind = match name {
        name if name.contains('/') => "endpoint",
        name if name.len() == CLIENT_ID_LEN => "client",
        _ => "uaid",
    };
    serde_json::json!({ kind: name }).to_string().into()
}

/// A line for each fact.
fn text(client: &Client) -> String {
    let Client { client, state, stored, socket, changed, test } = client;
    let mut lines =
        vec![format!("client      {}", printable(client)), format!("state       {}", printable(state))];
    if let Some(Socket { name, open_s }) = socket {
        let since =
            open_s.map_or_else(|| "since an unknown time".to_owned(), |open_s| format!("for {open_s} s"));
        lines.push(format!("connected   to {} {since}", printable(name)));
    }
    if let Some(Stored { dialect, channels, pending, message_bytes, unseen_s }) = stored {
        lines.push(format!("dialect     {}", printable(dialect)));
        lines.push(format!("channels    {channels}"));
        lines.push(format!("pending     {pending} ({message_bytes} bytes of messages)"));
        if socket.is_none() {
            lines.push(format!("last seen   about {unseen_s} s ago"));
        }
    }
    if changed == &Some(false) {
        lines.push("changed     nothing: it is so already".to_owned());
    }
    match test {
        Some(Test { acknowledged_ms: Some(ms) }) => {
            lines.push(format!("test        acknowledged after {ms} ms"))
        }
        Some(Test { acknowledged_ms: None }) => {
            lines.push("test        stored, not acknowledged yet".to_owned())
        }
        None => {}
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Arguments, String> {
        let matches = command().no_binary_name(true).try_get_matches_from(arguments);
        matches.map(|matches| Arguments::of(&matches).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_verb_and_a_name_are_taken() {
        let admin = AdminListener::at("http://n:1");
        let expected = Arguments { admin, path: "find", name: "-".into() };
        assert_eq!(parse(&["show", "-", "--admin=http://n:1"]), Ok(expected));
        for (arguments, reason) in [
            (&[][..], "Usage"),
            (&["show"], "<NAME>"),
            (&["kill", "x"], "kill"),
            (&["show", "x", "y"], "y"),
            (&["show", "x", "--loud"], "--loud"),
        ] {
            let error = parse(arguments).expect_err("they are invalid");
            assert!(error.contains(reason), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn a_client_is_named_in_three_ways() {
        for (name, expected) in [
            ("https://push.example/update/x", r#"{"endpoint":"https://push.example/update/x"}"#),
            ("0123456789abcdef0123456789abcdef", r#"{"uaid":"0123456789abcdef0123456789abcdef"}"#),
            ("AAAAAAAAAAAAAAAAAAAAAA", r#"{"client":"AAAAAAAAAAAAAAAAAAAAAA"}"#),
        ] {
            assert_eq!(body(name), expected);
        }
    }

    #[test]
    fn the_answer_is_a_list_of_facts() {
        let answer = r#"{"client":"A","state":"connected","changed":false,
            "stored":{"dialect":"webpush","channels":2,"pending":1,"messages":1,"message_bytes":7,"unseen_s":0},
            "socket":{"node":"1","name":"c0","open_s":12},"test":{"acknowledged_ms":34}}"#;
        let shown = text(&serde_json::from_str(answer).unwrap());
        for line in
            ["state       connected", "connected   to c0 for 12 s", "test        acknowledged after 34 ms"]
        {
            assert!(shown.lines().any(|shown| shown == line), "{line} in {shown}");
        }
    }
}
