//! The settings that several programs have.

pub use crate::family::FAMILY;

use crate::trace::OtlpEndpoint;
use beckon_listener::rate::Rate;
use beckon_ops::{
    config::{Part, Secret, Source, Value, in_range, parsed, parsed_option, positive},
    workers::WORKERS_MAX,
};
use beckon_proto::{
    auth::ClusterSecret,
    tls::{Tls, TlsFiles},
};
use beckon_store::{
    Newcomers,
    redis::{Access, KeyPrefix, TlsFiles as RedisTlsFiles, TlsIdentity},
};
use beckon_types::{EndpointUrl, KeyRing};
use std::{num::NonZero, path::PathBuf, time::Duration};

/// The largest `store_replicas`.
const REPLICAS_MAX: u32 = 5;

beckon_ops::settings! {
    /// What every program has, in a cluster and alone.
    pub struct CommonSettings {
        /// Scheme, host and port of the endpoints, as application servers reach them.
        endpoint_url: EndpointUrl => parsed,
        /// Keys of endpoint tokens, each 32 bytes in base64url, separated by commas, newest first. The first key
        /// makes new tokens; every key opens tokens. `beckon genkey` prints a key.
        token_keys: KeyRing => parsed,
        /// A client that has not connected for this long is forgotten, with its channels. The same on all nodes.
        uaid_idle: Duration = "90d" => parse_idle,
        /// A client that never came back after its first socket, and was never sent anything, is forgotten after this long,
        /// and after a seventh of it when the store is fuller than store_memory_high. The same on all nodes.
        newcomer_idle: Duration = "7d" => parse_idle,
        /// Time limit for one step of the store; after that the store counts as unavailable.
        store_timeout: Duration = "3s" => positive,
        /// How full the store may be, from 0 to 1, before it takes no new clients: of maxmemory of Redis, or of the disk of
        /// the embedded store. After a third of the rest it takes no new channels, and after two thirds no messages of
        /// an urgency below normal. 1: that never happens.
        store_memory_high: f64 = "0.8" => parse_share,
        /// Redis: time limit for one connection to be made, with TLS and authentication.
        store_connect_timeout: Duration = "2s" => positive,
        /// Redis: the user to authenticate as. Empty: the user in the URL, if there is one.
        store_user: Option<String> = "",
        /// Redis: file with the password. It is read for each connection, so it can be replaced at any time. Empty: the
        /// password in the URL, if there is one.
        store_password_file: Option<PathBuf> = "",
        /// Redis: PEM file with the authorities to trust, for TLS. Empty: those that the system trusts.
        store_tls_ca: Option<PathBuf> = "",
        /// Redis: PEM file with this node's certificate, for TLS. Empty: none is shown.
        store_tls_cert: Option<PathBuf> = "",
        /// Redis: PEM file with the private key of store_tls_cert.
        store_tls_key: Option<PathBuf> = "",
        /// Redis: what the names of all keys begin with, so that several clusters can share one Redis.
        store_key_prefix: KeyPrefix = "" => parsed,
        /// Redis: how many replicas must have a notification or a channel before it is accepted, 0 to 5. The same on all
        /// nodes.
        store_replicas: u32 = "0" => parse_replicas,
        /// Wait for the store at start instead of exiting with code 69, or with 64 if Redis refuses the password.
        wait_for_store: bool = "false",
        /// Worker threads, each of which owns a share of the connections, 1 to 255. Empty: one for each core.
        threads: Option<NonZero<u8>> = "" => parse_threads,
        /// How long a draining node goes on serving after load balancers are told to leave it; then it closes
        /// its sockets, and a stopping node its listeners, too. It has to be longer than load balancers take to
        /// notice.
        drain_delay: Duration = "5s",
        /// Path of a Unix socket at which a running process hands its ports and connections over to the next one of the
        /// same program that starts with the same path. Only its owner may write to its directory. Empty: none.
        hand_over: Option<PathBuf> = "",
        /// Where a collector of OpenTelemetry takes traces over gRPC, such as `http://127.0.0.1:4317`. Empty: nothing is
        /// traced.
        otlp_endpoint: Option<OtlpEndpoint> = "" => parsed_option,
        /// Share of the requests without a `traceparent` that is traced, from 0 to 1. Of those with one, its sender decides.
        trace_ratio: f64 = "0.01" => parse_share,
        /// Most requests that are traced through a node, at most half of them because their sender asks for it. 0: no limit.
        trace_rate: Rate = "20/s" => Rate::parse,
    }
}

impl CommonSettings {
    /// How help shows these settings.
    pub const PART: Part = Part { heading: "The service and its store", fields: Self::FIELDS };
}

beckon_ops::settings! {
    /// What every node of a cluster has.
    pub struct ClusterSettings {
        /// URL of the shared store: redis://, redis-sentinel:// or redis-cluster://; with rediss over TLS.
        store: Secret => parse_store,
        /// Secrets that all nodes of the cluster share, 16 characters or more each, separated by commas. The first is
        /// presented, and all are accepted. Required unless grpc_listen is a loopback address.
        cluster_secret: ClusterSecret = "" => parsed,
        /// PEM file with this node's certificate, for TLS between the nodes.
        grpc_tls_cert: Option<PathBuf> = "",
        /// PEM file with the private key of grpc_tls_cert.
        grpc_tls_key: Option<PathBuf> = "",
        /// PEM file with the authority that signs the certificates of all nodes.
        grpc_tls_ca: Option<PathBuf> = "",
        /// Name in the certificates of the other nodes. Empty: the host that each of them advertises.
        grpc_tls_name: Option<String> = "",
        /// What operators call this node, in logs and in the directory. Empty: its address.
        node_name: Option<String> = "",
    }
}

impl ClusterSettings {
    /// How help shows these settings.
    pub const PART: Part = Part { heading: "The cluster", fields: Self::FIELDS };
}

impl CommonSettings {
    /// When clients that never came back are forgotten.
    pub fn newcomers(&self) -> Newcomers {
        Newcomers { idle: self.newcomer_idle, memory_high: self.store_memory_high }
    }

    /// How Redis is reached.
    ///
    /// # Errors
    /// A setting is missing that another one needs.
    pub fn redis(&self) -> Result<Access, &'static str> {
        let identity = match (self.store_tls_cert.clone(), self.store_tls_key.clone()) {
            (Some(cert), Some(key)) => Some(TlsIdentity { cert, key }),
            (None, None) => None,
            _ => return Err("store_tls_cert and store_tls_key must be set together"),
        };
        Ok(Access {
            connect_timeout: self.store_connect_timeout,
            user: self.store_user.clone(),
            password_file: self.store_password_file.clone(),
            tls: RedisTlsFiles { ca: self.store_tls_ca.clone(), identity },
            key_prefix: self.store_key_prefix,
            replicas: self.store_replicas,
        })
    }
}

impl ClusterSettings {
    /// The certificates that the files hold, `None` without TLS. What is wrong with them is rejected in `source`.
    pub fn tls(&self, source: &mut Source) -> Option<Tls> {
        let files = TlsFiles::from_settings(
            self.grpc_tls_cert.clone(),
            self.grpc_tls_key.clone(),
            self.grpc_tls_ca.clone(),
            self.grpc_tls_name.clone(),
        );
        match files.and_then(|files| files.as_ref().map(Tls::read).transpose()) {
            Ok(tls) => tls,
            Err(error) => {
                source.reject("grpc_tls_cert", error.to_string());
                None
            }
        }
    }
}

fn parse_store(text: &str) -> Result<Secret, String> {
    if text == beckon_store::EMBEDDED {
        let reason = "cannot be embedded, because the nodes of a cluster share a store; give the URL of Redis, or \
                      run `beckon` instead";
        return Err(reason.to_owned());
    }
    Secret::parse(text)
}

fn parse_replicas(text: &str) -> Result<u32, String> {
    in_range(0..=REPLICAS_MAX, text)
}

fn parse_threads(text: &str) -> Result<Option<NonZero<u8>>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    in_range(1..=WORKERS_MAX, text).map(NonZero::new)
}

/// Parses a share of something, from 0 to 1.
///
/// # Errors
/// It is not a number in this range.
pub fn parse_share(text: &str) -> Result<f64, String> {
    match f64::parse(text) {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("must be a number from 0 to 1".to_owned()),
    }
}

fn parse_idle(text: &str) -> Result<Duration, String> {
    let idle = Duration::parse(text)?;
    if idle < Duration::from_secs(1) { Err("must be 1s or more".to_owned()) } else { Ok(idle) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(variables: &[(&str, &str)]) -> Result<(ClusterSettings, Option<Tls>), String> {
        let mut source = Source::new(std::iter::empty::<&str>(), variables.iter().copied());
        let settings = ClusterSettings::read(&mut source);
        let tls = settings.as_ref().and_then(|settings| settings.tls(&mut source));
        source.finish(settings).map(|settings| (settings, tls)).map_err(|errors| errors.to_string())
    }

    #[test]
    fn a_store_is_required_and_shared() {
        for (variables, reason) in [
            (&[][..], "required"),
            (&[("BECKON_STORE", "")], "must not be empty"),
            (&[("BECKON_STORE", "embedded")], "cannot be embedded"),
        ] {
            let errors = cluster(variables).unwrap_err();
            assert!(errors.contains(reason), "{variables:?}: {errors}");
        }
    }

    #[test]
    fn the_options_for_redis_come_from_the_settings() {
        let common = |variables: &[(&str, &str)]| {
            let required = [("BECKON_ENDPOINT_URL", "http://push.example.net")];
            let key = KeyRing::key_text(&[7; 32]);
            let keys = [("BECKON_TOKEN_KEYS", key.as_str())];
            let all = required.iter().chain(&keys).chain(variables).copied();
            let mut source = Source::new(std::iter::empty::<&str>(), all);
            let settings = CommonSettings::read(&mut source);
            source.finish(settings).map_err(|errors| errors.to_string())
        };
        let access = common(&[]).unwrap().redis().unwrap();
        assert_eq!(access.connect_timeout, Duration::from_secs(2));
        assert!(access.user.is_none() && access.password_file.is_none() && access.tls.ca.is_none());
        let settings = [
            ("BECKON_STORE_USER", "beckon"),
            ("BECKON_STORE_TLS_CERT", "/cert"),
            ("BECKON_STORE_TLS_KEY", "/key"),
            ("BECKON_STORE_KEY_PREFIX", "push:"),
        ];
        let access = common(&settings).unwrap().redis().unwrap();
        assert_eq!(
            (access.user.as_deref(), access.key_prefix.to_string()),
            (Some("beckon"), "push:".to_owned())
        );
        assert_eq!(access.tls.identity.unwrap().key, PathBuf::from("/key"));
        assert!(common(&settings[..2]).unwrap().redis().unwrap_err().contains("together"));
        assert!(
            common(&[("BECKON_STORE_KEY_PREFIX", "{}")]).unwrap_err().contains("BECKON_STORE_KEY_PREFIX")
        );
    }

    #[test]
    fn files_for_tls_are_read_or_named_in_the_error() {
        const STORE: (&str, &str) = ("BECKON_STORE", "redis://127.0.0.1");
        let (settings, tls) = cluster(&[STORE]).unwrap();
        assert!(settings.cluster_secret.is_none() && tls.is_none());
        let errors = cluster(&[STORE, ("BECKON_GRPC_TLS_KEY", "/nowhere/key")]).unwrap_err();
        assert!(errors.contains("together"), "{errors}");
        let files = [
            STORE,
            ("BECKON_GRPC_TLS_CERT", "/nowhere/cert"),
            ("BECKON_GRPC_TLS_KEY", "/nowhere/key"),
            ("BECKON_GRPC_TLS_CA", "/nowhere/ca"),
        ];
        let errors = cluster(&files).unwrap_err();
        assert!(errors.contains("BECKON_GRPC_TLS_CERT: /nowhere/cert"), "{errors}");
    }

    #[test]
    fn secrets_are_not_shown() {
        let secrets =
            [("BECKON_STORE", "redis://:hunter2@db"), ("BECKON_CLUSTER_SECRET", "hunter2hunter2hunter2")];
        assert!(!format!("{:?}", cluster(&secrets).unwrap()).contains("hunter2"));
    }
}
