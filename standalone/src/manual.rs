//! `beckon manual`: the manual pages of all programs, for packages.

use beckon_ops::{
    exit::{Failure, SOFTWARE, UNAVAILABLE, USAGE},
    program::About,
};
use clap::{Arg, ArgMatches, Command, ValueHint, value_parser};
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// `beckon manual`.
pub(crate) fn command() -> Command {
    let folder = Arg::new("folder").value_name("FOLDER").required(true).value_hint(ValueHint::DirPath);
    let date = Arg::new("date").long("date").value_name("YYYY-MM-DD").default_value("");
    Command::new("manual")
        .about("Write the manual pages of all programs and commands into a folder")
        .hide(true)
        .arg(folder.value_parser(value_parser!(PathBuf)).help("The folder, which exists"))
        .arg(date.help("The date that the pages bear"))
}

/// Runs `beckon manual`.
pub(crate) fn run(beckon: &About, matches: &ArgMatches) -> Result<(), Failure> {
    let folder = matches.get_one::<PathBuf>("folder").cloned().unwrap_or_default();
    let date = matches.get_one::<String>("date").map(String::as_str).unwrap_or_default();
    for about in [*beckon, beckon_connection_node::ABOUT, beckon_endpoint_node::ABOUT] {
        let mut command = about.command().disable_help_subcommand(true);
        command.build();
        write(&command, &folder, date)
            .map_err(|error| Failure::unavailable(format!("{}: {error}", folder.display())))?;
    }
    Ok(())
}

/// Writes the page of a command, and those of its commands.
fn write(command: &Command, folder: &Path, date: &str) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    fs::write(folder.join(format!("{name}.1")), page(command, &name, date)?)?;
    let visible = command.get_subcommands().filter(|each| !each.is_hide_set());
    visible.into_iter().try_for_each(|each| write(each, folder, date))
}

fn page(command: &Command, name: &str, date: &str) -> io::Result<Vec<u8>> {
    // Those that help does not list are the settings, which the page of the program has.
    let listed = command.clone().mut_args(|arg| {
        let is_listed = !arg.is_hide_long_help_set();
        arg.hide(!is_listed)
    });
    let man = Man::new(listed).title(name.to_uppercase()).date(date).source("Beckon").manual("Beckon");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if command.get_arguments().next().is_some() {
        man.render_options_section(&mut page)?;
    }
    if command.get_subcommands().next().is_some() {
        man.render_subcommands_section(&mut page)?;
    }
    let notes = command.get_after_long_help().or_else(|| command.get_after_help());
    notes_section(&notes.map(ToString::to_string).unwrap_or_default()).to_writer(&mut page)?;
    if command.get_version().is_some() {
        server_sections().to_writer(&mut page)?;
    }
    Ok(page)
}

/// What help says after the arguments.
fn notes_section(text: &str) -> Roff {
    let mut section = Roff::new();
    if text.is_empty() {
        return section;
    }
    section.control("SH", ["NOTES"]);
    for (number, paragraph) in text.split("\n\n").enumerate() {
        if number > 0 {
            section.control("PP", []);
        }
        section.text([roman(paragraph.replace('\n', " "))]);
    }
    section
}

/// What only programs have that run until a signal ends them.
fn server_sections() -> Roff {
    let mut sections = Roff::new();
    sections.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in [
        (0, "The program has done what was asked, or has stopped after SIGTERM or SIGINT."),
        (USAGE, "The arguments or settings are wrong. All that is wrong with settings is reported together."),
        (UNAVAILABLE, "The store or a port is not available."),
        (SOFTWARE, "A part without which the program does not work has failed."),
    ] {
        sections.control("TP", []).text([bold(code.to_string())]).text([roman(meaning)]);
    }
    sections.control("SH", ["SIGNALS"]).text([roman(
        "SIGTERM and SIGINT stop a server, which drains first; a second one ends it at once. SIGHUP has it read its \
         settings again.",
    )]);
    sections.control("SH", ["SEE ALSO"]);
    for name in ["beckon", "connection-node", "endpoint-node"] {
        sections.text([bold(name), roman("(1),")]);
    }
    sections.text([bold("systemctl"), roman("(1)")]);
    sections
}
