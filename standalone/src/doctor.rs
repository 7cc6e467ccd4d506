//! `beckon doctor`: what of a machine, a store and a proxy would break promises of the server, and what to do about it.
//!
//! ```text
//!   subject    what the settings say about the program that is examined
//!   report     findings, and how they are printed
//!     └─▶ machine    files, limits of the kernel, the data directory
//!     └─▶ redis      what each primary says of itself
//!     └─▶ service    a device and a sender that use the running service, through its proxy
//! ```

mod machine;
mod redis;
mod report;
mod service;
mod subject;

use crate::settings::{all_parts, program_argument, program_name, source, with_settings};
use beckon_ops::{config::Value as _, exit::Failure};
use clap::{Arg, ArgMatches, Command, ValueHint};
use report::Report;
use std::time::Duration;
use subject::Subject;

/// `beckon doctor`.
pub(crate) fn command() -> Command {
    let ws = Arg::new("ws").long("ws").value_name("URL").value_hint(ValueHint::Url);
    let idle = Arg::new("idle").long("idle").value_name("DURATION").value_parser(Duration::parse);
    let command = Command::new("doctor")
        .about("Find what would break the service here, and say what to do about it")
        .arg(program_argument())
        .arg(ws.help("Where devices connect, such as wss://push.example.org/ [default: ws:// and ws_listen]"))
        .arg(
            idle.help("Also hold a connection idle for so long, such as 6m, to see whether a proxy cuts it"),
        );
    with_settings(command, &all_parts()).after_help(
        "Examines this machine, the store and the proxy. Takes the settings as the program would be given them: --config \
         FILE, flags, and the environment. Changes nothing but a test device, which it removes again.\n\n\
         Exit code: 0 fine, 1 something has to be fixed, 64 the settings or the arguments are wrong.",
    )
}

/// Runs `beckon doctor`.
pub(crate) async fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let (ws, idle) = (matches.get_one::<String>("ws"), matches.get_one::<Duration>("idle").copied());
    let subject = Subject::read(program_name(matches), source(matches, &all_parts()))?;
    let mut report = Report::default();
    machine::examine(&subject, &mut report);
    if let Some(url) = &subject.redis {
        redis::examine(url, &subject, &mut report).await;
    }
    service::examine(&subject, ws.map(String::as_str), idle, &mut report).await;
    report.end()
}
