//! What every node takes of new settings while it runs.

use crate::{
    assembly::Assembled,
    config::{ClusterSettings, CommonSettings},
};
use beckon_listener::{settings::PortSettings, tls::Certificates};
use beckon_ops::{
    config::{ConfigError, ConfigErrors},
    reload::{Reloadables, Take},
};
use beckon_proto::tls::Tls;
use beckon_types::KeyRing;
use std::{path::PathBuf, sync::Arc};

/// Settings of [`CommonSettings`] and of the log that every node takes, besides all of [`PortSettings`].
pub const COMMON: &[&str] = &["drain_delay", "log", "token_keys", "trace_rate", "trace_ratio"];

/// The settings of ports that every node takes: all but the certificates ([`add_certificates`]).
pub fn ports() -> impl Iterator<Item = &'static str> {
    PortSettings::FIELDS.iter().map(|field| field.name).filter(|name| !CERTIFICATES.contains(name))
}

/// Settings of the certificates of public ports.
pub const CERTIFICATES: &[&str] = &["tls_cert", "tls_key"];

/// Settings of a cluster's nodes: [`ClusterSettings::add_reloadables`] and [`add_tls`].
pub const CLUSTER: &[&[&str]] = &[&[SECRET], TLS];

/// Settings of the files that the store reads for each connection to Redis.
pub const OF_STORE: &[&str] = &["store_password_file", "store_tls_ca", "store_tls_cert", "store_tls_key"];

const SECRET: &str = "cluster_secret";

const TLS: &[&str] = &["grpc_tls_ca", "grpc_tls_cert", "grpc_tls_key", "grpc_tls_name"];

impl Assembled {
    /// Adds what every node takes. `keys` is the ring in use, and `settings` finds its part of all settings.
    pub fn add_reloadables<C>(
        &self,
        keys: &KeyRing,
        parts: &mut Reloadables<C>,
        settings: impl Fn(&C) -> (&CommonSettings, &PortSettings) + Send + Sync + 'static,
    ) {
        let settings = Arc::new(settings);
        let of_store = settings.clone();
        parts.add_files(OF_STORE, move |config| check_files(of_store(config).0));
        let names: Vec<_> = COMMON.iter().copied().chain(ports()).collect();
        let (keys, drain, shares) = (keys.clone(), self.drain().clone(), self.shares().clone());
        let tracer = self.tracer().clone();
        parts.add(&names, move |config| {
            let (common, ports) = settings(config);
            check_keys(&keys, &common.token_keys)?;
            let (keys, drain, shares, tracer) = (keys.clone(), drain.clone(), shares.clone(), tracer.clone());
            let (new_keys, delay, ports) = (common.token_keys.clone(), common.drain_delay, ports.clone());
            let (ratio, rate) = (common.trace_ratio, common.trace_rate);
            let take = move || {
                tracer.sample(ratio, rate);
                keys.replace(&new_keys);
                drain.set_delay(delay);
                shares.replace(ports);
            };
            Ok(Box::new(take) as Take)
        });
    }
}

impl ClusterSettings {
    /// Adds what every node of a cluster takes. These are the settings in use, and `settings` finds the part of all settings.
    pub fn add_reloadables<C>(
        &self,
        parts: &mut Reloadables<C>,
        settings: impl Fn(&C) -> &Self + Send + Sync + 'static,
    ) {
        let secret = self.cluster_secret.clone();
        parts.add(&[SECRET], move |config| {
            let (secret, new) = (secret.clone(), settings(config).cluster_secret.clone());
            Ok(Box::new(move || secret.replace(&new)) as Take)
        });
    }
}

/// Adds the certificates of the public ports, if they are used: `in_use`. `settings` finds them in all settings.
pub fn add_certificates<C>(
    in_use: Option<&Arc<Certificates>>,
    parts: &mut Reloadables<C>,
    settings: impl Fn(&C) -> Option<&Arc<Certificates>> + Send + Sync + 'static,
) {
    // Clients and load balancers know whether a port has TLS, so to switch it on or off takes a restart.
    let Some(in_use) = in_use.cloned() else { return };
    parts.add(CERTIFICATES, move |config| match settings(config) {
        Some(new) => {
            let (in_use, new) = (in_use.clone(), new.clone());
            Ok(Box::new(move || in_use.replace(&new)) as Take)
        }
        None => Err(ConfigErrors::one("tls_cert", "is in use; to go on without TLS, restart the node")),
    });
}

/// Adds the certificates between nodes, if they are used: `in_use`. `settings` finds them in all settings.
pub fn add_tls<C>(
    in_use: Option<&Tls>,
    parts: &mut Reloadables<C>,
    settings: impl Fn(&C) -> Option<&Tls> + Send + Sync + 'static,
) {
    // A node without TLS cannot be reached by nodes with it, so to switch it on or off takes a restart of all.
    let Some(in_use) = in_use.cloned() else { return };
    parts.add(TLS, move |config| match settings(config) {
        Some(new) => {
            let (in_use, new) = (in_use.clone(), new.clone());
            Ok(Box::new(move || in_use.replace(&new)) as Take)
        }
        None => Err(ConfigErrors::one("grpc_tls_cert", "is in use; to go on without TLS, restart the node")),
    });
}

/// The files that the store reads for each connection can be read.
fn check_files(settings: &CommonSettings) -> Result<(), ConfigErrors> {
    let CommonSettings { store_password_file, store_tls_ca, store_tls_cert, store_tls_key, .. } = settings;
    let paths = [store_password_file, store_tls_ca, store_tls_cert, store_tls_key];
    let unreadable = |(name, path): (&&str, &Option<PathBuf>)| {
        let path = path.as_ref()?;
        let error = std::fs::read(path).err()?;
        Some(ConfigError { place: (*name).to_owned(), reason: format!("{}: {error}", path.display()) })
    };
    let errors: Vec<_> = OF_STORE.iter().zip(paths).filter_map(unreadable).collect();
    if errors.is_empty() { Ok(()) } else { Err(ConfigErrors(errors)) }
}

/// Endpoints of a ring that shares no key with the next one could not be opened, and application servers would drop them.
fn check_keys(in_use: &KeyRing, new: &KeyRing) -> Result<(), ConfigErrors> {
    if in_use.overlaps(new) {
        return Ok(());
    }
    Err(ConfigErrors::one(
        "token_keys",
        "has none of the keys in use, without which all endpoints would be lost",
    ))
}
