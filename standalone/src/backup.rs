//! `beckon backup`, `restore` and `compact`: the embedded store in the hands of its operator.

use crate::{
    config::Config,
    control,
    key_files::{TOKEN_KEYS, UAID_KEY},
};
use beckon_ops::{
    config::Source,
    exit::Failure,
    program::{ServerConfig as _, print},
};
use beckon_store::embedded::{self, RestoreError};
use std::{
    ffi::OsString,
    fs,
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::{fs::OpenOptionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

/// Time limit for each piece of a backup to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

/// The text of `--help`.
const HELP: &str = "\
beckon backup, restore, compact: the embedded store

Usage: beckon backup FILE [SETTINGS]
       beckon restore FILE [SETTINGS]
       beckon compact [SETTINGS]

  backup         copy everything that has been accepted, and the keys, into a new file; the server has to run
  restore        make the data directory of a backup; the directory must not have a database yet
  compact        make the database small; the server has to be stopped
  SETTINGS       those of the server, of which data_dir is used

Exit code: 0 done, 64 invalid arguments, backup or data directory, 69 no server, or a disk that fails.
";

/// Runs `beckon backup`.
pub(crate) fn back_up(arguments: Vec<OsString>) -> Result<(), Failure> {
    let Some((file, config)) = with_file(arguments)? else { return print(HELP) };
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
    let mut draft = file.clone().into_os_string();
    draft.push(".part");
    let draft = PathBuf::from(draft);
    let written = write_backup(&draft, server);
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written?;
    fs::rename(&draft, &file).map_err(named)
}

/// Writes what arrives, for its owner only, and checks that it is a whole backup.
fn write_backup(path: &Path, server: UnixStream) -> Result<(), Failure> {
    let named = |error: io::Error| Failure::unavailable(format!("{}: {error}", path.display()));
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path).map_err(named)?;
    let mut copy = Copying { from: BufReader::new(server), to: BufWriter::new(file) };
    embedded::read_backup(&mut copy, |_| Ok(())).map_err(Failure::unavailable)?;
    let file = copy.to.into_inner().map_err(|error| named(error.into_error()))?;
    file.sync_all().map_err(named)
}

/// Runs `beckon restore`.
pub(crate) fn restore(arguments: Vec<OsString>) -> Result<(), Failure> {
    let Some((file, config)) = with_file(arguments)? else { return print(HELP) };
    let source = fs::File::open(&file);
    let source = source.map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    let data_dir = &config.process.data_dir;
    let keys = embedded::restore(data_dir, BufReader::new(source)).map_err(|error| match error {
        RestoreError::DataDir(embedded::OpenError::InUse(_) | embedded::OpenError::Disk { .. })
        | RestoreError::Disk(_) => Failure::unavailable(error),
        RestoreError::DataDir(_) | RestoreError::Occupied(_) => Failure::usage(error),
        RestoreError::Backup(reason) => Failure::usage(format!("{}: {reason}", file.display())),
    })?;
    for (file, is_given) in [(TOKEN_KEYS, config.given.token_keys), (UAID_KEY, config.given.uaid_key)] {
        if let Some(keys) = file.find_in(&keys).filter(|_| !is_given) {
            file.keep(data_dir, keys)?;
        }
    }
    Ok(())
}

/// Runs `beckon compact`.
pub(crate) fn compact(arguments: Vec<OsString>) -> Result<(), Failure> {
    let Some(config) = config(arguments)? else { return print(HELP) };
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

/// The file that is named first, and the settings; `None` for `--help`.
fn with_file(mut arguments: Vec<OsString>) -> Result<Option<(PathBuf, Config)>, Failure> {
    let is_file = arguments.first().is_some_and(|first| !first.to_string_lossy().starts_with('-'));
    let file = if is_file { Some(arguments.remove(0)) } else { None };
    let Some(config) = config(arguments)? else { return Ok(None) };
    match file {
        Some(file) => Ok(Some((file.into(), config))),
        None => Err(Failure::usage("name a FILE first; see --help")),
    }
}

/// The settings; `None` for `--help`.
fn config(arguments: Vec<OsString>) -> Result<Option<Config>, Failure> {
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        return Ok(None);
    }
    Config::read(Source::from_environment(arguments)).map(Some).map_err(Failure::usage)
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
