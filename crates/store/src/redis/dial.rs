//! Making one connection to one server.
//!
//! Everything that may change is read again for each connection: the host name is resolved, and the files with the
//! password and the certificates are read.

use super::{
    address::{Address, Node, Password},
    fault::Fault,
    options::{Access, TlsIdentity},
};
use crate::Cause;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo as _, Pipeline,
    ProtocolVersion, PushKind, RedisConnectionInfo, TlsCertificates, Value, aio::MultiplexedConnection,
    io::tcp::TcpSettings,
};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

/// Most pipelines queued in front of the connection's own task. There are never as many in flight.
const WRITE_QUEUE_LEN: usize = 256;

/// The channels of a Sentinel on which it tells that it names another primary: because it has promoted a replica, and
/// because it has heard so from another Sentinel.
const NEWS: [&str; 2] = ["+promoted-slave", "+switch-master"];

/// Makes connections.
#[derive(Debug)]
pub(super) struct Dialer {
    encrypted: bool,
    user: Option<String>,
    password: Option<Password>,
    database: i64,
    access: Access,
}

/// A connection, and what is known about the server.
#[derive(Debug)]
pub(super) struct Dialed {
    pub(super) connection: MultiplexedConnection,
    /// Notified when the connection ends.
    pub(super) lost: Arc<Notify>,
    /// The kind of server. `None` if it does not say.
    pub(super) mode: Option<Mode>,
    /// The answer to `TIME`.
    pub(super) time: Value,
    /// The moments before and after the round trip that read the time.
    pub(super) round_trip: (Instant, Instant),
    /// The answer to the command that was sent along.
    pub(super) answer: Option<Value>,
}

/// Kinds of servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Standalone,
    Sentinel,
    Cluster,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// A server with data.
    Server,
    /// A Sentinel, with or without authentication.
    Sentinel { authenticated: bool },
}

/// What is notified of what a server sends without being asked.
#[derive(Debug, Clone)]
struct Pushes {
    /// The connection has ended.
    lost: Arc<Notify>,
    /// There is a message of a channel.
    news: Option<Arc<Notify>>,
}

impl Pushes {
    fn received(&self, kind: &PushKind) {
        match (kind, &self.news) {
            (PushKind::Disconnection, _) => self.lost.notify_one(),
            (PushKind::Message, Some(news)) => news.notify_one(),
            _ => {}
        }
    }
}

impl Dialer {
    pub(super) fn new(address: &Address, access: Access) -> Self {
        Self {
            encrypted: address.encrypted,
            user: access.user.clone().or_else(|| address.user.clone()),
            password: address.password.clone(),
            database: address.database,
            access,
        }
    }

    /// [`Access::replicas`].
    pub(super) fn replicas(&self) -> u32 {
        self.access.replicas
    }

    /// Connects to a server with data and sends it one command, all within the connect timeout.
    pub(super) async fn dial(&self, at: &Node, ask: Option<redis::Cmd>) -> Result<Dialed, Fault> {
        let limit = self.access.connect_timeout;
        let dialed = timeout(limit, async {
            let lost = Arc::new(Notify::new());
            let mut connection =
                self.connect(at, Peer::Server, Pushes { lost: lost.clone(), news: None }).await?;
            let mut pipeline = Pipeline::new();
            pipeline.cmd("HELLO");
            pipeline.cmd("TIME");
            if let Some(command) = ask {
                pipeline.add_command(command);
            }
            let (sent, count) = (now(), pipeline.len());
            let answers = connection.send_packed_commands(&pipeline, 0, count).await;
            let mut answers = answers.map_err(|error| Fault::from_dial(&error, at))?.into_iter();
            let mode = answers.next().as_ref().and_then(mode);
            let time = answers.next().unwrap_or(Value::Nil);
            Ok(Dialed { connection, lost, mode, time, round_trip: (sent, now()), answer: answers.next() })
        });
        dialed.await.unwrap_or_else(|_| Err(Fault::silent(limit)))
    }

    /// Connects to a Sentinel and asks it a question, all within the connect timeout. `news` is notified when it tells of a
    /// change of primaries, `lost` when the connection ends. It gets the user and the password only if it asks for
    /// authentication.
    pub(super) async fn dial_sentinel(
        &self,
        at: &Node,
        question: &redis::Cmd,
        news: Arc<Notify>,
        lost: Arc<Notify>,
    ) -> Result<MultiplexedConnection, Fault> {
        let limit = self.access.connect_timeout;
        let dialed = timeout(limit, async {
            let pushes = Pushes { lost, news: Some(news) };
            let first = self.dial_sentinel_as(at, question, false, pushes.clone()).await;
            match first {
                Err(fault) if fault.cause == Cause::Denied => {
                    self.dial_sentinel_as(at, question, true, pushes).await
                }
                dialed => dialed,
            }
        });
        dialed.await.unwrap_or_else(|_| Err(Fault::silent(limit)))
    }

    async fn dial_sentinel_as(
        &self,
        at: &Node,
        question: &redis::Cmd,
        authenticated: bool,
        pushes: Pushes,
    ) -> Result<MultiplexedConnection, Fault> {
        let mut connection = self.connect(at, Peer::Sentinel { authenticated }, pushes).await?;
        let answer = connection.send_packed_command(question).await.and_then(Value::extract_error);
        answer.map_err(|error| Fault::from_redis(&error, at))?;
        // A user may not have the right to. Then it is only asked.
        if let Err(error) = connection.subscribe(&NEWS).await {
            tracing::debug!(sentinel = %at, %error, "a Sentinel tells of no failovers");
        }
        Ok(connection)
    }

    async fn connect(&self, at: &Node, peer: Peer, pushes: Pushes) -> Result<MultiplexedConnection, Fault> {
        let client = self.client(at, peer).await?;
        let config = AsyncConnectionConfig::new()
            // Callers have time limits of their own.
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(WRITE_QUEUE_LEN)
            .set_push_sender(move |push: redis::PushInfo| {
                pushes.received(&push.kind);
                Ok::<(), ()>(())
            });
        let connected = client.get_multiplexed_async_connection_with_config(&config).await;
        connected.map_err(|error| Fault::from_dial(&error, at))
    }

    async fn client(&self, at: &Node, peer: Peer) -> Result<Client, Fault> {
        let Node { host, port } = at.clone();
        // Redis before 7.2 knows no ACL rule for `CLIENT SETINFO`. With RESP3 redis-rs reports a broken connection at once,
        // with RESP2 only for the next command.
        let mut settings = RedisConnectionInfo::default().set_skip_set_lib_name();
        settings = settings.set_protocol(ProtocolVersion::RESP3);
        let authenticated = match peer {
            Peer::Server => {
                settings = settings.set_db(self.database);
                true
            }
            Peer::Sentinel { authenticated } => authenticated,
        };
        if authenticated {
            if let Some(user) = &self.user {
                settings = settings.set_username(user);
            }
            if let Some(password) = self.password().await? {
                settings = settings.set_password(password);
            }
        }
        let addr = if self.encrypted {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let misconfigured = |error: redis::RedisError| Fault::refused(Cause::Denied, error.to_string());
        let info = addr.into_connection_info().map_err(misconfigured)?;
        let info = info.set_redis_settings(settings).set_tcp_settings(tcp_settings());
        if self.encrypted {
            Client::build_with_tls(info, self.certificates().await?).map_err(misconfigured)
        } else {
            Client::open(info).map_err(misconfigured)
        }
    }

    /// The password in the file, or else in the URL.
    async fn password(&self) -> Result<Option<String>, Fault> {
        let Some(path) = &self.access.password_file else {
            return Ok(self.password.as_ref().map(|password| password.0.clone()));
        };
        let text = read("the password", path).await?;
        let text = String::from_utf8(text)
            .map_err(|_| Fault::refused(Cause::Denied, format!("{}: not UTF-8", path.display())))?;
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// The authorities to trust and the certificate to present.
    async fn certificates(&self) -> Result<TlsCertificates, Fault> {
        let root_cert = match &self.access.tls.ca {
            Some(path) => Some(read("the certificate authority", path).await?),
            None => None,
        };
        let client_tls = match &self.access.tls.identity {
            Some(TlsIdentity { cert, key }) => Some(ClientTlsConfig {
                client_cert: read("the certificate", cert).await?,
                client_key: read("the key of the certificate", key).await?,
            }),
            None => None,
        };
        Ok(TlsCertificates { client_tls, root_cert })
    }
}

async fn read(what: &str, path: &Path) -> Result<Vec<u8>, Fault> {
    let unreadable =
        |error| Fault::refused(Cause::Denied, format!("{what} for Redis, {}: {error}", path.display()));
    tokio::fs::read(path).await.map_err(unreadable)
}

/// The kind of server in the answer to `HELLO`.
pub(super) fn mode(answer: &Value) -> Option<Mode> {
    let text = |value: &Value| match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    };
    let Value::Map(fields) = answer else { return None };
    let (_, mode) = fields.iter().find(|(name, _)| text(name).as_deref() == Some("mode"))?;
    match text(mode)?.as_str() {
        "standalone" => Some(Mode::Standalone),
        "sentinel" => Some(Mode::Sentinel),
        "cluster" => Some(Mode::Cluster),
        _ => None,
    }
}

/// Data is sent without delay. When a connection is given up, unacknowledged data is discarded (a linger time of zero), so
/// that Redis does not receive it later.
fn tcp_settings() -> TcpSettings {
    TcpSettings::default().set_nodelay(true).set_linger_time(Duration::ZERO)
}

#[expect(clippy::disallowed_methods, reason = "links measure time limits and round trips")]
pub(super) fn now() -> Instant {
    Instant::now()
}
