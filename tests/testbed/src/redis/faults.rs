//! What can happen to a Redis server.

use super::server::{Options, RedisServer};
use crate::{process::Throttled, wait_until};
use std::{fs, io, net::SocketAddr, path::Path};
use tempfile::TempDir;

/// What a server had on its disk.
#[derive(Debug)]
pub struct Snapshot {
    folder: TempDir,
}

impl RedisServer {
    /// Stops the process where it is (SIGSTOP): its sockets stay, and nothing is answered.
    pub fn pause(&self) {
        self.process().pause();
    }

    /// Continues a paused process.
    pub fn resume(&self) {
        self.process().resume();
    }

    /// Lets the server run for `percent` of the time only, until the result is dropped.
    pub fn throttle(&self, percent: u32) -> Throttled {
        Throttled::to(self.pid(), percent)
    }

    /// Resets the connections of all clients but replicas. They may connect again.
    pub fn drop_clients(&self) {
        self.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    }

    /// Asks clients for another password from now on, or for none. Connections that exist are not affected.
    pub fn set_password(&mut self, password: Option<&str>) {
        self.command(&["CONFIG", "SET", "requirepass", password.unwrap_or_default()]);
        self.options.password = password.map(str::to_owned);
    }

    /// Makes a user with these rights, such as `["~*", "+@all", "-evalsha"]`, and returns the URL for it.
    pub fn add_user(&self, name: &str, rights: &[&str]) -> String {
        const PASSWORD: &str = "of-the-user";
        let secret = format!(">{PASSWORD}");
        self.command(&[&["ACL", "SETUSER", name, "reset", "on", &secret], rights].concat());
        format!("redis://{name}:{PASSWORD}@{}", self.address())
    }

    /// Takes away all memory for anything new: what needs some is refused with OOM, and nothing is evicted.
    pub fn fill_up(&self) {
        self.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
        self.command(&["CONFIG", "SET", "maxmemory", "1"]);
    }

    /// Gives the server as much memory as it wants.
    pub fn make_room(&self) {
        self.command(&["CONFIG", "SET", "maxmemory", "0"]);
    }

    /// What a restart from the disk would bring back, as of now.
    pub fn snapshot(&self) -> Snapshot {
        self.command(&["SAVE"]);
        // Nothing changes while the files are copied.
        self.pause();
        let snapshot = Snapshot { folder: crate::folder::temporary() };
        let copied = copy_data(self.folder(), snapshot.folder.path());
        self.resume();
        copied.unwrap_or_else(|error| panic!("{}: {error}", self.folder().display()));
        snapshot
    }

    /// Kills the server and starts it with what it knew then.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        self.kill();
        self.remove_data();
        let copied = copy_data(snapshot.folder.path(), self.folder());
        copied.unwrap_or_else(|error| panic!("{}: {error}", self.folder().display()));
        self.restart();
    }

    /// Kills the server and starts it without what it knew. A node of a cluster still knows its place there.
    pub fn lose_data(&mut self) {
        self.kill();
        self.remove_data();
        self.restart();
    }

    fn remove_data(&self) {
        for name in DATA {
            let path = self.folder().join(name);
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    panic!("{}: {error}", path.display())
                }
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// Starts a replica of this server, with its options, and waits until it has everything.
    pub fn start_replica(&self) -> Self {
        self.start_replica_through(self.address())
    }

    /// [`Self::start_replica`] over another address of this server, such as that of a forwarder: while that stalls,
    /// the replica lags.
    pub fn start_replica_through(&self, address: SocketAddr) -> Self {
        let port = address.port().to_string();
        let replicaof = ["--replicaof".to_owned(), format!("{} {port}", address.ip())];
        let arguments = self.options.arguments.iter().cloned().chain(replicaof).collect();
        let replica = Self::start_with(Options { arguments, ..self.options.clone() });
        replica.wait_until_replicated();
        replica
    }

    /// Demotes this server to a replica of another: writes are refused with READONLY, and the connections of clients
    /// stay open. Waits until it has everything that the other has.
    pub fn become_replica_of(&self, primary: SocketAddr) {
        self.command(&["REPLICAOF", &primary.ip().to_string(), &primary.port().to_string()]);
        self.wait_until_replicated();
    }

    /// Has a replica take its place, so that nothing is lost: writes wait until the replica has everything and is promoted, and are
    /// refused with READONLY then. The connections of clients stay open.
    pub fn give_way_to(&self, replica: &Self) {
        self.command(&["CLIENT", "PAUSE", "60000", "WRITE"]);
        let now = self.replication_offset();
        wait_until("the replica has everything", || (replica.replication_offset() >= now).then_some(()));
        replica.become_primary();
        let address = replica.address();
        self.command(&["REPLICAOF", &address.ip().to_string(), &address.port().to_string()]);
        self.command(&["CLIENT", "UNPAUSE"]);
        self.wait_until_replicated();
    }

    /// Refuses replication from now on: replicas stay as they are, and a promoted one lacks what came later.
    pub fn stop_replication(&self) {
        self.command(&["ACL", "SETUSER", "default", "-psync", "-sync"]);
        self.command(&["CLIENT", "KILL", "TYPE", "replica"]);
    }

    /// How much of the stream of replication it has produced, as a primary, or has had.
    pub(super) fn replication_offset(&self) -> u64 {
        self.info("master_repl_offset").parse().expect("a number")
    }

    /// Promotes a replica.
    pub fn become_primary(&self) {
        self.command(&["REPLICAOF", "NO", "ONE"]);
    }

    /// Whether it accepts writes.
    pub fn is_primary(&self) -> bool {
        self.try_info("role").is_ok_and(|role| role.as_deref() == Some("master"))
    }

    /// Waits until a replica follows its primary and has everything that the primary has now.
    pub fn wait_until_replicated(&self) {
        let what = format!("{} replicates", self.address());
        let primary = wait_until(&what, || self.followed_offset().ok().flatten());
        wait_until(&what, || {
            let own = self.try_info("master_repl_offset").ok().flatten()?;
            (own.parse::<u64>().ok()? >= primary).then_some(())
        });
    }

    /// How much of the stream of replication the primary has produced that this server follows, once it does.
    fn followed_offset(&self) -> redis::RedisResult<Option<u64>> {
        if self.try_info("master_link_status")?.as_deref() != Some("up") {
            return Ok(None);
        }
        let (host, port) = (self.try_info("master_host")?, self.try_info("master_port")?);
        let address = format!("{}:{}", host.unwrap_or_default(), port.unwrap_or_default());
        let Ok(address) = address.parse() else { return Ok(None) };
        let offset = self.try_info_at(address, "master_repl_offset")?;
        Ok(offset.and_then(|offset| offset.parse().ok()))
    }
}

/// The files that hold data. `nodes.conf`, which knows the place in a cluster, is not one of them.
const DATA: [&str; 2] = ["dump.rdb", "appendonlydir"];

fn copy_data(from: &Path, to: &Path) -> io::Result<()> {
    for name in DATA {
        let (from, to) = (from.join(name), to.join(name));
        if from.is_dir() {
            fs::create_dir_all(&to)?;
            for entry in fs::read_dir(&from)? {
                let entry = entry?;
                fs::copy(entry.path(), to.join(entry.file_name()))?;
            }
        } else if from.exists() {
            fs::copy(from, to)?;
        }
    }
    Ok(())
}
