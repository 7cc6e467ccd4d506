//! The Debian package, made by dpkg-deb alone: what is in it is what the tree and `deploy/debian` say.

use super::{
    programs::{Built, Libraries},
    release::{Release, stage},
    tree::{Places, SETTINGS, Tree, fill},
};
use crate::run::{self, run};
use anyhow::{Context as _, Result, bail};
use std::{collections::BTreeSet, fs, path::Path, process::Command};

const PLACES: Places = Places {
    programs: "usr/bin",
    manuals: "usr/share/man/man1",
    bash: "usr/share/bash-completion/completions",
    zsh: "usr/share/zsh/vendor-completions",
    fish: "usr/share/fish/vendor_completions.d",
    units: "lib/systemd/system",
    settings: "etc/beckon",
    examples: "usr/share/doc/beckon/examples",
    tools: "usr/share/beckon",
};

/// The revision of the package: it counts from 1 for each version of Beckon.
const REVISION: u32 = 1;

const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Writes `beckon_VERSION-REVISION_ARCHITECTURE.deb`.
pub(super) fn pack(release: &Release, built: &Built, libraries: &Libraries) -> Result<()> {
    let architecture = architecture(&release.target)?;
    let version = format!("{}-{REVISION}", release.version);
    let tree = Tree::new(stage("debian"))?;
    fill(&tree, &PLACES, built, &release.date)?;
    let documents = "usr/share/doc/beckon";
    tree.copy("deploy/debian/copyright", &format!("{documents}/copyright"))?;
    tree.copy("deploy/debian/lintian-overrides", "usr/share/lintian/overrides/beckon")?;
    let changelogs = [
        (format!("{documents}/changelog"), fs::read_to_string(run::root().join("CHANGELOG.md"))?),
        (format!("{documents}/changelog.Debian"), changelog(release, &version)),
    ];
    for (path, text) in changelogs {
        tree.write(&path, text)?;
        tree.compress(&path)?;
    }
    let sums = sums(&tree.root)?;
    let size = installed_size(&tree.root)?;
    tree.write("DEBIAN/md5sums", sums)?;
    tree.write("DEBIAN/conffiles", SETTINGS.map(|file| format!("/etc/beckon/{file}\n")).concat())?;
    tree.write("DEBIAN/control", control(release, &version, architecture, libraries, size))?;
    for script in SCRIPTS {
        tree.copy(format!("deploy/debian/{script}"), &format!("DEBIAN/{script}"))?;
    }
    tree.set_time(&release.epoch)?;
    let file = release.folder.join(format!("beckon_{version}_{architecture}.deb"));
    run(release.command("dpkg-deb").args(["--root-owner-group", "-Zxz", "--build"]).arg(&tree.root).arg(file))
}

fn architecture(target: &str) -> Result<&'static str> {
    match target.split('-').next() {
        Some("x86_64") => Ok("amd64"),
        Some("aarch64") => Ok("arm64"),
        _ => bail!("Debian's name for {target} is not known here"),
    }
}

fn control(
    release: &Release,
    version: &str,
    architecture: &str,
    libraries: &Libraries,
    installed_size: u64,
) -> String {
    let glibc = libraries.glibc;
    let depends: BTreeSet<String> = libraries
        .packages
        .iter()
        .map(|package| match *package {
            "libc6" => format!("libc6 (>= {}.{})", glibc.0, glibc.1),
            package => package.to_owned(),
        })
        .chain(["adduser".to_owned()])
        .collect();
    let depends: Vec<String> = depends.into_iter().collect();
    format!(
        "Package: beckon\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: {maintainer}\n\
         Installed-Size: {installed_size}\nDepends: {depends}\nRecommends: ca-certificates\n\
         Suggests: haproxy, redis-server\nSection: net\nPriority: optional\n\
         Description: push-notification server for SimplePush and Web Push\n \
         User agents keep one WebSocket open; application servers reach them by\n \
         sending a request to a URL. A stock Firefox works with it, and so do\n \
         Thunderbird and UnifiedPush distributors.\n .\n \
         The service beckon.service is the whole server in one process, with an\n \
         embedded store. connection-node@.service and endpoint-node.service are\n \
         the nodes of a cluster that shares a Redis.\n",
        maintainer = release.maintainer,
        depends = depends.join(", "),
    )
}

fn changelog(release: &Release, version: &str) -> String {
    format!(
        "beckon ({version}) unstable; urgency=medium\n\n  * Version {} (commit {}).\n\n -- {}  {}\n",
        release.version, release.commit, release.maintainer, release.date_long
    )
}

/// The checksums that `dpkg --verify` compares.
fn sums(tree: &Path) -> Result<String> {
    let list = "find . -type f -printf '%P\\0' | LC_ALL=C sort --zero-terminated | xargs -0 md5sum";
    Ok(format!("{}\n", run::output(Command::new("sh").args(["-c", list]).current_dir(tree))?))
}

/// In KiB.
fn installed_size(tree: &Path) -> Result<u64> {
    let mut du = Command::new("du");
    let text = run::output(du.args(["--summarize", "--apparent-size", "--block-size=1024"]).arg(tree))?;
    text.split_whitespace().next().and_then(|size| size.parse().ok()).context("du prints a size")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::programs::Glibc;
    use std::path::PathBuf;

    #[test]
    fn the_package_depends_on_what_the_programs_need() {
        let release = Release {
            version: "1.2.3".into(),
            commit: "abc".into(),
            epoch: "0".into(),
            date: "1970-01-01".into(),
            date_long: "Thu, 1 Jan 1970 00:00:00 +0000".into(),
            maintainer: "A <a@b.example>".into(),
            target: "x86_64-unknown-linux-gnu".into(),
            folder: PathBuf::new(),
        };
        let libraries = Libraries { glibc: Glibc(2, 34), packages: BTreeSet::from(["libc6", "libgcc-s1"]) };
        let control = control(&release, "1.2.3-1", "amd64", &libraries, 7);
        assert!(control.contains("\nDepends: adduser, libc6 (>= 2.34), libgcc-s1\n"), "{control}");
        assert!(architecture("riscv64gc-unknown-linux-gnu").is_err());
    }
}
