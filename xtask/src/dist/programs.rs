//! The programs of a release, and what they need from the system that they run on.

use super::{
    release::{Choice, PROGRAMS, Release, fresh, stage},
    training,
};
use crate::run::{self, FEATURES, cargo, run, target};
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The version of glibc in Debian 12: no program may need a newer one.
const GLIBC_MAX: Glibc = Glibc(2, 36);

/// Libraries that programs may need, and the packages of Debian that have them.
const LIBRARIES: &[(&str, &str)] = &[
    ("libc.so.6", "libc6"),
    ("libm.so.6", "libc6"),
    ("ld-linux-x86-64.so.2", "libc6"),
    ("ld-linux-aarch64.so.1", "libc6"),
    ("libgcc_s.so.1", "libgcc-s1"),
];

/// A version of glibc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Glibc(pub(super) u32, pub(super) u32);

/// What programs need from the system.
#[derive(Debug)]
pub(super) struct Libraries {
    /// The oldest glibc that they run with.
    pub(super) glibc: Glibc,
    /// Packages of Debian.
    pub(super) packages: BTreeSet<&'static str>,
}

/// Programs that have been built.
#[derive(Debug)]
pub(super) struct Built {
    /// Where they are, without symbols.
    pub(super) folder: PathBuf,
    /// `None` if they are linked statically.
    pub(super) libraries: Option<Libraries>,
}

/// Builds the programs, with a profile of their training if there is one, and checks what they need.
pub(super) fn build(choice: &Choice, release: &Release, profile: Option<&Path>) -> Result<Built> {
    let mut build = cargo(&["build", "--locked", "--profile", &choice.profile, "--features", FEATURES]);
    for (package, _) in PROGRAMS {
        build.args(["--package", package]);
    }
    let mut built = target();
    // A build with flags of its own names its target, so that the flags are not for build scripts too.
    if choice.target.is_some() || profile.is_some() {
        build.args(["--target", &release.target]);
        built.push(&release.target);
    }
    if let Some(profile) = profile {
        training::optimize(&mut build, profile);
    }
    built.push(if choice.profile == "dev" { "debug" } else { &choice.profile });
    run(build.env("BECKON_COMMIT", &release.commit))?;
    let folder = stage("programs").join(&release.target);
    fresh(&folder)?;
    for (_, program) in PROGRAMS {
        let path = folder.join(program);
        fs::copy(built.join(program), &path).with_context(|| program.to_owned())?;
        run(Command::new("strip").args(["--strip-unneeded", "--remove-section=.comment"]).arg(&path))?;
        let printed = run::output(Command::new(&path).arg("--version"))?;
        let expected = format!("{program} {} ({})", release.version, release.commit);
        ensure!(printed == expected, "{program} --version prints {printed}, not {expected}");
    }
    let is_static = release.target.ends_with("-musl");
    let libraries = if is_static { None } else { Some(libraries(&folder)?) };
    Ok(Built { folder, libraries })
}

/// Reads what all programs need. readelf is of binutils, as the linker is.
fn libraries(folder: &Path) -> Result<Libraries> {
    let mut needed = Libraries { glibc: Glibc(2, 0), packages: BTreeSet::new() };
    for (_, program) in PROGRAMS {
        let mut readelf = Command::new("readelf");
        readelf.args(["--wide", "--dynamic", "--version-info"]).arg(folder.join(program)).env("LC_ALL", "C");
        let text = run::output(&mut readelf)?;
        let glibc = glibc(&text).with_context(|| format!("{program} needs no version of glibc"))?;
        ensure!(
            glibc <= GLIBC_MAX,
            "{program} needs glibc {}.{}, and Debian 12 has {}.{}: build it there",
            glibc.0,
            glibc.1,
            GLIBC_MAX.0,
            GLIBC_MAX.1
        );
        needed.glibc = needed.glibc.max(glibc);
        for library in shared_libraries(&text) {
            let Some((_, package)) = LIBRARIES.iter().find(|(name, _)| *name == library) else {
                bail!("{program} needs {library}, and the package that has it is not known here");
            };
            needed.packages.insert(package);
        }
    }
    Ok(needed)
}

/// The newest version of glibc that a program needs a symbol of.
fn glibc(readelf: &str) -> Option<Glibc> {
    let versions = readelf.split("Name: GLIBC_").skip(1).filter_map(|rest| {
        let version = rest.split_whitespace().next()?;
        let mut numbers = version.split('.').map(str::parse);
        Some(Glibc(numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    versions.max()
}

/// The shared libraries that a program needs.
fn shared_libraries(readelf: &str) -> impl Iterator<Item = &str> {
    let lines = readelf.lines().filter(|line| line.contains("(NEEDED)"));
    lines.filter_map(|line| Some(line.split_once('[')?.1.split_once(']')?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_needs_is_read() {
        let text = " 0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]\n\
                    Version needs section '.gnu.version_r' contains 2 entries:\n\
                    0x0020:   Name: GCC_3.0  Flags: none  Version: 7\n\
                    0x0060:   Name: GLIBC_2.9  Flags: none  Version: 13\n\
                    0x0070:   Name: GLIBC_2.34  Flags: none  Version: 12\n\
                    0x0080:   Name: GLIBC_2.2.5  Flags: none  Version: 3\n";
        assert_eq!(glibc(text), Some(Glibc(2, 34)));
        assert_eq!(shared_libraries(text).collect::<Vec<_>>(), ["libc.so.6"]);
        assert_eq!(glibc("Name: GCC_3.0"), None);
    }
}
