//! Nonblocking connections of clients and senders, with TLS or without.

use crate::route::Server;
use mio::{Interest, Registry, Token, net::TcpStream};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
};

/// Makes connections.
#[derive(Debug, Clone, Default)]
pub struct Dialer {
    tls: Option<Arc<ClientConfig>>,
}

impl Dialer {
    /// Trusts the authority in this file. Each connection has a whole handshake: no session is resumed, so that what is measured
    /// is a client that comes for the first time.
    ///
    /// # Errors
    /// The file has no certificate.
    pub fn trusting(authority: &Path) -> io::Result<Self> {
        let certificate = CertificateDer::from_pem_file(authority).map_err(io::Error::other)?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate).map_err(io::Error::other)?;
        let mut config = ClientConfig::clone(&beckon_client::tls::with_roots(roots));
        config.resumption = Resumption::disabled();
        Ok(Self { tls: Some(Arc::new(config)) })
    }

    /// Begins to connect. The events of the connection have this token.
    pub(crate) fn open(
        &self,
        server: &Server,
        source: Option<IpAddr>,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Connection> {
        let tls = if server.has_tls { Some(Box::new(self.client_of(server)?)) } else { None };
        let mut tcp = connect(server.address, source)?;
        registry.register(&mut tcp, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Connection { tcp, tls })
    }

    fn client_of(&self, server: &Server) -> io::Result<ClientConnection> {
        let config = self.tls.clone().ok_or(ErrorKind::InvalidInput)?;
        let host = server.authority.rsplit_once(':').map_or(&*server.authority, |(host, _)| host);
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let mut client = ClientConnection::new(config, name).map_err(io::Error::other)?;
        // What is written waits here until the socket takes it.
        client.set_buffer_limit(None);
        Ok(client)
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Connection {
    /// The TCP connection.
    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Whether a read that does not fill its buffer has emptied the socket; what comes later is an event.
    pub(crate) fn is_emptied_by_a_short_read(&self) -> bool {
        self.tls.is_none()
    }

    /// Writes as much as the socket takes now: during a handshake nothing.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return write(&mut self.tcp, bytes) };
        let mut taken = 0;
        if !tls.is_handshaking() {
            taken = tls.writer().write(bytes)?;
        }
        send(tls, &mut self.tcp)?;
        Ok(taken)
    }

    /// Reads what has come in; 0 is the end.
    pub(crate) fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.tcp.read(out) };
        loop {
            match tls.reader().read(out) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            if tls.read_tls(&mut self.tcp)? == 0 {
                return Ok(0);
            }
            tls.process_new_packets().map_err(io::Error::other)?;
            send(tls, &mut self.tcp)?;
        }
    }
}

/// Sends what TLS has to send, as far as the socket takes it.
fn send(tls: &mut ClientConnection, tcp: &mut TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(tcp) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes as much as a socket takes now.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(length) => sent += length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

/// Begins to connect.
fn connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Messages are small, and how long each takes is measured.
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}
