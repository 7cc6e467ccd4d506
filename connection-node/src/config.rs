//! What an operator can set on a connection-node.

use crate::{
    advertise::Advertise,
    node::{Limits, Messages, PORT, Tunables},
    origin::Origin,
    socket::MessageLimits,
};
use beckon_listener::{
    port::{Port, Ports},
    rate::Rate,
    settings::{PortSettings, parse_connections},
    tls::Certificates,
};
use beckon_node::{
    access::{Access, AdminSettings},
    config::{ClusterSettings, CommonSettings, FAMILY, parse_share},
};
use beckon_ops::{
    config::{ConfigErrors, Part, Source, in_range, parsed, positive},
    logging::LogSettings,
    program::ServerConfig,
};
use beckon_proto::tls::Tls;
use beckon_session::{BareHello, InvalidUaid, Settings};
use beckon_types::UaidKey;
use std::{net::SocketAddr, num::NonZero, sync::Arc, time::Duration};

/// The default of `max_connections` where the limit of open files is unknown or unlimited.
const CONNECTIONS_MAX_UNKNOWN: u64 = 1_000_000;

/// The default of `max_buffered` where the memory of the machine is unknown, in bytes.
const BUFFERED_MAX_UNKNOWN: u64 = 256 * 1024 * 1024;

/// The largest `batch_size`: so many messages are read in one step of the store, and wait in memory for the client.
const BATCH_SIZE_MAX: usize = 100;

/// The longest wait for the next request of a socket.
const REQUEST_INTERVAL_MAX: Duration = Duration::from_millis(250);

/// No limit of a message is shorter: a hello with a few dozen channels fits.
const MESSAGE_LEN_MIN: usize = 4096;

beckon_ops::settings! {
    /// WebSockets and the conversations on them, in a cluster and in a standalone server.
    pub struct SocketSettings {
        /// Key with which UAIDs are hashed, so that the store has no UAID: 32 bytes in base64url. The same on all nodes,
        /// and never changed: with another key, no client is known. `beckon genkey` prints a key.
        uaid_key: UaidKey => parsed,
        /// Address and port of WebSockets.
        ws_listen: SocketAddr = "127.0.0.1:8080",
        /// A second path for WebSockets, besides `/`.
        ws_path: Option<String> = "" => parse_path,
        /// Origins of web pages that may connect, separated by commas. Empty: all.
        allowed_origins: Vec<Origin> = "" => parse_origins,
        /// Most sockets open at once; further upgrades are answered with 503. Empty: 95 % of the limit of open
        /// files; in `beckon`, of the files that http_max_connections leaves.
        max_connections: Option<u64> = "",
        /// Sockets that a node closes in a second when it drains or sheds.
        drain_rate: u32 = "1000" => parse_rate,
        /// Most connections that are not upgraded yet; beyond it, the one that has waited longest is closed.
        ws_max_pending: usize = "4096" => parse_connections,
        /// Whether connections of trusted_proxies to ws_listen begin with a PROXY protocol header, version 1 or 2.
        ws_proxy_protocol: bool = "false",
        /// Share of max_connections above which SimplePush clients are redirected to another node, or refused.
        redirect_threshold: f64 = "0.95" => parse_share,
        /// Longest message that a client may send before its hello is answered, in bytes.
        max_message: usize = "262144",
        /// Longest message that a client may send once its hello is answered, in bytes.
        max_message_greeted: usize = "32768",
        /// Bytes that all sockets of a node may hold for their peers: messages that have not come in whole, requests that
        /// wait for the store, what a client does not read. Beyond it, those that hold the most are dropped. Empty: a
        /// quarter of the memory that the process may have.
        max_buffered: Option<u64> = "",
        /// Time limit for a message, from its first byte to its last; then the socket is closed.
        message_timeout: Duration = "30s" => positive,
        /// A client counts as gone when it has not acknowledged a byte for this long, such as after a failure
        /// of its network. 0: as the system decides, after about 15 minutes.
        dead_client: Duration = "50s",
        /// Time limit for the first hello, from the upgrade; then the socket is closed.
        hello_timeout: Duration = "30s",
        /// Requests that are read from one socket; further ones are read later. 600/m allows 600 at once, and
        /// then 10 each second. At least 4/s; 0: no limit.
        socket_requests: Rate = "600/m" => parse_socket_requests,
        /// Shortest time between two pings of a client, before hello and in SimplePush.
        ping_min_sp: Duration = "20s",
        /// Shortest time between two pings of a client, in Web Push.
        ping_min_wp: Duration = "45s",
        /// The server pings a client that has sent nothing for this long.
        keepalive_interval: Duration = "300s" => positive,
        /// Time limit for the answer to that ping; then the socket is closed.
        keepalive_timeout: Duration = "30s" => positive,
        /// Most channels of a SimplePush client.
        max_channels_sp: u32 = "200",
        /// Most channels of a Web Push client.
        max_channels_wp: u32 = "2000",
        /// Most stored messages that a Web Push client is sent before it acknowledges them, 1 to 100.
        batch_size: usize = "10" => parse_batch_size,
        /// An update that is not acknowledged is sent again after this long. 0: only after the next hello.
        sp_retry_interval: Duration = "60s",
        /// How to treat a hello that names no dialect: webpush, or reject.
        bare_hello: BareHello = "webpush" => parse_bare_hello,
        /// How to answer a SimplePush hello with a malformed UAID: new (with a new UAID), or 503 (with an error).
        invalid_uaid: InvalidUaid = "new" => parse_invalid_uaid,
    }
}

impl SocketSettings {
    /// How help shows these settings.
    pub const PART: Part = Part { heading: "WebSockets", fields: Self::FIELDS };
}

beckon_ops::settings! {
    /// Where a connection-node is reached by other nodes and by operators.
    pub struct NodeSettings {
        /// Address and port on which other nodes are served.
        grpc_listen: SocketAddr = "127.0.0.1:8082",
        /// host:port at which other nodes reach grpc_listen, an IPv6 address with or without brackets. Empty: grpc_listen
        /// itself. auto, or auto:PORT: the address that Kubernetes (`POD_IP`), ECS, EC2 or the default route says.
        grpc_advertise: Advertise = "" => parsed,
        /// WebSocket URL of this node alone, to which other nodes may redirect clients. Empty: none.
        ws_advertise: Option<String> = "" => parse_ws_url,
        /// Address and port for operators: health, version, metrics, the dashboard and its API.
        admin_listen: SocketAddr = "127.0.0.1:8083",
    }
}

impl NodeSettings {
    /// How help shows these settings.
    pub const PART: Part = Part { heading: "This node", fields: Self::FIELDS };
}

/// All settings of a connection-node.
#[derive(Debug, Clone)]
pub struct Config {
    /// WebSockets and the conversations on them.
    pub sockets: SocketSettings,
    /// Where the node is reached.
    pub node: NodeSettings,
    /// Who is at the other end of its public port.
    pub ports: PortSettings,
    /// What every program has.
    pub common: CommonSettings,
    /// What every node of a cluster has.
    pub cluster: ClusterSettings,
    /// What is logged, and how.
    pub log: LogSettings,
    /// The certificates that the files hold, for TLS between the nodes.
    pub tls: Option<Tls>,
    /// The certificates of its public port.
    pub certificates: Option<Arc<Certificates>>,
    /// The tokens that admit to the admin listener.
    pub access: Access,
}

impl Config {
    /// Every setting, in the order in which help shows them.
    pub const PARTS: &'static [Part] = &[
        SocketSettings::PART,
        NodeSettings::PART,
        PortSettings::PART,
        AdminSettings::PART,
        CommonSettings::PART,
        ClusterSettings::PART,
        LogSettings::PART,
    ];
}

impl ServerConfig for Config {
    fn read(mut source: Source) -> Result<Self, ConfigErrors> {
        source.ignore(FAMILY);
        let sockets = SocketSettings::read(&mut source);
        let node = NodeSettings::read(&mut source);
        let ports = PortSettings::read(&mut source);
        let admin = AdminSettings::read(&mut source);
        let common = CommonSettings::read(&mut source);
        let cluster = ClusterSettings::read(&mut source);
        let log = LogSettings::read(&mut source);
        let tls = cluster.as_ref().and_then(|cluster| cluster.tls(&mut source));
        let certificates = ports.as_ref().and_then(|ports| ports.certificates(&mut source));
        if let (Some(node), Some(cluster)) = (&node, &cluster)
            && let Some((name, reason)) = conflict(node, cluster)
        {
            source.reject(name, reason);
        }
        let access = match (&admin, &node) {
            (Some(admin), Some(node)) => admin.access_at(node.admin_listen, &mut source),
            _ => None,
        };
        let config = || {
            Some(Self {
                sockets: sockets?,
                node: node?,
                ports: ports?,
                common: common?,
                cluster: cluster?,
                log: log?,
                tls,
                certificates,
                access: access?,
            })
        };
        source.finish(config())
    }

    fn log(&self) -> &LogSettings {
        &self.log
    }

    fn threads(&self) -> Option<NonZero<u8>> {
        self.common.threads
    }
}

impl SocketSettings {
    /// The settings of a session.
    pub fn session(&self, common: &CommonSettings) -> Settings {
        Settings {
            keys: common.token_keys.clone(),
            uaid_key: self.uaid_key.clone(),
            endpoint_url: common.endpoint_url.as_str().to_owned(),
            hello_timeout: self.hello_timeout,
            ping_min_sp: self.ping_min_sp,
            ping_min_wp: self.ping_min_wp,
            keepalive_interval: self.keepalive_interval,
            keepalive_timeout: self.keepalive_timeout,
            channels_max_sp: self.max_channels_sp,
            channels_max_wp: self.max_channels_wp,
            batch_size: self.batch_size,
            sp_retry_interval: self.sp_retry_interval,
            requests_max: self.socket_requests.count,
            request_interval: interval(self.socket_requests),
            uaid_idle: common.uaid_idle,
            bare_hello: self.bare_hello,
            invalid_uaid: self.invalid_uaid,
        }
    }

    /// What can change while a node runs, as the settings are now.
    pub(crate) fn tunables(&self, common: &CommonSettings, limits: Limits) -> Tunables {
        Tunables {
            settings: self.session(common),
            limits,
            messages: self.messages(),
            dead_client: self.dead_client,
            allowed_origins: self.allowed_origins.clone(),
        }
    }

    /// Every answer but an upgrade ends its connection, so none is idle.
    pub(crate) const IDLE_TIMEOUT: Duration = Duration::ZERO;

    /// The port for WebSockets.
    pub fn port(&self, ports: &Ports) -> Arc<Port> {
        ports.open(PORT, self.ws_max_pending, Self::IDLE_TIMEOUT, self.ws_proxy_protocol)
    }

    /// How many sockets there may be, if the process may open so many files for them; `None` if unlimited or
    /// unknown.
    pub fn limits(&self, files_max: Option<u64>) -> Limits {
        let by_files = files_max.map(beckon_node::files::connections_max);
        let connections_max = self.max_connections.or(by_files).unwrap_or(CONNECTIONS_MAX_UNKNOWN);
        let redirect_above = (connections_max as f64 * self.redirect_threshold) as u64;
        let buffered_max = self.max_buffered.unwrap_or_else(buffered_max);
        Limits { connections_max, redirect_above, drain_rate: self.drain_rate, buffered_max }
    }

    /// The limits of a client's messages: no shorter than what every client sends.
    pub(crate) fn messages(&self) -> Messages {
        let limits = |len_max: usize| MessageLimits {
            len_max: len_max.max(MESSAGE_LEN_MIN),
            timeout: self.message_timeout,
        };
        Messages { before_hello: limits(self.max_message), greeted: limits(self.max_message_greeted) }
    }
}

/// The default of `max_buffered`.
fn buffered_max() -> u64 {
    beckon_ops::process::memory_max().map_or(BUFFERED_MAX_UNKNOWN, |memory| memory / 4)
}

/// A rule between settings that is broken, with the setting that the operator should change.
fn conflict(node: &NodeSettings, cluster: &ClusterSettings) -> Option<(&'static str, String)> {
    let NodeSettings { grpc_listen, grpc_advertise, .. } = node;
    if cluster.cluster_secret.is_none() && !grpc_listen.ip().is_loopback() {
        let reason = format!("is required, because grpc_listen {grpc_listen} is not a loopback address");
        return Some(("cluster_secret", reason));
    }
    if matches!(grpc_advertise, Advertise::Auto(_)) && grpc_listen.ip().is_loopback() {
        let reason =
            format!("cannot be auto, because no other machine can connect to grpc_listen {grpc_listen}");
        return Some(("grpc_advertise", reason));
    }
    if *grpc_advertise == Advertise::Listen && grpc_listen.ip().is_unspecified() {
        let reason = format!("is required, because no node can connect to grpc_listen {grpc_listen}");
        return Some(("grpc_advertise", reason));
    }
    None
}

fn parse_path(text: &str) -> Result<Option<String>, String> {
    match text {
        "" => Ok(None),
        _ if text.starts_with('/') && !text.contains(['?', '#', ' ']) => Ok(Some(text.to_owned())),
        _ => Err("must be a path that begins with a slash".into()),
    }
}

fn parse_origins(text: &str) -> Result<Vec<Origin>, String> {
    text.split(',').map(str::trim).filter(|origin| !origin.is_empty()).map(str::parse).collect()
}

/// The time between two requests of a socket that has used up its rate.
fn interval(rate: Rate) -> Duration {
    rate.period / rate.count.max(1)
}

fn parse_socket_requests(text: &str) -> Result<Rate, String> {
    let rate = Rate::parse(text)?;
    if interval(rate) > REQUEST_INTERVAL_MAX { Err("must be 4/s or more, or 0".into()) } else { Ok(rate) }
}

fn parse_batch_size(text: &str) -> Result<usize, String> {
    in_range(1..=BATCH_SIZE_MAX, text)
}

fn parse_rate(text: &str) -> Result<u32, String> {
    in_range(1..=1_000_000, text)
}

fn parse_bare_hello(text: &str) -> Result<BareHello, String> {
    match text {
        "webpush" => Ok(BareHello::WebPush),
        "reject" => Ok(BareHello::Reject),
        _ => Err("must be webpush or reject".into()),
    }
}

fn parse_invalid_uaid(text: &str) -> Result<InvalidUaid, String> {
    match text {
        "new" => Ok(InvalidUaid::New),
        "503" => Ok(InvalidUaid::Refuse),
        _ => Err("must be new or 503".into()),
    }
}

fn parse_ws_url(text: &str) -> Result<Option<String>, String> {
    match text.parse::<http::Uri>() {
        _ if text.is_empty() => Ok(None),
        Ok(uri) if matches!(uri.scheme_str(), Some("ws" | "wss")) && uri.host().is_some() => {
            Ok(Some(text.to_owned()))
        }
        _ => Err("must be a ws:// or wss:// URL".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use beckon_ops::config::Source;

    const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";

    fn read(arguments: &[&str]) -> Result<Config, String> {
        let variables = [
            ("BECKON_ENDPOINT_URL", "http://p.example"),
            ("BECKON_TOKEN_KEYS", KEY),
            ("BECKON_UAID_KEY", KEY),
        ];
        Config::read(Source::new(arguments, variables)).map_err(|errors| errors.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_the_protocol() {
        let Config { sockets, common, .. } = read(&["--store", "redis://127.0.0.1"]).unwrap();
        assert_eq!(sockets.limits(Some(20_000)).connections_max, 19_000);
        assert_eq!(sockets.limits(Some(20_000)).redirect_above, 18_050);
        assert_eq!(sockets.limits(None).connections_max, CONNECTIONS_MAX_UNKNOWN);
        let session = sockets.session(&common);
        assert_eq!(session.uaid_idle, Duration::from_secs(90 * 86_400));
        assert_eq!((session.ping_min_sp.as_secs(), session.ping_min_wp.as_secs()), (20, 45));
        assert_eq!((session.channels_max_sp, session.channels_max_wp, session.batch_size), (200, 2000, 10));
    }

    #[test]
    fn all_errors_are_reported_together() {
        let arguments = [
            "--redirect-threshold=1.5",
            "--ws-path=push",
            "--allowed-origins=example.net",
            "--keepalive-interval=0",
            "--batch-size=0",
            "--drain-rate=0",
            "--ws-advertise=http://x",
        ];
        let errors = read(&arguments).unwrap_err();
        for name in [
            "redirect-threshold",
            "ws-path",
            "allowed-origins",
            "keepalive-interval",
            "batch-size",
            "drain-rate",
            "ws-advertise",
            "store",
        ] {
            assert!(errors.contains(name), "{name} in {errors}");
        }
    }

    #[test]
    fn other_nodes_are_not_served_without_a_secret() {
        let public = ["--store=redis://h", "--grpc-listen=0.0.0.0:8082", "--grpc-advertise=node-a:8082"];
        let errors = read(&public).unwrap_err();
        assert!(errors.contains("cluster_secret") && errors.contains("not a loopback"), "{errors}");
        let secret = "--cluster-secret=0123456789abcdef";
        assert!(read(&[public[0], public[1], public[2], secret]).is_ok());
        let errors = read(&[public[0], public[1], secret]).unwrap_err();
        assert!(errors.contains("grpc_advertise"), "{errors}");
        assert!(read(&[public[0], public[1], "--grpc-advertise=auto", secret]).is_ok());
        let errors = read(&[public[0], "--grpc-advertise=auto"]).unwrap_err();
        assert!(errors.contains("cannot be auto"), "{errors}");
    }
}
