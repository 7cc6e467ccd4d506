//! The program `loadgen`.

use loadgen::{load, plot, report::Report, settings::Settings};
use ops::{
    clock::Clock,
    config::{Field, Request, Source, program_arguments},
    exit::{Failure, report},
    program::print,
};
use std::{fs, process::ExitCode};

const USAGE: &str = "\
usage: loadgen --ws URL[,URL] [--name VALUE]

Connects clients to push servers, sends notifications through their endpoints, acknowledges them, and reports
rates, latencies, losses, and what the servers' processes cost. Linux only.

  15 000 clients, 32 senders for ten seconds, the cost of two processes:
      loadgen --ws ws://127.0.0.1:8080/ --clients 15000 --pid node=$(pidof connection-node),redis=$(pidof redis-server)
  2000 notifications per second for a minute, drawn:
      loadgen --ws ws://127.0.0.1:8080/ --rate 2000 --send-for 60s --plot run.svg
";

fn main() -> ExitCode {
    report("loadgen", run())
}

fn run() -> Result<(), Failure> {
    ops::process::raise_open_files_max();
    // Not from the environment: a run has no settings but those it is started with.
    let source = Source::new(program_arguments(), [("", ""); 0]);
    match source.request() {
        Some(Request::Help) => return print(&format!("{USAGE}\n{}", help(Settings::FIELDS))),
        Some(Request::Version) => return print(concat!("loadgen ", env!("CARGO_PKG_VERSION"), "\n")),
        None => {}
    }
    let Some(settings) = Settings::read_all(source).map_err(Failure::usage)? else { return Ok(()) };
    let (json, drawing) = (settings.json.clone(), settings.plot.clone());
    let report = load::run(settings, Clock::start())?;
    if let Some(path) = json {
        let text = serde_json::to_string(&report).map_err(Failure::software)?;
        fs::write(&path, text)
            .map_err(|error| Failure::unavailable(format!("{}: {error}", path.display())))?;
    }
    if let Some(path) = drawing {
        plot::draw(&report.timeline, &path)
            .map_err(|error| Failure::unavailable(format!("{}: {error}", path.display())))?;
    }
    show(&report)
}

fn show(report: &Report) -> Result<(), Failure> {
    print(&report.table())
}

fn help(fields: &[Field]) -> String {
    let line = |field: &Field| {
        let value = if field.switch { "[true|false]" } else { "VALUE" };
        let text: Vec<String> = field.help.lines().map(|line| format!("      {}\n", line.trim())).collect();
        let default = match field.default {
            Some("") => "default: none".to_owned(),
            Some(default) => format!("default: {default}"),
            None => "required".to_owned(),
        };
        format!("  {} {value}\n{}      [{default}]\n", field.flag(), text.concat())
    };
    fields.iter().map(line).collect::<String>() + "  --config FILE\n      The same settings, as TOML.\n"
}
