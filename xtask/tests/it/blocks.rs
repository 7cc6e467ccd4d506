//! Every code block of the documents says how it is checked. CONTRIBUTING.md explains the marks.

use crate::tree::{assert_none, files_ending, read, root};

/// A fenced block of a Markdown text.
#[derive(Debug, PartialEq, Eq)]
struct Block<'a> {
    /// The number of its first line.
    line: usize,
    language: &'a str,
    /// What the comment on the line before it says.
    mark: Option<&'a str>,
}

/// A comment that is a line of its own.
fn comment(line: &str) -> Option<&str> {
    line.strip_prefix("<!-- ")?.strip_suffix(" -->")
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut before = "";
    let mut is_inside = false;
    for (index, line) in text.lines().enumerate() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            if !is_inside {
                blocks.push(Block { line: index + 1, language, mark: comment(before) });
            }
            is_inside = !is_inside;
        }
        before = line;
    }
    assert!(!is_inside, "a block without an end");
    blocks
}

/// Why a block of a document is not accepted.
fn fault(block: &Block<'_>) -> Option<String> {
    let Some(mark) = block.mark else {
        return match block.language {
            // What was printed or is sent, or a picture made of characters.
            "text" | "json" => None,
            // `cargo xtask deploy` runs it.
            "console" => None,
            "" => Some("names no language; `text` for what is not to be run".to_owned()),
            _ => Some("neither `run by` nor `not run`".to_owned()),
        };
    };
    match mark.split_once(": ") {
        Some(("not run", reason)) if !reason.is_empty() => None,
        Some(("run by", path)) if read_if_there(path).is_some_and(|text| text.contains(path)) => None,
        Some(("run by", path)) => Some(format!("{path} does not look for its own name in the documents")),
        _ => Some(format!("{mark} is neither `run by` nor `not run`")),
    }
}

fn read_if_there(path: &str) -> Option<String> {
    root().join(path).is_file().then(|| read(path))
}

#[test]
fn every_block_says_how_it_is_checked() {
    let mut offenders = Vec::new();
    let mut found = 0;
    for path in files_ending(".md").into_iter().filter(|path| !path.starts_with(".github/")) {
        for block in blocks(&read(&path)) {
            found += 1;
            offenders.extend(fault(&block).map(|fault| format!("{path}:{}: {fault}", block.line)));
        }
    }
    assert!(found > 40, "{found}");
    assert_none("a block that nothing checks", &offenders);
}

#[test]
fn marks_of_blocks_are_read() {
    let text = "```console\n$ a\n```\n<!-- not run: slow -->\n```sh\nb\n```\n<!-- x -->\n\n```\n```\n";
    let block = |line, language, mark| Block { line, language, mark };
    let found = blocks(text);
    assert_eq!(
        found,
        [block(1, "console", None), block(5, "sh", Some("not run: slow")), block(10, "", None)]
    );
    assert_eq!(found.iter().map(|block| fault(block).is_some()).collect::<Vec<_>>(), [false, false, true]);
    for (mark, is_fine) in [
        ("run by: xtask/tests/it/blocks.rs", true),
        ("run by: xtask/tests/it/main.rs", false),
        ("run by: xtask/tests/it/no.rs", false),
        ("run by the reader", false),
    ] {
        assert_eq!(fault(&block(1, "sh", Some(mark))).is_none(), is_fine, "{mark}");
    }
}

#[test]
fn every_document_is_in_the_contents() {
    let contents = read("docs/SUMMARY.md");
    let is_missing = |path: &&String| {
        let link =
            path.strip_prefix("docs/").map_or_else(|| format!("](../{path})"), |path| format!("]({path})"));
        let is_listed =
            path.starts_with("docs/adr/") || *path == "docs/SUMMARY.md" || contents.contains(&link);
        // Other folders are not part of the site.
        !is_listed && (path.starts_with("docs/") || !path.contains('/'))
    };
    let offenders: Vec<String> = files_ending(".md").iter().filter(is_missing).cloned().collect();
    assert_none("not in docs/SUMMARY.md, so not in the site", &offenders);
}
