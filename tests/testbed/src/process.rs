//! Child processes that cannot outlive this one, and whose output is kept.

use crate::{folder, wait_until};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use std::{
    ffi::OsStr,
    fmt,
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::{OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

/// Starts a program such that it is killed when the thread that starts it ends; from util-linux. It becomes the
/// program, so the process id is the program's.
const DIE_WITH_PARENT: [&str; 4] = ["setpriv", "--pdeathsig", "KILL", "--"];

/// How many starts can wait for the launcher.
const LAUNCHES_MAX: usize = 64;

/// Bytes of a log that an [`Ended`] quotes.
const LAST_WORDS: usize = 2_000;

/// A running program. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
    output: Option<BufReader<ChildStdout>>,
}

/// A program that has ended too early or has failed.
#[derive(Debug)]
pub struct Ended {
    name: String,
    how: String,
    last_words: String,
}

impl fmt::Display for Ended {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}; it wrote:\n{}", self.name, self.how, self.last_words)
    }
}

impl std::error::Error for Ended {}

impl Process {
    /// Starts a program with these arguments. Its environment is `PATH` and these variables, its working folder
    /// that of the log. What it writes is appended to `log`, whose file stem is its name in messages.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(
        program: &Path,
        arguments: &[impl AsRef<OsStr>],
        settings: &[(String, String)],
        log: &Path,
    ) -> Self {
        let mut command = command(program, arguments, settings, log);
        let output = log_file(log);
        command.stdin(Stdio::null()).stdout(output.try_clone().expect("a second handle")).stderr(output);
        Self::spawn(command, log)
    }

    /// [`Self::start`] for a program that is talked to: its standard output is read by [`Self::wait_for_line`], and
    /// [`Self::write_line`] writes to its standard input. Its standard error is appended to `log`.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start_talking(
        program: &Path,
        arguments: &[impl AsRef<OsStr>],
        settings: &[(String, String)],
        log: &Path,
    ) -> Self {
        let mut command = command(program, arguments, settings, log);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log_file(log));
        Self::spawn(command, log)
    }

    fn spawn(mut command: Command, log: &Path) -> Self {
        let name = log.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let started = on_launcher(move || command.spawn());
        let mut child =
            started.unwrap_or_else(|error| panic!("{name}: setpriv of util-linux does not start: {error}"));
        let output = child.stdout.take().map(BufReader::new);
        Self { child, name, log: log.to_owned(), output }
    }

    /// The id of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it is stopped where it is, by a signal that it may have sent to itself.
    ///
    /// # Panics
    /// If that does not happen within [`crate::PATIENCE`].
    pub fn wait_until_stopped(&self) {
        let path = format!("/proc/{}/stat", self.pid());
        wait_until(&format!("{} is stopped", self.name), || {
            let stat = fs::read_to_string(&path).ok()?;
            // The name of the program, in parentheses, may have spaces.
            stat.rsplit_once(')')?.1.trim_start().starts_with('T').then_some(())
        });
    }

    /// How it has ended; `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of this process")
    }

    /// Fails if it has ended.
    ///
    /// # Errors
    /// It has ended.
    pub fn check(&mut self) -> Result<(), Ended> {
        match self.ended() {
            None => Ok(()),
            Some(status) => Err(self.error(format!("ended with {status}"))),
        }
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it does not end within [`crate::PATIENCE`].
    pub fn wait(&mut self) -> ExitStatus {
        let what = format!("{} ends", self.name);
        wait_until(&what, || self.ended())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a child of this process");
    }

    /// Stops the process where it is (SIGSTOP): its sockets stay open, and it does nothing.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Continues a paused process (SIGCONT).
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills it as a crash would (SIGKILL), and waits until it is gone.
    pub fn kill(&mut self) {
        // An error means that it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What it has written, after what earlier runs wrote to the same file.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// Reads what a program of [`Self::start_talking`] writes, up to this line.
    ///
    /// # Errors
    /// It ends without having written the line.
    pub fn wait_for_line(&mut self, expected: &str) -> Result<(), Ended> {
        while let Some(line) = self.next_line() {
            if line.trim_end() == expected {
                return Ok(());
            }
        }
        Err(self.error("has ended too early"))
    }

    /// Writes a line to a program of [`Self::start_talking`].
    ///
    /// # Errors
    /// It reads no more.
    pub fn write_line(&mut self, line: &str) -> Result<(), Ended> {
        let Some(input) = &mut self.child.stdin else { return Err(self.error("is not talked to")) };
        let written = writeln!(input, "{line}").and_then(|()| input.flush());
        written.map_err(|_| self.error("has ended too early"))
    }

    /// Waits for the end of a program of [`Self::start_talking`], however long it takes, and discards what it writes.
    ///
    /// # Errors
    /// It ends with a failure.
    pub fn finish(&mut self) -> Result<(), Ended> {
        while self.next_line().is_some() {}
        let status = self.child.wait().expect("a child of this process");
        if status.success() { Ok(()) } else { Err(self.error(format!("ended with {status}"))) }
    }

    fn next_line(&mut self) -> Option<String> {
        let mut line = String::new();
        let length = self.output.as_mut()?.read_line(&mut line).expect("a pipe with text");
        (length > 0).then_some(line)
    }

    fn error(&self, how: impl Into<String>) -> Ended {
        let log = self.log();
        let start = log.ceil_char_boundary(log.len().saturating_sub(LAST_WORDS));
        Ended { name: self.name.clone(), how: how.into(), last_words: log[start..].to_owned() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a program to its end, and returns its status and everything that it wrote.
///
/// # Panics
/// If it does not end within [`crate::PATIENCE`].
pub fn run(program: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> (ExitStatus, String) {
    let folder = folder::temporary();
    let settings: Vec<_> = settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let mut process = Process::start(program, arguments, &settings, &folder.path().join("log"));
    (process.wait(), process.log())
}

/// Gives a process only a share of a processor, by pausing it whenever it has had that, however busy the machine is. It runs
/// at full speed again when this is dropped.
#[derive(Debug)]
pub struct Throttled {
    stop: mpsc::SyncSender<()>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Throttled {
    /// How often it is looked at how much the process has had, and the most that it may have at once.
    const TURN: Duration = Duration::from_millis(2);

    /// Lets the process with this id have `percent` of a processor, from 1 to 99.
    #[expect(clippy::disallowed_methods, reason = "the share of the process is one of this time")]
    pub(crate) fn to(pid: u32, percent: u32) -> Self {
        let process = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
        let (stop, stopped) = mpsc::sync_channel(1);
        let work = move || {
            let (mut had, mut since) = (processor_time(pid), Instant::now());
            // What it may have before it is paused, in seconds. Negative if it has had too much.
            let mut left = 0.0;
            loop {
                let (has_had, now) = (processor_time(pid), Instant::now());
                let share = (now - since).as_secs_f64() * f64::from(percent) / 100.0;
                left += share - has_had.saturating_sub(had).as_secs_f64();
                left = Self::TURN.as_secs_f64().min(left);
                (had, since) = (has_had, now);
                let signal = if left > 0.0 { Signal::CONT } else { Signal::STOP };
                // An error means that the process has ended.
                if kill_process(process, signal).is_err() {
                    return;
                }
                if stopped.recv_timeout(Self::TURN).is_ok() {
                    let _ = kill_process(process, Signal::CONT);
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("throttle".to_owned()).spawn(work).expect("a thread");
        Self { stop, thread: Some(thread) }
    }
}

/// The time that the first thread of a process has had on a processor. Zero if it has ended.
fn processor_time(pid: u32) -> Duration {
    let times = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    let nanos = times.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

impl Drop for Throttled {
    fn drop(&mut self) {
        // An error means that the thread has ended, because the process has.
        let _ = self.stop.send(());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn command(
    program: &Path,
    arguments: &[impl AsRef<OsStr>],
    settings: &[(String, String)],
    log: &Path,
) -> Command {
    let mut command = Command::new(DIE_WITH_PARENT[0]);
    command
        .args(&DIE_WITH_PARENT[1..])
        .arg(program)
        .args(arguments)
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| name == "PATH"))
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .current_dir(log.parent().expect("a log is in a folder"));
    command
}

fn log_file(path: &Path) -> File {
    let file = File::options().create(true).append(true).open(path);
    file.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

type Launch = Box<dyn FnOnce() + Send>;

/// Runs `work` on the one thread that lives as long as this process.
///
/// The kernel kills a child of [`DIE_WITH_PARENT`] when the *thread* that started it ends, and a test is a thread:
/// programs that several tests share have to be started here.
fn on_launcher<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    static LAUNCHER: OnceLock<mpsc::SyncSender<Launch>> = OnceLock::new();
    let launcher = LAUNCHER.get_or_init(|| {
        let (sender, receiver) = mpsc::sync_channel::<Launch>(LAUNCHES_MAX);
        thread::Builder::new()
            .name("launcher".to_owned())
            .spawn(move || receiver.into_iter().for_each(|launch| launch()))
            .expect("a thread");
        sender
    });
    let (answer, result) = mpsc::sync_channel(1);
    let launch = Box::new(move || {
        // The caller waits, so it is there.
        let _ = answer.send(work());
    });
    launcher.send(launch).expect("the launcher runs");
    result.recv().expect("the launcher did not panic")
}
