//! What an operator can set on the standalone server.

use crate::key_files::{TOKEN_KEYS, UAID_KEY};
use beckon_connection_node::{Limits, config::SocketSettings};
use beckon_endpoint_node::config::HttpSettings;
use beckon_listener::{settings::PortSettings, tls::Certificates};
use beckon_node::{
    access::{Access, AdminSettings},
    config::{CommonSettings, FAMILY},
    files::fitting,
    store::Embedded,
    try_page::TryPageSetting,
};
use beckon_ops::{
    config::{ConfigErrors, Part, Secret, Source, parsed},
    exit::Failure,
    logging::LogSettings,
    program::ServerConfig,
};
use beckon_store::EMBEDDED;
use beckon_types::KeyRing;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    num::NonZero,
    path::PathBuf,
    sync::Arc,
};

beckon_ops::settings! {
    /// What concerns the one process.
    pub(crate) struct ProcessSettings {
        /// Address and port for operators: health, version, metrics, the dashboard and its API.
        admin_listen: SocketAddr = "127.0.0.1:8083",
        /// Whether admin_listen shows a page to try the server with: true, false, or the wss:// URL at which the devices
        /// of the page reach this server through a proxy.
        try_page: TryPageSetting = "true" => parsed,
        /// The store: embedded (in data_dir), or the URL of a store that nodes could share.
        store: Secret = "embedded",
        /// Directory of the embedded store and of the keys, created at first start.
        data_dir: PathBuf = "./beckon-data",
        /// Whether an accepted notification also survives a power failure. If false, it survives the death of the
        /// process, and a power failure loses what was accepted in the last two seconds.
        fsync: bool = "true",
    }
}

impl ProcessSettings {
    /// How help shows these settings.
    pub(crate) const PART: Part = Part { heading: "This process", fields: Self::FIELDS };
}

/// All settings of a standalone server.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) sockets: SocketSettings,
    pub(crate) http: HttpSettings,
    pub(crate) process: ProcessSettings,
    pub(crate) ports: PortSettings,
    /// Its `token_keys`, as the `uaid_key` of `sockets`, are a placeholder unless they are `given`.
    pub(crate) common: CommonSettings,
    log: LogSettings,
    /// The certificates of the public ports.
    pub(crate) certificates: Option<Arc<Certificates>>,
    /// Without operators unless the owner has set a token.
    pub(crate) access: Access,
    /// Which keys the operator has set. The others come from the data directory.
    pub(crate) given: GivenKeys,
}

/// Which keys the operator has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GivenKeys {
    pub(crate) token_keys: bool,
    pub(crate) uaid_key: bool,
}

impl Config {
    /// Every setting, in the order in which help shows them.
    pub(crate) const PARTS: &'static [Part] = &[
        SocketSettings::PART,
        HttpSettings::PART,
        ProcessSettings::PART,
        PortSettings::PART,
        AdminSettings::PART,
        CommonSettings::PART,
        LogSettings::PART,
    ];

    /// Defaults that the other programs do not have.
    pub(crate) const DEFAULTS: &'static [(&'static str, &'static str)] = &[
        ("admin_token", "made at first start"),
        ("drain_delay", "0"),
        ("endpoint_url", "http:// and http_listen, with tls_cert https://"),
        ("token_keys", "made at first start"),
        ("uaid_key", "made at first start"),
    ];

    /// Where devices reach this server without a proxy. With TLS that is at the name of the endpoints, for which there is
    /// a certificate.
    pub(crate) fn ws_url(&self) -> String {
        let address = reachable(self.sockets.ws_listen);
        match &self.certificates {
            None => format!("ws://{address}/"),
            Some(_) => format!("wss://{}:{}/", self.common.endpoint_url.host(), address.port()),
        }
    }

    /// Takes the token keys from the data directory, unless the operator has set them.
    ///
    /// # Errors
    /// Those of [`crate::key_files::KeyFile::read_or_make`].
    pub(crate) fn find_keys(&mut self) -> Result<(), Failure> {
        let data_dir = &self.process.data_dir;
        if !self.given.token_keys {
            self.common.token_keys = TOKEN_KEYS.read_or_make(data_dir)?;
        }
        if !self.given.uaid_key {
            self.sockets.uaid_key = UAID_KEY.read_or_make(data_dir)?;
        }
        Ok(())
    }

    /// Whether the store is in this process.
    pub(crate) fn is_embedded(&self) -> bool {
        self.process.store.expose() == EMBEDDED
    }

    /// How the embedded store is opened.
    pub(crate) fn embedded(&self) -> Embedded {
        Embedded { data_dir: self.process.data_dir.clone(), fsync: self.process.fsync }
    }

    /// How many connections of application servers and how many WebSockets there may be, if the process may have so
    /// many files open. Where there are too few for both, each gets half.
    pub(crate) fn limits(&self, open_files_max: Option<u64>) -> (u64, Limits) {
        let http_max = self.http.http_max_connections as u64;
        let http_max = fitting("http_max_connections", http_max, open_files_max.map(|files| files / 2));
        (http_max, self.sockets.limits(open_files_max.map(|files| files - http_max)))
    }
}

impl ServerConfig for Config {
    fn read(mut source: Source) -> Result<Self, ConfigErrors> {
        source.ignore(FAMILY);
        let given =
            GivenKeys { token_keys: source.is_given("token_keys"), uaid_key: source.is_given("uaid_key") };
        source.set_default("uaid_key", KeyRing::key_text(&[0; beckon_types::UAID_KEY_LEN]));
        source.set_default("token_keys", KeyRing::key_text(&[0; beckon_types::TOKEN_KEY_LEN]));
        // There is no other server to send clients to.
        source.set_default("drain_delay", "0");
        let http = HttpSettings::read(&mut source);
        let ports = PortSettings::read(&mut source);
        let certificates = ports.as_ref().and_then(|ports| ports.certificates(&mut source));
        if let Some(http) = &http {
            let scheme = if certificates.is_some() { "https" } else { "http" };
            source.set_default("endpoint_url", format!("{scheme}://{}", reachable(http.http_listen)));
        }
        let sockets = SocketSettings::read(&mut source);
        let process = ProcessSettings::read(&mut source);
        let access = AdminSettings::read(&mut source).and_then(|settings| settings.access(&mut source));
        let common = CommonSettings::read(&mut source);
        let log = LogSettings::read(&mut source);
        let config = || {
            Some(Self {
                sockets: sockets?,
                http: http?,
                process: process?,
                ports: ports?,
                common: common?,
                log: log?,
                certificates,
                access: access?,
                given,
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

/// An address that can be connected to: this machine's loopback address in place of a wildcard address. What listens on `[::]`
/// also does on IPv4, so that of IPv4 where there is none of IPv6, as in many containers.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        ip if !ip.is_unspecified() => address,
        IpAddr::V6(_) if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() => {
            SocketAddr::from((Ipv6Addr::LOCALHOST, address.port()))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use beckon_node::reloading;
    use std::collections::{BTreeMap, BTreeSet};

    /// The settings of a program, and the defaults that it replaces.
    type Declared = (&'static [Part], &'static [(&'static str, &'static str)]);

    /// The settings of the three programs, in the order of the columns of docs/configuration.md.
    fn programs() -> [Declared; 3] {
        [
            (beckon_connection_node::config::Config::PARTS, &[]),
            (beckon_endpoint_node::config::Config::PARTS, &[]),
            (Config::PARTS, Config::DEFAULTS),
        ]
    }

    fn read(variables: &[(&str, &str)]) -> Result<Config, String> {
        let source = Source::new(std::iter::empty::<&str>(), variables.iter().copied());
        Config::read(source).map_err(|errors| errors.to_string())
    }

    #[test]
    fn programs_of_a_cluster_know_the_settings_of_each_other() {
        let declared = programs().into_iter().flat_map(|(parts, _)| parts).flat_map(|part| part.fields);
        let declared: BTreeSet<&str> = declared.map(|field| field.name).collect();
        assert_eq!(declared, FAMILY.iter().copied().collect(), "FAMILY of crates/node/src/family.rs");
    }

    /// A row of the table in docs/configuration.md for each setting, as the programs declare it.
    fn documented_rows() -> BTreeSet<String> {
        let mut rows: BTreeMap<&str, (String, [String; 3])> = BTreeMap::new();
        for (column, (parts, defaults)) in programs().into_iter().enumerate() {
            for field in parts.iter().flat_map(|part| part.fields) {
                let meaning: Vec<&str> = field.help.split_whitespace().collect();
                let row = rows.entry(field.name).or_insert_with(|| (meaning.join(" "), Default::default()));
                let replaced = defaults.iter().find(|(name, _)| *name == field.name);
                row.1[column] = match (replaced, field.default) {
                    (Some((_, default)), _) => (*default).to_owned(),
                    (None, Some("")) => "none".to_owned(),
                    (None, Some(default)) => format!("`{default}`"),
                    (None, None) => "required".to_owned(),
                };
            }
        }
        rows.into_iter()
            .map(|(name, (meaning, [connection, endpoint, standalone]))| {
                format!("| `{name}` | {meaning} | {connection} | {endpoint} | {standalone} |")
            })
            .collect()
    }

    #[test]
    fn the_documentation_has_every_setting_with_its_meaning_and_defaults() {
        let path =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/configuration.md");
        let text = std::fs::read_to_string(&path).unwrap();
        let section = text.split("\n## ").find(|section| section.starts_with("All settings")).unwrap();
        let found: BTreeSet<String> =
            section.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect();
        let expected = documented_rows();
        let missing: Vec<_> = expected.difference(&found).map(String::as_str).collect();
        assert!(missing.is_empty(), "docs/configuration.md does not have\n{}", missing.join("\n"));
        let stale: Vec<_> = found.difference(&expected).map(String::as_str).collect();
        assert!(stale.is_empty(), "docs/configuration.md still has\n{}", stale.join("\n"));
    }

    /// The settings that need a restart, as docs/operations.md lists them.
    #[test]
    fn the_documentation_lists_the_settings_that_need_a_restart() {
        let taken = beckon_connection_node::RELOADED
            .iter()
            .chain(beckon_endpoint_node::RELOADED)
            .chain(reloading::COMMON)
            .chain(reloading::CERTIFICATES)
            .chain(reloading::CLUSTER.iter().copied().flatten());
        let taken: BTreeSet<&str> = taken.copied().chain(reloading::ports()).collect();
        // They are sorted.
        let others = FAMILY.iter().filter(|name| !taken.contains(*name));
        let others: Vec<_> = others.map(|name| format!("`{name}`")).collect();
        let path =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/operations.md");
        let text = std::fs::read_to_string(&path).unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        let expected = format!("These need a restart: {}.", others.join(", "));
        assert!(words.join(" ").contains(&expected), "docs/operations.md does not have\n{expected}");
    }

    #[test]
    fn a_server_needs_no_settings() {
        let config = read(&[]).unwrap();
        assert_eq!(config.common.endpoint_url.as_str(), "http://127.0.0.1:8081");
        assert_eq!(config.given, GivenKeys { token_keys: false, uaid_key: false });
        let config = read(&[("BECKON_HTTP_LISTEN", "[::]:80"), ("BECKON_GRPC_LISTEN", "0.0.0.0:1")]).unwrap();
        assert_eq!(config.common.endpoint_url.as_str(), "http://[::1]:80");
        assert!(read(&[("BECKON_STORE", "")]).unwrap_err().contains("must not be empty"));
    }

    #[test]
    fn sockets_and_requests_share_the_open_files() {
        let config = read(&[]).unwrap();
        for (files, http, sockets) in
            [(1_000_000, 10_000, 940_500), (30_000, 10_000, 19_000), (20_000, 9_500, 9_975), (1024, 486, 511)]
        {
            let (http_max, limits) = config.limits(Some(files));
            assert_eq!((http_max, limits.connections_max), (http, sockets), "{files} files");
        }
        assert_eq!(config.limits(None).0, 10_000);
        let chosen = read(&[("BECKON_MAX_CONNECTIONS", "15000")]).unwrap();
        assert_eq!(chosen.limits(Some(20_000)).1.connections_max, 15_000);
    }
}
