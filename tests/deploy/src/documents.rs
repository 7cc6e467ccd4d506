//! The commands of the documents, run in the stage of the image that has the source and the compiler: the same
//! as on a fresh Debian with a Rust toolchain. While you write a document, its commands can also be run on your machine.

use crate::{
    console::{Actual, Document, Section, Step, documents},
    container::Container,
    folders::Folders,
    image::Built,
    layers::Mounted,
    network,
    run::{PATIENCE, Signal, end_of, signal, tail_of, within},
};
use anyhow::{Context as _, Result, ensure};
use std::{
    collections::BTreeMap,
    error::Error,
    fmt,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ExitStatus, Stdio},
    thread,
    time::Duration,
};

/// What the documents assume to be installed, besides the compiler.
const PACKAGES: &[&str] = &["curl", "procps", "redis-server"];

/// The namespace that they run in.
const NETWORK: &str = "reader";

/// Commands that something else runs, and what.
const RUN_ELSEWHERE: &[(&str, &str)] = &[
    ("sudo apt install", "`cargo xtask package` does it"),
    ("docker compose", "the cluster of docker-compose.yml"),
    ("cargo xtask", "CI runs all checks, and this is one of them"),
];

/// A shell, as one terminal.
struct Terminal {
    shell: Child,
    input: ChildStdin,
    log: PathBuf,
}

/// Runs the commands of all documents.
pub(crate) fn run(folders: &Folders, built: &Built) -> Result<()> {
    let stage = built.stages.get("build").context("a stage called build")?;
    let root = stage.root.with_packages(folders, PACKAGES)?.mount(folders, "reader")?;
    stage.equip(&root, folders)?;
    network::alone(NETWORK)?;
    let mut environment = stage.environment.clone();
    let path = environment.entry("PATH".to_owned()).or_default();
    path.push_str(&format!(":{}/target/release", stage.workdir));
    environment.insert("HOME".to_owned(), "/root".to_owned());
    let container = Container {
        root,
        network: NETWORK.to_owned(),
        user: "root".to_owned(),
        workdir: stage.workdir.clone(),
        environment,
        open_files: None,
        is_confined: false,
    };
    let documents = documents(&folders.repository)?;
    ensure!(documents.iter().any(|document| document.path == "README.md"), "README.md has no commands");
    documents.iter().try_for_each(|document| run_document(folders, &container, document))
}

/// Runs the commands of some documents on this machine, on programs that have been built, in an empty folder and with a
/// network of its own. The documents are named by their paths from the root.
pub(crate) fn run_here(folders: &Folders, programs: &Path, names: &[&str]) -> Result<()> {
    let workdir = folders.work.join("reader");
    if workdir.exists() {
        fs::remove_dir_all(&workdir)?;
    }
    fs::create_dir_all(&workdir)?;
    fs::create_dir_all(folders.work.join("logs"))?;
    network::alone(NETWORK)?;
    let path = format!("{}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", programs.display());
    let container = Container {
        root: Mounted::this_machine(),
        network: NETWORK.to_owned(),
        user: "root".to_owned(),
        workdir: workdir.display().to_string(),
        environment: BTreeMap::from([
            ("PATH".to_owned(), path),
            ("HOME".to_owned(), workdir.display().to_string()),
        ]),
        open_files: None,
        is_confined: false,
    };
    let documents = documents(&folders.repository)?;
    for name in names {
        let document = documents.iter().find(|document| document.path == *name);
        run_document(folders, &container, document.with_context(|| format!("{name} has no commands"))?)?;
    }
    Ok(())
}

/// Every section, one after the other, beside what runs during all of them.
fn run_document(folders: &Folders, container: &Container, document: &Document) -> Result<()> {
    eprintln!("deploy: {}", document.path);
    let mut server = Terminal::open(folders, container, "server")?;
    if let Some(command) = &document.running {
        writeln!(server.input, "{command}")?;
        let is_running = &mut |text: &str| text.contains("is running");
        server
            .printed(PATIENCE, 0, is_running)
            .with_context(|| format!("{command} says that it is running"))?;
    }
    for section in &document.sections {
        run_section(folders, container, section)
            .with_context(|| format!("{}, {}", document.path, section.heading))?;
    }
    server.close()
}

/// A command that fails. What is waited for in vain is another error.
#[derive(Debug)]
struct Failed(ExitStatus);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a command has failed: {}", self.0)
    }
}

impl Error for Failed {}

/// How often a block is tried if a command in it fails: a reader, too, repeats one if a program that was just started does
/// not answer yet.
const TRIES: u32 = 10;

/// Time for a command that may have to compile everything.
const BUILD_LIMIT: Duration = Duration::from_secs(20 * 60);

/// The time between two of them.
const PAUSE: Duration = Duration::from_secs(1);

/// Every block in a terminal of its own. What they have started ends with the section.
fn run_section(folders: &Folders, container: &Container, section: &Section) -> Result<()> {
    let mut actual = Actual::default();
    let mut terminals = Vec::new();
    for (number, block) in section.blocks.iter().enumerate() {
        let name = format!("terminal-{number}");
        let mut tries = 0;
        let terminal = loop {
            match run_block(folders, container, &name, block, &mut actual) {
                Ok(terminal) => break terminal,
                Err(error) if tries == TRIES || !error.is::<Failed>() => return Err(error),
                Err(_) => tries += 1,
            }
            thread::sleep(PAUSE);
        };
        terminals.push(terminal);
    }
    terminals.iter_mut().rev().try_for_each(Terminal::close)
}

fn run_block(
    folders: &Folders,
    container: &Container,
    name: &str,
    block: &[Step],
    actual: &mut Actual,
) -> Result<Terminal> {
    let mut terminal = Terminal::open(folders, container, name)?;
    for step in block {
        if let Some((_, what)) = RUN_ELSEWHERE.iter().find(|(start, _)| step.command.starts_with(start)) {
            eprintln!("deploy: not here: $ {} ({what})", step.command);
            continue;
        }
        let command = actual.command(&step.command);
        eprintln!("deploy: $ {command}");
        if let Err(error) = terminal.step(&command, step, actual) {
            terminal.kill()?;
            return Err(error.context(format!("$ {command}\n{}", tail_of(&terminal.log))));
        }
    }
    Ok(terminal)
}

impl Terminal {
    fn open(folders: &Folders, container: &Container, name: &str) -> Result<Self> {
        let log = folders.work.join("logs").join(format!("{name}.log"));
        let file = File::create(&log)?;
        let words = ["bash", "--noprofile", "--norc", "-e"];
        let mut shell =
            container.command(&words).stdin(Stdio::piped()).stdout(file.try_clone()?).stderr(file).spawn()?;
        let input = shell.stdin.take().context("it is a pipe")?;
        Ok(Self { shell, input, log })
    }

    /// Types a command and waits for what it prints. One of which the document shows nothing has to end well.
    fn step(&mut self, command: &str, step: &Step, actual: &mut Actual) -> Result<()> {
        let before = fs::read(&self.log)?.len();
        // A command of cargo may have to compile everything.
        let limit = if command.starts_with("cargo ") { BUILD_LIMIT } else { PATIENCE };
        writeln!(self.input, "{command}")?;
        if step.output.is_empty() {
            let mark = format!("--- {before} has ended");
            writeln!(self.input, "echo '{mark}'")?;
            return self.printed(limit, before, &mut |text| text.lines().any(|line| line == mark));
        }
        self.printed(limit, before, &mut |text| actual.is_printed(&step.output, text))
    }

    fn printed(
        &mut self,
        limit: Duration,
        before: usize,
        is_enough: &mut dyn FnMut(&str) -> bool,
    ) -> Result<()> {
        within(limit, "what the document shows", || {
            // Looked at first: what was printed before the end is printed then.
            let ended = self.shell.try_wait()?;
            let all = fs::read(&self.log)?;
            if is_enough(&String::from_utf8_lossy(&all[before..])) {
                return Ok(Some(()));
            }
            match ended {
                Some(status) => Err(Failed(status).into()),
                None => Ok(None),
            }
        })
    }

    /// Kills everything that it runs.
    fn kill(&mut self) -> Result<()> {
        let pid = self.shell.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        self.shell.kill()?;
        self.shell.wait()?;
        for child in children.split_whitespace() {
            // An error means that it has ended already.
            let _ = signal(child.parse()?, Signal::KILL);
        }
        Ok(())
    }

    /// Presses Ctrl-C, at which every program that still runs ends well.
    fn close(&mut self) -> Result<()> {
        let pid = self.shell.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        for child in children.split_whitespace() {
            signal(child.parse()?, Signal::INT)?;
        }
        writeln!(self.input, "wait; exit")?;
        let status = end_of(&mut self.shell, PATIENCE, "the programs of a terminal end")?;
        ensure!(status.success(), "{status}\n{}", tail_of(&self.log));
        Ok(())
    }
}
