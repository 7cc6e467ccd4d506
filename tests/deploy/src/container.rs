//! A program in a root file system and a network namespace, with the rights that a container engine would leave it.

use crate::layers::Mounted;
use std::{collections::BTreeMap, process::Command};

/// Where and how programs run.
#[derive(Debug)]
pub(crate) struct Container {
    /// The files they see.
    pub(crate) root: Mounted,
    /// The network namespace.
    pub(crate) network: String,
    /// Who they run as.
    pub(crate) user: String,
    /// Where they are started.
    pub(crate) workdir: String,
    /// All their variables.
    pub(crate) environment: BTreeMap<String, String>,
    /// Most open files, soft and hard.
    pub(crate) open_files: Option<(u64, u64)>,
    /// Whether they can gain no rights, and have none of root's.
    pub(crate) is_confined: bool,
}

impl Container {
    /// A command that runs a program in it.
    pub(crate) fn command<S: AsRef<str>>(&self, words: &[S]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.network)).arg("--");
        if let Some((soft, hard)) = self.open_files {
            command.args(["prlimit", &format!("--nofile={soft}:{hard}"), "--"]);
        }
        command.arg("chroot").arg(self.root.path());
        command.args(["setpriv", &format!("--reuid={}", self.user), &format!("--regid={}", self.user)]);
        command.arg("--init-groups");
        if self.is_confined {
            command.args(["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]);
        }
        command.args(["--", "env", "-i", &format!("--chdir={}", self.workdir)]);
        command.args(self.environment.iter().map(|(name, value)| format!("{name}={value}")));
        command.args(words.iter().map(AsRef::as_ref));
        command
    }
}
