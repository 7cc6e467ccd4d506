//! Free TCP ports of 127.0.0.1.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

/// Ports below those that Linux gives to outgoing connections, so that no connection of this run takes one
/// between the look and the bind of the program.
const FIRST: u16 = 18_000;
const COUNT: u16 = 14_000;

/// An address nobody listened on a moment ago, and that this process has not returned before (until all have
/// been).
pub fn free() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Runs at the same time begin at different places.
    let start = u16::try_from(std::process::id() * 101 % u32::from(COUNT)).unwrap_or(0);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (start + step) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free port from {FIRST} on");
}
