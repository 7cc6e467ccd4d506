//! What the tests need besides the Rust toolchain.

use crate::run::{run, succeeds};
use anyhow::{Context as _, Result, bail};
use std::{
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

/// Held by whoever uses apt-get, which refuses a second one.
static INSTALLING: Mutex<()> = Mutex::new(());

/// Something that tests start, and where it comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needed {
    /// Commands that show that it is there: one of them has to succeed.
    seen_by: &'static [&'static [&'static str]],
    /// The Debian package it is in.
    package: &'static str,
}

const fn program(seen_by: &'static [&'static [&'static str]], package: &'static str) -> Needed {
    Needed { seen_by, package }
}

pub(crate) const REDIS: Needed = program(&[&["redis-server", "--version"]], "redis-server");
const OPENSSL: Needed = program(&[&["openssl", "version"]], "openssl");
const GPG: Needed = program(&[&["gpg", "--version"]], "gpg");
const ZSH: Needed = program(&[&["zsh", "--version"]], "zsh");
const FISH: Needed = program(&[&["fish", "--version"]], "fish");
const MANDOC: Needed = program(&[&["sh", "-c", "command -v mandoc"]], "mandoc");
const IP: Needed = program(&[&["ip", "-V"]], "iproute2");

/// What stands before the nodes of a rolling restart.
pub(crate) const BALANCERS: [Needed; 2] =
    [program(&[&["/usr/sbin/haproxy", "-v"]], "haproxy"), program(&[&["/usr/sbin/nginx", "-v"]], "nginx")];

/// What the tests in Rust start.
pub(crate) const FOR_CARGO: &[Needed] =
    &[REDIS, OPENSSL, GPG, IP, BALANCERS[0], BALANCERS[1], ZSH, FISH, MANDOC];

/// What the tests with a browser start, besides what [`unpacked`] gets.
pub(crate) const FOR_BROWSER: &[Needed] = &[
    REDIS,
    OPENSSL,
    program(&[&["firefox-esr", "--version"], &["firefox", "--version"]], "firefox-esr"),
    program(&[&["chromium", "--version"], &["chromium-browser", "--version"]], "chromium"),
    program(&[&["node", "--version"]], "nodejs"),
    program(&[&["npm", "--version"]], "npm"),
    // python3 alone has the module, but not what it needs to make an environment with pip in it.
    program(&[&["python3", "-c", "import ensurepip, venv"]], "python3-venv"),
    // To have Firefox trust a certificate of the test.
    program(&[&["sh", "-c", "command -v certutil"]], "libnss3-tools"),
];

/// What `tests/templates` starts, besides what [`unpacked`] gets.
pub(crate) const FOR_TEMPLATES: &[Needed] = &[
    REDIS,
    OPENSSL,
    program(&[&["python3", "-c", "import ensurepip, venv"]], "python3-venv"),
    // Stands for a load balancer.
    BALANCERS[0],
    // Makes networks that have only IPv6.
    IP,
    // What the scripts of an instance call.
    program(&[&["curl", "--version"]], "curl"),
    program(&[&["jq", "--version"]], "jq"),
];

/// What `tests/deploy` starts outside of the file systems that it makes.
pub(crate) const FOR_DEPLOY: &[Needed] = &[
    program(&[&["sh", "-c", "command -v debootstrap"]], "debootstrap"),
    // To check what debootstrap downloads.
    program(&[&["test", "-e", "/usr/share/keyrings/debian-archive-keyring.gpg"]], "debian-archive-keyring"),
    IP,
];

/// What unpacks the servers of another Debian.
pub(crate) const FOR_SERVERS: &[Needed] = &[program(
    &[&["test", "-e", "/usr/share/keyrings/debian-archive-keyring.gpg"]],
    "debian-archive-keyring",
)];

/// Installs what is missing, if that is possible without asking for a password.
///
/// # Errors
/// Something is missing and cannot be installed; the message tells what to install.
pub(crate) fn install(needed: &[Needed]) -> Result<()> {
    let _alone = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let missing = missing(needed);
    if missing.is_empty() {
        return Ok(());
    }
    let wanted = missing.join(" ");
    eprintln!("xtask: the tests need what is not installed: {wanted}");
    let Some(mut apt_get) = apt_get() else {
        bail!("install {wanted} (on Debian and Ubuntu: sudo apt-get install {wanted}), then run this again");
    };
    // An index that is old or empty is why a package would not be found.
    run(apt_get().args(["update", "--quiet"]))?;
    run(apt_get().args(["install", "--quiet", "--yes", "--no-install-recommends"]).args(&missing))?;
    let missing = self::missing(needed);
    if missing.is_empty() {
        return Ok(());
    }
    // A package of this name that holds something else, or an older version.
    bail!("installed, but still not what the tests need: {}", missing.join(" "))
}

/// A program of a package that is not to be installed, because that would also start it as a service of this
/// machine: the one that is installed anyway, or else one that is unpacked below `directory`.
///
/// # Errors
/// It is not there and cannot be downloaded; the message tells what to install.
pub(crate) fn unpacked(program: &str, package: &str, directory: &Path) -> Result<PathBuf> {
    let _alone = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let folders = [PathBuf::from("/"), directory.to_owned()];
    // The search path of a user other than root may lack sbin.
    let places = ["usr/sbin", "usr/bin", "usr/local/sbin", "usr/local/bin"];
    let find = || {
        let mut candidates = folders.iter().flat_map(|folder| places.map(|place| folder.join(place)));
        candidates.find_map(|place| Some(place.join(program)).filter(|path| path.is_file()))
    };
    if let Some(found) = find() {
        return Ok(found);
    }
    let advice = || format!("the tests need {program}: install {package}, then run this again");
    fs::create_dir_all(directory)?;
    if let Some(mut apt_get) = apt_get() {
        run(apt_get().args(["update", "--quiet"]))?;
    }
    run(Command::new("apt-get").args(["download", "--quiet", package]).current_dir(directory))
        .with_context(advice)?;
    for entry in fs::read_dir(directory)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("--extract").args([&file, directory])).with_context(advice)?;
            fs::remove_file(&file)?;
        }
    }
    find().with_context(advice)
}

/// The packages of what is not there.
fn missing(needed: &[Needed]) -> Vec<&'static str> {
    let is_there = |command: &&[&str]| {
        command.split_first().is_some_and(|(program, arguments)| succeeds(program, arguments))
    };
    let is_missing = |needed: &&Needed| !needed.seen_by.iter().any(is_there);
    needed.iter().filter(is_missing).map(|needed| needed.package).collect()
}

/// A way to run apt-get without a password, if there is one.
fn apt_get() -> Option<impl FnMut() -> Command> {
    let is_there = succeeds("apt-get", &["--version"]) && as_root("true").is_some();
    is_there.then_some(|| {
        let mut command = as_root("env").unwrap_or_else(|| Command::new("env"));
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        command
    })
}

/// A command that runs as root, with the search path and the home of the current user; `None` if that takes a password.
pub(crate) fn as_root(program: impl AsRef<OsStr>) -> Option<Command> {
    let is_root = fs::metadata("/proc/self").ok().is_some_and(|own| {
        use std::os::unix::fs::MetadataExt as _;
        own.uid() == 0
    });
    if is_root {
        return Some(Command::new(program));
    }
    if !succeeds("sudo", &["--non-interactive", "true"]) {
        return None;
    }
    let mut command = Command::new("sudo");
    // sudo drops and replaces variables that are set before it.
    command.args(["--non-interactive", "env"]);
    for name in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME"] {
        if let Some(value) = std::env::var_os(name) {
            let mut assignment = OsString::from(format!("{name}="));
            assignment.push(value);
            command.arg(assignment);
        }
    }
    command.arg(program);
    Some(command)
}
