//! What an operator can set on a connection-node.

use crate::{handshake::Origin, node::Limits};
use beckon_ops::{
    config::{ConfigErrors, Field, Secret, Source, parsed, parsed_option, positive},
    logging::LogSettings,
};
use beckon_proto::{
    auth::ClusterSecret,
    tls::{Tls, TlsFiles},
};
use beckon_session::{BareHello, InvalidUaid, Settings};
use beckon_types::{EndpointUrl, KeyRing};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// Part of the process's open files that sockets may take by default; the rest is for the store, other nodes,
/// and sockets that are still being upgraded.
const OPEN_FILES_SHARE: f64 = 0.95;

/// The default of `max_connections` where the limit of open files is unknown or unlimited.
const CONNECTIONS_MAX_UNKNOWN: u64 = 1_000_000;

/// The largest `batch_size`: so many messages are read in one step of the store, and wait in memory for the client.
const BATCH_SIZE_MAX: usize = 100;

/// A client's own messages have to stay well above 128 KiB (PROTOCOL.md section 1.5).
const MESSAGE_LEN_MIN: usize = 4096;

beckon_ops::settings! {
    /// What concerns WebSockets and conversations, in a cluster and in a standalone server.
    pub struct SocketSettings {
        /// Address and port on which WebSockets are accepted.
        ws_listen: SocketAddr = "127.0.0.1:8080",
        /// A second path for WebSockets, besides `/`.
        ws_path: Option<String> = "" => parse_path,
        /// Origins whose web pages may connect, separated by commas. Empty: all.
        allowed_origins: Vec<Origin> = "" => parse_origins,
        /// Scheme, host and port of the endpoints that are given out, as application servers reach them.
        endpoint_url: EndpointUrl => parsed,
        /// Keys of endpoint tokens, base64url of 32 bytes each, separated by commas, newest first: the first
        /// makes tokens, all open them. `beckon genkey` prints one.
        token_keys: KeyRing => parsed,
        /// Sockets at a time; further upgrades are answered by 503. Empty: 95 % of the limit of open files.
        max_connections: Option<u64> = "",
        /// Share of max_connections above which SimplePush clients are sent to another node, or away.
        redirect_threshold: f64 = "0.95" => parse_share,
        /// Longest message that a client may send, in bytes.
        max_message: usize = "262144",
        /// Time from the upgrade until the first hello; then the socket is closed.
        hello_timeout: Duration = "30s",
        /// Shortest time between two pings of a client, before hello and in SimplePush.
        ping_min_sp: Duration = "20s",
        /// Shortest time between two pings of a client, in Web Push.
        ping_min_wp: Duration = "45s",
        /// Time without a sign of life from a client after which the server pings it.
        keepalive_interval: Duration = "300s" => positive,
        /// Time that a client has to answer that ping; then the socket is closed.
        keepalive_timeout: Duration = "30s" => positive,
        /// Channels that a SimplePush client may have.
        max_channels_sp: u32 = "200",
        /// Channels that a Web Push client may have.
        max_channels_wp: u32 = "2000",
        /// Stored messages that a Web Push client is sent before it acknowledges them, 1 to 100.
        batch_size: usize = "10" => parse_batch_size,
        /// Time after which an update that was not acknowledged is sent again. 0: only after the next hello.
        sp_retry_interval: Duration = "60s",
        /// Time after which a client that has not been connected is forgotten, with its channels.
        uaid_idle: Duration = "90d" => parse_idle,
        /// Time that the store has for one step; then it counts as unavailable.
        store_timeout: Duration = "3s" => positive,
        /// What a hello is that names no dialect in any way: webpush, or reject.
        bare_hello: BareHello = "webpush" => parse_bare_hello,
        /// What a SimplePush hello with a malformed UAID gets: new (a new UAID), or 503 (an error).
        invalid_uaid: InvalidUaid = "new" => parse_invalid_uaid,
        /// How long a stopping node drains: sockets are closed spread over this time, and requests must end within
        /// it.
        drain_time: Duration = "10s",
    }
}

beckon_ops::settings! {
    /// What concerns a connection-node among other nodes.
    pub struct NodeSettings {
        /// Address and port on which other nodes are served.
        grpc_listen: SocketAddr = "127.0.0.1:8082",
        /// host:port at which other nodes reach grpc_listen. Empty: the address itself.
        grpc_advertise: Option<String> = "" => parse_target,
        /// WebSocket URL of this very node, to which other nodes may redirect clients. Empty: none.
        ws_advertise: Option<String> = "" => parse_ws_url,
        /// Address and port for health, version, metrics and broadcasts.
        admin_listen: SocketAddr = "127.0.0.1:8083",
        /// The shared store: redis://, rediss:// or redis-cluster://host:port,host:port.
        store: Secret => store_url,
        /// Wait for the store at start instead of ending with exit code 69.
        wait_for_store: bool = "false",
        /// What the nodes of a cluster know and nobody else: 16 characters or more. Required unless grpc_listen
        /// is a loopback address.
        cluster_secret: Option<ClusterSecret> = "" => parsed_option,
        /// PEM file with this node's certificate, for TLS between the nodes.
        grpc_tls_cert: Option<PathBuf> = "",
        /// PEM file with the key of grpc_tls_cert.
        grpc_tls_key: Option<PathBuf> = "",
        /// PEM file with the authority that signs the certificates of all nodes.
        grpc_tls_ca: Option<PathBuf> = "",
        /// Name in the certificates of other nodes. Empty: the host that each advertises.
        grpc_tls_name: Option<String> = "",
        /// What operators call this node, in logs and in the directory. Empty: the advertised address.
        node_name: Option<String> = "",
    }
}

/// All settings of a connection-node.
#[derive(Debug, Clone)]
pub struct Config {
    /// What concerns WebSockets and conversations.
    pub sockets: SocketSettings,
    /// What concerns the node among others.
    pub node: NodeSettings,
    /// What is logged, and how.
    pub log: LogSettings,
    /// The certificates that the files hold.
    pub tls: Option<Tls>,
}

impl Config {
    /// Every setting, in the order in which help shows them.
    pub const FIELDS: &'static [&'static [Field]] =
        &[SocketSettings::FIELDS, NodeSettings::FIELDS, LogSettings::FIELDS];

    /// Reads all settings, and the files for TLS.
    ///
    /// # Errors
    /// Everything that is wrong, together.
    pub fn read(mut source: Source) -> Result<Self, ConfigErrors> {
        let sockets = SocketSettings::read(&mut source);
        let node = NodeSettings::read(&mut source);
        let log = LogSettings::read(&mut source);
        if let Some((name, reason)) = node.as_ref().and_then(NodeSettings::conflict) {
            source.reject(name, reason);
        }
        let tls = node.as_ref().and_then(|node| match node.tls() {
            Ok(tls) => tls,
            Err(error) => {
                source.reject("grpc_tls_cert", error);
                None
            }
        });
        source.finish()?;
        match (sockets, node, log) {
            (Some(sockets), Some(node), Some(log)) => Ok(Self { sockets, node, log, tls }),
            // A source without an error gave every setting a value.
            _ => Err(ConfigErrors(Vec::new())),
        }
    }
}

impl SocketSettings {
    /// What conversations depend on.
    pub fn session(&self) -> Settings {
        Settings {
            keys: self.token_keys.clone(),
            endpoint_url: self.endpoint_url.as_str().to_owned(),
            hello_timeout: self.hello_timeout,
            ping_min_sp: self.ping_min_sp,
            ping_min_wp: self.ping_min_wp,
            keepalive_interval: self.keepalive_interval,
            keepalive_timeout: self.keepalive_timeout,
            channels_max_sp: self.max_channels_sp,
            channels_max_wp: self.max_channels_wp,
            batch_size: self.batch_size,
            sp_retry_interval: self.sp_retry_interval,
            uaid_idle: self.uaid_idle,
            bare_hello: self.bare_hello,
            invalid_uaid: self.invalid_uaid,
        }
    }

    /// How many sockets there may be, with this limit of open files.
    pub fn limits(&self, open_files_max: Option<u64>) -> Limits {
        let by_files = open_files_max.map(|files| (files as f64 * OPEN_FILES_SHARE) as u64);
        let connections_max = self.max_connections.or(by_files).unwrap_or(CONNECTIONS_MAX_UNKNOWN);
        let redirect_above = (connections_max as f64 * self.redirect_threshold) as u64;
        Limits { connections_max, redirect_above }
    }

    /// Largest message in bytes; a smaller setting would refuse what every client sends.
    pub fn message_len_max(&self) -> usize {
        self.max_message.max(MESSAGE_LEN_MIN)
    }
}

impl NodeSettings {
    fn tls(&self) -> Result<Option<Tls>, String> {
        let files = TlsFiles::from_settings(
            self.grpc_tls_cert.clone(),
            self.grpc_tls_key.clone(),
            self.grpc_tls_ca.clone(),
            self.grpc_tls_name.clone(),
        );
        let tls = files.and_then(|files| files.as_ref().map(Tls::read).transpose());
        tls.map_err(|error| error.to_string())
    }

    /// What is wrong with settings that fit each for itself, with the name of the one to blame.
    pub fn conflict(&self) -> Option<(&'static str, String)> {
        if self.cluster_secret.is_none() && !self.grpc_listen.ip().is_loopback() {
            let reason =
                format!("is required, because grpc_listen {} is not a loopback address", self.grpc_listen);
            return Some(("cluster_secret", reason));
        }
        if self.grpc_advertise.is_none() && self.grpc_listen.ip().is_unspecified() {
            let reason =
                format!("is required, because nobody can connect to grpc_listen {}", self.grpc_listen);
            return Some(("grpc_advertise", reason));
        }
        None
    }
}

fn store_url(text: &str) -> Result<Secret, String> {
    match text {
        "" => Err("must not be empty".to_owned()),
        "embedded" => Err("cannot be embedded: the nodes of a cluster share a store, so give the URL of \
                           Redis, or start `beckon` instead"
            .to_owned()),
        _ => Ok(text.to_owned().into()),
    }
}

fn parse_path(text: &str) -> Result<Option<String>, String> {
    match text {
        "" => Ok(None),
        _ if text.starts_with('/') && !text.contains(['?', '#', ' ']) => Ok(Some(text.to_owned())),
        _ => Err("is not a path that begins with a slash".into()),
    }
}

fn parse_origins(text: &str) -> Result<Vec<Origin>, String> {
    text.split(',').map(str::trim).filter(|origin| !origin.is_empty()).map(str::parse).collect()
}

fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("is not a number from 0 to 1".into()),
    }
}

fn parse_idle(text: &str) -> Result<Duration, String> {
    let idle = <Duration as beckon_ops::config::Value>::parse(text)?;
    if idle < Duration::from_secs(1) { Err("must be 1s or more".into()) } else { Ok(idle) }
}

fn parse_batch_size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(size) if (1..=BATCH_SIZE_MAX).contains(&size) => Ok(size),
        _ => Err(format!("is not a number from 1 to {BATCH_SIZE_MAX}")),
    }
}

fn parse_bare_hello(text: &str) -> Result<BareHello, String> {
    match text {
        "webpush" => Ok(BareHello::WebPush),
        "reject" => Ok(BareHello::Reject),
        _ => Err("is neither webpush nor reject".into()),
    }
}

fn parse_invalid_uaid(text: &str) -> Result<InvalidUaid, String> {
    match text {
        "new" => Ok(InvalidUaid::New),
        "503" => Ok(InvalidUaid::Refuse),
        _ => Err("is neither new nor 503".into()),
    }
}

fn parse_target(text: &str) -> Result<Option<String>, String> {
    match text.parse::<http::uri::Authority>() {
        _ if text.is_empty() => Ok(None),
        Ok(authority) if authority.port_u16().is_some() && !text.contains('@') => Ok(Some(text.to_owned())),
        _ => Err("is not host:port".into()),
    }
}

fn parse_ws_url(text: &str) -> Result<Option<String>, String> {
    match text.parse::<http::Uri>() {
        _ if text.is_empty() => Ok(None),
        Ok(uri) if matches!(uri.scheme_str(), Some("ws" | "wss")) && uri.host().is_some() => {
            Ok(Some(text.to_owned()))
        }
        _ => Err("is not a ws or wss URL".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use beckon_ops::config::Source;

    const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";

    fn read(arguments: &[&str]) -> Result<Config, String> {
        let variables = [("BECKON_ENDPOINT_URL", "http://p.example"), ("BECKON_TOKEN_KEYS", KEY)];
        Config::read(Source::new(arguments, variables)).map_err(|errors| errors.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_the_protocol() {
        let Config { sockets, node, .. } = read(&["--store", "redis://127.0.0.1"]).unwrap();
        assert_eq!(sockets.limits(Some(20_000)).connections_max, 19_000);
        assert_eq!(sockets.limits(Some(20_000)).redirect_above, 18_050);
        assert_eq!(sockets.limits(None).connections_max, CONNECTIONS_MAX_UNKNOWN);
        let session = sockets.session();
        assert_eq!(session.uaid_idle, Duration::from_secs(90 * 86_400));
        assert_eq!((session.ping_min_sp.as_secs(), session.ping_min_wp.as_secs()), (20, 45));
        assert_eq!((session.channels_max_sp, session.channels_max_wp, session.batch_size), (200, 2000, 10));
        assert_eq!(node.conflict(), None);
    }

    #[test]
    fn what_cannot_be_used_is_told_all_at_once() {
        let arguments = [
            "--redirect-threshold=1.5",
            "--ws-path=push",
            "--allowed-origins=example.net",
            "--keepalive-interval=0",
            "--batch-size=0",
            "--ws-advertise=http://x",
        ];
        let errors = read(&arguments).unwrap_err();
        for name in [
            "redirect-threshold",
            "ws-path",
            "allowed-origins",
            "keepalive-interval",
            "batch-size",
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
    }
}
