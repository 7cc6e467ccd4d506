//! Who may depend on whom, and what every manifest has.

use crate::tree::{assert_none, read, root};
use std::collections::BTreeMap;
use toml::{Table, Value};

/// A crate, the crates of ours it may use, and those that only its tests may use besides.
type Row = (&'static str, &'static [&'static str], &'static [&'static str]);

/// Every arrow goes down, the two nodes never meet, and all but `ops` may use `types`. A new edge is the rarest
/// kind of change: it belongs into ARCHITECTURE.md, with its reason.
const TABLE: &[Row] = &[
    // Words.
    ("beckon-types", &[], &[]),
    // Core: no network, no clock, no store.
    ("beckon-session", &["beckon-types"], &[]),
    // Parts.
    ("beckon-store", &["beckon-types"], &["beckon-store"]),
    ("beckon-proto", &["beckon-types"], &[]),
    ("beckon-ops", &[], &[]),
    ("beckon-client", &["beckon-types"], &[]),
    // Nodes.
    (
        "beckon-connection-node",
        &["beckon-types", "beckon-session", "beckon-store", "beckon-proto", "beckon-ops"],
        &["beckon-client", "beckon-store"],
    ),
    (
        "beckon-endpoint-node",
        &["beckon-types", "beckon-store", "beckon-proto", "beckon-ops"],
        &["beckon-client", "beckon-store"],
    ),
    (
        "beckon",
        &[
            "beckon-types",
            "beckon-store",
            "beckon-proto",
            "beckon-ops",
            "beckon-client",
            "beckon-connection-node",
            "beckon-endpoint-node",
        ],
        &["beckon-client", "beckon-store"],
    ),
    // Tools.
    ("beckon-loadgen", &["beckon-types", "beckon-client", "beckon-ops"], &[]),
    ("beckon-bench", &["beckon-loadgen", "beckon-ops"], &[]),
    (
        "beckon-cluster-tests",
        &[
            "beckon-types",
            "beckon-client",
            "beckon-store",
            "beckon-proto",
            "beckon-ops",
            "beckon-connection-node",
            "beckon-endpoint-node",
        ],
        &[],
    ),
    ("xtask", &[], &["beckon-ops"]),
];

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

#[test]
fn dependencies_go_down() {
    let manifests = manifests();
    let mut offenders = Vec::new();
    for (name, (_, manifest)) in &manifests {
        let Some((_, allowed, in_tests)) = TABLE.iter().find(|(row, _, _)| row == name) else {
            offenders.push(format!("{name} is not in the table"));
            continue;
        };
        for (section, tests) in
            [("dependencies", &[][..]), ("build-dependencies", &[]), ("dev-dependencies", *in_tests)]
        {
            for (dependency, _) in dependencies(manifest, section) {
                let ours = manifests.contains_key(dependency);
                if ours && !allowed.contains(&dependency.as_str()) && !tests.contains(&dependency.as_str()) {
                    offenders.push(format!("{name} -> {dependency} ({section})"));
                }
            }
        }
    }
    assert_none("not in the table of who may depend on whom", &offenders);
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
    assert_none("in the workspace's table, but used by nobody", &offenders);
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
