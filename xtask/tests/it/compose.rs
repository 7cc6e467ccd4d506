//! docker-compose.yml: it can be read, it sets what the programs know, and its parts agree with each other.

use crate::{
    haproxy::Balancer,
    settings::of_program,
    tree::{assert_none, read, root},
};
use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, process::Command};

/// A YAML node as JSON, with merge keys (`<<`) resolved as Compose does: what is said directly wins.
fn resolved(node: &Yaml<'_>) -> Value {
    match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => Value::from(*value),
        Yaml::Value(Scalar::Integer(value)) => Value::from(*value),
        Yaml::Value(Scalar::FloatingPoint(value)) => Value::from(value.0),
        Yaml::Value(Scalar::String(value)) => Value::from(value.as_ref()),
        Yaml::Sequence(items) => items.iter().map(resolved).collect(),
        Yaml::Mapping(entries) => {
            let mut merged = Map::new();
            let mut direct = Map::new();
            for (key, value) in entries {
                let key = key.as_str().unwrap_or_else(|| panic!("a key that is no string: {key:?}"));
                match (key, resolved(value)) {
                    ("<<", Value::Object(inherited)) => merged.extend(inherited),
                    ("<<", other) => panic!("merge of {other}"),
                    (key, value) => {
                        direct.insert(key.to_owned(), value);
                    }
                }
            }
            merged.extend(direct);
            Value::Object(merged)
        }
        Yaml::Representation(..) | Yaml::Tagged(..) | Yaml::Alias(_) | Yaml::BadValue => {
            panic!("cannot be read: {node:?}")
        }
    }
}

/// The services of the file.
fn services() -> BTreeMap<String, Value> {
    let text = read("docker-compose.yml");
    let documents = Yaml::load_from_str(&text).unwrap();
    assert_eq!(documents.len(), 1);
    let Value::Object(mut file) = resolved(&documents[0]) else { panic!("not a mapping") };
    let Some(Value::Object(services)) = file.remove("services") else { panic!("no services") };
    services.into_iter().collect()
}

/// Services that run one of our programs, with the program's name.
fn nodes() -> BTreeMap<String, (String, Value)> {
    let program = |service: &Value| service["command"][0].as_str().map(str::to_owned);
    let is_ours = |program: &String| program.ends_with("-node");
    let ours = services().into_iter().filter_map(|(name, service)| {
        let program = program(&service).filter(is_ours)?;
        Some((name, (program, service)))
    });
    ours.collect()
}

fn variable<'a>(service: &'a Value, name: &str) -> &'a str {
    service["environment"][name].as_str().unwrap_or_else(|| panic!("{name} is not set in {service}"))
}

fn port_of(address: &str) -> u16 {
    address.rsplit_once(':').unwrap().1.parse().unwrap()
}

#[test]
fn there_are_two_nodes_of_each_tier_a_balancer_each_and_redis() {
    let nodes = nodes();
    for program in ["connection-node", "endpoint-node"] {
        assert_eq!(nodes.values().filter(|(own, _)| own == program).count(), 2, "{program}");
    }
    let redis = &services()["redis"];
    let command: Vec<&str> = redis["command"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(command.windows(2).any(|words| words == ["--appendonly", "yes"]), "{command:?}");
    assert!(!redis["volumes"].as_array().unwrap().is_empty());
}

#[test]
fn every_variable_is_a_setting_of_its_program() {
    let mut offenders = Vec::new();
    for (name, (program, service)) in nodes() {
        let known = of_program(&program);
        for variable in service["environment"].as_object().unwrap().keys() {
            let setting = variable.strip_prefix("BECKON_").map(str::to_lowercase);
            if !setting.is_some_and(|setting| known.contains(&setting)) {
                offenders.push(format!("{name}: {variable}"));
            }
        }
    }
    assert_none("no setting of the program", &offenders);
}

#[test]
fn secrets_have_no_default() {
    for (name, (_, service)) in nodes() {
        for secret in ["BECKON_TOKEN_KEYS", "BECKON_CLUSTER_SECRET"] {
            let value = variable(&service, secret);
            assert!(value.starts_with(&format!("${{{secret}:?")), "{name}: {secret}: {value}");
        }
    }
}

#[test]
fn nodes_can_be_reached_at_what_they_advertise() {
    for (name, (program, service)) in nodes() {
        if program == "connection-node" {
            let port = port_of(variable(&service, "BECKON_GRPC_LISTEN"));
            assert_eq!(variable(&service, "BECKON_GRPC_ADVERTISE"), format!("{name}:{port}"));
        }
        let store = variable(&service, "BECKON_STORE").strip_prefix("redis://").unwrap();
        assert!(services().contains_key(store.split(':').next().unwrap()), "{store}");
        let check: Vec<&str> =
            service["healthcheck"]["test"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let admin = port_of(variable(&service, "BECKON_ADMIN_LISTEN")).to_string();
        assert_eq!(check, ["CMD", "health-check", &admin], "{name}");
    }
}

#[test]
fn each_balancer_knows_the_nodes_of_its_tier() {
    let nodes = nodes();
    for (balancer, program, listen) in [
        ("websocket-balancer", "connection-node", "BECKON_WS_LISTEN"),
        ("endpoint-balancer", "endpoint-node", "BECKON_HTTP_LISTEN"),
    ] {
        let service = &services()[balancer];
        let mounted = service["volumes"][0].as_str().unwrap().split(':').next().unwrap();
        let config = Balancer::read(mounted.strip_prefix("./").unwrap());
        let published = service["ports"][0].as_str().unwrap();
        assert_eq!(port_of(published), config.port(), "{balancer}");
        let tier = nodes.iter().filter(|(_, (own, _))| own == program);
        let expected: Vec<(String, u16)> =
            tier.map(|(name, (_, service))| (name.clone(), port_of(variable(service, listen)))).collect();
        assert_eq!(config.servers(), expected, "{balancer}");
    }
}

#[test]
fn what_services_depend_on_is_there() {
    let services = services();
    for (name, service) in &services {
        // Compose takes a list of names, or a mapping of names to conditions.
        let list = service["depends_on"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mapping = service["depends_on"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
        let needed: Vec<&str> = list.chain(mapping).collect();
        assert_ne!(needed.is_empty(), name != "redis", "{name} depends on {needed:?}");
        for needed in needed {
            assert!(services.contains_key(needed), "{name} depends on {needed}");
        }
        if let Some(dockerfile) = service["build"]["dockerfile"].as_str() {
            assert!(root().join(dockerfile).is_file(), "{dockerfile}");
        }
    }
}

#[test]
fn the_secrets_that_are_made_can_be_used() {
    let make = || {
        let output = Command::new(root().join("deploy/make-env")).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let made = make();
    let value = |name: &str| {
        made.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_else(|| panic!("{made}"))
    };
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    assert_eq!(URL_SAFE_NO_PAD.decode(value("BECKON_TOKEN_KEYS")).unwrap().len(), 32);
    assert!(value("BECKON_CLUSTER_SECRET").len() >= 16);
    assert_ne!(made, make(), "new ones each time");
}

#[test]
fn the_image_has_what_the_services_run() {
    let dockerfile = read("deploy/Dockerfile");
    assert!(dockerfile.contains("\nUSER beckon\n"));
    let copied = dockerfile.lines().filter_map(|line| line.strip_prefix("COPY deploy/"));
    for path in copied.map(|rest| rest.split(' ').next().unwrap()) {
        assert!(root().join("deploy").join(path).is_file(), "{path}");
    }
}
