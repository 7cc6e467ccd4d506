//! The way to Redis: few connections, shared and pipelined, that come back by themselves.
//!
//! All limits on the traffic with Redis are here: how many commands are under way, how long one may take, and
//! how reconnecting is paced.

use super::{
    Limits,
    address::{Address, Kind},
    batch::{Batcher, Haste},
    script::Script,
};
use crate::{Cause, StoreError};
use redis::{
    Cmd, ErrorKind, RedisError, ServerErrorKind, TlsCertificates, Value,
    aio::{ConnectionLike as _, ConnectionManager, ConnectionManagerConfig},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    io::tcp::TcpSettings,
};
use std::{fmt, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// Commands under way at once. Further ones wait their turn, within their time limit.
pub(super) const IN_FLIGHT_MAX: usize = 4096;

/// Commands queued between the callers and a connection's writer.
const WRITE_QUEUE_LEN: usize = 1024;

/// Attempts to reconnect in a row. Then the commands that wait for the connection fail, and the next command
/// starts the next round, so an outage costs at most one attempt at a time.
const RECONNECT_ATTEMPTS: usize = 4;

/// The first pause between attempts; it doubles, and up to as much again is added at random.
const RECONNECT_PAUSE_MIN: Duration = Duration::from_millis(50);

/// The longest pause between attempts, before the random part.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_millis(500);

/// How long one attempt may take, with TLS and authentication.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes that the other side has not acknowledged for so long mean that the connection is dead, although
/// nobody has closed it (TCP_USER_TIMEOUT).
#[cfg(target_os = "linux")]
const DEAD_AFTER: Duration = Duration::from_secs(10);

/// Redirections and retries of one command in a cluster. The client has one number for both, and for all commands.
const CLUSTER_RETRIES: u32 = 4;

/// What Redis says when a script asks for a key that is on another node.
const NOT_LOCAL: &str = "access a non local key";

/// The way to Redis.
#[derive(Clone)]
pub(super) struct Link(Arc<Shared>);

struct Shared {
    wire: Wire,
    shown: String,
    permits: Semaphore,
    step_timeout: Duration,
}

enum Wire {
    Server(Batcher),
    Cluster(ClusterConnection),
}

/// Whether a command may be performed twice, because the answer to the first time was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Twice is as good as once.
    Harmless,
    /// Each time makes something new. So the lost answer is told; but in a cluster the client repeats everything.
    Harmful,
}

/// A command was not answered, or was answered by an error.
#[derive(Debug)]
pub(super) enum Failure {
    /// By Redis, or on the way to it.
    Redis(RedisError),
    /// Within the time limit there was no answer.
    Elapsed(Duration),
    /// The store has been closed.
    Closed,
}

impl Link {
    /// Prepares a link. A single server is connected to with the first command.
    pub(super) async fn open(address: &Address, limits: &Limits) -> Result<Self, Failure> {
        let wire = match &address.kind {
            Kind::Server(info) => Wire::Server(Batcher::start(server(info, limits)?, limits.step_timeout)),
            Kind::Cluster(nodes, tls) => {
                let mut builder = ClusterClient::builder(nodes.clone())
                    .use_protocol(redis::ProtocolVersion::RESP3)
                    .connection_timeout(CONNECT_TIMEOUT)
                    .response_timeout(limits.step_timeout)
                    .tcp_settings(tcp_settings())
                    .retries(CLUSTER_RETRIES)
                    .min_retry_wait(millis(RECONNECT_PAUSE_MIN))
                    .max_retry_wait(millis(RECONNECT_PAUSE_MAX));
                if let Some(tls) = tls {
                    builder = builder.tls(*tls).certs(certificates(limits));
                }
                let client = builder.build().map_err(Failure::Redis)?;
                let connection = tokio::time::timeout(limits.step_timeout, client.get_async_connection())
                    .await
                    .map_err(|_| Failure::Elapsed(limits.step_timeout))?
                    .map_err(Failure::Redis)?;
                Wire::Cluster(connection)
            }
        };
        Ok(Self(Arc::new(Shared {
            wire,
            shown: address.shown.clone(),
            permits: Semaphore::new(IN_FLIGHT_MAX),
            step_timeout: limits.step_timeout,
        })))
    }

    /// Calls a script, and sends its text if the server does not have it: one step, within the time limit.
    pub(super) async fn call(
        &self,
        script: &Script,
        call: &Cmd,
        repeat: Repeat,
        haste: Haste,
    ) -> Result<Value, StoreError> {
        let answer = self.within_limit(async {
            match self.send(call, repeat, haste).await {
                Err(Failure::Redis(error))
                    if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) =>
                {
                    self.send(&script.with_text(call), repeat, haste).await
                }
                answer => answer,
            }
        });
        answer.await.map_err(StoreError::from)
    }

    /// Sends a command, which may be performed twice, and waits for the answer, not longer than the time limit.
    pub(super) async fn ask(&self, command: &Cmd) -> Result<Value, Failure> {
        self.within_limit(self.send(command, Repeat::Harmless, Haste::AtOnce)).await
    }

    async fn within_limit(
        &self,
        answer: impl Future<Output = Result<Value, Failure>>,
    ) -> Result<Value, Failure> {
        let limit = self.0.step_timeout;
        tokio::time::timeout(limit, answer).await.unwrap_or(Err(Failure::Elapsed(limit)))
    }

    async fn send(&self, command: &Cmd, repeat: Repeat, haste: Haste) -> Result<Value, Failure> {
        let Shared { wire, permits, .. } = &*self.0;
        let _permit = permits.acquire().await.map_err(|_| Failure::Closed)?;
        let answer = match wire {
            // After an outage the first command finds a broken connection, and the next one a new one. So that first
            // command need not fail if it may be performed twice: whether it has been, nobody knows.
            Wire::Server(batcher) => match batcher.send(command.clone(), haste).await {
                Err(error) if error.is_io_error() && repeat == Repeat::Harmless => {
                    batcher.send(command.clone(), haste).await
                }
                answer => answer,
            },
            Wire::Cluster(cluster) => cluster.clone().req_packed_command(command).await,
        };
        answer.and_then(Value::extract_error).map_err(Failure::Redis)
    }

    /// What `INFO memory` says: of the server, or of each node of the cluster.
    pub(super) async fn memory_info(&self) -> Result<Vec<String>, Failure> {
        let answer = self.ask(redis::cmd("INFO").arg("memory")).await?;
        let texts = match answer {
            Value::Map(nodes) => nodes.into_iter().map(|(_, text)| text).collect(),
            text => vec![text],
        };
        texts
            .into_iter()
            .map(|text| redis::from_redis_value(text).map_err(|error| Failure::Redis(error.into())))
            .collect()
    }

    /// Lets the commands under way end, within the time limit, and refuses further ones.
    pub(super) async fn close(&self) {
        let Shared { permits, step_timeout, .. } = &*self.0;
        let all = permits.acquire_many(IN_FLIGHT_MAX as u32);
        let _ = tokio::time::timeout(*step_timeout, all).await;
        permits.close();
    }
}

/// The connection to a single server.
fn server(info: &redis::ConnectionInfo, limits: &Limits) -> Result<ConnectionManager, Failure> {
    let info = info.clone().set_tcp_settings(tcp_settings());
    let encrypted = matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. });
    let client = if encrypted {
        redis::Client::build_with_tls(info, certificates(limits))
    } else {
        redis::Client::open(info)
    };
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(RECONNECT_ATTEMPTS)
        .set_min_delay(RECONNECT_PAUSE_MIN)
        .set_max_delay(RECONNECT_PAUSE_MAX)
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_pipeline_buffer_size(WRITE_QUEUE_LEN)
        // `ask` keeps the time for the whole command, waiting for the connection included; a second timer
        // for each command would cost and add nothing.
        .set_response_timeout(None);
    let manager = client.and_then(|client| ConnectionManager::new_lazy_with_config(client, config));
    manager.map_err(Failure::Redis)
}

/// No waiting for more to send, and no endless wait for an answer from a machine that is gone.
fn tcp_settings() -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(DEAD_AFTER);
    settings
}

/// Which certificates are trusted: the system's, or the one that the operator gives.
fn certificates(limits: &Limits) -> TlsCertificates {
    TlsCertificates { client_tls: None, root_cert: limits.root_certificate.clone() }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.0.shown).finish()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redis(error) => error.fmt(f),
            Self::Elapsed(limit) => write!(f, "no answer within {limit:?}"),
            Self::Closed => f.write_str("the store is closed"),
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match &failure {
            // Something else is stored under the client's key.
            Failure::Redis(error) if error.code() == Some("WRONGTYPE") => {
                Self::Unreadable("not a client's record".into())
            }
            // A slot is moving to another node of the cluster, and the client's messages are not all there yet.
            Failure::Redis(error) if error.detail().is_some_and(|detail| detail.contains(NOT_LOCAL)) => {
                Self::unavailable(Cause::Cluster, failure.to_string())
            }
            // A script fails by itself only on what it cannot count or compare.
            Failure::Redis(error)
                if error.code() == Some("ERR")
                    && error.detail().is_some_and(|detail| detail.contains("user_script")) =>
            {
                Self::Unreadable(failure.to_string())
            }
            Failure::Redis(error) => {
                let cause = if error.is_io_error() { Cause::Unreachable } else { Cause::Refused };
                Self::unavailable(cause, failure.to_string())
            }
            Failure::Elapsed(_) => Self::unavailable(Cause::Timeout, failure.to_string()),
            Failure::Closed => Self::unavailable(Cause::Closed, failure.to_string()),
        }
    }
}
