//! What is released: the version, the commit, the target, and where the artefacts go.

use crate::run::{self, root, target};
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Packages and their programs.
pub(super) const PROGRAMS: [(&str, &str); 3] = [
    ("beckon", "beckon"),
    ("beckon-connection-node", "connection-node"),
    ("beckon-endpoint-node", "endpoint-node"),
];

/// Names the person or group that users of the Debian package write to: `NAME <ADDRESS>`.
const MAINTAINER: &str = "BECKON_MAINTAINER";

/// What is released.
#[derive(Debug)]
pub(super) struct Release {
    /// `0.1.0`.
    pub(super) version: String,
    /// The commit, and `-dirty` if files differ from it.
    pub(super) commit: String,
    /// The time of the commit, in seconds since 1970.
    pub(super) epoch: String,
    /// The same as `2026-11-26`.
    pub(super) date: String,
    /// The same as in a Debian changelog.
    pub(super) date_long: String,
    pub(super) maintainer: String,
    /// `x86_64-unknown-linux-gnu`.
    pub(super) target: String,
    /// Where the artefacts go.
    pub(super) folder: PathBuf,
}

/// What the caller chooses.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) profile: String,
    pub(super) target: Option<String>,
    /// A profile of an earlier training, relative to the root.
    pub(super) pgo: Option<String>,
}

impl Choice {
    pub(super) fn parse(arguments: &[&str]) -> Result<Self> {
        let mut choice = Self { profile: "dist".to_owned(), target: None, pgo: None };
        for pair in arguments.chunks(2) {
            match pair {
                ["--profile", name] => choice.profile = (*name).to_owned(),
                ["--target", triple] => choice.target = Some((*triple).to_owned()),
                ["--pgo", file] => choice.pgo = Some((*file).to_owned()),
                _ => bail!("usage: cargo xtask dist [--profile NAME] [--target TRIPLE] [--pgo FILE]"),
            }
        }
        Ok(choice)
    }
}

impl Release {
    pub(super) fn new(choice: &Choice) -> Result<Self> {
        let git = |arguments: &[&str]| run::output(Command::new("git").args(arguments).current_dir(root()));
        let commit = git(&["rev-parse", "HEAD"])?;
        let is_dirty = !git(&["status", "--porcelain"])?.is_empty();
        let maintainer = match std::env::var_os(MAINTAINER) {
            Some(maintainer) => maintainer.into_string().ok().context("a name in UTF-8")?,
            None => git(&["log", "-1", "--format=%an <%ae>"])?,
        };
        let target = match &choice.target {
            Some(target) => target.clone(),
            None => host()?,
        };
        Ok(Self {
            version: version()?,
            commit: if is_dirty { format!("{commit}-dirty") } else { commit },
            epoch: git(&["log", "-1", "--format=%ct"])?,
            date: git(&["log", "-1", "--date=format-local:%Y-%m-%d", "--format=%cd"])?,
            date_long: git(&["log", "-1", "--format=%cD"])?,
            maintainer,
            folder: run::target().join("artefacts").join(&target),
            target,
        })
    }

    /// A name for an archive: `beckon-0.1.0-x86_64-unknown-linux-gnu`.
    pub(super) fn name(&self) -> String {
        format!("beckon-{}-{}", self.version, self.target)
    }

    /// A name for the profile that the programs are optimized with.
    pub(super) fn profile(&self) -> String {
        format!("{}.profdata", self.name())
    }

    /// A command whose output does not depend on when it runs.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("SOURCE_DATE_EPOCH", &self.epoch).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        command
    }
}

/// The machine that this runs on, as a target of the compiler.
pub(super) fn host() -> Result<String> {
    let text = run::output(Command::new("rustc").arg("-vV").current_dir(root()))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc tells its host")?.to_owned())
}

/// The version of all packages of the workspace, which is the version of this one.
fn version() -> Result<String> {
    let version = env!("CARGO_PKG_VERSION");
    ensure!(!version.contains('-'), "{version} is a pre-release, which the Debian package cannot express");
    Ok(version.to_owned())
}

/// Empties a folder.
pub(super) fn fresh(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())
}

/// Where trees are put together.
pub(super) fn stage(name: &str) -> PathBuf {
    target().join("dist-stage").join(name)
}
