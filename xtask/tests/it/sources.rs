//! What every source file keeps to.

use crate::tree::{assert_none, files, files_ending, read};

/// Files longer than this have more than one subject. CONTRIBUTING.md states the same number.
const LINES_MAX: usize = 500;

/// Written by tools, and kept fresh by a test of `proto`.
fn is_generated(path: &str) -> bool {
    path.starts_with("proto/src/") && read(path).lines().take(3).any(|line| line.contains("@generated"))
}

#[test]
fn every_module_says_what_it_is() {
    let silent = |path: &String| !is_generated(path) && !read(path).starts_with("//! ");
    let offenders: Vec<String> = files_ending(".rs").into_iter().filter(silent).collect();
    assert_none("begins without a `//!` sentence", &offenders);
}

#[test]
fn no_file_is_too_long() {
    let mut offenders = Vec::new();
    for ending in [".rs", ".lua", ".proto", ".py", ".js", ".ts", ".sh"] {
        for path in files_ending(ending).into_iter().filter(|path| !is_generated(path)) {
            let lines = read(&path).lines().count();
            if lines > LINES_MAX {
                offenders.push(format!("{path}: {lines} lines"));
            }
        }
    }
    assert_none(&format!("longer than {LINES_MAX} lines"), &offenders);
}

#[test]
fn contributing_states_the_limits_that_are_checked() {
    let text = read("CONTRIBUTING.md");
    let clippy: toml::Table = read("clippy.toml").parse().unwrap();
    let function_lines = clippy["too-many-lines-threshold"].as_integer().unwrap();
    for limit in [format!("Files under {LINES_MAX} lines"), format!("functions under {function_lines}")] {
        assert!(text.contains(&limit), "CONTRIBUTING.md does not say: {limit}");
    }
}

#[test]
fn nothing_is_left_for_later() {
    // Split, so that this file does not contain them.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("#[ig", "nore"),
        concat!("[al", "low("),
        concat!("unimpl", "emented!("),
        concat!("todo", "!("),
    ];
    let mut offenders = Vec::new();
    for path in files_ending(".rs").into_iter().filter(|path| !is_generated(path)) {
        for (index, line) in read(&path).lines().enumerate() {
            offenders.extend(
                words
                    .iter()
                    .filter(|word| line.contains(**word))
                    .map(|word| format!("{path}:{}: {word}", index + 1)),
            );
        }
    }
    assert_none("left for later, or switched off", &offenders);
}

#[test]
fn nothing_names_a_folder_of_the_machine_it_was_written_on() {
    let folders =
        [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];
    let texts =
        [".rs", ".toml", ".md", ".yml", ".yaml", ".sh", ".lua", ".proto", ".cfg", ".service", ".json", ".py"];
    let mut offenders = Vec::new();
    for path in files(".") {
        let has_text = texts.iter().any(|ending| path.ends_with(ending)) || !path.contains('.');
        if !has_text {
            continue;
        }
        for (index, line) in read(&path).lines().enumerate() {
            if folders.iter().any(|folder| line.contains(folder)) {
                offenders.push(format!("{path}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    assert_none("names a folder of one machine", &offenders);
}
