//! TCP ports for servers of a test, which no other test of this machine gets at the same time.
//!
//! A process takes ports in blocks. It owns a block while it listens on the block's first port, so the kernel settles
//! who has which block, also between users and between folders of temporary files, and frees it with the process. All
//! blocks are below the ports that Linux gives to outgoing connections (32768 and above), so that no connection takes a
//! port between the moment it is chosen and the moment a server binds it.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The first port of the first block.
const FIRST: u16 = 15_000;

/// Ports in a block, the one that locks it included.
const BLOCK_LEN: u16 = 50;

/// Blocks: up to port 31999.
const BLOCKS: u16 = 340;

/// A port that nothing else uses while this exists. It does not listen by itself.
#[derive(Debug)]
pub struct Port(u16);

impl Port {
    /// A port on which nothing listened a moment ago, at any local address.
    ///
    /// # Panics
    /// If all are taken.
    pub fn free() -> Self {
        let mut pool = pool();
        for _ in 0..pool.free.len() {
            let Some(port) = pool.free.pop_front() else { break };
            if is_free(port) {
                return Self(port);
            }
            pool.free.push_back(port);
        }
        loop {
            pool.claim_block();
            while let Some(port) = pool.free.pop_front() {
                if is_free(port) {
                    return Self(port);
                }
            }
        }
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.0
    }

    /// Its address on 127.0.0.1.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.0))
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // At the end of the queue: whoever still connects to the old server should not meet the next one.
        pool().free.push_back(self.0);
    }
}

/// What this process owns.
struct Pool {
    /// Each listens on the first port of a block, which makes the block ours.
    blocks: Vec<TcpListener>,
    free: VecDeque<u16>,
}

impl Pool {
    fn claim_block(&mut self) {
        // Runs that follow each other begin at different places.
        let start = u16::try_from(std::process::id() % u32::from(BLOCKS)).unwrap_or(0);
        for step in 0..BLOCKS {
            let first = FIRST + (start + step) % BLOCKS * BLOCK_LEN;
            if let Ok(lock) = TcpListener::bind((Ipv4Addr::LOCALHOST, first)) {
                self.blocks.push(lock);
                self.free.extend(first + 1..first + BLOCK_LEN);
                return;
            }
        }
        panic!("all ports from {FIRST} to {} are taken", FIRST + (BLOCKS * BLOCK_LEN - 1));
    }
}

fn pool() -> MutexGuard<'static, Pool> {
    static POOL: Mutex<Pool> = Mutex::new(Pool { blocks: Vec::new(), free: VecDeque::new() });
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}
