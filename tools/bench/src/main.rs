//! The program `bench`; `cargo xtask bench` builds it with all others and starts it.

use beckon_bench::{
    experiments::{Conduct, EXPERIMENTS},
    findings::{Findings, draw_again},
    settings::Settings,
    unit,
};
use beckon_ops::{
    config::{Field, Request, Source, program_arguments},
    exit::{Failure, report},
    program::print,
};
use std::{path::Path, process::ExitCode};

fn main() -> ExitCode {
    report("bench", run())
}

fn run() -> Result<(), Failure> {
    beckon_ops::process::raise_open_files_max();
    let arguments = program_arguments();
    let Some((what, rest)) = arguments.split_first() else { return Err(Failure::usage(usage())) };
    if what == unit::ECHO
        && let [address_file] = rest
    {
        return unit::echo(Path::new(address_file)).map_err(Failure::unavailable);
    }
    // Not from the environment: an experiment has no settings but those it is started with.
    let source = Source::new(rest, [("", ""); 0]);
    if matches!(source.request(), Some(Request::Help | Request::Summary))
        || what == "help"
        || what == "--help"
    {
        return print(&format!("{}\n{}", usage(), help(Settings::FIELDS)));
    }
    let settings = Settings::read_all(source)?;
    if what == "plots" {
        return draw_again(&settings.out);
    }
    let known = EXPERIMENTS.iter().find(|(name, _, _)| what == name);
    let (name, _, conduct) = known.ok_or_else(|| Failure::usage(usage()))?;
    conduct_one(name, *conduct, &settings)
}

fn conduct_one(name: &str, conduct: Conduct, settings: &Settings) -> Result<(), Failure> {
    let mut findings = Findings::new(name);
    conduct(settings, &mut findings)?;
    findings.save(&settings.out)?;
    print(&findings.table())
}

fn usage() -> String {
    let list: String =
        EXPERIMENTS.iter().map(|(name, purpose, _)| format!("  {name:<10}{purpose}\n")).collect();
    format!(
        "usage: cargo xtask bench EXPERIMENT [--name VALUE]\n\n{list}  plots     draws the charts of the findings in --out again\n"
    )
}

fn help(fields: &[Field]) -> String {
    let line = |field: &Field| {
        let text: Vec<String> = field.help.lines().map(|line| format!("      {}\n", line.trim())).collect();
        let value = if field.switch { "[true|false]" } else { "VALUE" };
        format!("  {} {value}\n{}", field.flag(), text.concat())
    };
    fields.iter().map(line).collect()
}
