//! What each primary says of itself. `beckon doctor` judges by it whether Redis is set up well.

use super::{
    address,
    fault::Fault,
    opening::{self, ConnectError},
    options::RedisOptions,
    primary::Primary,
    topology::Topology,
};
use redis::Pipeline;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::timeout;

/// A primary, or why it cannot be examined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surveyed {
    /// Its host and port.
    pub address: String,
    /// What it says, or what is wrong with it.
    pub info: Result<Info, String>,
}

/// What a primary says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The fields of `INFO`, such as `redis_version`. Empty if the user may not send it.
    fields: BTreeMap<String, String>,
    /// The primary's clock, since the Unix epoch.
    pub time: Duration,
}

impl Info {
    /// A field of `INFO`.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

/// Connects as [`connect`](super::connect) does, with all its checks, and asks each primary what it is.
///
/// # Errors
/// Those of [`connect`](super::connect).
pub async fn survey(url: &str, options: &RedisOptions) -> Result<Vec<Surveyed>, ConnectError> {
    let address = address::parse(url).map_err(|reason| ConnectError::Configuration(reason.into()))?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let topology = opening::open(address, options).await?;
    let mut surveyed = Vec::new();
    for primary in topology.map().primaries() {
        let limit = options.access.connect_timeout + options.step_timeout;
        let asked = timeout(limit, ask(&topology, primary)).await;
        let info = asked.unwrap_or_else(|_| Err(Fault::silent(limit))).map_err(|fault| fault.to_string());
        surveyed.push(Surveyed { address: primary.to_string(), info });
    }
    Ok(surveyed)
}

async fn ask(topology: &Topology, primary: &Primary) -> Result<Info, Fault> {
    let (at, dialed) = topology.dial(primary).await?;
    let mut connection = dialed.connection;
    let mut pipeline = Pipeline::new();
    pipeline.cmd("INFO");
    pipeline.cmd("TIME");
    let answers = connection.send_packed_commands(&pipeline, 0, 2).await;
    let answers = answers.map_err(|error| Fault::from_dial(&error, &at))?;
    let [info, time] = answers.as_slice() else {
        return Ok(Info { fields: BTreeMap::new(), time: Duration::ZERO });
    };
    let text: String = redis::from_redis_value(info.clone()).unwrap_or_default();
    let (seconds, micros): (u64, u64) = redis::from_redis_value(time.clone()).unwrap_or_default();
    let fields = text.lines().filter_map(|line| line.trim().split_once(':'));
    Ok(Info {
        fields: fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        time: Duration::from_secs(seconds) + Duration::from_micros(micros),
    })
}
