//! docs/api/admin.yaml describes exactly the routes of the admin listeners. An endpoint-node has some of them, `beckon` all.

use beckon_connection_node::Server;
use beckon_dashboard::Dashboard;
use beckon_node::{admin, routes::Route};
use saphyr::{LoadableYamlNode as _, Yaml};
use std::{collections::BTreeSet, fs};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/api/admin.yaml");

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

fn listed(parts: &[&[Route]]) -> BTreeSet<String> {
    let routes = parts.iter().flat_map(|part| part.iter());
    let each = routes.flat_map(|route| route.methods.split(", ").map(|method| (method, route.path)));
    // A HEAD is a GET, and not described.
    let described = each.filter(|(method, _)| *method != "HEAD");
    described.map(|(method, path)| format!("{} {path}", method.to_lowercase())).collect()
}

fn described() -> BTreeSet<String> {
    let text = fs::read_to_string(DOCUMENT).unwrap();
    let documents = Yaml::load_from_str(&text).unwrap();
    let paths = documents[0]["paths"].as_mapping().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_mapping().unwrap().keys().filter_map(Yaml::as_str);
        let methods: Vec<_> = methods.filter(|key| METHODS.contains(key)).collect();
        methods.into_iter().map(|method| format!("{method} {}", path.as_str().unwrap())).collect::<Vec<_>>()
    });
    operations.collect()
}

#[test]
fn every_route_is_described_and_every_description_is_of_a_route() {
    // Pages are not described.
    let parts = Server::ROUTES.into_iter().filter(|part| *part != Dashboard::PAGES);
    let parts: Vec<&[Route]> = parts.chain([admin::ROUTES]).collect();
    assert_eq!(parts.len(), Server::ROUTES.len());
    assert_eq!(listed(&parts), described());
}
