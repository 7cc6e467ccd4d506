//! Where the programs under test are, built with the same profile as the test.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::OnceLock,
};

/// A program under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Holds WebSockets.
    ConnectionNode,
    /// Takes PUTs.
    EndpointNode,
    /// Both in one process, and the command line tools.
    Beckon,
}

impl Program {
    /// Its file name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ConnectionNode => "connection-node",
            Self::EndpointNode => "endpoint-node",
            Self::Beckon => "beckon",
        }
    }

    /// Its path. The first call builds all programs, so that a test never runs against yesterday's.
    pub fn path(self) -> PathBuf {
        static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
        DIRECTORY.get_or_init(build).join(self.name())
    }
}

/// Runs cargo and returns the directory of the programs, `target/<profile>`.
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("the path of the test");
    // target/<profile>/deps/<test>
    let directory = test.ancestors().nth(2).expect("a test in target/<profile>/deps").to_owned();
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(name) => name,
        None => panic!("{} is not in a target directory", test.display()),
    };
    let target = directory.parent().expect("a target directory");
    let output = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--profile", profile, "--target-dir"])
        .arg(target)
        .args(["-p", "beckon-connection-node", "-p", "beckon-endpoint-node", "-p", "beckon"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "the programs do not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    directory
}
