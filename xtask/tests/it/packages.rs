//! What cargo knows of packages. `cargo xtask ci` checks those of others with cargo-deny.

use crate::tree::{read, root};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::OnceLock,
};

/// What cargo knows of this workspace on the platform it is deployed on. Asked once.
pub(crate) fn metadata() -> &'static Value {
    static METADATA: OnceLock<Value> = OnceLock::new();
    METADATA.get_or_init(|| {
        let arguments = [
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ];
        let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    })
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// Names of all packages that a package of ours is built with, tests aside.
pub(crate) fn reached_from(metadata: &Value, name: &str) -> BTreeSet<String> {
    let packages = metadata["packages"].as_array().unwrap();
    let names: BTreeMap<&str, &str> =
        packages.iter().map(|each| (text(each, "id"), text(each, "name"))).collect();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let nodes: BTreeMap<&str, &Value> = nodes.iter().map(|node| (text(node, "id"), node)).collect();
    let members = metadata["workspace_members"].as_array().unwrap();
    let start = members.iter().filter_map(Value::as_str).find(|id| names[id] == name).unwrap();

    let mut reached = BTreeSet::new();
    let mut waiting = vec![start];
    while let Some(id) = waiting.pop() {
        for dependency in nodes[id]["deps"].as_array().unwrap() {
            let kinds = dependency["dep_kinds"].as_array().unwrap();
            let is_normal = kinds.iter().any(|kind| kind["kind"].is_null());
            let id = text(dependency, "pkg");
            if is_normal && reached.insert(names[id].to_owned()) {
                waiting.push(id);
            }
        }
    }
    reached
}

#[test]
fn our_licence_is_in_the_repository() {
    let workspace: toml::Table = read("Cargo.toml").parse().unwrap();
    assert_eq!(workspace["workspace"]["package"]["license"].as_str(), Some("MPL-2.0"));
    assert!(read("LICENSE").starts_with("Mozilla Public License Version 2.0\n"));
}
