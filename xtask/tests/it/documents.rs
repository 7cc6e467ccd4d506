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

/// Tests of the protocol's checklist that a text names, like `sp_27_a_second_hello_is_refused`.
fn checklist_tests(text: &str) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    let is_test = |word: &&str| {
        let mut parts = word.split('_');
        let area = parts.next().is_some_and(|area| ["sp", "wp", "http"].contains(&area));
        area && parts.next().is_some_and(|number| number.parse::<u32>().is_ok()) && parts.next().is_some()
    };
    quoted.filter(is_test).collect()
}

#[test]
fn tests_that_are_named_are_there() {
    let sources: String = files_ending(".rs")
        .iter()
        .filter(|path| path.starts_with("tests/cluster/tests/"))
        .map(|path| read(path))
        .collect();
    let path = "docs/unifiedpush.md";
    let text = read(path);
    let named = checklist_tests(&text);
    assert!(named.len() > 10, "{named:?}");
    let is_missing = |name: &&&str| !sources.contains(&format!("fn {name}("));
    let offenders: Vec<String> =
        named.iter().filter(is_missing).map(|name| format!("{path}: {name}")).collect();
    assert_none("a test that is not there", &offenders);
}

#[test]
fn names_of_tests_are_found() {
    let text = "see `wp_2_a_bare_hello` and `http_listen`, `sp_max_data`, `wp_3`\n| `sp_10_x` |";
    assert_eq!(checklist_tests(text), ["wp_2_a_bare_hello", "sp_10_x"]);
}

#[test]
fn links_are_found() {
    let text = "see [a](b.md) and [c](d.md#e)\n```\n[x](y.md)\n```\n[f](https://g.example)\n";
    assert_eq!(links(text), ["b.md", "d.md#e", "https://g.example"]);
}
