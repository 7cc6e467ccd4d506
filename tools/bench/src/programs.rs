//! The programs that are measured, and those that measure.

use crate::settings::Settings;
use beckon_ops::exit::Failure;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// What has to be in a folder of programs.
const NEEDED: [&str; 3] = ["connection-node", "endpoint-node", "beckon"];

/// A folder of programs of one build.
#[derive(Debug, Clone)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Those that the settings name, or those beside this program.
    ///
    /// # Errors
    /// One is missing.
    pub fn of(settings: &Settings) -> Result<Self, Failure> {
        match &settings.programs {
            Some(folder) => Self::in_folder(folder),
            None => Self::in_folder(&own_folder()?),
        }
    }

    /// Those in a folder.
    ///
    /// # Errors
    /// One is missing.
    pub fn in_folder(folder: &Path) -> Result<Self, Failure> {
        let folder = folder
            .canonicalize()
            .map_err(|error| Failure::usage(format!("{}: {error}", folder.display())))?;
        match NEEDED.iter().find(|name| !folder.join(name).is_file()) {
            Some(name) => Err(Failure::usage(format!("there is no {name} in {}", folder.display()))),
            None => Ok(Self { folder }),
        }
    }

    /// The path of one.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A key for tokens.
    ///
    /// # Errors
    /// `beckon genkey` does not work.
    pub fn token_key(&self) -> Result<String, Failure> {
        let output =
            Command::new(self.path("beckon")).arg("genkey").output().map_err(Failure::unavailable)?;
        let key = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() { Ok(key) } else { Err(Failure::unavailable("beckon genkey failed")) }
    }
}

/// The load generator is always the one of the same build as this program, so that both sides of a comparison get
/// the same load.
///
/// # Errors
/// It is missing.
pub fn loadgen() -> Result<PathBuf, Failure> {
    let path = own_folder()?.join("loadgen");
    if path.is_file() { Ok(path) } else { Err(Failure::usage(format!("there is no {}", path.display()))) }
}

fn own_folder() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe().map_err(Failure::software)?;
    Ok(own.parent().map(Path::to_owned).unwrap_or_default())
}
