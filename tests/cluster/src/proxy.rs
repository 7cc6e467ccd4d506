//! A TCP connection between two programs that can be cut.

use crate::ports;
use std::net::SocketAddr;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::task::TaskTracker;

/// Forwards TCP connections to one address, while it is not cut. Ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    listen: SocketAddr,
    cut: watch::Sender<bool>,
}

impl Proxy {
    /// Forwards from a free port to `target`. Runs on the caller's runtime.
    pub async fn start(target: SocketAddr) -> Self {
        let listen = ports::free();
        let listener = TcpListener::bind(listen).await.expect("a free port");
        let (cut, state) = watch::channel(false);
        let connections = TaskTracker::new();
        let tasks = connections.clone();
        connections.spawn(async move {
            let mut gone = state.clone();
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    // The sender is dropped with the proxy.
                    _ = gone.wait_for(|_| false) => return,
                };
                let Ok((from, _)) = accepted else { return };
                tasks.spawn(forward(from, target, state.clone()));
            }
        });
        Self { listen, cut }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    /// Drops all connections, and every new one at once.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Forwards again.
    pub fn heal(&self) {
        self.cut.send_replace(false);
    }
}

/// Copies in both directions until an end closes or the proxy is cut or dropped.
async fn forward(mut from: TcpStream, target: SocketAddr, mut state: watch::Receiver<bool>) {
    let copied = async {
        let mut to = TcpStream::connect(target).await?;
        copy_bidirectional(&mut from, &mut to).await
    };
    tokio::select! {
        // Either end may break at any time: that is what the other end has to cope with.
        _ = copied => {}
        _ = state.wait_for(|cut| *cut) => {}
    }
}
