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

use beckon_ops::{exit::Failure, program::print};
use order::Order;
use std::ffi::OsString;

/// The text of `--help`.
const HELP: &str = "\
beckon export, import: from one store to another

Usage: beckon export FILE [--live] [SETTINGS]
       beckon import FILE [--live] [--add] [SETTINGS]

  export         copy clients, channels, messages, broadcasts and keys into a new file, as lines of JSON
  import         fill a store with them
  FILE           the file; - is stdout or stdin
  --live         although nodes are running: an export may lack what they accept meanwhile, and clients that say hello
                 before they are imported have to register again
  --add          to a store that has clients already, which stay as they are: also to go on with an import that was cut
                 short
  SETTINGS       those of the server, of which store, data_dir, token_keys and uaid_key matter most

The servers have to be stopped. Exit code: 0 done, 64 invalid arguments, file or store, 69 a store or a disk that fails.
";

/// Runs `beckon export`.
pub(crate) async fn export(arguments: Vec<OsString>) -> Result<(), Failure> {
    match Order::read(arguments, &["--live"])? {
        Some(order) => export::run(order).await,
        None => print(HELP),
    }
}

/// Runs `beckon import`.
pub(crate) async fn import(arguments: Vec<OsString>) -> Result<(), Failure> {
    match Order::read(arguments, &["--live", "--add"])? {
        Some(order) => import::run(order).await,
        None => print(HELP),
    }
}
