//! The program `loadgen`.

use beckon_loadgen::{
    abuse::{self, AbuseSettings},
    load,
    merge::merge,
    plot,
    report::Report,
    settings::Settings,
};
use beckon_ops::{
    clock::Clock,
    config::{Field, Request, Source, program_arguments},
    exit::{Failure, report},
    program::print,
};
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

const USAGE: &str = "\
usage: loadgen --ws URL[,URL] [--name VALUE]
       loadgen merge REPORT.json... [--json FILE] [--plot FILE]
       loadgen abuse --ws ADDRESS --http ADDRESS [--name VALUE]

Connects clients to push servers, sends notifications through their endpoints, acknowledges them, and reports
rates, latencies, losses, and what the servers' processes cost. Linux only.

  15 000 clients, 32 senders for ten seconds, the cost of two processes:
      loadgen --ws ws://127.0.0.1:8080/ --clients 15000 --pid node=$(pidof connection-node),redis=$(pidof redis-server)
  2000 notifications per second for a minute, drawn:
      loadgen --ws ws://127.0.0.1:8080/ --rate 2000 --send-for 60s --plot run.svg
  More clients than one process may have files: several at once, then one report of all:
      loadgen --ws ws://127.0.0.1:8080/ --clients 19000 --source 127.1.0.1 --json 1.json &
      loadgen --ws ws://127.0.0.1:8080/ --clients 19000 --source 127.1.0.2 --json 2.json & wait
      loadgen merge 1.json 2.json
  What one host can do to the others, in attacks of ten seconds each; exit code 1 if an honest request fails:
      loadgen abuse --ws 127.0.0.1:8080 --http 127.0.0.1:8081 --stranger 127.0.0.66 --honest 127.0.0.10
";

/// Exit code of `abuse` if an honest request has failed.
const HARMED: u8 = 1;

fn main() -> ExitCode {
    report("loadgen", run())
}

fn run() -> Result<(), Failure> {
    beckon_ops::process::raise_open_files_max();
    let arguments = program_arguments();
    if let Some((_, rest)) = arguments.split_first().filter(|(first, _)| *first == "merge") {
        return merge_files(rest);
    }
    if let Some((_, rest)) = arguments.split_first().filter(|(first, _)| *first == "abuse") {
        return attack(rest);
    }
    // Not from the environment: a run has no settings but those it is started with.
    let source = Source::new(arguments, [("", ""); 0]);
    match source.request() {
        Some(Request::Help | Request::Summary) => {
            return print(&format!("{USAGE}\n{}", help(Settings::FIELDS)));
        }
        Some(Request::Version) => return print(concat!("loadgen ", env!("CARGO_PKG_VERSION"), "\n")),
        None => {}
    }
    let settings = Settings::read_all(source)?;
    let (json, drawing) = (settings.json.clone(), settings.plot.clone());
    let report = load::run(settings, Clock::start())?;
    show(&report, json.as_deref(), drawing.as_deref())
}

/// Attacks, and says whether honest requests were answered.
fn attack(arguments: &[OsString]) -> Result<(), Failure> {
    let source = Source::new(arguments.iter().cloned(), [("", ""); 0]);
    if source.request().is_some() {
        return print(&format!("{USAGE}\n{}", help(AbuseSettings::FIELDS)));
    }
    let report = abuse::run(&abuse::read(source)?, Clock::start());
    print(&report.table())?;
    match report.is_good() {
        true => Ok(()),
        false => Err(Failure { code: HARMED, message: "honest requests have failed".to_owned() }),
    }
}

/// Makes one report of several.
fn merge_files(arguments: &[OsString]) -> Result<(), Failure> {
    let (mut reports, mut json, mut drawing) = (Vec::new(), None, None);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--json" || argument == "--plot" {
            let path = arguments.next().map(PathBuf::from);
            let path = path.ok_or_else(|| Failure::usage(format!("{}: no file", argument.display())))?;
            *(if argument == "--json" { &mut json } else { &mut drawing }) = Some(path);
            continue;
        }
        let wrong = |error: &dyn std::fmt::Display| {
            Failure::usage(format!("{}: {error}", Path::new(argument).display()))
        };
        let text = fs::read_to_string(argument).map_err(|error| wrong(&error))?;
        let report: Report = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
        reports.push(report);
    }
    let whole = merge(&reports).ok_or_else(|| Failure::usage(format!("no reports\n{USAGE}")))?;
    show(&whole, json.as_deref(), drawing.as_deref())
}

fn show(report: &Report, json: Option<&Path>, drawing: Option<&Path>) -> Result<(), Failure> {
    if let Some(path) = json {
        let text = serde_json::to_string(report).map_err(Failure::software)?;
        fs::write(path, text)
            .map_err(|error| Failure::unavailable(format!("{}: {error}", path.display())))?;
    }
    if let Some(path) = drawing {
        plot::draw(&report.timeline, path)
            .map_err(|error| Failure::unavailable(format!("{}: {error}", path.display())))?;
    }
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
