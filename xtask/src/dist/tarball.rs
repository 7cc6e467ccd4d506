//! An archive for any Linux: unpack it anywhere and run `bin/beckon`.

use super::{
    programs::Built,
    release::{Release, stage},
    tree::{Places, Tree, fill},
};
use crate::run::run;
use anyhow::Result;

const PLACES: Places = Places {
    programs: "bin",
    manuals: "share/man/man1",
    bash: "share/bash-completion/completions",
    zsh: "share/zsh/site-functions",
    fish: "share/fish/vendor_completions.d",
    units: "lib/systemd/system",
    settings: "etc/beckon",
    examples: "share/doc/beckon/examples",
    tools: "share/beckon",
};

/// Documents beside the programs.
const DOCUMENTS: [&str; 7] = [
    "LICENSE",
    "CHANGELOG.md",
    "SECURITY.md",
    "docs/install.md",
    "docs/configuration.md",
    "docs/operations.md",
    "docs/clients.md",
];

/// Writes `beckon-VERSION-TARGET.tar.gz`.
pub(super) fn pack(release: &Release, built: &Built) -> Result<()> {
    let name = release.name();
    let folder = stage("tarball");
    let tree = Tree::new(folder.join(&name))?;
    fill(&tree, &PLACES, built, &release.date)?;
    for document in DOCUMENTS {
        let file = document.rsplit('/').next().unwrap_or(document);
        tree.copy(document, &format!("share/doc/beckon/{file}"))?;
    }
    let mut tar = release.command("tar");
    tar.args(["--create", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu"])
        .arg(format!("--mtime=@{}", release.epoch))
        .args(["--use-compress-program", "gzip --best --no-name", "--file"])
        .arg(release.folder.join(format!("{name}.tar.gz")))
        .arg("--directory")
        .arg(folder)
        .arg(&name);
    run(&mut tar)
}
