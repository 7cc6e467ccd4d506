//! Programs of other people that are written in Rust, built once for each version below `target`.

use crate::run::{cargo, run, target};
use anyhow::Result;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A package of crates.io with a program of the same name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// The features to build it with; `None` for those that it has by default.
    pub(crate) features: Option<&'static str>,
}

/// Builds the tool, if it is not there, without optimizations: that takes a minute or two of processor time.
///
/// # Errors
/// It does not build.
pub(crate) fn installed(tool: &Tool) -> Result<PathBuf> {
    let folder = target().join("tools");
    let program = folder.join("bin").join(tool.name);
    if !is_there(&program, tool) {
        let folder = folder.to_string_lossy();
        let mut install = cargo(&["install", tool.name, "--version", tool.version, "--locked", "--debug"]);
        if let Some(features) = tool.features {
            install.args(["--no-default-features", "--features", features]);
        }
        install.args(["--root", &folder, "--target-dir", &format!("{folder}/build")]);
        run(install.env("CARGO_PROFILE_DEV_DEBUG", "0"))?;
    }
    Ok(program)
}

fn is_there(program: &Path, tool: &Tool) -> bool {
    // A subcommand of cargo may know its version only when it is called as one.
    let subcommand = tool.name.trim_start_matches("cargo-");
    let expected = [tool.version, &format!("v{}", tool.version)].map(str::to_owned);
    [&["--version"][..], &[subcommand, "--version"]].iter().any(|arguments| {
        let output = Command::new(program).args(*arguments).output();
        output.is_ok_and(|output| {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.split_whitespace().nth(1).is_some_and(|version| expected.iter().any(|each| each == version))
        })
    })
}
