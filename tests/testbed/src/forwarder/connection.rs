//! One forwarded connection.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    time::sleep,
};

/// Bytes that are moved at a time.
const CHUNK: usize = 16 * 1024;

/// A direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the program that connects to the one that is connected to: requests.
    ToServer,
    /// The other way: answers.
    ToClient,
}

/// What happens to all connections of a forwarder.
#[derive(Debug, Default)]
pub(super) struct Rules {
    to_server: Flow,
    to_client: Flow,
    /// When this grows, the connections that exist are reset.
    pub(super) resets: u64,
    /// What is replaced in answers, and by what of the same length.
    pub(super) renamed: Option<(String, String)>,
}

/// What happens to the bytes of one direction.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flow {
    /// Nothing is moved.
    pub(super) is_stalled: bool,
    /// Added to the time that bytes take.
    pub(super) delay: Duration,
    /// The most that is moved on one connection; `None`: no limit.
    pub(super) bytes_per_second: Option<u64>,
}

impl Rules {
    fn flow(&self, way: Way) -> Flow {
        match way {
            Way::ToServer => self.to_server,
            Way::ToClient => self.to_client,
        }
    }

    pub(super) fn flow_mut(&mut self, way: Way) -> &mut Flow {
        match way {
            Way::ToServer => &mut self.to_server,
            Way::ToClient => &mut self.to_client,
        }
    }
}

/// Closes a connection with RST.
pub(super) fn reset(stream: TcpStream) {
    // An error means that the peer has done so.
    let _ = stream.set_zero_linger();
}

/// Connects to `target` and moves bytes in both directions, until both ends have closed. If one of them fails, or the
/// rules say so, both connections are reset.
pub(super) async fn forward(
    mut client: TcpStream,
    target: SocketAddr,
    mut rules: watch::Receiver<Rules>,
    answers_to_lose: Arc<AtomicU64>,
) {
    let resets = rules.borrow_and_update().resets;
    let Ok(mut server) = TcpStream::connect(target).await else {
        return reset(client);
    };
    for stream in [&client, &server] {
        // An error means that the peer is gone, which the first read tells too.
        let _ = stream.set_nodelay(true);
    }
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let requests = pump(from_client, to_server, Way::ToServer, rules.clone(), || false);
    let answers = pump(from_server, to_client, Way::ToClient, rules.clone(), || take_one(&answers_to_lose));
    let have_both_ended = tokio::select! {
        moved = async { tokio::try_join!(requests, answers) } => moved.is_ok(),
        _ = rules.wait_for(|rules| rules.resets > resets) => false,
    };
    if !have_both_ended {
        reset(client);
        reset(server);
    }
}

/// Moves bytes one way, until they end.
///
/// # Errors
/// A connection fails, or `is_lost` says of some bytes that they are.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    way: Way,
    mut rules: watch::Receiver<Rules>,
    is_lost: impl Fn() -> bool,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        until_moving(way, &mut rules).await;
        let length = tokio::select! {
            length = from.read(&mut chunk) => length?,
            // The direction may be stalled now.
            _ = rules.changed() => continue,
        };
        let flow = until_moving(way, &mut rules).await;
        if length == 0 {
            return to.shutdown().await;
        }
        if is_lost() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        sleep(flow.delay).await;
        if way == Way::ToClient
            && let Some((from, to)) = &rules.borrow().renamed
        {
            rename(&mut chunk[..length], from.as_bytes(), to.as_bytes());
        }
        to.write_all(&chunk[..length]).await?;
        if let Some(rate) = flow.bytes_per_second {
            sleep(Duration::from_secs_f64(length as f64 / rate as f64)).await;
        }
    }
}

/// Replaces a text by another of the same length. It is not found if the bytes end within it.
fn rename(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    for start in 0..=bytes.len().saturating_sub(from.len()) {
        if bytes[start..].starts_with(from) {
            bytes[start..start + to.len()].copy_from_slice(to);
        }
    }
}

/// Waits while a direction is stalled.
async fn until_moving(way: Way, rules: &mut watch::Receiver<Rules>) -> Flow {
    match rules.wait_for(|rules| !rules.flow(way).is_stalled).await {
        Ok(rules) => rules.flow(way),
        // The forwarder has ended, and this connection will with it.
        Err(_) => Flow::default(),
    }
}

/// Lowers a number that is not 0.
fn take_one(number: &AtomicU64) -> bool {
    number.try_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(1)).is_ok()
}
