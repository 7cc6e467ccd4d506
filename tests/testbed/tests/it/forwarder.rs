//! Each way in which a connection can fail.

use beckon_testbed::forwarder::{Forwarder, Way};
use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

/// How long something is watched not to happen.
const A_WHILE: Duration = Duration::from_millis(200);

/// How long something that should happen may take.
const LIMIT: Duration = Duration::from_secs(20);

/// A server that answers each byte with the byte and its own name.
fn echo(name: u8) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut stream = stream;
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() && stream.write_all(&[byte[0], name]).is_ok() {}
            });
        }
    });
    address
}

struct Client(TcpStream);

impl Client {
    fn of(forwarder: &Forwarder) -> Self {
        Self(TcpStream::connect(forwarder.address()).unwrap())
    }

    fn send(&mut self, byte: u8) {
        self.0.write_all(&[byte]).unwrap();
    }

    /// The next two bytes, if they come within this time.
    fn receive_within(&mut self, limit: Duration) -> io::Result<[u8; 2]> {
        self.0.set_read_timeout(Some(limit)).unwrap();
        let mut answer = [0; 2];
        self.0.read_exact(&mut answer).map(|()| answer)
    }

    #[track_caller]
    fn expect(&mut self, answer: [u8; 2]) {
        assert_eq!(self.receive_within(LIMIT).unwrap(), answer);
    }

    #[track_caller]
    fn expect_nothing(&mut self) {
        assert_eq!(self.receive_within(A_WHILE).unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    #[track_caller]
    fn expect_reset(&mut self) {
        assert_eq!(self.receive_within(LIMIT).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

#[test]
fn bytes_pass_both_ways_and_so_does_the_end() {
    let forwarder = Forwarder::to(echo(1));
    let mut client = Client::of(&forwarder);
    for byte in 0..3 {
        client.send(byte);
        client.expect([byte, 1]);
    }
    client.send(9);
    client.0.shutdown(std::net::Shutdown::Write).unwrap();
    client.expect([9, 1]);
    assert_eq!(client.receive_within(LIMIT).unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn cut_connections_are_reset_and_so_are_new_ones() {
    let forwarder = Forwarder::to(echo(1));
    let mut client = Client::of(&forwarder);
    client.send(0);
    client.expect([0, 1]);
    forwarder.cut();
    client.expect_reset();
    Client::of(&forwarder).expect_reset();
    forwarder.heal();
    let mut client = Client::of(&forwarder);
    client.send(2);
    client.expect([2, 1]);
    forwarder.reset();
    client.expect_reset();
    let mut client = Client::of(&forwarder);
    client.send(3);
    client.expect([3, 1]);
}

#[test]
fn a_stalled_connection_delivers_late() {
    let forwarder = Forwarder::to(echo(1));
    let mut client = Client::of(&forwarder);
    client.send(0);
    client.expect([0, 1]);
    forwarder.stall();
    client.send(1);
    let mut newcomer = Client::of(&forwarder);
    newcomer.send(2);
    client.expect_nothing();
    newcomer.expect_nothing();
    forwarder.heal();
    client.expect([1, 1]);
    newcomer.expect([2, 1]);
}

#[test]
fn one_way_can_be_stalled() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let forwarder = Forwarder::to(server.local_addr().unwrap());
    let mut client = Client::of(&forwarder);
    let mut accepted = Client(server.accept().unwrap().0);
    forwarder.stall_way(Way::ToClient);
    client.0.write_all(&[1, 2]).unwrap();
    accepted.expect([1, 2]);
    accepted.0.write_all(&[3, 4]).unwrap();
    client.expect_nothing();
    forwarder.heal();
    client.expect([3, 4]);
    forwarder.stall_way(Way::ToServer);
    client.0.write_all(&[5, 6]).unwrap();
    accepted.expect_nothing();
    accepted.0.write_all(&[7, 8]).unwrap();
    client.expect([7, 8]);
}

#[test]
fn new_connections_are_refused_while_old_ones_go_on() {
    let forwarder = Forwarder::to(echo(1));
    let mut client = Client::of(&forwarder);
    client.send(0);
    client.expect([0, 1]);
    forwarder.refuse();
    let refused = TcpStream::connect(forwarder.address()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    client.send(1);
    client.expect([1, 1]);
    forwarder.heal();
    let mut client = Client::of(&forwarder);
    client.send(2);
    client.expect([2, 1]);
}

#[test]
fn a_silent_forwarder_accepts_and_answers_nothing() {
    let forwarder = Forwarder::to(echo(1));
    let mut client = Client::of(&forwarder);
    client.send(0);
    client.expect([0, 1]);
    forwarder.silence();
    client.expect_reset();
    let mut client = Client::of(&forwarder);
    client.send(1);
    client.expect_nothing();
    forwarder.heal();
    client.expect_nothing();
    let mut client = Client::of(&forwarder);
    client.send(2);
    client.expect([2, 1]);
}

#[test]
fn another_target_is_for_new_connections() {
    let forwarder = Forwarder::to(echo(1));
    let mut former = Client::of(&forwarder);
    former.send(0);
    former.expect([0, 1]);
    forwarder.point_to(echo(2));
    let mut client = Client::of(&forwarder);
    client.send(1);
    client.expect([1, 2]);
    former.send(2);
    former.expect([2, 1]);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the time that bytes take is what is tested")]
fn bytes_can_be_delayed_and_throttled() {
    let forwarder = Forwarder::to(echo(1));
    let mut client = Client::of(&forwarder);
    forwarder.delay(A_WHILE);
    let start = Instant::now();
    client.send(0);
    client.expect([0, 1]);
    assert!(start.elapsed() >= 2 * A_WHILE, "{:?}", start.elapsed());
    forwarder.throttle(10);
    let start = Instant::now();
    for byte in 1..4 {
        client.send(byte);
        client.expect([byte, 1]);
    }
    // Each answer but the last holds back the next one, 2 bytes at 10 per second.
    assert!(start.elapsed() >= 2 * A_WHILE, "{:?}", start.elapsed());
}

#[test]
fn an_answer_is_lost_after_the_request_was_performed() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let forwarder = Forwarder::to(server.local_addr().unwrap());
    let mut client = Client::of(&forwarder);
    let mut accepted = Client(server.accept().unwrap().0);
    forwarder.lose_answer();
    client.0.write_all(&[1, 2]).unwrap();
    accepted.expect([1, 2]);
    assert!(!forwarder.has_lost_answer());
    accepted.0.write_all(&[3, 4]).unwrap();
    client.expect_reset();
    assert!(forwarder.has_lost_answer());
}

#[test]
fn a_dropped_forwarder_gives_its_port_back() {
    let forwarder = Forwarder::to(echo(1));
    let address = forwarder.address();
    drop(forwarder);
    beckon_testbed::wait_until("its port is free", || TcpListener::bind(address).ok());
}
