//! The files of a release, where they are installed.

use super::{
    programs::Built,
    release::{PROGRAMS, fresh, stage},
};
use crate::run::{self, root, run};
use anyhow::{Context as _, Result};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// A folder that becomes an archive. Its files and folders have the modes of what is installed.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) root: PathBuf,
}

impl Tree {
    /// An empty tree.
    pub(super) fn new(root: PathBuf) -> Result<Self> {
        fresh(&root)?;
        set_mode(&root, 0o755)?;
        Ok(Self { root })
    }

    /// Writes a file.
    pub(super) fn write(&self, path: &str, contents: impl AsRef<[u8]>) -> Result<()> {
        let file = self.place(path)?;
        fs::write(&file, contents)?;
        set_mode(&file, 0o644)
    }

    /// Copies a file of the repository, or a program.
    pub(super) fn copy(&self, from: impl AsRef<Path>, path: &str) -> Result<()> {
        let from = root().join(from);
        let file = self.place(path)?;
        fs::copy(&from, &file).with_context(|| from.display().to_string())?;
        let is_program = fs::metadata(&from)?.permissions().mode() & 0o100 != 0;
        set_mode(&file, if is_program { 0o755 } else { 0o644 })
    }

    /// Compresses a file that was written.
    pub(super) fn compress(&self, path: &str) -> Result<()> {
        run(Command::new("gzip").args(["--best", "--no-name"]).arg(self.root.join(path)))
    }

    /// Gives everything the same time, in seconds since 1970.
    pub(super) fn set_time(&self, epoch: &str) -> Result<()> {
        let mut touch = Command::new("find");
        touch.arg(&self.root).args([
            "-exec",
            "touch",
            "--no-dereference",
            &format!("--date=@{epoch}"),
            "{}",
            "+",
        ]);
        run(&mut touch)
    }

    /// Makes the folder of a file.
    fn place(&self, path: &str) -> Result<PathBuf> {
        let mut folder = self.root.clone();
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        for part in parents.split('/').filter(|part| !part.is_empty()) {
            folder.push(part);
            if !folder.exists() {
                fs::create_dir(&folder)?;
                set_mode(&folder, 0o755)?;
            }
        }
        Ok(folder.join(name))
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

/// Where a kind of file goes in an archive.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) programs: &'static str,
    pub(super) manuals: &'static str,
    pub(super) bash: &'static str,
    pub(super) zsh: &'static str,
    pub(super) fish: &'static str,
    pub(super) units: &'static str,
    pub(super) settings: &'static str,
    /// What is copied and adapted by hand: the kernel's settings, proxies.
    pub(super) examples: &'static str,
    /// Programs that are called by their path.
    pub(super) tools: &'static str,
}

/// The units, the settings that they read, and examples: paths below `deploy`.
const UNITS: [&str; 4] =
    ["beckon.service", "beckon-probe.service", "connection-node@.service", "endpoint-node.service"];
pub(super) const SETTINGS: [&str; 2] = ["beckon.toml", "cluster.toml"];
const EXAMPLES: [&str; 5] = [
    "sysctl.d/beckon.conf",
    "nginx/beckon.conf",
    "caddy/Caddyfile",
    "haproxy/endpoint.cfg",
    "haproxy/websocket.cfg",
];

/// Puts everything into a tree that all archives have.
pub(super) fn fill(tree: &Tree, places: &Places, built: &Built, date: &str) -> Result<()> {
    let beckon = built.folder.join("beckon");
    for (_, name) in PROGRAMS {
        tree.copy(built.folder.join(name), &format!("{}/{name}", places.programs))?;
        let completions =
            |shell| run::output(Command::new(&beckon).args(["completions", shell, "--for", name]));
        tree.write(&format!("{}/{name}", places.bash), completions("bash")? + "\n")?;
        tree.write(&format!("{}/_{name}", places.zsh), completions("zsh")? + "\n")?;
        tree.write(&format!("{}/{name}.fish", places.fish), completions("fish")? + "\n")?;
    }
    let manuals = stage("manuals");
    fresh(&manuals)?;
    run(Command::new(&beckon).args(["manual", "--date", date]).arg(&manuals))?;
    for page in fs::read_dir(&manuals)? {
        let page = page?;
        let path = format!("{}/{}", places.manuals, page.file_name().to_string_lossy());
        tree.write(&path, fs::read(page.path())?)?;
        tree.compress(&path)?;
    }
    for unit in UNITS {
        tree.copy(format!("deploy/systemd/{unit}"), &format!("{}/{unit}", places.units))?;
    }
    for settings in SETTINGS {
        tree.copy(format!("deploy/etc/{settings}"), &format!("{}/{settings}", places.settings))?;
    }
    for example in EXAMPLES {
        tree.copy(format!("deploy/{example}"), &format!("{}/{example}", places.examples))?;
    }
    tree.copy("deploy/make-env", &format!("{}/make-env", places.tools))
}
