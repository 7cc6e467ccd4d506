//! Free TCP ports of 127.0.0.1.

use beckon_ops::exit::Failure;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Ports below those that Linux gives to outgoing connections, so that none of the many connections of a run takes
/// one between the look and the bind of the program.
const FIRST: u16 = 16_000;
const COUNT: u16 = 16_000;

/// Gives ports out, each once.
#[derive(Debug)]
pub struct Ports {
    next: u16,
}

impl Default for Ports {
    fn default() -> Self {
        // Runs at the same time begin at different places.
        Self { next: u16::try_from(std::process::id() * 101 % u32::from(COUNT)).unwrap_or(0) }
    }
}

impl Ports {
    /// An address nobody listened on a moment ago.
    ///
    /// # Errors
    /// All ports are taken.
    pub fn free(&mut self) -> Result<SocketAddr, Failure> {
        for _ in 0..COUNT {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST + self.next));
            self.next = (self.next + 1) % COUNT;
            if TcpListener::bind(address).is_ok() {
                return Ok(address);
            }
        }
        Err(Failure::unavailable(format!("no free port from {FIRST} to {}", FIRST + COUNT - 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_out_once_and_only_if_it_is_free() {
        let mut ports = Ports::default();
        let first = ports.free().unwrap();
        let _listener = TcpListener::bind(first).unwrap();
        let mut again = Ports { next: first.port() - FIRST };
        assert_ne!(again.free().unwrap(), first);
        assert_ne!(ports.free().unwrap(), first);
    }
}
