//! What an operator can set on an endpoint-node.

use crate::{connection_nodes, http::PARAMETERS_LEN_MAX};
use beckon_listener::{
    port::{Port, Ports},
    rate::Rate,
    settings::{PortSettings, parse_connections},
    tls::Certificates,
};
use beckon_node::{
    access::{Access, AdminSettings},
    config::{ClusterSettings, CommonSettings, FAMILY},
};
use beckon_ops::{
    config::{ConfigErrors, Part, Source, Value as _, in_range, parsed, positive},
    logging::LogSettings,
    program::ServerConfig,
};
use beckon_proto::{tls::Tls, transport::PAYLOAD_LEN_MAX};
use beckon_types::EndpointUrl;
use std::{net::SocketAddr, num::NonZero, sync::Arc, time::Duration};
use warp::http::HeaderValue;

/// The smallest `wp_max_data`, in bytes (RFC 8030 section 7.2).
const WP_DATA_LEN_MIN: usize = 4096;

/// The largest `wp_max_data`, in bytes.
const WP_DATA_LEN_MAX: usize = 64 * 1024;

// It fits between nodes, with its headers.
const _: () = assert!(WP_DATA_LEN_MAX + 2 * PARAMETERS_LEN_MAX <= PAYLOAD_LEN_MAX);

/// The largest `msg_reserve`.
const RESERVE_MAX: u32 = 100;

/// The largest `msg_limit`.
const MESSAGES_MAX: u32 = 10_000;

/// The largest `vapid_cache_size`: a credential takes 100 to 200 bytes.
const VAPID_CACHE_SIZE_MAX: usize = 1_000_000;

beckon_ops::settings! {
    /// Endpoints and the requests to them, in a cluster and in a standalone server.
    pub struct HttpSettings {
        /// Address and port of endpoints, where application servers send.
        http_listen: SocketAddr = "127.0.0.1:8081",
        /// Longest data that may come with a version, in bytes after decoding.
        sp_max_data: usize = "4096" => parse_data_len,
        /// Longest body of a Web Push message, in bytes.
        wp_max_data: usize = "5630" => parse_body_len,
        /// Longest time for which a Web Push message is stored; a longer TTL is shortened to it.
        max_ttl: Duration = "30d" => parse_ttl,
        /// Most stored Web Push messages of a client; a further one is answered with 429.
        msg_limit: u32 = "150" => parse_messages,
        /// Messages that each channel of a client may have stored besides, so that one channel cannot silence the others.
        msg_reserve: u32 = "8" => parse_reserve,
        /// What `Strict-Transport-Security` says on Web Push paths if endpoint_url is https. Empty: there is none.
        hsts: Option<HeaderValue> = "max-age=31536000" => parse_header_value,
        /// What endpoint_url was before, separated by commas: application servers that still name it in the aud claim of
        /// VAPID are believed.
        former_endpoint_urls: Vec<EndpointUrl> = "" => parse_urls,
        /// Notifications to one endpoint through a node; others are answered with 429.
        endpoint_rate: Rate = "6000/m" => Rate::parse,
        /// Web Push messages of application servers with one VAPID key through a node; others are answered with 429.
        vapid_rate: Rate = "600000/m" => Rate::parse,
        /// Verified VAPID credentials that are remembered, so that each is verified once. 0: none.
        vapid_cache_size: usize = "10000" => parse_cache_size,
        /// Time limit for the body of a request; then it is answered with 408.
        http_body_timeout: Duration = "10s" => positive,
        /// Time limit for a connection without a request, from the end of the last response; then it is closed.
        http_idle_timeout: Duration = "75s" => positive,
        /// Whether connections of trusted_proxies to http_listen begin with a PROXY protocol header, version 1 or 2.
        http_proxy_protocol: bool = "false",
        /// Most connections of application servers at once, if the limit of open files allows as many; beyond it, one
        /// that asks for nothing is closed.
        http_max_connections: usize = "10000" => parse_connections,
    }
}

impl HttpSettings {
    /// How help shows these settings.
    pub const PART: Part = Part { heading: "Endpoints", fields: Self::FIELDS };
}

beckon_ops::settings! {
    /// How an endpoint-node reaches the other nodes, and where operators reach it.
    pub struct NodeSettings {
        /// Address and port for operators: health, version, metrics, the dashboard and its API.
        admin_listen: SocketAddr = "127.0.0.1:8084",
        /// Time limit for handing a stored notification to a connection-node; then the answer is 202.
        delivery_timeout: Duration = "2s" => positive,
    }
}

impl NodeSettings {
    /// How help shows these settings.
    pub const PART: Part = Part { heading: "This node", fields: Self::FIELDS };
}

/// All settings of an endpoint-node.
#[derive(Debug, Clone)]
pub struct Config {
    /// Endpoints and the requests to them.
    pub http: HttpSettings,
    /// How the node reaches others, and where it is reached.
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

impl ServerConfig for Config {
    fn read(mut source: Source) -> Result<Self, ConfigErrors> {
        source.ignore(FAMILY);
        let http = HttpSettings::read(&mut source);
        let node = NodeSettings::read(&mut source);
        let ports = PortSettings::read(&mut source);
        let admin = AdminSettings::read(&mut source);
        let common = CommonSettings::read(&mut source);
        let cluster = ClusterSettings::read(&mut source);
        let log = LogSettings::read(&mut source);
        let tls = cluster.as_ref().and_then(|cluster| cluster.tls(&mut source));
        let certificates = ports.as_ref().and_then(|ports| ports.certificates(&mut source));
        let access = match (&admin, &node) {
            (Some(admin), Some(node)) => admin.access_at(node.admin_listen, &mut source),
            _ => None,
        };
        let config = || {
            Some(Self {
                http: http?,
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

impl Config {
    /// Every setting, in the order in which help shows them.
    pub const PARTS: &'static [Part] = &[
        HttpSettings::PART,
        NodeSettings::PART,
        PortSettings::PART,
        AdminSettings::PART,
        CommonSettings::PART,
        ClusterSettings::PART,
        LogSettings::PART,
    ];

    /// How this node reaches the connection-nodes.
    pub(crate) fn connection_nodes(&self) -> connection_nodes::Settings {
        connection_nodes::Settings {
            delivery_timeout: self.node.delivery_timeout,
            secret: self.cluster.cluster_secret.clone(),
            tls: self.tls.clone(),
        }
    }
}

impl HttpSettings {
    /// The port for application servers. `connections_max` is [`HttpSettings::http_max_connections`], or fewer if the
    /// limit of open files does not allow as many.
    pub fn port(&self, connections_max: u64, ports: &Ports) -> Arc<Port> {
        let connections_max = usize::try_from(connections_max).unwrap_or(usize::MAX);
        ports.open("requests", connections_max, self.http_idle_timeout, self.http_proxy_protocol)
    }
}

fn parse_data_len(text: &str) -> Result<usize, String> {
    in_range(0..=crate::http::BODY_LEN_MAX, text)
}

fn parse_body_len(text: &str) -> Result<usize, String> {
    in_range(WP_DATA_LEN_MIN..=WP_DATA_LEN_MAX, text)
}

fn parse_reserve(text: &str) -> Result<u32, String> {
    in_range(0..=RESERVE_MAX, text)
}

fn parse_messages(text: &str) -> Result<u32, String> {
    in_range(1..=MESSAGES_MAX, text)
}

fn parse_cache_size(text: &str) -> Result<usize, String> {
    in_range(0..=VAPID_CACHE_SIZE_MAX, text)
}

fn parse_header_value(text: &str) -> Result<Option<HeaderValue>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| "must be the value of an HTTP header".to_owned())
}

fn parse_urls(text: &str) -> Result<Vec<EndpointUrl>, String> {
    text.split(',').map(str::trim).filter(|url| !url.is_empty()).map(parsed).collect()
}

fn parse_ttl(text: &str) -> Result<Duration, String> {
    let ttl = Duration::parse(text)?;
    // Application servers see it in seconds.
    if ttl.is_zero() || ttl.subsec_nanos() > 0 {
        Err("must be 1s or more, in whole seconds".to_owned())
    } else {
        Ok(ttl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<Config, String> {
        let key = beckon_types::KeyRing::key_text(&[1; 32]);
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
        assert!(config.cluster.cluster_secret.is_none() && config.tls.is_none());
    }

    #[test]
    fn every_error_states_the_reason() {
        for (name, value, reason) in [
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
            ("BECKON_DELIVERY_TIMEOUT", "0", "greater"),
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
}
