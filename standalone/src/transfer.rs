//! `beckon export` and `beckon import`: what a store has, as lines of JSON, from one kind of store to the other.
//!
//! * `line`: what the lines say; `file`: a whole export, line by line;
//! * `order`: what the operator asks for, and the store that it is about;
//! * `export`, `import`: the commands.

mod export;
mod file;
#[cfg(test)]
mod fuzzing;
mod import;
mod line;
mod order;

use crate::{config::Config, settings::with_settings};
use beckon_ops::exit::Failure;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, value_parser};
use order::Order;
use std::path::PathBuf;

/// `beckon export`.
pub(crate) fn export_command() -> Command {
    transferring("export")
        .about("Copy the store into lines of JSON, for another store")
        .arg(live("Although nodes are running: the export may lack what they accept meanwhile"))
}

/// `beckon import`.
pub(crate) fn import_command() -> Command {
    let add = Arg::new("add").long("add").action(ArgAction::SetTrue);
    transferring("import")
        .about("Fill a store with what another one had")
        .arg(live(
            "Although nodes are running: clients that say hello before they are imported have to register again",
        ))
        .arg(add.help(
            "To a store that has clients already, which stay as they are: also to go on with an import that was cut short",
        ))
}

fn transferring(name: &'static str) -> Command {
    let file = Arg::new("file").value_name("FILE").required(true).value_hint(ValueHint::FilePath);
    let file = file.value_parser(value_parser!(PathBuf)).help("The lines of JSON; - is stdout or stdin");
    with_settings(Command::new(name).arg(file), Config::PARTS).after_help(
        "Copies clients, channels, messages, broadcasts and keys. The servers have to be stopped. Takes the settings of \
         the server, of which store, data_dir, token_keys and uaid_key matter most.\n\n\
         Exit code: 0 done, 64 invalid arguments, file or store, 69 a store or a disk that fails.",
    )
}

fn live(help: &'static str) -> Arg {
    Arg::new("live").long("live").action(ArgAction::SetTrue).help(help)
}

/// Runs `beckon export`.
pub(crate) async fn export(matches: &ArgMatches) -> Result<(), Failure> {
    export::run(Order::read(matches)?).await
}

/// Runs `beckon import`.
pub(crate) async fn import(matches: &ArgMatches) -> Result<(), Failure> {
    import::run(Order::read(matches)?).await
}
