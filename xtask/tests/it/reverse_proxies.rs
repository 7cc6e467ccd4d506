//! The reverse proxies' configurations, as far as they have to agree with the rest. tests/browser runs them.

use crate::{
    defaults::{default_of, silence_max_seconds},
    tree::{assert_none, read},
};

/// The files.
const FILES: &[&str] = &["deploy/nginx/beckon.conf", "deploy/caddy/Caddyfile"];

/// The lines of a file without its comments.
fn code(path: &str) -> Vec<String> {
    let text = read(path);
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}

#[test]
fn reverse_proxies_pass_on_to_where_the_standalone_server_listens_by_default() {
    let mut offenders = Vec::new();
    for path in FILES {
        let code = code(path);
        for setting in ["ws_listen", "http_listen"] {
            let address = default_of(setting);
            if !code.iter().any(|line| line.contains(&address)) {
                offenders.push(format!("{path}: not {address} of {setting}"));
            }
        }
    }
    assert_none("a reverse proxy asks elsewhere", &offenders);
}

#[test]
fn nginx_listens_for_both_families_of_addresses() {
    let code = code("deploy/nginx/beckon.conf");
    // Caddy does by itself.
    for address in ["listen 443 ssl", "listen [::]:443 ssl"] {
        assert!(code.iter().any(|line| line.starts_with(address)), "{address}");
    }
}

#[test]
fn an_open_websocket_is_left_to_the_server_by_nginx() {
    // Caddy has no such limit.
    let code = code("deploy/nginx/beckon.conf");
    let minutes = |directive: &str| {
        let line = code.iter().find_map(|line| line.strip_prefix(directive)).unwrap();
        line.trim().trim_end_matches("m;").parse::<u64>().unwrap()
    };
    assert!(minutes("proxy_read_timeout") * 60 > silence_max_seconds());
    assert!(minutes("proxy_send_timeout") * 60 > silence_max_seconds());
}
