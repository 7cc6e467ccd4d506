//! Binding a port and accepting connections, without falling over when there are too many.

use crate::tenure::{Phase, Tenure};
use rustix::io::Errno;
use socket2::{SockFilter, SockRef};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    os::fd::{AsFd as _, OwnedFd},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

/// Length of the kernel's queue of connections that are not accepted yet. Further clients repeat their SYN after one
/// second. The kernel caps it at `net.core.somaxconn`.
const BACKLOG: u32 = 4096;

/// First and longest pause after a connection could not be accepted, because file descriptors are short.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Connections that could not be accepted since the process started.
static ACCEPT_FAILURES: AtomicU64 = AtomicU64::new(0);

/// How many times a listener of this process could not accept a connection, because file descriptors or memory were short.
pub fn accept_failures() -> u64 {
    ACCEPT_FAILURES.load(Ordering::Relaxed)
}

/// A port could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (setting {setting}): {source}")]
pub struct BindError {
    /// The setting that holds the address.
    pub setting: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// What the system reported.
    pub source: io::Error,
}

impl From<BindError> for crate::exit::Failure {
    fn from(error: BindError) -> Self {
        Self::unavailable(error)
    }
}

/// A port on which connections are accepted while this process serves. Otherwise they wait in the kernel, for this process or
/// for the one that it hands over to.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    tenure: Tenure,
}

impl From<TcpListener> for Listener {
    /// One that is never handed over.
    fn from(tcp: TcpListener) -> Self {
        Self { tcp, tenure: Tenure::new() }
    }
}

impl Listener {
    /// A port that another process has handed over. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// It is not a listening port, or the runtime does not take it.
    pub fn handed_over(socket: OwnedFd) -> io::Result<Self> {
        let tcp = std::net::TcpListener::from(socket);
        tcp.set_nonblocking(true)?;
        let tcp = TcpListener::from_std(tcp)?;
        tcp.local_addr()?;
        Ok(tcp.into())
    }

    /// The port, on which connections are accepted while the process serves.
    #[must_use]
    pub fn under(self, tenure: &Tenure) -> Self {
        Self { tenure: tenure.clone(), ..self }
    }

    /// Its address.
    ///
    /// # Errors
    /// The system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// The same port, to hand it over.
    ///
    /// # Errors
    /// The process has too many files open.
    pub fn socket(&self) -> io::Result<OwnedFd> {
        self.tcp.as_fd().try_clone_to_owned()
    }
}

/// Listens on an address; `setting` is its name in error messages. Must be called inside a tokio runtime.
///
/// # Errors
/// The address is in use, does not belong to this machine, or is not permitted.
pub fn bind(setting: &'static str, address: SocketAddr) -> Result<Listener, BindError> {
    listen(address).map(Listener::from).map_err(|source| BindError { setting, address, source })
}

/// Listens on an address, of which `[::]` is for IPv4 too. Must be called inside a tokio runtime.
///
/// # Errors
/// As of [`bind`].
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let (socket, address) = socket_for(address)?;
    // Otherwise a restart would wait for connections of the previous process in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A socket, and what to bind it to.
fn socket_for(address: SocketAddr) -> io::Result<(TcpSocket, SocketAddr)> {
    if address.is_ipv4() || !address.ip().is_unspecified() {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        return Ok((socket, address));
    }
    match TcpSocket::new_v6() {
        Ok(socket) => {
            // Whatever net.ipv6.bindv6only says.
            SockRef::from(&socket).set_only_v6(false)?;
            Ok((socket, address))
        }
        // The kernel has no IPv6.
        Err(error) if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) => {
            Ok((TcpSocket::new_v4()?, SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()))))
        }
        Err(error) => Err(error),
    }
}

/// Makes the kernel drop the SYNs of new connections from now on. Connections that have begun are completed and can be
/// accepted. A listener that is closed some time after that resets none of them: the clients of those that were dropped
/// repeat their SYN a second later, and are refused then, before they have sent anything. Does nothing to a port that another
/// process serves.
///
/// # Errors
/// The kernel takes no filter.
pub fn stop_new(listener: &Listener) -> io::Result<()> {
    /// Classic BPF; the packet begins with the TCP header, whose byte 13 has the flags.
    const FILTER: [SockFilter; 5] = [
        // Load byte 13, keep SYN (0x02) and ACK (0x10), and go on to the next line only for SYN alone.
        SockFilter::new(0x30, 0, 0, 13),
        SockFilter::new(0x54, 0, 0, 0x12),
        SockFilter::new(0x15, 0, 1, 0x02),
        // Take nothing of the packet; take all of it.
        SockFilter::new(0x06, 0, 0, 0),
        SockFilter::new(0x06, 0, 0, u32::MAX),
    ];
    if listener.tenure.is_frozen() {
        return Ok(());
    }
    SockRef::from(&listener.tcp).attach_filter(&FILTER)
}

/// Accepts the next connection and sets `TCP_NODELAY`. Never fails: a connection that ended before it was accepted is
/// skipped, and while file descriptors or memory are short this pauses and tries again. Cancel safe.
pub async fn accept(listener: &Listener) -> (TcpStream, SocketAddr) {
    let Listener { tcp, tenure } = listener;
    let mut pause = Pause::new();
    loop {
        tenure.reached(Phase::Serving).await;
        let accepted = tokio::select! {
            biased;
            () = tenure.at_least(Phase::Settling) => continue,
            accepted = tcp.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Fails only if the connection is already gone, which the first read finds out.
                let _ = stream.set_nodelay(true);
                return (stream, peer);
            }
            Err(error) => pause.after(&error).await,
        }
    }
}

/// As [`accept`], for a socket of this machine, which is not handed over.
pub async fn accept_local(listener: &UnixListener) -> UnixStream {
    let mut pause = Pause::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => pause.after(&error).await,
        }
    }
}

/// How long to wait when a connection could not be accepted: longer each time.
struct Pause(Duration);

impl Pause {
    fn new() -> Self {
        Self(PAUSE_MIN)
    }

    /// Waits, unless the error concerns one connection only.
    async fn after(&mut self, error: &io::Error) {
        if is_of_one_connection(error) {
            return;
        }
        ACCEPT_FAILURES.fetch_add(1, Ordering::Relaxed);
        if self.0 == PAUSE_MIN {
            tracing::warn!(%error, "cannot accept connections, pausing");
        }
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(PAUSE_MAX);
    }
}

/// Whether the error concerns one connection only, so that the next one may succeed.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::{accept, bind, stop_new};
    use std::time::Duration;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
        time::{sleep, timeout},
    };

    #[tokio::test]
    async fn a_connection_is_accepted_without_delay() {
        let listener = bind("ws_listen", ([127, 0, 0, 1], 0).into()).expect("a free port");
        let address = listener.local_addr().expect("it has one");
        let (client, (stream, peer)) = tokio::join!(TcpStream::connect(address), accept(&listener));
        let client = client.expect("something listens");
        assert_eq!(client.local_addr().ok(), Some(peer));
        assert_eq!(stream.nodelay().ok(), Some(true));
    }

    #[tokio::test]
    async fn a_listener_that_stops_takes_what_has_begun_and_nothing_new() {
        let listener = bind("http_listen", ([127, 0, 0, 1], 0).into()).expect("a free port");
        let address = listener.local_addr().expect("it has one");
        let waiting = TcpStream::connect(address).await.expect("it is in the queue");
        stop_new(&listener).expect("the kernel takes a filter");
        let late = timeout(Duration::from_millis(300), TcpStream::connect(address)).await;
        assert!(late.is_err(), "nothing answers: {late:?}");
        let (mut accepted, _) = accept(&listener).await;
        let mut waiting = waiting;
        waiting.write_all(b"x").await.expect("the connection works");
        assert_eq!(accepted.read_u8().await.ok(), Some(b'x'));
        let late = timeout(Duration::from_secs(5), TcpStream::connect(address));
        let (late, ()) = tokio::join!(late, async {
            sleep(Duration::from_millis(100)).await;
            drop(listener);
        });
        let error = late.expect("the SYN is repeated").expect_err("it is refused");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_taken_port_names_the_setting() {
        let listener = bind("ws_listen", ([127, 0, 0, 1], 0).into()).expect("a free port");
        let address = listener.local_addr().expect("it has one");
        let error = bind("http_listen", address).expect_err("it is taken").to_string();
        assert!(error.starts_with(&format!("cannot listen on {address} (setting http_listen): ")), "{error}");
    }
}
