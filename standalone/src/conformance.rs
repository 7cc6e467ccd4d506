//! `beckon conformance`: the checklist of the protocol against any server.

use beckon_conformance::{
    checklist,
    run::{Choice, Finding, Outcome, examine},
    server::{Options, Server},
    take_back,
};
use beckon_ops::{
    config::Value as _,
    exit::Failure,
    program::{print, printable},
};
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint};
use http::Uri;
use serde::Serialize;
use std::{
    io::{IsTerminal as _, Write as _},
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};

/// Exit code if an item has failed.
const FAILED: u8 = 1;

/// The longest that a check may take. The longest of them sends several hundred messages one by one.
const CHECK_LIMIT: Duration = Duration::from_secs(180);

/// The longest that all checks together may take, unless `--limit` says otherwise.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// The same with `--slow`.
const SLOW_LIMIT: Duration = Duration::from_secs(40 * 60);

/// The longest that it may take to unregister what the checks have registered.
const TAKE_BACK_LIMIT: Duration = Duration::from_secs(60);

/// `beckon conformance`.
pub(crate) fn command() -> Command {
    let url = |name: &'static str, value: &'static str| {
        Arg::new(name).value_name(value).required(true).value_hint(ValueHint::Url)
    };
    let items = Arg::new("items").long("items").value_name("ITEM,...").value_delimiter(',');
    let patience = Arg::new("patience").long("patience").value_name("DURATION").default_value("10s");
    let limit = Arg::new("limit").long("limit").value_name("DURATION");
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    Command::new("conformance")
        .about("Check any server against the checklist of the protocol")
        .arg(url("ws", "WS").value_parser(ws_url).help("Where user agents connect, ws:// or wss://"))
        .arg(
            url("http", "HTTP")
                .value_parser(http_url)
                .help("Where application servers send, http:// or https://, without the path of an endpoint"),
        )
        .arg(items.value_parser(item_choice).help("Only these, such as SP-27, or WP- for all of Web Push"))
        .arg(flag("slow").help("Also what waits for the server's timers, which takes a quarter of an hour"))
        .arg(patience.value_parser(Duration::parse).help("How long an answer or a message may take"))
        .arg(
            limit
                .value_parser(Duration::parse)
                .help("How long the checks may take [default: 10m, with --slow 40m]; what is not done then has failed"),
        )
        .arg(flag("json").help("Print the report as JSON"))
        .after_help(
            "The items are those of section 10 in docs/PROTOCOL.md. Those that need a setting, a restart or an operator \
             are skipped, with the reason. In the end the channels of the checks are unregistered.\n\n\
             Exit code: 0 nothing has failed, 1 something has, 64 invalid arguments, 69 server not reachable.",
        )
}

fn ws_url(text: &str) -> Result<String, String> {
    url(text, ["ws", "wss"])
}

fn http_url(text: &str) -> Result<String, String> {
    url(text, ["http", "https"]).map(|url| url.trim_end_matches('/').to_owned())
}

fn item_choice(text: &str) -> Result<String, String> {
    let is_there = checklist::items().iter().any(|item| checklist::is_chosen(item.name, text));
    if is_there { Ok(text.to_owned()) } else { Err("there is no such item".to_owned()) }
}

fn url(text: &str, schemes: [&str; 2]) -> Result<String, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
    let is_usable = uri.host().is_some() && uri.scheme_str().is_some_and(|scheme| schemes.contains(&scheme));
    let [plain, secure] = schemes;
    if is_usable { Ok(text.to_owned()) } else { Err(format!("write {plain}://HOST or {secure}://HOST")) }
}

/// What is printed with `--json`.
#[derive(Serialize)]
struct Report<'a> {
    ws: &'a str,
    http: &'a str,
    passed: usize,
    failed: usize,
    skipped: usize,
    clients_left: &'a [String],
    items: &'a [Finding],
}

/// Runs `beckon conformance`.
pub(crate) async fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let (ws, http) = (text("ws"), text("http"));
    let patience = matches.get_one("patience").copied().unwrap_or(Duration::from_secs(10));
    let items: Vec<String> = matches.get_many("items").into_iter().flatten().cloned().collect();
    for url in [&ws, &http] {
        reach(url, patience).await?;
    }
    let options = Options { patience, ..Options::default() };
    let server = Server::new(vec![ws.clone()], vec![http.clone()], options);
    let slow = matches.get_flag("slow");
    let total = matches.get_one("limit").copied().unwrap_or(if slow { SLOW_LIMIT } else { LIMIT });
    let choice = Choice { items, slow, limit: CHECK_LIMIT, total };
    let findings = examine(&server, &choice, progress).await;
    let clients_left = take_back(&server, TAKE_BACK_LIMIT).await;
    let count = |is: fn(&Outcome) -> bool| findings.iter().filter(|finding| is(&finding.outcome)).count();
    let failed = count(|outcome| matches!(outcome, Outcome::Failed { .. }));
    let skipped = count(|outcome| matches!(outcome, Outcome::Skipped { .. }));
    let passed = findings.len() - failed - skipped;
    if matches.get_flag("json") {
        let report = Report {
            ws: &ws,
            http: &http,
            passed,
            failed,
            skipped,
            clients_left: &clients_left,
            items: &findings,
        };
        let json = serde_json::to_string_pretty(&report).map_err(Failure::software)?;
        print(&format!("{json}\n"))?;
    } else {
        print(&findings.iter().map(line).collect::<String>())?;
        print(&format!("\n{passed} passed, {failed} failed, {skipped} skipped\n"))?;
        for client in &clients_left {
            print(&format!("still registered: {}\n", printable(client)))?;
        }
    }
    match failed {
        0 => Ok(()),
        _ => Err(Failure { code: FAILED, message: format!("{failed} items have failed") }),
    }
}

/// Makes sure that something listens there: otherwise every item would fail for the same reason.
async fn reach(url: &str, patience: Duration) -> Result<(), Failure> {
    let uri: Uri = url.parse().map_err(Failure::usage)?;
    let is_tls = matches!(uri.scheme_str(), Some("wss" | "https"));
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    match timeout(patience, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Failure::unavailable(format!("{url}: {error}"))),
        Err(_) => Err(Failure::unavailable(format!("{url}: no connection within {patience:?}"))),
    }
}

/// What is written for a finding.
fn line(Finding { item, requirement, outcome }: &Finding) -> String {
    match outcome {
        Outcome::Passed => format!("{item:8} passed\n"),
        Outcome::Skipped { reason } => format!("{item:8} skipped   {reason}\n"),
        Outcome::Failed { reason, place } => {
            let place =
                place.as_ref().map(|place| format!("\n           checked at {place}")).unwrap_or_default();
            // It has what the server has sent, which is not to move the cursor or change colours.
            let reason = reason.lines().map(printable).collect::<Vec<_>>().join("\n           ");
            format!("{item:8} FAILED    {requirement}\n           {reason}{place}\n")
        }
    }
}

/// Shows on a terminal that the checks go on.
fn progress(item: &str) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let _ = write!(out, "\r{item}      \r");
    }
}
