//! HAProxy, nginx and Caddy before a cluster, with the configurations of `deploy` except for addresses, and for what this
//! machine does not allow.

use crate::cluster::Cluster;
use beckon_ops::exit::Failure;
use beckon_testbed::{ports::Port, process::Process, wait_until};
use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
};

const WEBSOCKET_CFG: &str = include_str!("../../../deploy/haproxy/websocket.cfg");
const ENDPOINT_CFG: &str = include_str!("../../../deploy/haproxy/endpoint.cfg");
const NGINX_CONF: &str = include_str!("../../../deploy/nginx/beckon.conf");
const CADDYFILE: &str = include_str!("../../../deploy/caddy/Caddyfile");

/// Names the program of Caddy, if it is not `caddy`: `cargo xtask rolling` sets it.
const CADDY: &str = "BECKON_CADDY";

/// Connections of a balancer here: within the usual limits of open files.
const CONNECTIONS_MAX: usize = 8000;

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One process before each tier.
    Haproxy,
    /// One process before both.
    Nginx,
    /// One process before both.
    Caddy,
}

/// Running balancers. Their processes end with it.
#[derive(Debug)]
pub struct Balancers {
    /// Where clients connect.
    pub ws: SocketAddr,
    /// Where notifications are sent.
    pub http: SocketAddr,
    processes: Vec<Process>,
    _ports: Vec<Port>,
}

impl Balancers {
    /// Starts what stands before both tiers of a cluster.
    ///
    /// # Errors
    /// A configuration cannot be written.
    ///
    /// # Panics
    /// A program does not start.
    pub fn start(kind: Kind, cluster: &Cluster) -> Result<Self, Failure> {
        let folder = cluster.folder().join(kind.name());
        fs::create_dir_all(&folder).map_err(Failure::unavailable)?;
        let balancers = match kind {
            Kind::Haproxy => haproxy(cluster, &folder),
            Kind::Nginx => nginx(cluster, &folder),
            Kind::Caddy => caddy(cluster, &folder),
        }?;
        for address in [balancers.ws, balancers.http] {
            let is_listening = || TcpStream::connect(address).ok().map(drop);
            wait_until(&format!("{} listens", kind.name()), is_listening);
        }
        Ok(balancers)
    }

    /// Fails if one of the processes has ended.
    ///
    /// # Errors
    /// One has ended.
    pub fn check(&mut self) -> Result<(), Failure> {
        self.processes.iter_mut().try_for_each(|process| process.check().map_err(Failure::unavailable))
    }
}

impl Kind {
    /// The name of the program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
        }
    }

    fn path(self) -> PathBuf {
        match self {
            Self::Haproxy => "/usr/sbin/haproxy".into(),
            Self::Nginx => "/usr/sbin/nginx".into(),
            Self::Caddy => std::env::var_os(CADDY).unwrap_or_else(|| "caddy".into()).into(),
        }
    }
}

fn haproxy(cluster: &Cluster, folder: &Path) -> Result<Balancers, Failure> {
    let mut started = Vec::new();
    for (name, text, nodes) in
        [("websocket", WEBSOCKET_CFG, cluster.ws()), ("endpoint", ENDPOINT_CFG, cluster.http())]
    {
        let port = Port::free();
        let text = haproxy_cfg(text, port.address(), &nodes);
        let path = folder.join(format!("{name}.cfg"));
        fs::write(&path, text).map_err(Failure::unavailable)?;
        let arguments = ["-db".as_ref(), "-f".as_ref(), path.as_os_str()];
        let log = folder.join(format!("{name}.log"));
        started.push((port, Process::start(&Kind::Haproxy.path(), &arguments, &[], &log)));
    }
    let (ports, processes): (Vec<Port>, Vec<Process>) = started.into_iter().unzip();
    Ok(Balancers { ws: ports[0].address(), http: ports[1].address(), processes, _ports: ports })
}

/// The shipped configuration with other addresses: one server line for each node.
fn haproxy_cfg(text: &str, listen: SocketAddr, nodes: &[SocketAddr]) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["bind", _] => lines.push(format!("    bind {listen}")),
            ["maxconn", _] => lines.push(format!("    maxconn {CONNECTIONS_MAX}")),
            ["server", ..] => {}
            _ => lines.push(line.to_owned()),
        }
    }
    lines.extend(nodes.iter().enumerate().map(|(number, node)| format!("    server node-{number} {node}")));
    lines.join("\n") + "\n"
}

fn nginx(cluster: &Cluster, folder: &Path) -> Result<Balancers, Failure> {
    let port = Port::free();
    let folder_text = folder.display();
    let beckon = nginx_conf(port.address(), &cluster.ws(), &cluster.http());
    let text = format!(
        "pid {folder_text}/nginx.pid;\nerror_log stderr warn;\nworker_processes 1;\n\
         events {{ worker_connections {CONNECTIONS_MAX}; }}\n\
         http {{\naccess_log off;\nclient_body_temp_path {folder_text}/body;\nproxy_temp_path {folder_text}/proxy;\n\
         fastcgi_temp_path {folder_text}/fastcgi;\nuwsgi_temp_path {folder_text}/uwsgi;\n\
         scgi_temp_path {folder_text}/scgi;\n{beckon}}}\n"
    );
    let path = folder.join("nginx.conf");
    fs::write(&path, text).map_err(Failure::unavailable)?;
    let arguments = [
        "-c".as_ref(),
        path.as_os_str(),
        "-p".as_ref(),
        folder.as_os_str(),
        "-g".as_ref(),
        "daemon off;".as_ref(),
    ];
    let process = Process::start(&Kind::Nginx.path(), &arguments, &[], &folder.join("nginx.log"));
    let address = port.address();
    Ok(Balancers { ws: address, http: address, processes: vec![process], _ports: vec![port] })
}

/// The shipped configuration with other addresses and without TLS: one server line for each node.
fn nginx_conf(listen: SocketAddr, ws: &[SocketAddr], http: &[SocketAddr]) -> String {
    let mut text = String::new();
    for line in NGINX_CONF.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with("ssl_") {
            continue;
        }
        let nodes = match trimmed {
            // That of IPv6.
            _ if trimmed.starts_with("listen [") => continue,
            _ if trimmed.starts_with("server 127.0.0.1:8080") => ws,
            _ if trimmed.starts_with("server 127.0.0.1:8081") => http,
            _ if trimmed.starts_with("listen ") => {
                text.push_str(&format!("listen {listen};\n"));
                continue;
            }
            _ => {
                text.push_str(&format!("{line}\n"));
                continue;
            }
        };
        let parameters = trimmed.split_once(' ').and_then(|(_, rest)| rest.split_once(' '));
        let parameters = parameters.map_or(";", |(_, parameters)| parameters);
        nodes.iter().for_each(|node| text.push_str(&format!("server {node} {parameters}\n")));
    }
    text
}

fn caddy(cluster: &Cluster, folder: &Path) -> Result<Balancers, Failure> {
    let port = Port::free();
    let address = port.address();
    let path = folder.join("Caddyfile");
    fs::write(&path, caddyfile(address, &cluster.ws(), &cluster.http())).map_err(Failure::unavailable)?;
    let arguments = ["run".as_ref(), "--config".as_ref(), path.as_os_str()];
    // It keeps files of its own there.
    let settings = [("HOME".to_owned(), folder.display().to_string())];
    let process = Process::start(&Kind::Caddy.path(), &arguments, &settings, &folder.join("caddy.log"));
    Ok(Balancers { ws: address, http: address, processes: vec![process], _ports: vec![port] })
}

/// The shipped configuration with other addresses and without TLS: all nodes of a tier in one line.
fn caddyfile(listen: SocketAddr, ws: &[SocketAddr], http: &[SocketAddr]) -> String {
    let names = |nodes: &[SocketAddr]| nodes.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" ");
    let site = format!("http://{listen} {{\n\tbind {}", listen.ip());
    let text = CADDYFILE
        .replace("\npush.example.net {", &format!("\n{site}"))
        .replace("reverse_proxy 127.0.0.1:8080", &format!("reverse_proxy {}", names(ws)))
        .replace("reverse_proxy 127.0.0.1:8081", &format!("reverse_proxy {}", names(http)));
    format!("{{\n\tadmin off\n}}\n{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_configurations_get_other_addresses_and_nothing_else() {
        let listen: SocketAddr = "127.9.9.9:1".parse().unwrap();
        let nodes: Vec<SocketAddr> = vec!["127.9.9.9:2".parse().unwrap(), "127.9.9.9:3".parse().unwrap()];
        let text = haproxy_cfg(ENDPOINT_CFG, listen, &nodes);
        assert!(text.contains("bind 127.9.9.9:1\n") && text.contains("retry-on conn-failure"), "{text}");
        assert_eq!(text.matches("    server ").count(), 2, "{text}");
        let text = nginx_conf(listen, &nodes[..1], &nodes[1..]);
        for line in [
            "listen 127.9.9.9:1;\n",
            "server 127.9.9.9:2 max_fails=0;\n",
            "server 127.9.9.9:3 max_fails=1 fail_timeout=2s;\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(!text.contains("ssl_"), "{text}");
        assert_eq!(text.matches("\nlisten ").count(), 1, "{text}");
        let text = caddyfile(listen, &nodes, &nodes[1..]);
        for line in [
            "http://127.9.9.9:1 {\n\tbind 127.9.9.9\n",
            "reverse_proxy 127.9.9.9:2 127.9.9.9:3 {\n",
            "reverse_proxy 127.9.9.9:3 {\n",
            "health_uri /ready\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
