//! Which packages went into each program, as CycloneDX documents. cargo-cyclonedx makes them.

use super::release::{PROGRAMS, Release};
use crate::{
    run::{self, FEATURES, cargo, root, run},
    tool::{Tool, installed},
};
use anyhow::{Context as _, Result};
use std::{fs, path::Path, process::Command};

const CYCLONEDX: Tool = Tool { name: "cargo-cyclonedx", version: "0.5.9", features: None };

/// The name of the file that cargo-cyclonedx writes beside every manifest of the workspace.
const DRAFT: &str = "beckon-sbom-draft";

/// Writes `PROGRAM-VERSION-TARGET.cdx.json` for each program.
pub(super) fn write(release: &Release) -> Result<()> {
    let program = installed(&CYCLONEDX)?;
    let written = drafts(release, &program);
    // Each is beside a manifest, also if something has failed.
    let manifests = run::output(Command::new("git").args(["ls-files", "*Cargo.toml"]).current_dir(root()))?;
    for manifest in manifests.lines() {
        let draft = root().join(manifest).with_file_name(format!("{DRAFT}.json"));
        if draft.exists() {
            fs::remove_file(&draft)?;
        }
    }
    written
}

fn drafts(release: &Release, cyclonedx: &Path) -> Result<()> {
    let mut command = release.command(&cyclonedx.to_string_lossy());
    command
        .args(["cyclonedx", "--quiet", "--format", "json", "--spec-version", "1.5", "--no-build-deps"])
        .args(["--features", FEATURES, "--target", &release.target, "--override-filename", DRAFT])
        .current_dir(root());
    run(&mut command)?;
    let metadata = run::output(&mut cargo(&["metadata", "--format-version", "1", "--no-deps", "--locked"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().context("cargo knows packages")?;
    for (package, program) in PROGRAMS {
        let manifest = packages.iter().find(|entry| entry["name"] == package);
        let manifest = manifest.and_then(|entry| entry["manifest_path"].as_str()).context(package)?;
        let text = fs::read_to_string(Path::new(manifest).with_file_name(format!("{DRAFT}.json")))?;
        // Ids of packages are paths on this machine.
        let text = text.replace(&*root().to_string_lossy(), "/beckon");
        let file = format!("{program}-{}-{}.cdx.json", release.version, release.target);
        fs::write(release.folder.join(file), text)?;
    }
    Ok(())
}
