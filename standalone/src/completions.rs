//! `beckon completions`: what shells offer when the tabulator key is pressed.

use crate::settings::{program_argument, program_name};
use beckon_ops::{
    exit::Failure,
    program::{About, print},
};
use clap::{Arg, ArgMatches, Command, builder::PossibleValuesParser};
use clap_complete::Shell;
use std::str::FromStr as _;

/// The shells.
const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// `beckon completions`.
pub(crate) fn command() -> Command {
    let shell = Arg::new("shell").value_name("SHELL").required(true);
    Command::new("completions")
        .about("Print what a shell needs to complete commands and settings")
        .arg(shell.value_parser(PossibleValuesParser::new(SHELLS)).hide_possible_values(true).help("bash, zsh or fish"))
        .arg(program_argument().help("For which program: beckon, connection-node or endpoint-node"))
        .after_help(
            "Packages install them. For bash, until it ends: source <(beckon completions bash). For zsh: write them into \
             a file _beckon of a directory in fpath. For fish: write them into ~/.config/fish/completions/beckon.fish.",
        )
}

/// Runs `beckon completions`.
pub(crate) fn run(beckon: &About, matches: &ArgMatches) -> Result<(), Failure> {
    let shell = matches.get_one::<String>("shell").and_then(|shell| Shell::from_str(shell).ok());
    let shell = shell.ok_or_else(|| Failure::usage("that shell is not known"))?;
    let abouts = [*beckon, beckon_connection_node::ABOUT, beckon_endpoint_node::ABOUT];
    let about = abouts.into_iter().find(|about| about.name == program_name(matches)).unwrap_or(*beckon);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut about.command(), about.name, &mut script);
    print(&String::from_utf8_lossy(&script))
}
