//! The settings of the programs, as their sources declare them with `beckon_ops::settings!`.

use crate::tree::{assert_none, files, read};
use std::collections::BTreeMap;

/// A setting as a source declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Declared {
    /// Its doc comment, which `--help` prints.
    meaning: String,
    /// The text of its default; `None` if it is required.
    default: Option<String>,
}

/// All settings that a source declares, by name.
fn declared(text: &str) -> BTreeMap<String, Declared> {
    let mut settings = BTreeMap::new();
    let mut is_inside = false;
    let mut meaning = Vec::new();
    for line in text.lines() {
        let line = line.trim_end();
        match (line, line.trim().strip_prefix("///")) {
            ("beckon_ops::settings! {" | "crate::settings! {", _) => is_inside = true,
            ("}", _) => is_inside = false,
            (_, Some(comment)) if is_inside => meaning.push(comment.trim().to_owned()),
            _ if is_inside => {
                let meaning = std::mem::take(&mut meaning).join(" ");
                if let Some((name, rest)) = field_of(line.trim()) {
                    let default = rest.split_once(" = \"").and_then(|(_, rest)| rest.split_once('"'));
                    let default = default.map(|(default, _)| default.to_owned());
                    settings.insert(name.to_owned(), Declared { meaning, default });
                }
            }
            _ => {}
        }
    }
    settings
}

/// `ws_listen: SocketAddr = "127.0.0.1:8080",` declares `ws_listen`.
fn field_of(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.split_once(": ")?;
    let is_name =
        |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_';
    (!name.is_empty() && name.chars().all(is_name)).then_some((name, rest))
}

/// All settings that the sources of a folder declare.
fn declared_in(folder: &str) -> BTreeMap<String, Declared> {
    let sources = files(folder).into_iter().filter(|path| path.ends_with(".rs"));
    sources.flat_map(|path| declared(&read(&path))).collect()
}

/// Settings of a program that runs in a cluster, with the common ones.
fn of_program(folder: &str) -> BTreeMap<String, Declared> {
    let mut settings = declared_in("crates/ops/src");
    settings.extend(declared_in(&format!("{folder}/src")));
    settings
}

/// All settings of all programs.
fn of_all() -> BTreeMap<String, Declared> {
    // What several programs have is described as in the first of them.
    ["standalone", "endpoint-node", "connection-node"].into_iter().flat_map(of_program).collect()
}

/// The row of a setting in docs/configuration.md: its meaning, and its default in connection-nodes and endpoint-nodes.
fn row_of(text: &str, name: &str) -> Option<[String; 3]> {
    let start = format!("| `{name}` |");
    let row = text.lines().find_map(|line| line.strip_prefix(&start))?;
    let cells: Vec<&str> = row.trim_end_matches('|').split('|').map(str::trim).collect();
    let [meaning, connection_node, endpoint_node, _] = cells[..] else { return None };
    Some([meaning, connection_node, endpoint_node].map(str::to_owned))
}

#[test]
fn declarations_are_found() {
    let text = "beckon_ops::settings! {\n    /// The struct.\n    pub struct A {\n        /// What it\n        \
                /// means.\n        one: u32 = \"7\",\n        /// Two.\n        two: B => parse,\n    }\n}\n\
                struct C {\n    three: u32,\n}\n";
    let settings = declared(text);
    assert_eq!(settings["one"], Declared { meaning: "What it means.".into(), default: Some("7".into()) });
    assert_eq!(settings["two"], Declared { meaning: "Two.".into(), default: None });
    assert_eq!(settings.len(), 2);
    for (program, name) in [("connection-node", "grpc_listen"), ("endpoint-node", "http_listen")] {
        assert!(of_program(program).contains_key(name), "{name}");
    }
    assert!(of_program("standalone").contains_key("data_dir"));
}

#[test]
fn programs_of_a_cluster_know_each_others_settings() {
    let declared = of_all();
    let family = beckon_ops::config::FAMILY;
    let missing: Vec<String> =
        declared.keys().filter(|name| !family.contains(&name.as_str())).cloned().collect();
    assert_none("not in FAMILY of crates/ops/src/config/family.rs", &missing);
    let gone: Vec<String> =
        family.iter().filter(|name| !declared.contains_key(**name)).map(|name| (*name).to_owned()).collect();
    assert_none("in FAMILY, but a setting of no program", &gone);
}

#[test]
fn the_table_of_settings_says_what_help_says() {
    let text = read("docs/configuration.md");
    let nodes = [of_program("connection-node"), of_program("endpoint-node")];
    let mut offenders = Vec::new();
    for (name, setting) in of_all() {
        let Some([meaning, defaults @ ..]) = row_of(&text, &name) else {
            offenders.push(format!("{name} has no row of five cells"));
            continue;
        };
        if meaning != setting.meaning {
            offenders.push(format!("{name}: {}", setting.meaning));
        }
        for (node, written) in nodes.iter().zip(defaults) {
            let expected = match node.get(&name).map(|setting| setting.default.as_deref()) {
                None => String::new(),
                Some(None) => "required".to_owned(),
                Some(Some("")) => "none".to_owned(),
                Some(Some(default)) => format!("`{default}`"),
            };
            if written != expected {
                offenders.push(format!("{name}: the default is {expected}, not {written}"));
            }
        }
    }
    assert_none("docs/configuration.md differs from the sources", &offenders);
}
