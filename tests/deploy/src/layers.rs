//! Root file systems: one of Debian, and layers of changes on it, which overlayfs puts together.
//!
//! A layer is named by a hash of what made it and of the layers below, so the next run finds it again.

use crate::{folders::Folders, run};
use anyhow::{Context as _, Result};
use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// The release that all images of docker-compose.yml and of the Dockerfile are of.
const SUITE: &str = "bookworm";

/// Where Debian is downloaded from.
const MIRROR: &str = "http://deb.debian.org/debian";

/// A root file system that is not mounted: its layers, the lowest first.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    layers: Vec<PathBuf>,
    key: String,
}

/// A root file system that is mounted. It stays so until this program ends.
#[derive(Debug, Clone)]
pub(crate) struct Mounted {
    path: PathBuf,
}

impl Mounted {
    /// The files that this program sees itself.
    pub(crate) fn this_machine() -> Self {
        Self { path: PathBuf::from("/") }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A hash, as part of a file's name.
pub(crate) fn key_of(parts: &[&str]) -> String {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Debian with nothing but what is essential, as in the image `debian:bookworm-slim`.
pub(crate) fn debian(folders: &Folders) -> Result<Root> {
    let key = key_of(&["debootstrap", SUITE, MIRROR]);
    let folder = folders.work.join("layers").join(&key);
    let root = folder.join("upper");
    if !folder.join("done").exists() {
        fresh(&folder)?;
        let mut debootstrap = Command::new("debootstrap");
        debootstrap.args(["--variant=minbase", SUITE]).arg(&root).arg(MIRROR);
        run::succeed_slowly(&mut debootstrap, &folder.join("log"))?;
        // As in images: a package that is installed does not start its service.
        let policy = root.join("usr/sbin/policy-rc.d");
        fs::write(&policy, "#!/bin/sh\nexit 101\n")?;
        fs::set_permissions(&policy, fs::Permissions::from_mode(0o755))?;
        fs::write(folder.join("done"), "")?;
    }
    Ok(Root { layers: vec![root], key })
}

impl Root {
    /// This and one more layer: what `make` changes in the mounted file system. It is not asked if a former run has made
    /// the layer; `what` names what it does and what it depends on.
    pub(crate) fn with_layer(
        &self,
        folders: &Folders,
        what: &[&str],
        make: impl FnOnce(&Mounted, &Path) -> Result<()>,
    ) -> Result<Self> {
        let key = key_of(&[&[self.key.as_str()], what].concat());
        let folder = folders.work.join("layers").join(&key);
        let upper = folder.join("upper");
        if !folder.join("done").exists() {
            fresh(&folder)?;
            let mounted = self.mount_in(&folder)?;
            make(&mounted, &folder.join("log"))?;
            run::succeed(Command::new("umount").args(["--recursive"]).arg(mounted.path()))?;
            fs::write(folder.join("done"), "")?;
        }
        let layers = [self.layers.as_slice(), &[upper]].concat();
        Ok(Self { layers, key })
    }

    /// This with packages of Debian.
    pub(crate) fn with_packages(&self, folders: &Folders, packages: &[&str]) -> Result<Self> {
        self.with_layer(folders, packages, |mounted, log| {
            let install = format!(
                "apt-get update && apt-get install --yes --no-install-recommends {}",
                packages.join(" ")
            );
            let mut command = Command::new("chroot");
            command.arg(mounted.path()).args(["sh", "-c", &install]);
            command.env("DEBIAN_FRONTEND", "noninteractive");
            run::succeed_slowly(&mut command, log)
        })
    }

    /// Mounts it for programs that change it: what they change is gone in the next run.
    pub(crate) fn mount(&self, folders: &Folders, name: &str) -> Result<Mounted> {
        let folder = folders.work.join("containers").join(name);
        fresh(&folder)?;
        self.mount_in(&folder)
    }

    fn mount_in(&self, folder: &Path) -> Result<Mounted> {
        let [upper, work, path] = ["upper", "work", "root"].map(|name| folder.join(name));
        fs::create_dir_all(&path)?;
        fs::create_dir_all(&work)?;
        // overlayfs wants the highest layer first.
        let lower: Vec<String> = self.layers.iter().rev().map(|layer| layer.display().to_string()).collect();
        let options =
            format!("lowerdir={},upperdir={},workdir={}", lower.join(":"), upper.display(), work.display());
        run::succeed(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(&path))?;
        run::succeed(Command::new("mount").args(["-t", "proc", "proc"]).arg(path.join("proc")))?;
        bind(Path::new("/dev"), &path.join("dev"))?;
        for file in ["etc/resolv.conf", "etc/hosts"] {
            fs::copy(Path::new("/").join(file), path.join(file)).with_context(|| file.to_owned())?;
        }
        Ok(Mounted { path })
    }
}

/// Shows a folder or a file at a second place.
pub(crate) fn bind(from: &Path, to: &Path) -> Result<()> {
    run::succeed(Command::new("mount").arg("--rbind").args([from, to])).map(|_| ())
}

/// An empty folder with an empty `upper` in it.
fn fresh(folder: &Path) -> Result<()> {
    if folder.exists() {
        // What an interrupted run has left; nothing is mounted there, because mounts end with the run.
        fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    fs::create_dir_all(folder.join("upper"))?;
    Ok(())
}
