//! `cargo xtask dist`: what a release consists of, in `target/artefacts`.
//!
//! ```text
//!   release      version, commit and target
//!   training     what the compiler optimizes the programs for
//!     └─▶ programs     the three, and the libraries that they need from the system
//!   tree         the files as they are installed
//!     └─▶ tarball, debian         in an archive
//!   sbom         which packages went into the programs
//!   signature    checksums, signed with a key from the environment
//! ```
//!
//! The same commit with the same profile gives the same archives: their times are the commit's.

mod debian;
mod programs;
mod release;
mod sbom;
mod signature;
mod tarball;
mod training;
mod tree;

use anyhow::Result;
use release::{Choice, Release, fresh};
use std::{fs, path::Path};

/// Builds the programs and packs them. `arguments` are `--profile NAME` (dist), `--target TRIPLE` (this machine) and
/// `--pgo FILE`, a profile of an earlier training (a new one).
///
/// # Errors
/// An argument is unknown, something does not build, or a program needs a newer system than Debian 12.
pub(crate) fn dist(arguments: &[&str]) -> Result<()> {
    let choice = Choice::parse(arguments)?;
    let release = Release::new(&choice)?;
    let profile = training::profile(&choice, &release)?;
    let built = programs::build(&choice, &release, profile.as_deref())?;
    fresh(&release.folder)?;
    if let Some(libraries) = &built.libraries {
        debian::pack(&release, &built, libraries)?;
    }
    tarball::pack(&release, &built)?;
    sbom::write(&release)?;
    if let Some(profile) = profile {
        fs::copy(profile, release.folder.join(release.profile()))?;
    }
    signature::sign(&release.folder)?;
    eprintln!("xtask: {} is in {}", release.commit, release.folder.display());
    Ok(())
}

/// Writes the checksums of everything in a folder, and signs them.
///
/// # Errors
/// A file cannot be read, or the key cannot be used or is missing where one is required.
pub(crate) fn sign(folder: &str) -> Result<()> {
    signature::sign(Path::new(folder))
}
