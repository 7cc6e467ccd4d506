//! Profile-guided optimization (PGO): the compiler lays the programs out for what they were seen to do under load.
//!
//! Programs that count their own branches are built first and serve `bench train`. LLVM merges their counts into a
//! profile, which is an artefact of the release: with the same profile the same commit gives the same programs again.

use super::release::{Choice, PROGRAMS, Release, fresh, host, stage};
use crate::{
    packages,
    run::{self, FEATURES, cargo, root, run, target},
};
use anyhow::{Context as _, Result, ensure};
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The only profile of cargo with which programs are optimized like this: it takes two builds.
const TRAINED: &str = "dist";

/// Where cargo takes flags for the compiler from, separated by [`SEPARATOR`].
const FLAGS: &str = "CARGO_ENCODED_RUSTFLAGS";

const SEPARATOR: &str = "\x1f";

/// The profile to build a release with: the one that the caller names, or one from a training.
///
/// `None` if the programs are not optimized like this: those of another profile of cargo, and those for another kind of
/// machine, on which they would have to run.
pub(super) fn profile(choice: &Choice, release: &Release) -> Result<Option<PathBuf>> {
    if choice.profile != TRAINED {
        return Ok(None);
    }
    if let Some(given) = &choice.pgo {
        // A copy: it may be among the artefacts of an earlier release, which this one replaces.
        fresh(&stage("training"))?;
        let profile = stage("training").join(release.profile());
        fs::copy(root().join(given), &profile).with_context(|| format!("--pgo {given}"))?;
        return Ok(Some(profile));
    }
    if !can_run(&release.target) {
        eprintln!("xtask: NOT PROFILE-GUIDED: programs for {} cannot run here", release.target);
        return Ok(None);
    }
    train(choice, release).map(Some)
}

/// Whether programs for a target of the compiler run on this machine.
fn can_run(target: &str) -> bool {
    target.strip_prefix(std::env::consts::ARCH).is_some_and(|rest| rest.starts_with("-unknown-linux-"))
}

/// Builds programs that count, lets them serve, and merges what they have counted.
fn train(choice: &Choice, release: &Release) -> Result<PathBuf> {
    packages::install(&[packages::REDIS])?;
    let merge = llvm_profdata()?;
    let folder = stage("training");
    fresh(&folder)?;
    let counts = folder.join("counts");
    let built = target().join("training");
    let mut build = cargo(&["build", "--locked", "--profile", &choice.profile, "--target", &release.target]);
    build.args(["--features", FEATURES]).arg("--target-dir").arg(&built);
    for (package, _) in PROGRAMS {
        build.args(["--package", package]);
    }
    run(build.env(FLAGS, with_flag("-Cprofile-generate=", &counts)))?;
    run(&mut cargo(&["build", "--release", "--package", "beckon-loadgen", "--package", "beckon-bench"]))?;
    run(cargo(&["run", "--quiet", "--release", "--package", "beckon-bench", "--", "train"])
        .arg("--programs")
        .arg(built.join(&release.target).join(&choice.profile))
        .arg("--out")
        .arg(&folder))?;
    let profile = folder.join(release.profile());
    run(Command::new(merge).args(["merge", "--sparse", "--output"]).arg(&profile).arg(&counts))?;
    // As large as another target folder, and of no further use.
    fs::remove_dir_all(&built).with_context(|| built.display().to_string())?;
    Ok(profile)
}

/// The program of the compiler's own LLVM that merges profiles. rustup installs it.
fn llvm_profdata() -> Result<PathBuf> {
    let sysroot = run::output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(root()))?;
    let host = host()?;
    let program = Path::new(&sysroot).join("lib/rustlib").join(host).join("bin/llvm-profdata");
    if !program.exists() {
        run(Command::new("rustup").args(["component", "add", "llvm-tools"]).current_dir(root()))?;
    }
    ensure!(program.exists(), "{} is missing", program.display());
    Ok(program)
}

/// Lets a build use a profile.
pub(super) fn optimize(build: &mut Command, profile: &Path) {
    build.env(FLAGS, with_flag("-Cprofile-use=", profile));
}

/// The caller's flags for the compiler and one more.
fn with_flag(flag: &str, path: &Path) -> OsString {
    let mut flags = std::env::var_os(FLAGS).unwrap_or_else(|| {
        let words = std::env::var_os("RUSTFLAGS").unwrap_or_default();
        let words = words.to_string_lossy();
        words.split_whitespace().collect::<Vec<_>>().join(SEPARATOR).into()
    });
    if !flags.is_empty() {
        flags.push(SEPARATOR);
    }
    flags.push(flag);
    flags.push(path);
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_for_this_kind_of_machine_can_run() {
        let this = std::env::consts::ARCH;
        assert!(can_run(&format!("{this}-unknown-linux-gnu")));
        assert!(can_run(&format!("{this}-unknown-linux-musl")));
        assert!(!can_run(&format!("{this}-apple-darwin")));
        assert!(!can_run("sparc64-unknown-linux-gnu"));
    }
}
