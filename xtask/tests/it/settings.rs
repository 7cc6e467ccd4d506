//! The settings of the programs, as their sources declare them with `beckon_ops::settings!`.

use crate::tree::{assert_none, files, read};
use std::collections::BTreeSet;

/// Names of all settings that are declared in a folder.
pub(crate) fn declared_in(folder: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in files(folder).into_iter().filter(|path| path.ends_with(".rs")) {
        let mut is_inside = false;
        for line in read(&path).lines() {
            match line {
                "beckon_ops::settings! {" | "crate::settings! {" => is_inside = true,
                "}" => is_inside = false,
                _ if is_inside => names.extend(field_of(line.trim()).map(str::to_owned)),
                _ => {}
            }
        }
    }
    names
}

/// `ws_listen: SocketAddr = "127.0.0.1:8080",` declares `ws_listen`.
fn field_of(line: &str) -> Option<&str> {
    let (name, _) = line.split_once(": ")?;
    let is_name =
        |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_';
    (!name.is_empty() && name.chars().all(is_name)).then_some(name)
}

/// Settings of a program that runs in a cluster, with the common ones.
pub(crate) fn of_program(folder: &str) -> BTreeSet<String> {
    let mut names = declared_in(&format!("{folder}/src"));
    names.extend(declared_in("crates/ops/src"));
    names
}

#[test]
fn declarations_are_found() {
    let connection_node = of_program("connection-node");
    for name in ["ws_listen", "grpc_listen", "admin_listen", "store", "token_keys", "hello_timeout", "log"] {
        assert!(connection_node.contains(name), "{name} is not in {connection_node:?}");
    }
    assert!(!connection_node.contains("http_listen"));
    assert!(of_program("endpoint-node").contains("http_listen"));
    assert!(of_program("standalone").contains("data_dir"));
}

#[test]
fn programs_of_a_cluster_know_each_others_settings() {
    let mut declared = of_program("connection-node");
    declared.extend(of_program("endpoint-node"));
    declared.extend(of_program("standalone"));
    let family: BTreeSet<String> = beckon_ops::config::FAMILY.iter().map(|name| (*name).to_owned()).collect();
    let missing: Vec<String> = declared.difference(&family).cloned().collect();
    assert_none("not in FAMILY of crates/ops/src/config/family.rs", &missing);
    let gone: Vec<String> = family.difference(&declared).cloned().collect();
    assert_none("in FAMILY, but a setting of no program", &gone);
}

#[test]
fn every_setting_is_documented() {
    let text = read("docs/configuration.md");
    let mut declared = of_program("connection-node");
    declared.extend(of_program("endpoint-node"));
    declared.extend(of_program("standalone"));
    let is_missing = |name: &String| {
        let variable = format!("BECKON_{}", name.to_uppercase());
        !text.contains(&format!("`{name}`")) && !text.contains(&format!("`{variable}`"))
    };
    let offenders: Vec<String> = declared.into_iter().filter(is_missing).collect();
    assert_none("not in docs/configuration.md", &offenders);
}
