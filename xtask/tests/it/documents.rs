//! What the documents refer to is there.

use crate::tree::{assert_none, files, files_ending, read, root};
use std::{collections::BTreeSet, path::Path};

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

/// Words of a text that could be paths: what is left between characters that paths here do not have.
fn path_words(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || "_-./".contains(character);
    text.split(move |character| !is_part(character)).map(|word| word.trim_end_matches(['.', '/']))
}

/// Documents that a text cites: `NAME.md`, and everything below `docs`.
fn cited_documents(text: &str) -> Vec<&str> {
    // Two slashes are left of a URL.
    let is_cited = |word: &&str| {
        (word.ends_with(".md") || word.starts_with("docs/")) && *word != ".md" && !word.starts_with("//")
    };
    path_words(text).filter(is_cited).collect()
}

/// Records of decisions that a text cites, by number: `ADR 12`.
fn cited_records(text: &str) -> Vec<usize> {
    let numbers = text.split("ADR ").skip(1);
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    numbers.filter_map(|rest| digits(rest).parse().ok()).collect()
}

/// Files that hold what people wrote.
fn texts() -> Vec<String> {
    const ENDINGS: &[&str] = &[
        ".rs",
        ".md",
        ".toml",
        ".lua",
        ".proto",
        ".js",
        ".py",
        ".yml",
        ".yaml",
        ".cfg",
        ".conf",
        ".service",
        ".html",
        "Caddyfile",
        "Dockerfile",
        "deploy/make-env",
        "deploy/health-check",
        ".ci/run",
    ];
    files(".").into_iter().filter(|path| ENDINGS.iter().any(|ending| path.ends_with(ending))).collect()
}

#[test]
fn documents_that_are_cited_are_there() {
    let records: BTreeSet<usize> = files("docs/adr")
        .iter()
        .filter_map(|path| Path::new(path).file_name()?.to_str()?.split('-').next()?.parse().ok())
        .collect();
    // Sources cite the documents of the root and of `docs` by their names alone.
    let folders = [".", "docs"];
    let mut offenders = Vec::new();
    let mut cited = 0;
    for path in texts().into_iter().filter(|path| path != "xtask/tests/it/documents.rs") {
        let text = read(&path);
        let own = Path::new(&path).parent().unwrap().to_str().unwrap();
        for document in cited_documents(&text) {
            cited += 1;
            let is_there = |folder: &&str| root().join(folder).join(document).exists();
            if !folders.iter().chain([&own]).any(is_there) {
                offenders.push(format!("{path}: {document}"));
            }
        }
        let missing = cited_records(&text).into_iter().filter(|number| !records.contains(number));
        offenders.extend(missing.map(|number| format!("{path}: ADR {number}")));
    }
    assert!(cited > 50, "{cited}");
    assert_none("a document that does not exist", &offenders);
}

/// Files and folders of the repository that a document names in backquotes, by their whole path.
fn cited_paths(text: &str) -> Vec<&str> {
    let folders = [
        "crates/",
        "connection-node/",
        "endpoint-node/",
        "standalone/",
        "proto/",
        "tools/",
        "tests/",
        "xtask/",
        "deploy/",
    ];
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.flat_map(path_words).filter(|word| folders.iter().any(|folder| word.starts_with(folder))).collect()
}

#[test]
fn paths_that_documents_name_are_there() {
    let mut offenders = Vec::new();
    for path in files_ending(".md") {
        let text = read(&path);
        let missing = cited_paths(&text).into_iter().filter(|cited| !root().join(cited).exists());
        offenders.extend(missing.map(|cited| format!("{path}: {cited}")));
    }
    assert_none("a file that does not exist", &offenders);
}

/// Metrics that a text names: what ends like one. A log has other words that begin so.
fn cited_metrics(text: &str) -> Vec<&str> {
    let words = text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
    let is_metric =
        |word: &&str| word.starts_with("beckon_") && METRIC_ENDS.iter().any(|end| word.ends_with(end));
    words.filter(is_metric).collect()
}

/// How most names of metrics end: with their unit.
const METRIC_ENDS: &[&str] = &["_total", "_seconds", "_bytes", "_ratio", "_fullness", "_max"];

#[test]
fn metrics_that_documents_name_are_there() {
    let documented = read("docs/metrics.md");
    let mut offenders = Vec::new();
    let mut cited = 0;
    // A decision names what there was.
    for path in files_ending(".md").into_iter().filter(|path| !path.starts_with("docs/adr/")) {
        for metric in cited_metrics(&read(&path)) {
            cited += 1;
            if !documented.contains(&format!("| `{metric}` |")) {
                offenders.push(format!("{path}: {metric}"));
            }
        }
    }
    assert!(cited > 50, "{cited}");
    assert_none("a metric that docs/metrics.md does not have", &offenders);
}

#[test]
fn citations_are_found() {
    let text = "see `A.md` (docs/b/c.svg), https://d.example/E.md and F.md.\n*.md ADR 12, ADR x";
    assert_eq!(cited_documents(text), ["A.md", "docs/b/c.svg", "F.md"]);
    assert_eq!(cited_records(text), [12]);
    let text = "in `crates/a/src/*.rs`, `deploy/x.cfg`: `b` crates/c";
    assert_eq!(cited_paths(text), ["crates/a/src", "deploy/x.cfg"]);
    let text = "`beckon_a_total{b}` and beckon_audit, sum(beckon_c_seconds) of a beckon_d_total.";
    assert_eq!(cited_metrics(text), ["beckon_a_total", "beckon_c_seconds", "beckon_d_total"]);
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
        .filter(|path| {
            path.starts_with("tests/cluster/tests/") || path.starts_with("crates/conformance/src/checks/")
        })
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

#[test]
fn every_record_of_a_decision_has_a_number_of_its_own() {
    let mut numbers = BTreeSet::new();
    let mut offenders = Vec::new();
    for path in files_ending(".md") {
        let Some(name) = path.strip_prefix("docs/adr/") else { continue };
        let number = name.split('-').next().unwrap_or_default().to_owned();
        let title = format!("# {}.", number.trim_start_matches('0'));
        if !read(&path).starts_with(&title) || !numbers.insert(number) {
            offenders.push(path);
        }
    }
    assert_none("a record whose number another one has, or its title does not", &offenders);
}
