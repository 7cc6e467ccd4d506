//! Packages of others: their licences, and that there is one version of those that matter.

use crate::{
    licence::is_satisfied,
    tree::{assert_none, read, root},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::OnceLock,
};

/// Packages of which two versions would mean two sets of types, two runtimes, or twice the security updates.
const ONE_VERSION: &[&str] = &[
    "bytes",
    "http",
    "http-body",
    "hyper",
    "hyper-util",
    "prost",
    "redb",
    "redis",
    "ring",
    "rustls",
    "tokio",
    "tokio-rustls",
    "tokio-tungstenite",
    "tokio-util",
    "tonic",
    "tungstenite",
    "warp",
];

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

/// All packages that are not ours.
fn foreign() -> impl Iterator<Item = &'static Value> {
    metadata()["packages"].as_array().unwrap().iter().filter(|package| !package["source"].is_null())
}

#[test]
fn there_is_one_version_of_what_matters() {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in foreign() {
        versions.entry(text(package, "name")).or_default().push(text(package, "version"));
    }
    let mut offenders = Vec::new();
    for name in ONE_VERSION {
        match versions.get(name).map(Vec::as_slice) {
            Some([_]) => {}
            Some(several) => offenders.push(format!("{name}: {}", several.join(", "))),
            None => offenders.push(format!("{name}: is not used, so it need not be in this list")),
        }
    }
    assert_none("not exactly one version", &offenders);
}

#[test]
fn licences_are_in_the_list_of_deny_toml() {
    let deny: toml::Table = read("deny.toml").parse().unwrap();
    let allowed = deny["licenses"]["allow"].as_array().unwrap();
    let allowed: Vec<&str> = allowed.iter().filter_map(toml::Value::as_str).collect();
    assert!(foreign().count() > 100, "cargo metadata lists the packages");
    let mut offenders = Vec::new();
    for package in foreign() {
        let licence = text(package, "license");
        if !is_satisfied(licence, &allowed) {
            offenders.push(format!("{} {}: {licence:?}", text(package, "name"), text(package, "version")));
        }
    }
    assert_none("a licence that is not allowed", &offenders);
}

#[test]
fn packages_come_from_the_registry_and_none_is_banned() {
    let deny: toml::Table = read("deny.toml").parse().unwrap();
    let banned = deny["bans"]["deny"].as_array().unwrap();
    let banned: Vec<&str> = banned.iter().filter_map(|entry| entry["crate"].as_str()).collect();
    assert!(banned.contains(&"openssl-sys"));
    let mut offenders = Vec::new();
    for package in foreign() {
        let (name, source) = (text(package, "name"), text(package, "source"));
        if source != "registry+https://github.com/rust-lang/crates.io-index" {
            offenders.push(format!("{name} comes from {source}"));
        }
        if banned.contains(&name) {
            offenders.push(format!("{name} is banned"));
        }
    }
    assert_none("not from crates.io, or banned", &offenders);
}

#[test]
fn our_licence_is_in_the_repository() {
    let workspace: toml::Table = read("Cargo.toml").parse().unwrap();
    assert_eq!(workspace["workspace"]["package"]["license"].as_str(), Some("MPL-2.0"));
    assert!(read("LICENSE").starts_with("Mozilla Public License Version 2.0\n"));
}
