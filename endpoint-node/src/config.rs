//! What an operator can set on an endpoint-node.

use crate::{connection_nodes, http::PARAMETERS_LEN_MAX};
use beckon_ops::config::{ConfigErrors, Field, Secret, Source};
use beckon_ops::logging::LogSettings;
use beckon_proto::{
    auth::{ClusterSecret, SecretTooShort},
    tls::{Tls, TlsFiles},
    transport::PAYLOAD_LEN_MAX,
};
use beckon_types::{EndpointUrl, InvalidEndpointUrl, KeyRing};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// The least that an operator may allow for the body of a message, in bytes (RFC 8030 section 7.2).
const WP_DATA_LEN_MIN: usize = 4096;

/// The most that an operator may allow for the body of a message, in bytes.
const WP_DATA_LEN_MAX: usize = 64 * 1024;

// It fits between nodes, with its headers.
const _: () = assert!(WP_DATA_LEN_MAX + 2 * PARAMETERS_LEN_MAX <= PAYLOAD_LEN_MAX);

/// The most that an operator may allow for the stored messages of a client. The stores look at all of them where a
/// client has as many as it may have.
const MESSAGES_MAX: u32 = 10_000;

/// The most VAPID credentials that are remembered: 100 to 200 bytes each.
const VAPID_CACHE_SIZE_MAX: usize = 1_000_000;

beckon_ops::settings! {
    /// What concerns endpoints, in a cluster and in a standalone server.
    pub struct HttpSettings {
        /// Address and port on which application servers send notifications.
        http_listen: SocketAddr = "127.0.0.1:8081",
        /// Keys of endpoint tokens, base64url of 32 bytes each, separated by commas, newest first: the first
        /// makes tokens, all open them. `beckon genkey` prints one.
        token_keys: KeyRing => parse_keys,
        /// Longest data that an application server may send with a version, in bytes after decoding.
        sp_max_data: usize = "4096" => parse_data_len,
        /// Longest body of a Web Push message, in bytes.
        wp_max_data: usize = "5630" => parse_body_len,
        /// Longest time for which a Web Push message is stored; a longer TTL is shortened to it.
        max_ttl: Duration = "30d" => parse_ttl,
        /// Stored Web Push messages that a client may have; one more is answered by 429.
        msg_limit: u32 = "150" => parse_messages,
        /// Verified VAPID credentials that are remembered, so that they are verified once. 0: none.
        vapid_cache_size: usize = "10000" => parse_cache_size,
        /// Time for the body of a request to arrive; then it is answered by 408.
        http_body_timeout: Duration = "10s" => parse_positive,
        /// Time for the head of a request to arrive, and for which an idle connection is kept.
        http_head_timeout: Duration = "75s" => parse_positive,
        /// Connections of application servers at a time; more wait until one ends.
        http_max_connections: usize = "10000" => parse_connections,
    }
}

beckon_ops::settings! {
    /// What concerns an endpoint-node among other nodes.
    pub struct NodeSettings {
        /// Address and port for health, version and metrics.
        admin_listen: SocketAddr = "127.0.0.1:8084",
        /// The shared store: redis://, rediss:// or redis-cluster://host:port,host:port.
        store: Secret => parse_store,
        /// Wait for the store at start instead of ending with exit code 69.
        wait_for_store: bool = "false",
        /// Time that the store has for one step; then it counts as unavailable.
        store_timeout: Duration = "3s" => parse_positive,
        /// Time after which a client that has not been connected is forgotten; the same for all nodes.
        uaid_idle: Duration = "90d" => parse_idle,
        /// Scheme, host and port of the endpoints that are given out, as application servers reach them.
        endpoint_url: EndpointUrl => parse_endpoint_url,
        /// What the nodes of a cluster know and nobody else: 16 characters or more. Required by every
        /// connection-node that is not on a loopback address.
        cluster_secret: Option<ClusterSecret> = "" => parse_secret,
        /// PEM file with this node's certificate, for TLS between the nodes.
        grpc_tls_cert: Option<PathBuf> = "",
        /// PEM file with the key of grpc_tls_cert.
        grpc_tls_key: Option<PathBuf> = "",
        /// PEM file with the authority that signs the certificates of all nodes.
        grpc_tls_ca: Option<PathBuf> = "",
        /// Name in the certificates of other nodes. Empty: the host that each advertises.
        grpc_tls_name: Option<String> = "",
        /// Time for a connection-node to take a stored notification; then the answer is 202.
        delivery_timeout: Duration = "2s" => parse_positive,
        /// How long a stopping node drains: sockets are closed spread over this time, and requests must end within
        /// it.
        drain_time: Duration = "10s",
        /// What operators call this node. Empty: the address of http_listen.
        node_name: Option<String> = "",
    }
}

/// All settings of an endpoint-node.
#[derive(Debug, Clone)]
pub struct Config {
    /// What concerns endpoints.
    pub http: HttpSettings,
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
        &[HttpSettings::FIELDS, NodeSettings::FIELDS, LogSettings::FIELDS];

    /// Reads all settings, and the files for TLS.
    ///
    /// # Errors
    /// Everything that is wrong, together.
    pub fn read(mut source: Source) -> Result<Self, ConfigErrors> {
        let http = HttpSettings::read(&mut source);
        let node = NodeSettings::read(&mut source);
        let log = LogSettings::read(&mut source);
        let tls = node.as_ref().and_then(|node| match node.tls() {
            Ok(tls) => tls,
            Err(error) => {
                source.reject("grpc_tls_cert", error);
                None
            }
        });
        source.finish()?;
        match (http, node, log) {
            (Some(http), Some(node), Some(log)) => Ok(Self { http, node, log, tls }),
            // A source without an error gave every setting a value.
            _ => Err(ConfigErrors(Vec::new())),
        }
    }

    /// How this node speaks to the connection-nodes.
    pub(crate) fn connection_nodes(&self) -> connection_nodes::Settings {
        connection_nodes::Settings {
            delivery_timeout: self.node.delivery_timeout,
            secret: self.node.cluster_secret.clone(),
            tls: self.tls.clone(),
        }
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
}

fn parse_keys(text: &str) -> Result<KeyRing, String> {
    KeyRing::parse(text).map_err(|error| error.to_string())
}

fn parse_store(text: &str) -> Result<Secret, String> {
    match text {
        "" => Err("must not be empty".to_owned()),
        "embedded" => Err("cannot be embedded: the nodes of a cluster share a store, so give the URL of \
                           Redis, or start `beckon` instead"
            .to_owned()),
        _ => Ok(text.to_owned().into()),
    }
}

fn parse_endpoint_url(text: &str) -> Result<EndpointUrl, String> {
    text.parse().map_err(|error: InvalidEndpointUrl| error.to_string())
}

fn parse_secret(text: &str) -> Result<Option<ClusterSecret>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error: SecretTooShort| error.to_string())
}

fn parse_data_len(text: &str) -> Result<usize, String> {
    let most = crate::http::BODY_LEN_MAX;
    let length = text.parse().ok().filter(|length| *length <= most);
    length.ok_or_else(|| format!("is no whole number from 0 to {most}"))
}

fn parse_body_len(text: &str) -> Result<usize, String> {
    let (least, most) = (WP_DATA_LEN_MIN, WP_DATA_LEN_MAX);
    let length = text.parse().ok().filter(|length| (least..=most).contains(length));
    length.ok_or_else(|| format!("is no whole number from {least} to {most}"))
}

fn parse_ttl(text: &str) -> Result<Duration, String> {
    let ttl = <Duration as beckon_ops::config::Value>::parse(text)?;
    // It is told to application servers, in seconds.
    if ttl.is_zero() || ttl.subsec_nanos() > 0 {
        Err("must be 1s or more, in whole seconds".to_owned())
    } else {
        Ok(ttl)
    }
}

fn parse_messages(text: &str) -> Result<u32, String> {
    let messages = text.parse().ok().filter(|messages| (1..=MESSAGES_MAX).contains(messages));
    messages.ok_or_else(|| format!("is no whole number from 1 to {MESSAGES_MAX}"))
}

fn parse_cache_size(text: &str) -> Result<usize, String> {
    let entries = text.parse().ok().filter(|entries| *entries <= VAPID_CACHE_SIZE_MAX);
    entries.ok_or_else(|| format!("is no whole number from 0 to {VAPID_CACHE_SIZE_MAX}"))
}

fn parse_connections(text: &str) -> Result<usize, String> {
    let connections = text.parse().ok().filter(|connections| (1..=1_000_000).contains(connections));
    connections.ok_or_else(|| "is no whole number from 1 to 1000000".to_owned())
}

fn parse_idle(text: &str) -> Result<Duration, String> {
    let idle = <Duration as beckon_ops::config::Value>::parse(text)?;
    if idle < Duration::from_secs(1) { Err("must be 1s or more".to_owned()) } else { Ok(idle) }
}

fn parse_positive(text: &str) -> Result<Duration, String> {
    let duration = <Duration as beckon_ops::config::Value>::parse(text)?;
    if duration.is_zero() { Err("must be longer than 0".to_owned()) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<Config, String> {
        let key = KeyRing::key_text(&[1; 32]);
        let mut all = vec![
            ("BECKON_STORE", "redis://127.0.0.1"),
            ("BECKON_ENDPOINT_URL", "https://push.example.net"),
            ("BECKON_TOKEN_KEYS", &key),
        ];
        all.retain(|(name, _)| settings.iter().all(|(other, _)| name != other));
        all.extend(settings);
        let source = Source::new(std::iter::empty::<&str>(), all);
        Config::read(source).map_err(|errors| errors.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let config = read(&[]).unwrap();
        assert_eq!(config.http.http_listen.to_string(), "127.0.0.1:8081");
        assert_eq!(config.node.admin_listen.to_string(), "127.0.0.1:8084");
        assert_eq!((config.http.sp_max_data, config.http.wp_max_data), (4096, 5630));
        assert_eq!(config.http.max_ttl, Duration::from_secs(2_592_000));
        assert_eq!((config.http.msg_limit, config.http.vapid_cache_size), (150, 10_000));
        assert_eq!(config.node.delivery_timeout, Duration::from_secs(2));
        assert!(config.node.cluster_secret.is_none() && config.tls.is_none());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_name() {
        for (name, value, reason) in [
            ("BECKON_STORE", "", "empty"),
            ("BECKON_STORE", "embedded", "cluster"),
            ("BECKON_ENDPOINT_URL", "push.example.net", "http"),
            ("BECKON_TOKEN_KEYS", "short", "key 1"),
            ("BECKON_CLUSTER_SECRET", "short", "16"),
            ("BECKON_SP_MAX_DATA", "65537", "65536"),
            ("BECKON_WP_MAX_DATA", "4095", "4096"),
            ("BECKON_WP_MAX_DATA", "65537", "65536"),
            ("BECKON_MAX_TTL", "0", "1s"),
            ("BECKON_MAX_TTL", "1500ms", "whole seconds"),
            ("BECKON_MSG_LIMIT", "0", "from 1"),
            ("BECKON_MSG_LIMIT", "10001", "10000"),
            ("BECKON_VAPID_CACHE_SIZE", "1000001", "1000000"),
            ("BECKON_HTTP_MAX_CONNECTIONS", "0", "from 1"),
            ("BECKON_DELIVERY_TIMEOUT", "0", "longer"),
            ("BECKON_GRPC_TLS_KEY", "/nowhere", "together"),
            ("BECKON_NO_SUCH_SETTING", "1", "no such setting"),
        ] {
            let errors = read(&[(name, value)]).unwrap_err();
            assert!(errors.contains(reason), "{name}={value}: {errors}");
        }
    }

    #[test]
    fn an_environment_may_be_shared_with_other_programs() {
        let shared = [("BECKON_WS_LISTEN", "0.0.0.0:80"), ("BECKON_GRPC_ADVERTISE", "a:1")];
        assert!(read(&shared).is_ok());
    }

    #[test]
    fn secrets_are_not_shown() {
        let secrets =
            [("BECKON_STORE", "redis://:hunter2@db"), ("BECKON_CLUSTER_SECRET", "hunter2hunter2hunter2")];
        assert!(!format!("{:?}", read(&secrets).unwrap()).contains("hunter2"));
    }
}
