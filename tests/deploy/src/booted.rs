//! A machine that systemd has started: systemd is the first process of a container with processes, mounts, cgroups and a network of
//! its own, so that packages start, reload and restart services as they do anywhere.

use crate::{
    layers::Mounted,
    run::{succeed, tail_of, until},
};
use anyhow::{Context as _, Result};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Its cgroup, which has those of its services.
const NAME: &str = "beckon-package";

/// Makes the container and becomes its first process. The arguments: a root file system that is mounted, and a folder for a cgroup.
const BOOT: &str = r#"
set -e
mkdir -p "$2"
mount -t cgroup2 cgroup2 "$2"
mkdir -p "$2/beckon-package"
echo $$ > "$2/beckon-package/cgroup.procs"
exec unshare --pid --fork --kill-child --mount --net --uts --ipc --cgroup sh -c '
  set -e
  mount --make-rprivate /
  cd "$1"
  umount --recursive dev
  mount -t proc proc proc
  mount -t sysfs -o ro sysfs sys
  mount -t cgroup2 cgroup2 sys/fs/cgroup
  mount -t tmpfs -o mode=755 tmpfs run
  mount -t tmpfs -o mode=755 tmpfs dev
  for device in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0"; do
    set -- $device
    mknod -m 666 "dev/$1" c "$2" "$3"
  done
  ln -s /proc/self/fd dev/fd
  ln -s pts/ptmx dev/ptmx
  ip link set lo up
  mkdir -p former
  pivot_root . former
  umount --lazy /former
  exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=basic.target
' boot "$1"
"#;

/// The machine. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Booted {
    child: Child,
    /// systemd, as this program sees it.
    init: u32,
    cgroup: PathBuf,
    log: PathBuf,
}

impl Booted {
    /// Starts systemd in a root, and waits until services can be started. `cgroup` is a folder for its cgroup.
    pub(crate) fn start(root: &Mounted, cgroup: &Path, log: PathBuf) -> Result<Self> {
        let output = File::create(&log)?;
        let mut command = Command::new("sh");
        command.args(["-c", BOOT, "boot"]).arg(root.path()).arg(cgroup);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().context("sh")?;
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let init = until("the container is there", || {
            let first = fs::read_to_string(&children).unwrap_or_default();
            let first = first.split_whitespace().next().and_then(|pid| pid.parse().ok());
            Ok(first.filter(|pid: &u32| name_of(*pid) == "systemd"))
        });
        let init = init.with_context(|| tail_of(&log))?;
        let cgroup = cgroup.join(NAME);
        let machine = Self { child, init, cgroup, log };
        let is_up = || Ok(machine.run("systemctl --quiet is-active basic.target").ok());
        until("systemd has started the machine", is_up).with_context(|| tail_of(&machine.log))?;
        Ok(machine)
    }

    /// A command on the machine, as root.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.init));
        command.args(["--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--"]);
        command.args(["env", "-i", "--chdir=/", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"]);
        command.args(["LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"]).args(words);
        command
    }

    /// Runs a line of shell on the machine, and returns what it prints.
    pub(crate) fn run(&self, line: &str) -> Result<String> {
        succeed(&mut self.command(&["sh", "-c", line]))
    }

    /// The process of a service that systemd takes for the main one.
    pub(crate) fn main_process(&self, unit: &str) -> Result<u32> {
        let pid = self.run(&format!("systemctl show --property=MainPID --value {unit}"))?;
        pid.trim().parse().with_context(|| pid.clone())
    }

    /// What the journal has of a unit.
    pub(crate) fn journal(&self, unit: &str) -> String {
        self.run(&format!("journalctl --no-pager --unit {unit} | tail -n 40")).unwrap_or_default()
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        // An error means that it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The kernel keeps cgroups, and not for long the processes in them.
        let remove = format!("find {} -depth -type d -exec rmdir {{}} +", self.cgroup.display());
        let _ =
            until("its cgroups are removed", || Ok(succeed(Command::new("sh").args(["-c", &remove])).ok()));
    }
}

fn name_of(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}
