//! `cargo xtask site`: the documents as a site, made by mdBook, with every link in it checked.
//!
//! The site's source is a copy of the documents below `target/site`, with the same paths as in the repository. So a link
//! that works in the repository also works in the site, and nothing that is generated is in the tree.

mod links;

use crate::{
    run::{root, run, target},
    tool::{Tool, installed},
};
use anyhow::{Context as _, Result};
use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// With its search, and without the web server and what watches files.
const MDBOOK: Tool = Tool { name: "mdbook", version: "0.5.4", features: Some("search") };

/// Folders that are part of the site. The documents link to the examples in `deploy`.
const FOLDERS: &[&str] = &["docs", "deploy"];

/// The line of `docs/SUMMARY.md` that stands for all records of decisions, so that a new one needs no change there.
const RECORDS: &str = "- [Decisions](adr)\n";

/// The page that lists them, without its ending. Only the site has it.
const INDEX: &str = "index";

/// Builds the site into `target/site/html`; installs mdBook below `target` if it is not there.
///
/// # Errors
/// mdBook cannot be installed or cannot build the site, or a link in the site leads nowhere.
pub(crate) fn site() -> Result<()> {
    let program = installed(&MDBOOK)?;
    let folder = target().join("site");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    write_source(&folder)?;
    run(Command::new(program).arg("build").arg(&folder))?;
    let html = folder.join("html");
    let checked = links::check(&html)?;
    eprintln!("xtask: {}: {} pages, {} links are fine", html.display(), checked.pages, checked.links);
    Ok(())
}

/// Writes what mdBook makes the site of.
fn write_source(folder: &Path) -> Result<()> {
    let source = folder.join("src");
    for name in FOLDERS {
        copy(&root().join(name), &source.join(name))?;
    }
    for entry in fs::read_dir(root())? {
        let path = entry?.path();
        let is_document = path.extension().is_some_and(|extension| extension == "md");
        if is_document || path.ends_with("LICENSE") {
            copy(&path, &source.join(path.file_name().context("a path in a folder has a name")?))?;
        }
    }
    let records = records()?;
    fs::write(source.join("docs/adr").join(INDEX).with_extension("md"), index(&records))?;
    fs::rename(source.join("docs/book.toml"), folder.join("book.toml"))?;
    let summary = source.join("docs/SUMMARY.md");
    let text = summary_from_root(&fs::read_to_string(&summary)?, &records)?;
    fs::remove_file(summary)?;
    fs::write(source.join("SUMMARY.md"), text)?;
    Ok(())
}

/// Copies a file, or all files below a folder.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        fs::copy(from, to).with_context(|| from.display().to_string())?;
        return Ok(());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// A record of a decision: its file's name and its heading.
type Record = (String, String);

/// All records of decisions, in their order.
fn records() -> Result<Vec<Record>> {
    let entries = fs::read_dir(root().join("docs/adr"))?;
    let mut files =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    files.sort();
    let record = |path: &PathBuf| {
        let text = fs::read_to_string(path)?;
        let heading = text.lines().next().and_then(|line| line.strip_prefix("# "));
        let heading = heading.with_context(|| format!("{} does not begin with a heading", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok((name.into_owned(), heading.to_owned()))
    };
    files.iter().map(record).collect()
}

/// The page that lists the records.
fn index(records: &[Record]) -> String {
    let mut text = "# Decisions\n\nChoices that could reasonably have been made differently, and why they were made.\n\n".to_owned();
    for (file, heading) in records {
        let _ = writeln!(text, "* [{heading}]({file})");
    }
    text
}

/// The contents, as written for the folder `docs`, for the folder above it, with all records of decisions.
fn summary_from_root(text: &str, records: &[Record]) -> Result<String> {
    let mut chapters = format!("- [Decisions](adr/{INDEX}.md)\n");
    for (file, heading) in records {
        let _ = writeln!(chapters, "  - [{heading}](adr/{file})");
    }
    let (before, after) =
        text.split_once(RECORDS).with_context(|| format!("docs/SUMMARY.md has no line {RECORDS}"))?;
    Ok(format!("{before}{chapters}{after}").replace("](", "](docs/").replace("](docs/../", "]("))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contents_are_written_for_the_root() {
        let file = "0001-a";
        let records = [(file.to_owned(), "1. A".to_owned())];
        let text = format!("[Start](../README.md)\n- [Install](install.md)\n{RECORDS}");
        assert_eq!(
            summary_from_root(&text, &records).unwrap(),
            format!(
                "[Start](README.md)\n- [Install](docs/install.md)\n- [Decisions](docs/adr/{INDEX}.md)\n  \
             - [1. A](docs/adr/{file})\n"
            )
        );
        assert!(summary_from_root("[Start](../README.md)\n", &records).is_err());
    }
}
