//! An upgrade of the Debian package on a machine that systemd has started: the service hands its connections over to the new program,
//! and is restarted where it cannot.

use crate::{
    booted::Booted,
    folders::{Folders, inside_of},
    layers,
    run::{Signal, end_of, signal, succeed, tail_of, until},
};
use anyhow::{Context as _, Result, ensure};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

/// What the package needs, and a client for HTTP.
const PACKAGES: &[&str] = &["adduser", "curl", "systemd"];

const UNIT: &str = "beckon.service";

/// How long a program may take to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a listener says when its connection ends.
const LOST: &str = "not connected";

/// Installs the package, upgrades it twice while a device is connected, and stops the service.
pub(crate) fn run(folders: &Folders, package: &Path) -> Result<()> {
    let root = layers::debian(folders)?.with_packages(folders, PACKAGES)?.mount(folders, "booted")?;
    // Packages start and restart their services.
    fs::remove_file(inside_of(root.path(), "/usr/sbin/policy-rc.d"))?;
    // Not in /tmp, where systemd may mount something.
    fs::copy(package, inside_of(root.path(), "/srv/beckon.deb"))?;
    let machine = Booted::start(&root, &folders.work.join("cgroup"), folders.work.join("logs/booted.log"))?;
    check(&machine, &folders.work.join("logs/booted-listen.log")).with_context(|| machine.journal(UNIT))
}

fn check(machine: &Booted, log: &Path) -> Result<()> {
    install(machine, "/srv/beckon.deb")?;
    is_active(machine)?;
    let mut device = Device::start(machine, log)?;
    let endpoint = device.said("endpoint ")?;
    device.expect(machine, &endpoint, 1)?;

    let first = machine.main_process(UNIT)?;
    let printed = upgrade(machine, "1")?;
    ensure!(printed.contains("WebSockets and"), "the upgrade has printed {printed}");
    let second = machine.main_process(UNIT)?;
    ensure!(first != second, "process {first} is the main one still");
    let program = machine.run(&format!("readlink /proc/{second}/exe"))?;
    ensure!(program.trim() == "/usr/bin/beckon", "process {second} runs {program}");
    device.expect(machine, &endpoint, 2)?;
    ensure!(!device.log().contains(LOST), "the socket was closed: {}", device.log());
    is_active(machine)?;

    // What an operator does who wants no hand-over.
    machine.run(&format!(
        "mkdir -p /etc/systemd/system/{UNIT}.d && cd /etc/systemd/system/{UNIT}.d && \
         printf '[Service]\\nEnvironment=BECKON_HAND_OVER=\\n' > own.conf && systemctl daemon-reload && systemctl restart {UNIT}"
    ))?;
    device.said("beckon listen: connected again")?;
    let third = machine.main_process(UNIT)?;
    upgrade(machine, "2")?;
    until("the service was restarted", || Ok((machine.main_process(UNIT)? != third).then_some(())))?;
    is_active(machine)?;
    device.expect(machine, &endpoint, 3)?;
    ensure!(device.log().matches(LOST).count() >= 2, "{}", device.log());
    device.stop()?;

    machine.run(&format!("systemctl stop {UNIT}"))?;
    let result = machine.run(&format!("systemctl show --property=Result --value {UNIT}"))?;
    ensure!(result.trim() == "success", "{UNIT} has ended with {result}");
    Ok(())
}

fn install(machine: &Booted, package: &str) -> Result<String> {
    machine.run(&format!("dpkg --force-confdef --force-confold --install {package} 2>&1"))
}

/// Installs the same programs as a newer version.
fn upgrade(machine: &Booted, version: &str) -> Result<String> {
    machine.run(&format!(
        "cd /srv && rm -rf newer && dpkg-deb --raw-extract beckon.deb newer && \
         sed --in-place 's/^Version: .*/&+newer{version}/' newer/DEBIAN/control && \
         dpkg-deb --root-owner-group -Znone --build newer newer.deb"
    ))?;
    install(machine, "/srv/newer.deb")
}

fn is_active(machine: &Booted) -> Result<()> {
    until("the service is active", || Ok(machine.run(&format!("systemctl --quiet is-active {UNIT}")).ok()))
        .map(|_| ())
}

/// `beckon listen` on the machine.
struct Device {
    child: Child,
    log: PathBuf,
}

impl Device {
    fn start(machine: &Booted, log: &Path) -> Result<Self> {
        let file = File::create(log)?;
        let mut command = machine.command(&["beckon", "listen"]);
        let child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn()?;
        Ok(Self { child, log: log.to_owned() })
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The rest of a line that begins so.
    fn said(&self, start: &str) -> Result<String> {
        let rest = || Ok(self.log().lines().find_map(|line| line.strip_prefix(start)).map(str::to_owned));
        until(start, rest).with_context(|| tail_of(&self.log))
    }

    /// Sends a version to it and waits until it has arrived.
    fn expect(&mut self, machine: &Booted, endpoint: &str, version: u32) -> Result<()> {
        let form = format!("version={version}");
        let put = ["curl", "--silent", "--show-error", "--fail", "-X", "PUT", "-d", &form, endpoint];
        succeed(&mut machine.command(&put))?;
        self.said(&format!("version {version}")).map(|_| ())
    }

    fn stop(mut self) -> Result<()> {
        // nsenter waits for the program, which is its child in the namespace for processes.
        signal(self.child.id(), Signal::KILL)?;
        end_of(&mut self.child, PATIENCE, "the listener ends").map(|_| ())
    }
}
