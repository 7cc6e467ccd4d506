//! Child processes that cannot outlive the tests, and whose last words are kept.

use crate::{PATIENCE, POLL};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{OnceLock, mpsc},
    thread,
};

/// Starts a program such that it is killed when the thread that starts it ends; from util-linux.
pub const DIE_WITH_PARENT: [&str; 4] = ["setpriv", "--pdeathsig", "KILL", "--"];

/// How many starts can wait for the launcher.
const LAUNCHES_MAX: usize = 64;

type Launch = Box<dyn FnOnce() + Send>;

/// Runs `work` on the one thread that lives as long as this process.
///
/// The kernel kills a child of [`DIE_WITH_PARENT`] when the *thread* that started it ends, and a test is a
/// thread: programs that several tests share have to be started here.
pub fn on_launcher<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
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

/// A running program. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program with these arguments and nothing but these environment variables. What it writes is
    /// appended to `log`.
    pub fn start(program: &Path, arguments: &[&str], settings: &[(String, String)], log: &Path) -> Self {
        let output = File::options().create(true).append(true).open(log).expect("a log file");
        let errors = output.try_clone().expect("a second handle");
        let mut command = Command::new(DIE_WITH_PARENT[0]);
        command
            .args(&DIE_WITH_PARENT[1..])
            .arg(program)
            .args(arguments)
            .env_clear()
            .env("RUST_BACKTRACE", "1")
            .envs(settings.iter().map(|(name, value)| (name, value)))
            // What a program makes where it was started goes with its log.
            .current_dir(log.parent().expect("a log is in a directory"))
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        let child = on_launcher(move || command.spawn()).expect("setpriv of util-linux is installed");
        Self { child, log: log.to_owned() }
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours")
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// After [`PATIENCE`].
    pub fn wait(&mut self) -> ExitStatus {
        for _ in 0..PATIENCE.as_millis() / POLL.as_millis() {
            if let Some(status) = self.ended() {
                return status;
            }
            thread::sleep(POLL);
        }
        panic!("it does not end:\n{}", self.log());
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("a child of ours");
    }

    /// Kills it as a crash would (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        // An error means that it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What it has written, with earlier runs that used the same file.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a program to its end and returns its status and everything it wrote.
pub fn run(program: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> (ExitStatus, String) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let settings: Vec<_> = settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let mut process = Process::start(program, arguments, &settings, &directory.path().join("log"));
    (process.wait(), process.log())
}
