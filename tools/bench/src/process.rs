//! Child processes that cannot outlive this one, and whose last words are kept.

use beckon_ops::exit::Failure;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

/// Starts a program such that it is killed when the thread that starts it ends; from util-linux. Only the main
/// thread starts any.
const DIE_WITH_PARENT: [&str; 4] = ["setpriv", "--pdeathsig", "KILL", "--"];

/// A running program. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
    said: Option<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts a program with these arguments and these environment variables, and no others but `PATH`. What it
    /// writes goes to `NAME.log` in `folder`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(
        program: &Path,
        arguments: &[String],
        settings: &[(String, String)],
        folder: &Path,
        name: &str,
    ) -> Result<Self, Failure> {
        Self::spawn(program, arguments, settings, folder, name, |log| Ok(log.try_clone()?.into()))
    }

    /// The same, but what it says has to be read line by line; only what it complains of goes to the file.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_talking(
        program: &Path,
        arguments: &[String],
        folder: &Path,
        name: &str,
    ) -> Result<Self, Failure> {
        Self::spawn(program, arguments, &[], folder, name, |_| Ok(Stdio::piped()))
    }

    fn spawn(
        program: &Path,
        arguments: &[String],
        settings: &[(String, String)],
        folder: &Path,
        name: &str,
        output: impl Fn(&File) -> io::Result<Stdio>,
    ) -> Result<Self, Failure> {
        let log = folder.join(format!("{name}.log"));
        let errors = File::create(&log).map_err(Failure::unavailable)?;
        let mut command = Command::new(DIE_WITH_PARENT[0]);
        command
            .args(&DIE_WITH_PARENT[1..])
            .arg(program)
            .args(arguments)
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| name == "PATH"))
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(output(&errors).map_err(Failure::unavailable)?)
            .stderr(errors);
        let mut child = command
            .spawn()
            .map_err(|error| Failure::unavailable(format!("setpriv of util-linux, for {name}: {error}")))?;
        let said = child.stdout.take().map(BufReader::new);
        Ok(Self { child, name: name.to_owned(), log, said })
    }

    /// Of the program itself: setpriv becomes it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it says. An empty one: it has said its last.
    ///
    /// # Errors
    /// The pipe is broken.
    pub fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        if let Some(said) = &mut self.said {
            said.read_line(&mut line).map_err(Failure::unavailable)?;
        }
        Ok(line)
    }

    /// Waits until it says this word. What it says before is not looked at.
    ///
    /// # Errors
    /// It ends without having said it.
    pub fn wait_for_word(&mut self, word: &str) -> Result<(), Failure> {
        loop {
            let line = self.line()?;
            if line.trim_end() == word {
                return Ok(());
            }
            if line.is_empty() {
                return Err(self.complaint("has ended too early"));
            }
        }
    }

    /// Has it go on after a word.
    ///
    /// # Errors
    /// It does not listen any more.
    pub fn go_on(&mut self) -> Result<(), Failure> {
        let Some(stdin) = &mut self.child.stdin else { return Ok(()) };
        stdin
            .write_all(b"go\n")
            .and_then(|()| stdin.flush())
            .map_err(|_| self.complaint("has ended too early"))
    }

    /// Waits for its end, and throws away what it says until then.
    ///
    /// # Errors
    /// It ends with a failure.
    pub fn finish(&mut self) -> Result<(), Failure> {
        while !self.line()?.is_empty() {}
        let status = self.child.wait().map_err(Failure::unavailable)?;
        if status.success() { Ok(()) } else { Err(self.complaint(&format!("ended with {status}"))) }
    }

    /// An error if it has ended.
    ///
    /// # Errors
    /// It has.
    pub fn check(&mut self) -> Result<(), Failure> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.complaint(&format!("ended with {status}"))),
            Err(error) => Err(Failure::unavailable(error)),
        }
    }

    fn complaint(&self, what: &str) -> Failure {
        let log = fs::read(&self.log).unwrap_or_default();
        let start = log.len().saturating_sub(LAST_WORDS);
        let last_words = String::from_utf8_lossy(&log[start..]).into_owned();
        Failure::unavailable(format!("{} {what}; it wrote:\n{last_words}", self.name))
    }
}

/// Bytes of a log that are shown when something has gone wrong.
const LAST_WORDS: usize = 2_000;

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended by itself.
        let _ = kill_process(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str, folder: &Path) -> Process {
        let arguments = ["-c".to_owned(), script.to_owned()];
        Process::start_talking(Path::new("sh"), &arguments, folder, "script").unwrap()
    }

    #[test]
    fn a_program_is_told_when_to_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = start("echo before; echo ready; read answer; test \"$answer\" = go", folder.path());
        process.wait_for_word("ready").unwrap();
        process.check().unwrap();
        process.go_on().unwrap();
        process.finish().unwrap();
    }

    #[test]
    fn the_last_words_of_a_failure_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = start("echo no such thing >&2; exit 3", folder.path());
        let failure = process.wait_for_word("ready").unwrap_err();
        assert!(failure.message.contains("script has ended too early"), "{failure}");
        let failure = process.finish().unwrap_err();
        assert!(
            failure.message.contains("exit status: 3") && failure.message.contains("no such thing"),
            "{failure}"
        );
    }
}
