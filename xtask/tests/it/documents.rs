//! What the documents refer to is there.

use crate::tree::{assert_none, files_ending, read, root};
use std::path::Path;

/// The targets of all inline links of a Markdown text, code blocks aside.
fn links(text: &str) -> Vec<&str> {
    let mut links = Vec::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        let targets = line.split("](").skip(1);
        links.extend(targets.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target));
    }
    links
}

#[test]
fn links_lead_to_files_that_are_there() {
    let mut offenders = Vec::new();
    for path in files_ending(".md") {
        let folder = Path::new(&path).parent().unwrap().to_owned();
        for link in links(&read(&path)) {
            let target = link.split(['#', ' ']).next().unwrap();
            let is_elsewhere = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
            if !is_elsewhere && !root().join(&folder).join(target).try_exists().unwrap() {
                offenders.push(format!("{path}: {link}"));
            }
        }
    }
    assert_none("a link to nowhere", &offenders);
}

#[test]
fn links_are_found() {
    let text = "see [a](b.md) and [c](d.md#e)\n```\n[x](y.md)\n```\n[f](https://g.example)\n";
    assert_eq!(links(text), ["b.md", "d.md#e", "https://g.example"]);
}
