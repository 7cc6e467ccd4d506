//! Running other programs.

use anyhow::{Context as _, Result, bail, ensure};
pub(crate) use rustix::process::Signal;
use rustix::process::{Pid, Resource, getrlimit, kill_process};
use std::{
    fs::File,
    io::Write as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The time between two looks at something that cannot be waited for in another way.
pub(crate) const POLL: Duration = Duration::from_millis(50);

/// How long anything that should happen may take. Generous, because the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a command whose output is of interest only if it fails.
pub(crate) fn succeed(command: &mut Command) -> Result<String> {
    let line = line_of(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {line}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{line}: {}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(text)
}

/// Runs a command that may take minutes; its output goes to a file, of which the end is shown if it fails.
pub(crate) fn succeed_slowly(command: &mut Command, log: &Path) -> Result<()> {
    let line = line_of(command);
    let mut file = File::create(log).with_context(|| log.display().to_string())?;
    writeln!(file, "{line}")?;
    let status = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()
        .with_context(|| format!("cannot start {line}"))?;
    ensure!(status.success(), "{line}: {status}\n{}", tail_of(log));
    Ok(())
}

/// The last lines of a log.
pub(crate) fn tail_of(log: &Path) -> String {
    const LINES: usize = 40;
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// Waits until `done` returns something.
///
/// # Errors
/// It does not within [`PATIENCE`], or fails.
pub(crate) fn until<T>(what: &str, done: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    within(PATIENCE, what, done)
}

/// Waits until `done` returns something, for a time.
///
/// # Errors
/// It does not, or fails.
#[expect(clippy::disallowed_methods, reason = "what waits for other programs needs the clock")]
pub(crate) fn within<T>(
    limit: Duration,
    what: &str,
    mut done: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(done) = done()? {
            return Ok(done);
        }
        ensure!(Instant::now() < end, "{what}: not within {limit:?}");
        thread::sleep(POLL);
    }
}

/// Most open files that programs can have here, and so what takes the place of a higher limit. Raising it takes a right
/// (CAP_SYS_RESOURCE) that not every machine gives to root.
pub(crate) fn open_files_max() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Waits for the end of a child.
pub(crate) fn end_of(child: &mut Child, limit: Duration, what: &str) -> Result<ExitStatus> {
    within(limit, what, || Ok(child.try_wait()?))
}

/// Sends a signal to a process.
pub(crate) fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(pid.try_into()?).context("not a process")?;
    Ok(kill_process(pid, signal)?)
}

/// Characters of a command that are shown.
const LINE_MAX: usize = 300;

fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let mut line = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(LINE_MAX) {
        line.truncate(end);
    }
    line
}
