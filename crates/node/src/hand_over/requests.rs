//! HTTP connections, which are handed over between two requests.

use super::{
    format::Kind,
    giving::{Failed, Holdings, Outgoing, Rest},
    seat::until,
};
use beckon_listener::port::{Port, Rested};
use prost::Message as _;
use std::{net, os::fd::AsFd as _, sync::Arc, time::Duration};

/// Time for connections to come to rest.
const PARK_MAX: Duration = Duration::from_millis(500);

/// Time for requests that have come in whole to be answered, if the store needs longer than that.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// An HTTP connection between two requests.
#[derive(Clone, PartialEq, prost::Message)]
struct Connection {
    /// From where it is, as far as that is known.
    #[prost(string, tag = "1")]
    address: String,
    /// What was read of its next request.
    #[prost(bytes = "vec", tag = "2")]
    read: Vec<u8>,
    /// Whether a request on it was answered.
    #[prost(bool, tag = "3")]
    was_answered: bool,
}

/// The HTTP connections of a port. Those with TLS, and those whose request is being answered, are not handed over: the old process
/// answers them, and then they are closed.
#[derive(Debug)]
pub struct Requests {
    port: Arc<Port>,
    rested: Vec<Rested>,
}

impl Requests {
    /// The connections of this port.
    pub fn of(port: Arc<Port>) -> Self {
        Self { port, rested: Vec::new() }
    }

    /// Brings all connections to rest that are between two requests, or are so soon.
    pub async fn rest(&mut self) {
        self.port.begin_rest();
        until(PARK_MAX, || !self.port.may_rest_more()).await;
        until(ANSWER_MAX, || !self.port.is_answering()).await;
        self.rested = self.port.end_rest();
    }

    /// Whether requests may still be answered.
    pub fn is_busy(&self) -> bool {
        self.port.open_connections() > 0
    }

    /// Sends those that are at rest.
    ///
    /// # Errors
    /// The other process is gone, or does not read.
    pub async fn send_rested(&self, outgoing: &mut Outgoing<'_>) -> Result<(), Failed> {
        let connections = self.rested.iter().map(|Rested { tcp, address, was_answered, read }| {
            let (address, read, was_answered) = (address.to_string(), read.to_vec(), *was_answered);
            (Connection { address, read, was_answered }.encode_to_vec(), tcp.as_fd())
        });
        outgoing.send(Kind::Request, connections).await
    }

    /// Serves those that are at rest again.
    pub fn wake(&mut self) {
        let mut rested = std::mem::take(&mut self.rested);
        // It may have been given up in the middle.
        rested.extend(self.port.end_rest());
        self.port.serve_again(rested);
    }

    /// Forgets those that are at rest: another process has them.
    pub fn forget(&mut self) {
        self.rested.clear();
    }
}

/// A connection of another process; `None` if that is not what it could have had.
pub(super) fn read(connection: &[u8], tcp: net::TcpStream) -> Option<Rested> {
    let Connection { address, read, was_answered } = Connection::decode(connection).ok()?;
    Some(Rested { tcp, address: address.parse().ok()?, was_answered, read: read.into() })
}

/// Those of a program that has nothing else.
impl Holdings for Requests {
    fn about(&self) -> Vec<u8> {
        Vec::new()
    }

    async fn settle(&mut self) -> Result<(), Failed> {
        Ok(())
    }

    async fn park(&mut self) -> Result<(), Failed> {
        self.rest().await;
        Ok(())
    }

    async fn send(&mut self, outgoing: &mut Outgoing<'_>) -> Result<Rest, Failed> {
        self.send_rested(outgoing).await?;
        Ok(Rest::default())
    }

    async fn resume(&mut self) {
        self.wake();
    }

    async fn leave(&mut self) {
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_cannot_be_read_is_not_left_out_in_silence() {
        let listener = net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let connect =
            || net::TcpStream::connect(listener.local_addr().expect("an address")).expect("it listens");
        let sent = |address: &str| {
            let (address, was_answered) = (address.to_owned(), true);
            Connection { address, read: b"GET".to_vec(), was_answered }.encode_to_vec()
        };
        let rested = read(&sent("192.0.2.1"), connect()).expect("it is whole");
        assert_eq!((rested.address.to_string().as_str(), &rested.read[..]), ("192.0.2.1", &b"GET"[..]));
        for damaged in [sent("nowhere"), b"\xff".to_vec()] {
            assert!(read(&damaged, connect()).is_none(), "{damaged:?}");
        }
    }
}
