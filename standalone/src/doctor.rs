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

use crate::settings;
use beckon_ops::{
    config::{Source, Value as _},
    exit::Failure,
    program::print,
};
use report::Report;
use std::{ffi::OsString, time::Duration};
use subject::Subject;

const HELP: &str = "\
beckon doctor: what on this machine, in the store or in the proxy would break the service, and what to do about it

Usage: beckon doctor [--for PROGRAM] [--ws URL] [--idle DURATION] [SETTINGS]

  --for PROGRAM    whose settings: beckon, connection-node or endpoint-node [default: beckon]
  --ws URL         where devices connect, such as wss://push.example.org/ [default: ws:// and ws_listen]
  --idle DURATION  also hold a connection idle for so long, such as 6m, to see whether a proxy cuts it
  SETTINGS         as the program would be given them: --config FILE, flags, and the environment

It changes nothing but a test device, which it removes again. Exit code: 0 fine, 1 something has to be fixed, 64 the
settings or the arguments are wrong.
";

/// Runs `beckon doctor` with the arguments that follow it.
pub(crate) async fn run(mut arguments: Vec<OsString>) -> Result<(), Failure> {
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        return print(HELP);
    }
    let program = settings::take_program(&mut arguments)?;
    let ws = settings::take_flag(&mut arguments, "--ws")?;
    let idle = settings::take_flag(&mut arguments, "--idle")?;
    let idle = idle.map(|text| Duration::parse(&text)).transpose();
    let idle = idle.map_err(|reason| Failure::usage(format!("--idle: {reason}")))?;
    let subject = Subject::read(program, Source::from_environment(arguments))?;
    let mut report = Report::default();
    machine::examine(&subject, &mut report);
    if let Some(url) = &subject.redis {
        redis::examine(url, &subject, &mut report).await;
    }
    service::examine(&subject, ws.as_deref(), idle, &mut report).await;
    report.end()
}
