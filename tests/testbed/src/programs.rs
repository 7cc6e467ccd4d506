//! Where the programs are that tests and tools start.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

/// A program of this repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Holds WebSockets.
    ConnectionNode,
    /// Accepts notifications.
    EndpointNode,
    /// Both in one process, and the command line tools.
    Beckon,
    /// The load generator.
    Loadgen,
    /// The experiments.
    Bench,
    /// Hundreds of nodes that answer to operators, in one process.
    MadeUpNodes,
}

/// What is built. A target folder follows.
const SELECTION: [&str; 3] = ["--workspace", "--bins", "--target-dir"];

/// The features of [`Programs::next`].
const NEXT: &str = "beckon-proto/next-format,beckon-store/next-format,beckon-node/next-format";

/// The feature of [`Programs::with_otlp`].
const OTLP: &str = "otlp";

/// What has to be in a folder of programs.
const SERVERS: [Program; 3] = [Program::ConnectionNode, Program::EndpointNode, Program::Beckon];

/// Names a folder with programs that have been built: `cargo xtask test` sets it.
pub const VARIABLE: &str = "BECKON_PROGRAMS";

impl Program {
    /// Its file name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ConnectionNode => "connection-node",
            Self::EndpointNode => "endpoint-node",
            Self::Beckon => "beckon",
            Self::Loadgen => "loadgen",
            Self::Bench => "bench",
            Self::MadeUpNodes => "made-up-nodes",
        }
    }

    /// Its path among [`Programs::built`].
    pub fn path(self) -> PathBuf {
        Programs::built().path(self)
    }
}

/// A folder with the programs of one build.
#[derive(Debug, Clone)]
pub struct Programs {
    folder: PathBuf,
}

/// A folder lacks a program.
#[derive(Debug)]
pub struct Missing(PathBuf);

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} does not exist", self.0.display())
    }
}

impl std::error::Error for Missing {}

impl Programs {
    /// Those of this source, built with the profile of the running test. The first call builds them, so that a test
    /// never runs outdated programs. It builds what `cargo build --workspace --bins` does: with another selection, Cargo
    /// would unify features differently and compile everything again.
    ///
    /// The variable [`VARIABLE`] names a folder with programs that have been built already; then nothing is built.
    ///
    /// # Panics
    /// If they do not build, or the folder lacks one.
    pub fn built() -> Self {
        static BUILT: OnceLock<Programs> = OnceLock::new();
        let find = || match std::env::var_os(VARIABLE) {
            Some(folder) => Self::in_folder(Path::new(&folder)).unwrap_or_else(|missing| panic!("{missing}")),
            None => Self { folder: build() },
        };
        BUILT.get_or_init(find).clone()
    }

    /// Those of the next version, as far as a test can imagine it: this source with the feature `next-format`, which adds to
    /// what nodes say to each other and to what they store. The first call builds them, unoptimized.
    ///
    /// # Panics
    /// If they do not build.
    pub fn next() -> Self {
        static BUILT: OnceLock<Programs> = OnceLock::new();
        BUILT.get_or_init(|| Self { folder: build_with(NEXT, "next-format") }).clone()
    }

    /// Those of this source with the feature `otlp`, as they are published: their traces can go to a collector. What `cargo xtask
    /// test` has built has it. Otherwise the first call builds them, unoptimized.
    ///
    /// # Panics
    /// If they do not build.
    pub fn with_otlp() -> Self {
        static BUILT: OnceLock<Programs> = OnceLock::new();
        let build = || match std::env::var_os(VARIABLE) {
            Some(_) => Self::built(),
            None => Self { folder: build_with(OTLP, OTLP) },
        };
        BUILT.get_or_init(build).clone()
    }

    /// Those in the folder of the running program.
    ///
    /// # Errors
    /// One of the servers is missing.
    pub fn beside_this() -> Result<Self, Missing> {
        let own = std::env::current_exe().expect("the path of the running program");
        Self::in_folder(own.parent().expect("a program is in a folder"))
    }

    /// Those in a folder.
    ///
    /// # Errors
    /// One of the servers is missing.
    pub fn in_folder(folder: &Path) -> Result<Self, Missing> {
        let folder = folder.canonicalize().map_err(|_| Missing(folder.to_owned()))?;
        let programs = Self { folder };
        match SERVERS.iter().map(|program| programs.path(*program)).find(|path| !path.is_file()) {
            Some(path) => Err(Missing(path)),
            None => Ok(programs),
        }
    }

    /// The path of one of them.
    pub fn path(&self, program: Program) -> PathBuf {
        self.folder.join(program.name())
    }
}

/// Builds everything and returns the folder of the programs, `target/<profile>`.
fn build() -> PathBuf {
    let folder = own_folder();
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(name) => name,
        None => panic!("{} is not in a target folder", folder.display()),
    };
    let target = folder.parent().expect("a target folder");
    run(Command::new(env!("CARGO")).args(["build", "--profile", profile]).args(SELECTION).arg(target));
    folder
}

/// Builds the programs with further features and returns their folder, which has this name. What does not depend on the
/// features is shared with the other builds.
fn build_with(features: &str, name: &str) -> PathBuf {
    let build = own_folder().parent().expect("a target folder").to_owned();
    let target = build.join(name);
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--features", features]);
    if std::env::var_os(VARIABLE).is_some() {
        // What `cargo xtask test` has built has the features that tests need, too. So has this with an example.
        cargo.args(["--features", OTLP, "--example", "generate"]);
    }
    run(cargo.args(SELECTION).arg(&target).env("CARGO_BUILD_BUILD_DIR", build));
    target.join("debug")
}

/// The folder of the programs that were built with the running test: of target/<profile>/deps/<test>.
fn own_folder() -> PathBuf {
    let test = std::env::current_exe().expect("the path of the test");
    test.ancestors().nth(2).expect("a test in target/<profile>/deps").to_owned()
}

fn run(cargo: &mut Command) {
    let cargo = cargo.arg("--quiet").current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    let output = cargo.output().expect("cargo starts");
    assert!(
        output.status.success(),
        "the programs do not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
