//! Other servers than the `redis-server` of this machine: those of Debian 13, unpacked below `target`.

use crate::{
    packages,
    run::{run, target},
};
use anyhow::{Context as _, Result, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The variable that tells tests which server to start.
pub(crate) const VARIABLE: &str = "BECKON_REDIS_SERVER";

/// The packages. Each has a program of the same name.
pub(crate) const PACKAGES: [&str; 2] = ["redis-server", "valkey-server"];

/// Where the packages come from.
const SOURCE: &str = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main\n";

/// The server of one of [`PACKAGES`], with the libraries of its Debian.
///
/// # Errors
/// The packages cannot be downloaded or unpacked.
pub(crate) fn unpacked(package: &str) -> Result<PathBuf> {
    let folder = target().join("servers");
    let start = folder.join(package);
    if start.exists() {
        return Ok(start);
    }
    packages::install(packages::FOR_SERVERS)?;
    let root = folder.join("root");
    download(&folder)?;
    for entry in fs::read_dir(folder.join("cache/archives"))? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("--extract").args([&file, &root]))?;
        }
    }
    for package in PACKAGES {
        write_start(&root, package, &folder.join(package))?;
    }
    ensure!(start.exists(), "no {package} in Debian 13");
    Ok(start)
}

/// Downloads the packages and all that they need. apt gets folders of its own, in which no package is installed.
fn download(folder: &Path) -> Result<()> {
    for path in ["state/lists/partial", "cache/archives/partial", "root"] {
        fs::create_dir_all(folder.join(path))?;
    }
    fs::write(folder.join("sources.list"), SOURCE)?;
    fs::write(folder.join("status"), "")?;
    let option = |name: &str, path: &str| format!("{name}={}", folder.join(path).display());
    let options = [
        option("Dir::State", "state"),
        option("Dir::State::Status", "status"),
        option("Dir::Cache", "cache"),
        option("Dir::Etc::SourceList", "sources.list"),
        option("Dir::Etc::SourceParts", "none"),
        "APT::Sandbox::User=".to_owned(),
        "APT::Install-Recommends=false".to_owned(),
    ];
    let apt_get = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.arg("--quiet").args(options.iter().flat_map(|option| ["-o", option])).args(arguments);
        run(&mut command)
    };
    apt_get(&["update"])?;
    apt_get(&[&["install", "--yes", "--download-only"], &PACKAGES[..]].concat())
}

/// Writes a script that becomes a server, with the libraries beside it.
fn write_start(root: &Path, package: &str, start: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let libraries = the_folder_of_libraries(root)?;
    let loaders = fs::read_dir(&libraries)?.filter_map(Result::ok).map(|entry| entry.path());
    let is_loader =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ld-linux"));
    let loader = loaders.into_iter().find(is_loader).context("no loader in Debian 13")?;
    let program = root.join("usr/bin").join(package);
    // The programs are several in one, and go by the name that they are called by.
    let script = format!(
        "#!/bin/sh\nexec {} --argv0 {package} --library-path {} {} \"$@\"\n",
        loader.display(),
        libraries.display(),
        program.display()
    );
    fs::write(start, script)?;
    Ok(fs::set_permissions(start, fs::Permissions::from_mode(0o755))?)
}

/// The folder of the libraries of this processor.
fn the_folder_of_libraries(root: &Path) -> Result<PathBuf> {
    let folders = fs::read_dir(root.join("usr/lib"))?.filter_map(Result::ok).map(|entry| entry.path());
    folders.into_iter().find(|path| path.join("libc.so.6").exists()).context("no libc6 in Debian 13")
}
