//! Does what README.md tells people to do, on a machine without a container engine: builds the image, starts the
//! cluster of `docker-compose.yml`, runs the commands of the documents, and installs the Debian package.
//!
//! ```text
//!   package    the Debian package, from its installation to its purge
//!     └─▶ unit       a service, as its unit says
//!   upgrade    the Debian package, upgraded while its service has connections
//!     └─▶ booted     a machine that systemd has started
//!   compose    the services of docker-compose.yml, started and checked as they say
//!   console    the commands of a document, run one after the other
//!     └─▶ image      the instructions of the Dockerfile, one layer each
//!     └─▶ container  a program in a root file system, with a network of its own
//!           └─▶ layers     root file systems: Debian's, and overlays on it
//!           └─▶ network    addresses and names that only these programs see
//! ```
//!
//! `cargo xtask deploy` and `cargo xtask package` start this as root. It moves into namespaces of its own for mounts and
//! processes, so nothing of it outlives it or is seen from outside. What it keeps is below `target/deploy`: layers, which
//! the next run reuses.
#![expect(clippy::print_stderr, reason = "a tool for people at a terminal")]

mod booted;
mod compose;
mod console;
mod container;
mod context;
mod dockerfile;
mod documents;
mod folders;
mod image;
mod layers;
mod network;
mod package;
mod run;
mod scenario;
mod unit;
mod upgrade;
mod webpush;

use crate::folders::Folders;
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    path::Path,
    process::{Command, ExitCode},
    time::Instant,
};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["webpush", websocket] => webpush::exchange(websocket),
        ["inside", "documents", repository, work, programs, documents @ ..] => {
            inside(|| documents::run_here(&folders(repository, work), Path::new(programs), documents))
        }
        ["inside", repository, work] => inside(|| image_and_documents(&folders(repository, work))),
        ["inside", repository, work, package] => {
            let (folders, package) = (folders(repository, work), Path::new(package));
            inside(|| {
                timed("the package", || package::run(&folders, package))?;
                timed("an upgrade of the package", || upgrade::run(&folders, package))
            })
        }
        ["documents", _, _, _, ..] => outside(&words),
        ["package", repository, work, package] => outside(&[repository, work, package]),
        [repository, work] => outside(&[repository, work]),
        _ => {
            Err(anyhow::anyhow!("usage: beckon-deploy-tests REPOSITORY WORK; `cargo xtask deploy` starts it"))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("deploy: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn folders(repository: &str, work: &str) -> Folders {
    Folders { repository: repository.into(), work: work.into() }
}

/// Starts this program again in namespaces of its own. When it ends, the kernel ends everything it started and unmounts
/// everything it mounted.
fn outside(arguments: &[&str]) -> Result<()> {
    let own = std::env::current_exe()?;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(own)
        .arg("inside")
        .args(arguments);
    let status = command.status().context("cannot start unshare of util-linux")?;
    ensure!(status.success(), "failed");
    Ok(())
}

fn inside(check: impl FnOnce() -> Result<()>) -> Result<()> {
    if std::process::id() != 1 {
        bail!("not in a namespace for processes");
    }
    // Names of network namespaces are files below /run; these are not for others to see.
    run::succeed(Command::new("mount").args(["-t", "tmpfs", "tmpfs", "/run"]))?;
    check()
}

fn image_and_documents(folders: &Folders) -> Result<()> {
    std::fs::create_dir_all(&folders.work)?;
    let image = timed("the image", || image::build(folders))?;
    timed("the cluster of docker-compose.yml", || scenario::run(folders, &image))?;
    timed("the commands of the documents", || documents::run(folders, &image))
}

/// Tells what is going on, and how long it took.
#[expect(clippy::disallowed_methods, reason = "a duration for people")]
fn timed<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    let done = work().with_context(|| what.to_owned())?;
    eprintln!("deploy: {what}: fine, {:.0} s", began.elapsed().as_secs_f64());
    Ok(done)
}
