//! Which of our crates may depend on which, and what every manifest has.
//!
//! The code map of ARCHITECTURE.md is the table of dependencies that is checked here. A new edge between crates is the
//! rarest kind of change: it goes into that table, with its reason in the text around it.

use crate::tree::{assert_none, read, root};
use std::collections::{BTreeMap, BTreeSet};
use toml::{Table, Value};

/// What `types` and `session` must not even reach through others: they do no I/O.
const INPUT_OUTPUT: &[&str] = &["tokio", "mio", "hyper", "redis", "redb", "tonic", "warp", "socket2"];

/// Every manifest, by the name of its package, with its folder.
fn manifests() -> BTreeMap<String, (String, Table)> {
    let workspace: Table = read("Cargo.toml").parse().unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let folders = members.iter().map(|member| member.as_str().unwrap().to_owned());
    folders
        .map(|folder| {
            let manifest: Table = read(&format!("{folder}/Cargo.toml")).parse().unwrap();
            let name = manifest["package"]["name"].as_str().unwrap().to_owned();
            (name, (folder, manifest))
        })
        .collect()
}

fn dependencies<'a>(manifest: &'a Table, section: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    manifest.get(section).and_then(Value::as_table).into_iter().flatten()
}

/// A row of the code map.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    folder: String,
    /// Packages of ours that it uses.
    uses: BTreeSet<String>,
    /// Packages of ours that its tests use besides.
    tests_use: BTreeSet<String>,
}

/// The rows of the code map, from top to bottom. Crates are listed there without the prefix of their packages.
fn code_map(text: &str) -> Vec<Row> {
    let packages = |cell: &str| -> BTreeSet<String> {
        let names = cell.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(|name| format!("beckon-{name}")).collect()
    };
    let rows = text.lines().skip_while(|line| !line.starts_with("| folder |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [folder, _, uses, tests_use] = cells[..] else { panic!("not four columns: {line}") };
        Row {
            folder: folder.trim_matches('`').to_owned(),
            uses: packages(uses),
            tests_use: packages(tests_use),
        }
    })
    .collect()
}

#[test]
fn the_code_map_is_read() {
    let text =
        "| folder | what | may use | tests |\n| --- | --- | --- | --- |\n| `a/b` | x | | b |\n\n| `c` |";
    let row = Row {
        folder: "a/b".into(),
        uses: BTreeSet::new(),
        tests_use: BTreeSet::from(["beckon-b".to_owned()]),
    };
    assert_eq!(code_map(text), [row]);
}

#[test]
fn dependencies_are_those_of_the_code_map() {
    let manifests = manifests();
    let map = code_map(&read("ARCHITECTURE.md"));
    let ours = |manifest: &Table, sections: &[&str]| -> BTreeSet<String> {
        let all = sections.iter().flat_map(|section| dependencies(manifest, section));
        all.map(|(name, _)| name.clone()).filter(|name| manifests.contains_key(name)).collect()
    };
    let mut offenders = Vec::new();
    for (name, (folder, manifest)) in &manifests {
        let Some(row) = map.iter().find(|row| row.folder == *folder) else {
            offenders.push(format!("{folder} has no row"));
            continue;
        };
        let uses = ours(manifest, &["dependencies", "build-dependencies"]);
        // Tests may ask for features of what the crate uses anyway.
        let tests_use = &ours(manifest, &["dev-dependencies"]) - &uses;
        for (of, declared, listed) in [("", uses, &row.uses), ("the tests of ", tests_use, &row.tests_use)] {
            offenders
                .extend(declared.difference(listed).map(|used| format!("{of}{name} may not use {used}")));
            offenders
                .extend(listed.difference(&declared).map(|used| format!("{of}{name} do not use {used}")));
        }
    }
    for row in &map {
        if !root().join(&row.folder).is_dir() {
            offenders.push(format!("{} is not a folder", row.folder));
        }
    }
    assert_none("the code map of ARCHITECTURE.md differs from the manifests", &offenders);
}

#[test]
fn dependencies_go_down() {
    let folders: BTreeMap<String, String> =
        manifests().into_iter().map(|(name, (folder, _))| (folder, name)).collect();
    let mut above = BTreeSet::new();
    let mut offenders = Vec::new();
    for row in code_map(&read("ARCHITECTURE.md")) {
        offenders.extend(row.uses.difference(&above).map(|used| format!("{} uses {used}", row.folder)));
        above.extend(folders.get(&row.folder).cloned());
    }
    assert_none("uses a crate that is not above it in the code map", &offenders);
}

#[test]
fn words_and_core_do_no_input_and_output() {
    let metadata = crate::packages::metadata();
    let mut offenders = Vec::new();
    for name in ["beckon-types", "beckon-session"] {
        let reached = crate::packages::reached_from(metadata, name);
        assert!(
            reached.iter().any(|package| package == "thiserror" || package == "serde"),
            "{name} reaches none?"
        );
        let forbidden = reached.iter().filter(|package| INPUT_OUTPUT.contains(&package.as_str()));
        offenders.extend(forbidden.map(|package| format!("{name} reaches {package}")));
    }
    assert_none("does input or output", &offenders);
}

#[test]
fn every_crate_opts_into_the_lints_and_the_common_facts() {
    let mut offenders = Vec::new();
    for (name, (_, manifest)) in manifests() {
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(Value::as_bool);
        if lints != Some(true) {
            offenders.push(format!("{name}: [lints] workspace = true"));
        }
        for fact in ["version", "edition", "rust-version", "license", "publish"] {
            let value =
                manifest["package"].get(fact).and_then(|fact| fact.get("workspace")).and_then(Value::as_bool);
            if value != Some(true) {
                offenders.push(format!("{name}: {fact}.workspace = true"));
            }
        }
        if manifest["package"].get("description").is_none() {
            offenders.push(format!("{name}: description"));
        }
    }
    assert_none("missing in a manifest", &offenders);
}

#[test]
fn versions_are_in_the_table_of_the_workspace() {
    let mut offenders = Vec::new();
    for (name, (_, manifest)) in manifests() {
        for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
            for (dependency, value) in dependencies(&manifest, section) {
                // A crate may ask itself for a feature that only tests need.
                let is_itself = *dependency == name;
                if !is_itself && value.get("workspace").and_then(Value::as_bool) != Some(true) {
                    offenders.push(format!("{name}: {dependency} ({section})"));
                }
            }
        }
    }
    assert_none("a version outside the workspace's table", &offenders);
}

#[test]
fn every_dependency_of_the_table_is_used() {
    let manifests = manifests();
    let workspace: Table = read("Cargo.toml").parse().unwrap();
    let sections = ["dependencies", "build-dependencies", "dev-dependencies"];
    let is_used = |wanted: &str| {
        manifests.values().any(|(_, manifest)| {
            sections.iter().any(|section| dependencies(manifest, section).any(|(name, _)| name == wanted))
        })
    };
    let table = workspace["workspace"]["dependencies"].as_table().unwrap();
    let offenders: Vec<String> = table.keys().filter(|name| !is_used(name)).cloned().collect();
    assert_none("in the workspace's table, but used by no crate", &offenders);
}

#[test]
fn each_crate_has_one_integration_test_binary() {
    let mut offenders = Vec::new();
    for (_, (folder, _)) in manifests() {
        let Ok(entries) = std::fs::read_dir(root().join(&folder).join("tests")) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.extension().is_some_and(|extension| extension == "rs") {
                offenders.push(path.display().to_string());
            }
        }
    }
    assert_none("belongs into tests/it/", &offenders);
}

#[test]
fn the_compiler_is_the_same_everywhere() {
    let workspace: Table = read("Cargo.toml").parse().unwrap();
    let oldest = workspace["workspace"]["package"]["rust-version"].as_str().unwrap();
    let toolchain: Table = read("rust-toolchain.toml").parse().unwrap();
    let channel = toolchain["toolchain"]["channel"].as_str().unwrap();
    assert!(channel.starts_with(&format!("{oldest}.")), "{channel} is not {oldest}");
    let image = format!("FROM rust:{channel}-slim-");
    assert!(read("deploy/Dockerfile").lines().any(|line| line.starts_with(&image)), "{image}");
}

/// The programs write what `tracing` records. redis-rs writes to `log` in parts that the store does without: its client for Redis
/// Clusters, its Sentinels, its tokens. What it has to say arrives as errors, each of which has a row in `fault.rs`. A
/// feature that brings those parts along needs a bridge from `log`.
#[test]
fn redis_rs_keeps_no_log_of_its_own() {
    let lock: Table = read("Cargo.lock").parse().unwrap();
    let packages = lock["package"].as_array().unwrap();
    let of_redis = packages.iter().find(|package| package["name"].as_str() == Some("redis")).unwrap();
    let names: Vec<_> =
        of_redis["dependencies"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(names.contains(&"tokio"), "{names:?}");
    assert!(!names.iter().any(|name| matches!(name.split(' ').next(), Some("log" | "tracing"))), "{names:?}");
}
