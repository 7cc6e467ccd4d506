//! The unit in which costs are given: the CPU time that a bare echo process, with one thread and nothing but `epoll`, `read`
//! and `write`, needs for one request of 256 bytes and its answer over TCP on loopback, at the same rate of arrivals, on the
//! same machine and in the same minutes.
//!
//! Microseconds of two machines, or of two days on one virtual machine, say little about each other; units do. They also say
//! what is possible: a notification on a quiet server takes at least eight exchanges (a request, a step, a parcel, a receipt,
//! an answer, a push, an acknowledgement, its step), so it cannot cost less than about eight units.

use beckon_loadgen::{
    schedule::Schedule,
    stats::{Quantiles, Times},
    timer::Timer,
};
use beckon_ops::{clock::Clock, exit::Failure};
use beckon_testbed::process::Process;
use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{self, ErrorKind, Read as _, Write as _},
    net::SocketAddr,
    path::Path,
    time::Duration,
};

/// The argument with which this program becomes the echo process.
pub const ECHO: &str = "echo";

/// The length of a request and of its answer.
const LENGTH: usize = 256;

/// Connections, and in a closed loop requests under way.
const CONNECTIONS: usize = 32;

/// What the first part of a measurement is for: caches, frequency of the processor, the first wake-ups.
const WARM_UP_US: u64 = 500_000;

const LISTENER: Token = Token(usize::MAX - 1);
const TIMER: Token = Token(usize::MAX - 2);

/// How exchanges follow each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arrivals {
    /// Each connection sends when it has its answer.
    Closed,
    /// So many per second, evenly spread.
    PerSecond(u32),
}

/// What an exchange costs the echo process.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Unit {
    /// CPU time of one exchange, microseconds.
    pub cpu_us: f64,
    /// From due to answered.
    pub times: Quantiles,
}

/// Measures for so many seconds.
///
/// # Errors
/// The process cannot be started, or the system refuses.
pub fn measure(arrivals: Arrivals, seconds: u32, folder: &Path) -> Result<Unit, Failure> {
    let program = std::env::current_exe().map_err(Failure::unavailable)?;
    let file = folder.join("echo-address");
    let arguments = [ECHO.to_owned(), file.display().to_string()];
    let mut process = Process::start_talking(&program, &arguments, &[], &folder.join("echo.log"));
    process.wait_for_line("ready").map_err(Failure::unavailable)?;
    let address = fs::read_to_string(&file).map_err(Failure::unavailable)?;
    let address = address.parse().map_err(Failure::software)?;
    let unit = exchange(address, process.pid(), arrivals, seconds).map_err(Failure::unavailable);
    process.kill();
    unit
}

/// Becomes the echo process: writes its address to a file, says `ready`, and answers until it is killed.
///
/// # Errors
/// The system refuses.
pub fn echo(address_file: &Path) -> io::Result<()> {
    let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    fs::write(address_file, listener.local_addr()?.to_string())?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    writeln!(io::stdout(), "ready")?;
    let (mut events, mut streams, mut buffer) = (Events::with_capacity(64), Vec::new(), [0; 2 * LENGTH]);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Some((mut stream, _)) = ready(listener.accept())? {
                    stream.set_nodelay(true)?;
                    poll.registry().register(&mut stream, Token(streams.len()), Interest::READABLE)?;
                    streams.push(stream);
                }
                continue;
            }
            // A request comes in one piece, and is shorter than the buffer: one read takes all there is.
            let stream: &mut TcpStream = &mut streams[event.token().0];
            if let Some(length) = ready(stream.read(&mut buffer))? {
                stream.write_all(&buffer[..length])?;
            }
        }
    }
}

/// `None` if nothing is there.
fn ready<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// The other end of the exchanges.
struct Peer {
    stream: TcpStream,
    /// When its request was due, if it waits for the answer.
    due_us: Option<u64>,
    missing: usize,
}

/// Exchanges requests and answers, and reads what they cost the process.
fn exchange(address: SocketAddr, pid: u32, arrivals: Arrivals, seconds: u32) -> io::Result<Unit> {
    let (mut poll, clock, mut events) = (Poll::new()?, Clock::start(), Events::with_capacity(64));
    let mut timer = Timer::new(&poll, TIMER)?;
    let mut peers = Vec::new();
    for number in 0..CONNECTIONS {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
        peers.push(Peer { stream, due_us: None, missing: 0 });
    }
    let start_us = clock.now_us();
    let (warm_us, end_us) = (start_us + WARM_UP_US, start_us + WARM_UP_US + u64::from(seconds) * 1_000_000);
    let mut schedule = match arrivals {
        Arrivals::Closed => None,
        Arrivals::PerSecond(rate) => Some(Schedule::new(start_us, f64::from(rate))),
    };
    let (mut idle, mut times, mut began) = ((0..CONNECTIONS).collect::<Vec<_>>(), Times::default(), None);
    loop {
        let now_us = clock.now_us();
        if began.is_none() && now_us >= warm_us {
            times.clear();
            began = Some(cpu_ns(pid)?);
        }
        if now_us >= end_us {
            break;
        }
        while let Some(number) = idle.pop() {
            let due_us = match &mut schedule {
                None => Some(now_us),
                Some(schedule) => schedule.take(now_us),
            };
            let Some(due_us) = due_us else {
                idle.push(number);
                break;
            };
            let peer = &mut peers[number];
            (peer.due_us, peer.missing) = (Some(due_us), LENGTH);
            peer.stream.write_all(&[7; LENGTH])?;
        }
        let next_us = schedule.as_ref().and_then(Schedule::due_us).filter(|_| !idle.is_empty());
        timer.set(next_us.unwrap_or(end_us).min(end_us), clock.now_us())?;
        poll.poll(&mut events, Some(Duration::from_millis(50)))?;
        let mut buffer = [0; 2 * LENGTH];
        for event in &events {
            let Some(peer) = peers.get_mut(event.token().0) else { continue };
            if let Some(length) = ready(peer.stream.read(&mut buffer))? {
                peer.missing = peer.missing.saturating_sub(length);
                if let Some(due_us) = peer.due_us.take_if(|_| peer.missing == 0) {
                    times.record(clock.now_us().saturating_sub(due_us));
                    idle.push(event.token().0);
                }
            }
        }
    }
    let times = times.quantiles();
    let used_ns = cpu_ns(pid)? - began.unwrap_or_default();
    Ok(Unit { cpu_us: used_ns as f64 / 1000.0 / times.count.max(1) as f64, times })
}

/// CPU time of a process with one thread, to the nanosecond. The ticks of proc(5) stat are as long as 500 exchanges.
fn cpu_ns(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    let first = text.split_whitespace().next().and_then(|number| number.parse().ok());
    first.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "schedstat"))
}
