//! Making one connection to one server, and asking who answers there.
//!
//! Whatever may have changed since the last connection is read again: the name is resolved, and the files with the
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

/// Pipelines queued between this crate's tasks and the connection's own. There are fewer under way.
const WRITE_QUEUE_LEN: usize = 256;

/// Makes connections.
#[derive(Debug)]
pub(super) struct Dialer {
    encrypted: bool,
    user: Option<String>,
    password: Option<Password>,
    database: i64,
    access: Access,
}

/// A connection, and who answers there.
#[derive(Debug)]
pub(super) struct Dialed {
    pub(super) connection: MultiplexedConnection,
    /// Is notified when the connection ends.
    pub(super) lost: Arc<Notify>,
    /// Whether the server says that it is a Redis Cluster's, a Sentinel, or neither. `None` if it does not say.
    pub(super) mode: Option<Mode>,
    /// The answer to the command that was asked along, with the moments before and after it.
    pub(super) answer: Option<(Instant, Value, Instant)>,
}

/// What kind of server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Standalone,
    Sentinel,
    Cluster,
}

/// Whom a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Party {
    /// A server with data.
    Data,
    /// A Sentinel, which may have a password or not.
    Sentinel { authenticated: bool },
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

    /// Connects to a server with data, and asks it one thing along, all within the connect timeout.
    pub(super) async fn dial(&self, at: &Node, ask: Option<redis::Cmd>) -> Result<Dialed, Fault> {
        let limit = self.access.connect_timeout;
        let dialed = timeout(limit, async {
            let lost = Arc::new(Notify::new());
            let mut connection = self.connect(at, Party::Data, Some(lost.clone())).await?;
            let mut pipeline = Pipeline::new();
            pipeline.cmd("HELLO");
            if let Some(command) = ask {
                pipeline.add_command(command);
            }
            let (sent, count) = (now(), pipeline.len());
            let answers = connection.send_packed_commands(&pipeline, 0, count).await;
            let mut answers = answers.map_err(|error| Fault::from_dial(&error, at))?.into_iter();
            let mode = answers.next().as_ref().and_then(mode);
            let answer = answers.next().map(|answer| (sent, answer, now()));
            Ok(Dialed { connection, lost, mode, answer })
        });
        dialed.await.unwrap_or_else(|_| Err(Fault::silent(limit)))
    }

    /// Asks a Sentinel one thing. It gets the user and the password only if it wants one.
    pub(super) async fn ask_sentinel(&self, at: &Node, command: &redis::Cmd) -> Result<Value, Fault> {
        let limit = self.access.connect_timeout;
        let asked = timeout(limit, async {
            let first = self.ask_sentinel_as(at, command, Party::Sentinel { authenticated: false }).await;
            match first {
                Err(fault) if fault.cause == Cause::Denied => {
                    self.ask_sentinel_as(at, command, Party::Sentinel { authenticated: true }).await
                }
                answered => answered,
            }
        });
        asked.await.unwrap_or_else(|_| Err(Fault::silent(limit)))
    }

    async fn ask_sentinel_as(&self, at: &Node, command: &redis::Cmd, party: Party) -> Result<Value, Fault> {
        let mut connection = self.connect(at, party, None).await?;
        let answer = connection.send_packed_command(command).await.and_then(Value::extract_error);
        answer.map_err(|error| Fault::from_redis(&error, at))
    }

    async fn connect(
        &self,
        at: &Node,
        party: Party,
        lost: Option<Arc<Notify>>,
    ) -> Result<MultiplexedConnection, Fault> {
        let client = self.client(at, party).await?;
        let mut config = AsyncConnectionConfig::new()
            // The caller keeps the time, of this and of every command.
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(WRITE_QUEUE_LEN);
        if let Some(lost) = lost {
            config = config.set_push_sender(move |push: redis::PushInfo| {
                if push.kind == PushKind::Disconnection {
                    lost.notify_one();
                }
                Ok::<(), ()>(())
            });
        }
        let connected = client.get_multiplexed_async_connection_with_config(&config).await;
        connected.map_err(|error| Fault::from_dial(&error, at))
    }

    async fn client(&self, at: &Node, party: Party) -> Result<Client, Fault> {
        let Node { host, port } = at.clone();
        let mut settings = RedisConnectionInfo::default();
        let authenticated = match party {
            Party::Data => {
                // RESP3 tells at once when the connection breaks; RESP2 only with the next command.
                settings = settings.set_protocol(ProtocolVersion::RESP3).set_db(self.database);
                true
            }
            Party::Sentinel { authenticated } => authenticated,
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

    /// The password of the file, or else of the URL.
    async fn password(&self) -> Result<Option<String>, Fault> {
        let Some(path) = &self.access.password_file else {
            return Ok(self.password.as_ref().map(|password| password.0.clone()));
        };
        let text = read("the password", path).await?;
        let text = String::from_utf8(text)
            .map_err(|_| Fault::refused(Cause::Denied, format!("{}: not UTF-8", path.display())))?;
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// Which certificates are trusted, and which is shown.
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

/// What `HELLO` says of the kind of server.
fn mode(answer: &Value) -> Option<Mode> {
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

/// No waiting for more to send. What is not acknowledged yet when a connection is given up is dropped: the network must
/// not bring it to Redis later.
fn tcp_settings() -> TcpSettings {
    TcpSettings::default().set_nodelay(true).set_linger_time(Duration::ZERO)
}

#[expect(clippy::disallowed_methods, reason = "the time that one question to Redis takes")]
pub(super) fn now() -> Instant {
    Instant::now()
}
