//! The command line of a program: starting it with settings, and its other commands in groups.
//!
//! The settings of a start are read by [`Source`](crate::config::Source), which reports all errors together and quotes no
//! secret. What help, completions and manual pages say about them is made from the same tables, and the other commands are
//! parsed here.

use crate::{
    config::{self, Part, Request},
    exit::Failure,
    stdout::print,
};
use clap::{Arg, ArgMatches, Command, error::ErrorKind};
use serde::Serialize;
use std::{ffi::OsString, fmt::Write as _};

/// The command that starts the program, which is also what happens without a command.
pub const SERVE: &str = "serve";

/// What short help shows before settings.
const FEW: &str = "Settings that matter first";

/// Which build a program is.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Build {
    /// What was built.
    pub source: &'static str,
    /// The version, from Cargo.
    pub version: &'static str,
    /// The commit, or empty if unknown.
    pub commit: &'static str,
    /// What built it: a link to the build or a date. Empty if unknown.
    pub build: &'static str,
}

/// How a program describes itself.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// The name of the program.
    pub name: &'static str,
    /// What it is for, in a few words.
    pub summary: &'static str,
    /// Its settings.
    pub parts: &'static [Part],
    /// Defaults that differ from those of the parts.
    pub defaults: &'static [(&'static str, &'static str)],
    /// The settings that short help shows, besides those that are required.
    pub essential: &'static [&'static str],
    /// What it can do besides serving.
    pub groups: &'static [Group],
    /// Which build it is.
    pub build: Build,
}

/// Commands that are used on the same occasions.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// What help shows before them.
    pub heading: &'static str,
    /// The commands, in the order in which help shows them.
    pub commands: &'static [Subcommand],
}

/// A command of a program, besides starting it.
#[derive(Debug, Clone, Copy)]
pub struct Subcommand {
    /// Its name and its arguments, and what they mean.
    pub command: fn() -> Command,
    /// Runs it, as a command of this program, with the arguments that were given.
    pub run: fn(&About, &ArgMatches) -> Result<(), Failure>,
}

impl About {
    /// The whole command line, for help, completions, manual pages and the parser.
    #[must_use]
    pub fn command(&self) -> Command {
        let command = self.starting(Command::new(self.name)).version(self.version());
        if self.groups.is_empty() {
            return command;
        }
        let serve = self.starting(Command::new(SERVE)).about("Run the server, which is the default");
        let usage = format!("{} [serve] [SETTINGS]\n       {0} COMMAND [ARGUMENTS]", self.name);
        let others = self.groups.iter().flat_map(|group| group.commands).map(|each| (each.command)());
        command.override_usage(usage).subcommand(serve).subcommands(others)
    }

    /// Answers `--help`, `-h` or `--version` on stdout.
    ///
    /// # Errors
    /// Stdout cannot be written to.
    pub fn answer(&self, request: Request) -> Result<(), Failure> {
        match request {
            Request::Help => print(&self.help(true)),
            Request::Summary => print(&self.help(false)),
            Request::Version => print(&format!("{} {}\n", self.name, self.version())),
        }
    }

    /// Runs one of the other commands if the arguments begin with one. `None`: the program is to be started, with these
    /// arguments.
    ///
    /// # Errors
    /// The arguments are wrong, or the command has failed.
    pub fn run_command(&self, arguments: &mut Vec<OsString>) -> Option<Result<(), Failure>> {
        let first = arguments.first()?.to_string_lossy().into_owned();
        if first == SERVE {
            arguments.remove(0);
            return None;
        }
        if first.starts_with('-') {
            return None;
        }
        if first == "help" && arguments.len() == 1 {
            return Some(self.answer(Request::Summary));
        }
        Some(self.run(arguments))
    }

    fn run(&self, arguments: &[OsString]) -> Result<(), Failure> {
        let name = OsString::from(self.name);
        let matches = match self.command().try_get_matches_from(std::iter::once(&name).chain(arguments)) {
            Ok(matches) => matches,
            Err(error) => return answered(&error),
        };
        let (name, matches) =
            matches.subcommand().ok_or_else(|| Failure::usage("there is no such command"))?;
        let mut all = self.groups.iter().flat_map(|group| group.commands);
        let chosen = all.find(|each| (each.command)().get_name() == name);
        chosen.map_or_else(
            || Err(Failure::usage("there is no such command")),
            |chosen| (chosen.run)(self, matches),
        )
    }

    /// A command that takes the settings. The short help has those that are required, and those that matter most.
    fn starting(&self, command: Command) -> Command {
        let is_essential = |name: &str| self.essential.contains(&name) || name == "config";
        let is_required = |name: &str| {
            let mut fields = self.parts.iter().flat_map(|part| part.fields);
            let is_replaced = self.defaults.iter().any(|(replaced, _)| *replaced == name);
            !is_replaced && fields.any(|field| field.name == name && field.default.is_none())
        };
        let settings = config::arguments(self.parts, self.defaults).into_iter().map(|arg| {
            let name = arg.get_id().as_str();
            let is_short = is_essential(name) || is_required(name);
            arg.hide_short_help(!is_short)
        });
        command
            .about(self.summary)
            .override_usage(format!("{} [SETTINGS]", self.name))
            .args(settings)
            .max_term_width(config::HELP_WIDTH)
            .after_help("--help lists all settings.")
            .after_long_help(config::ABOUT_SETTINGS)
    }

    /// Commands are shown in their groups, which the library does not have.
    fn help(&self, is_long: bool) -> String {
        let command = self.command();
        let mut commands = String::new();
        let width = command.get_subcommands().map(|each| each.get_name().len()).max().unwrap_or_default();
        for group in self.groups {
            let _ = writeln!(commands, "{}:", group.heading);
            let visible =
                group.commands.iter().map(|each| (each.command)()).filter(|each| !each.is_hide_set());
            for each in visible {
                let about = each.get_about().map(ToString::to_string).unwrap_or_default();
                let _ = writeln!(commands, "  {:width$}  {about}", each.get_name());
            }
            commands.push('\n');
        }
        let template = format!(
            "{{name}} {{version}}: {{about}}\n\n{{usage-heading}} {{usage}}\n\n{commands}{{all-args}}{{after-help}}\n"
        );
        let mut command = command.mut_subcommands(|each| each.hide(true)).help_template(template);
        if is_long {
            return command.render_long_help().to_string();
        }
        // The headings of all settings would be as long as the few that are shown.
        let is_setting = |arg: &Arg| arg.get_help_heading().is_some();
        command = command.mut_args(|arg| if is_setting(&arg) { arg.help_heading(FEW) } else { arg });
        command.render_help().to_string()
    }

    fn version(&self) -> String {
        match (self.build.version, self.build.commit) {
            (version, "") => version.to_owned(),
            (version, commit) => format!("{version} ({commit})"),
        }
    }
}

/// Prints the help that was asked for; anything else is an error of the caller.
fn answered(error: &clap::Error) -> Result<(), Failure> {
    let text = error.to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return print(&text);
    }
    Err(Failure::usage(text.trim_start_matches("error: ").trim_end()))
}
