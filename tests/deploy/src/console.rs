//! Commands in a document: the blocks marked `console`, in which a line that begins with `$ ` is a command, and the lines
//! after it are what it prints.
//!
//! A block that is not for this program has the reason in a comment on the line before: `<!-- not run: REASON -->`, or
//! `<!-- run by: FILE -->`. What runs during all of a document's commands is in a comment, too: `<!-- running: COMMAND -->`.

use anyhow::{Context as _, Result};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A document with commands.
#[derive(Debug)]
pub(crate) struct Document {
    /// Its path from the root of the repository.
    pub(crate) path: String,
    /// What runs during all its commands.
    pub(crate) running: Option<String>,
    pub(crate) sections: Vec<Section>,
}

/// All documents of the repository that have commands.
pub(crate) fn documents(repository: &Path) -> Result<Vec<Document>> {
    let mut found = Vec::new();
    let mut folders = vec![repository.join("docs")];
    let mut files = markdown(repository, &mut Vec::new())?;
    while let Some(folder) = folders.pop() {
        files.extend(markdown(&folder, &mut folders)?);
    }
    files.sort();
    for file in files {
        let path = file.strip_prefix(repository)?.display().to_string();
        let text = fs::read_to_string(&file).with_context(|| path.clone())?;
        let sections = sections(&text).with_context(|| path.clone())?;
        if !sections.is_empty() {
            found.push(Document { path, running: running(&text), sections });
        }
    }
    Ok(found)
}

/// The Markdown files in a folder; the folders in it are added to `inner`.
fn markdown(folder: &Path, inner: &mut Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            inner.push(path);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            files.push(path);
        }
    }
    Ok(files)
}

fn running(text: &str) -> Option<String> {
    let mut lines = text.lines();
    lines.find_map(|line| Some(line.strip_prefix("<!-- running: ")?.strip_suffix(" -->")?.to_owned()))
}

/// A command with what it prints.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// For a shell.
    pub(crate) command: String,
    /// Lines that have to come, in this order; others may come between them.
    pub(crate) output: Vec<String>,
}

/// The part of a document below one heading.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Section {
    /// The heading's text.
    pub(crate) heading: String,
    /// The commands of each block. A block is a terminal.
    pub(crate) blocks: Vec<Vec<Step>>,
}

/// The sections of a Markdown text that have commands for this program.
fn sections(text: &str) -> Result<Vec<Section>> {
    let mut sections: Vec<Section> = Vec::new();
    let mut heading = String::new();
    let mut block: Option<Vec<Step>> = None;
    let mut is_other_block = false;
    let mut is_excluded = false;
    for line in text.lines() {
        if let Some(steps) = &mut block {
            if line == "```" {
                let steps = block.take().unwrap_or_default();
                match sections.last_mut().filter(|section| section.heading == heading) {
                    Some(section) => section.blocks.push(steps),
                    None => sections.push(Section { heading: heading.clone(), blocks: vec![steps] }),
                }
            } else if let Some(command) = line.strip_prefix("$ ") {
                steps.push(Step { command: command.to_owned(), output: Vec::new() });
            } else if let Some(more) = line.strip_prefix("> ") {
                let step = steps.last_mut().with_context(|| format!("{heading}: {line}"))?;
                step.command = format!("{}\n{more}", step.command);
            } else if !line.trim().is_empty() {
                let step =
                    steps.last_mut().with_context(|| format!("{heading}: no command before: {line}"))?;
                step.output.push(line.to_owned());
            }
        } else if is_other_block {
            is_other_block = line != "```";
        } else if line == "```console" && !is_excluded {
            block = Some(Vec::new());
        } else if line.starts_with("```") {
            is_other_block = true;
        } else if let Some(text) = line.strip_prefix('#') {
            heading = text.trim_matches(['#', ' ']).to_owned();
        }
        is_excluded = ["<!-- not run: ", "<!-- run by: "].iter().any(|mark| line.starts_with(mark));
    }
    Ok(sections)
}

/// What is different in each run: the endpoints of the document, and those that were given out.
#[derive(Debug, Default)]
pub(crate) struct Actual {
    words: BTreeMap<String, String>,
}

/// What every endpoint has before its token.
const ENDPOINT: &str = "/update/";

/// Characters of a token.
const TOKEN_LEN: usize = 66;

impl Actual {
    /// The command with the endpoints of this run.
    pub(crate) fn command(&self, text: &str) -> String {
        self.words.iter().fold(text.to_owned(), |text, (written, actual)| text.replace(written, actual))
    }

    /// Whether all of these lines were printed, in this order. Remembers the endpoints in them.
    pub(crate) fn is_printed(&mut self, expected: &[String], printed: &str) -> bool {
        let mut lines = printed.lines();
        expected.iter().all(|expected| lines.any(|line| self.is_same(expected, line)))
    }

    fn is_same(&mut self, expected: &str, line: &str) -> bool {
        let (expected, line): (Vec<&str>, Vec<&str>) =
            (expected.split_whitespace().collect(), line.split_whitespace().collect());
        let mut endpoints = Vec::new();
        let is_same = expected.len() == line.len()
            && expected.iter().zip(&line).all(|(expected, word)| {
                let both = endpoint(expected).zip(endpoint(word));
                endpoints.extend(both);
                both.is_some() || expected == word
            });
        if is_same {
            self.words.extend(endpoints.into_iter().map(|(a, b)| (a.to_owned(), b.to_owned())));
        }
        is_same
    }
}

/// The token of an endpoint.
fn endpoint(word: &str) -> Option<&str> {
    let (_, token) = word.split_once(ENDPOINT)?;
    (token.len() == TOKEN_LEN).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found() {
        let text = "# A\n```console\n$ one\nout\n$ two \\\n> three\n```\n```sh\n$ not this\n```\n## B\n\
                    ```console\n$ four\n\n  out 1\n```\n```console\n$ five\n```\n<!-- not run: x -->\n```console\n$ six\n\
                    ```\n<!-- running: beckon --x y -->\n";
        let step = |command: &str, output: &[&str]| Step {
            command: command.to_owned(),
            output: output.iter().map(|line| (*line).to_owned()).collect(),
        };
        assert_eq!(
            sections(text).unwrap(),
            [
                Section {
                    heading: "A".into(),
                    blocks: vec![vec![step("one", &["out"]), step("two \\\nthree", &[])]]
                },
                Section {
                    heading: "B".into(),
                    blocks: vec![vec![step("four", &["  out 1"])], vec![step("five", &[])]]
                },
            ]
        );
        assert!(sections("```console\nout\n```").is_err());
        assert_eq!(running(text).as_deref(), Some("beckon --x y"));
    }

    #[test]
    fn endpoints_of_a_run_take_the_place_of_the_written_ones() {
        let url = |letter: &str| format!("http://127.0.0.1:8081/update/{}", letter.repeat(TOKEN_LEN));
        let mut actual = Actual::default();
        let expected = [format!("endpoint {}", url("w")), "ready".to_owned()];
        assert!(!actual.is_printed(&expected, "ready\n"));
        assert!(actual.is_printed(&expected, &format!("other\nendpoint  {}\nother\nready\n", url("a"))));
        assert_eq!(actual.command(&format!("curl {}", url("w"))), format!("curl {}", url("a")));
        assert!(!actual.is_printed(&["ready now".to_owned()], "ready then"));
    }
}
