//! `beckon backup`, `restore` and `compact`: the embedded store in the hands of its operator.

use crate::{
    config::Config,
    control,
    key_files::{TOKEN_KEYS, UAID_KEY},
    secret_file,
    settings::{source, with_settings},
};
use beckon_ops::{
    exit::Failure,
    program::{ServerConfig as _, print},
};
use beckon_store::embedded::{self, RestoreError};
use beckon_types::{KeyRing, UaidKey};
use clap::{Arg, ArgMatches, Command, ValueHint, value_parser};
use std::{
    fs,
    io::{self, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

/// Time limit for each piece of a backup to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

/// `beckon backup`.
pub(crate) fn backup_command() -> Command {
    let command =
        Command::new("backup").about("Copy the embedded store while the server runs").arg(file_argument());
    with_data_dir(
        command,
        "Copies everything that has been accepted, and the keys, into a new FILE. The server has to run.",
    )
}

/// `beckon restore`.
pub(crate) fn restore_command() -> Command {
    let command = Command::new("restore").about("Make the data directory of a backup").arg(file_argument());
    with_data_dir(command, "The data directory must not have a database yet.")
}

/// `beckon compact`.
pub(crate) fn compact_command() -> Command {
    let command = Command::new("compact").about("Make the database of a stopped server small");
    with_data_dir(command, "The server has to be stopped.")
}

fn file_argument() -> Arg {
    let file = Arg::new("file").value_name("FILE").required(true).value_hint(ValueHint::FilePath);
    file.value_parser(value_parser!(PathBuf)).help("The backup")
}

fn with_data_dir(command: Command, remark: &str) -> Command {
    with_settings(command, Config::PARTS).after_help(format!(
        "{remark}\n\nTakes the settings of the server, as flags, in a file or in the environment, and uses data_dir.\n\n\
         Exit code: 0 done, 64 invalid arguments, backup or data directory, 69 no server, or a disk that fails."
    ))
}

/// Runs `beckon backup`.
pub(crate) fn back_up(matches: &ArgMatches) -> Result<(), Failure> {
    let (file, config) = (file(matches), config(matches)?);
    let socket = control::path(&config.process.data_dir);
    let connected = UnixStream::connect(&socket).and_then(|mut server| {
        server.set_read_timeout(Some(PATIENCE))?;
        server.write_all(control::BACKUP)?;
        Ok(server)
    });
    let server = connected.map_err(|error| {
        Failure::unavailable(format!("no server with the embedded store at {}: {error}", socket.display()))
    })?;
    let named = |error: io::Error| Failure::unavailable(format!("{}: {error}", file.display()));
    if file.exists() {
        return Err(Failure::usage(format!("{} is there already", file.display())));
    }
    let written = secret_file::write(&file, |out| {
        let mut copy = Copying { from: BufReader::new(server), to: out };
        // Checks that what arrives is a whole backup.
        embedded::read_backup(&mut copy, |_| Ok(())).map(Some).map_err(io::Error::other)
    });
    written.map(drop).map_err(named)
}

/// Runs `beckon restore`.
pub(crate) fn restore(matches: &ArgMatches) -> Result<(), Failure> {
    let (file, config) = (file(matches), config(matches)?);
    let source = fs::File::open(&file);
    let source = source.map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    let data_dir = &config.process.data_dir;
    let keep = |keys: &str| keep_keys(&config, keys);
    embedded::restore(data_dir, BufReader::new(source), keep).map_err(|error| match error {
        RestoreError::DataDir(embedded::OpenError::InUse(_) | embedded::OpenError::Disk { .. })
        | RestoreError::Disk(_) => Failure::unavailable(error),
        RestoreError::DataDir(_) | RestoreError::Occupied(_) => Failure::usage(error),
        RestoreError::Backup(reason) => Failure::usage(format!("{}: {reason}", file.display())),
    })?
}

/// Makes the files with those keys of a backup that are not set. Makes none if one of them does not fit.
fn keep_keys(config: &Config, keys: &str) -> Result<(), Failure> {
    let data_dir = &config.process.data_dir;
    let token_keys = TOKEN_KEYS.find_in(keys).filter(|_| !config.given.token_keys);
    let uaid_key = UAID_KEY.find_in(keys).filter(|_| !config.given.uaid_key);
    token_keys.map_or(Ok(()), |keys| TOKEN_KEYS.check::<KeyRing>(data_dir, keys))?;
    uaid_key.map_or(Ok(()), |key| UAID_KEY.check::<UaidKey>(data_dir, key))?;
    token_keys.map_or(Ok(()), |keys| TOKEN_KEYS.keep::<KeyRing>(data_dir, keys))?;
    uaid_key.map_or(Ok(()), |key| UAID_KEY.keep::<UaidKey>(data_dir, key))
}

/// Runs `beckon compact`.
pub(crate) fn compact(matches: &ArgMatches) -> Result<(), Failure> {
    let config = config(matches)?;
    let (before, after) = embedded::compact(&config.process.data_dir).map_err(|error| match error {
        embedded::OpenError::InUse(_) | embedded::OpenError::Disk { .. } => Failure::unavailable(error),
        embedded::OpenError::Directory { .. }
        | embedded::OpenError::Newer(_)
        | embedded::OpenError::OtherKeys(_)
        | embedded::OpenError::OtherUaidKey(_)
        | embedded::OpenError::Damaged { .. } => Failure::usage(error),
    })?;
    print(&format!("{after} bytes; {before} before\n"))
}

fn file(matches: &ArgMatches) -> PathBuf {
    matches.get_one::<PathBuf>("file").cloned().unwrap_or_default()
}

fn config(matches: &ArgMatches) -> Result<Config, Failure> {
    Config::read(source(matches, Config::PARTS)).map_err(Failure::usage)
}

/// Copies what is read.
struct Copying<R, W> {
    from: R,
    to: W,
}

impl<R: Read, W: Write> Read for Copying<R, W> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(out)?;
        self.to.write_all(&out[..read])?;
        Ok(read)
    }
}
