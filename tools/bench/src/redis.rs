//! Redis as a store that is measured.

use crate::process::Process;
use beckon_ops::exit::Failure;
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
};

/// A Redis server that writes nothing to the disk.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    address: SocketAddr,
}

impl Redis {
    /// Starts one.
    ///
    /// # Errors
    /// There is none.
    pub fn start(address: SocketAddr, folder: &Path) -> Result<Self, Failure> {
        let port = address.port().to_string();
        let host = address.ip().to_string();
        let arguments =
            ["--port", &port, "--bind", &host, "--save", "", "--appendonly", "no"].map(str::to_owned);
        let process = Process::start(Path::new("redis-server"), &arguments, &[], folder, "redis-server")?;
        Ok(Self { process, address })
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Bytes that it has allocated, whatever for.
    ///
    /// # Errors
    /// It does not answer.
    pub fn used_memory(&self) -> Result<u64, Failure> {
        let info = self.ask("INFO memory")?;
        number_of(&info, "used_memory:").ok_or_else(|| Failure::unavailable("INFO without used_memory"))
    }

    /// How many keys there are.
    ///
    /// # Errors
    /// It does not answer.
    pub fn keys(&self) -> Result<u64, Failure> {
        let size = self.ask("DBSIZE")?;
        size.trim().parse().map_err(|_| Failure::unavailable(format!("DBSIZE is {size}")))
    }

    /// Asks one thing, and returns an integer or a text.
    fn ask(&self, command: &str) -> Result<String, Failure> {
        let asked = TcpStream::connect(self.address).and_then(|mut stream| {
            stream.write_all(format!("{command}\r\n").as_bytes())?;
            let mut reader = BufReader::new(stream);
            let mut head = String::new();
            reader.read_line(&mut head)?;
            let Some(length) = head.strip_prefix('$') else {
                return Ok(head.trim_start_matches(':').to_owned());
            };
            let mut text = vec![0; length.trim().parse().unwrap_or(0)];
            reader.read_exact(&mut text)?;
            Ok(String::from_utf8_lossy(&text).into_owned())
        });
        asked.map_err(|error| Failure::unavailable(format!("redis: {error}")))
    }
}

fn number_of(info: &str, name: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Ports;
    use std::{thread, time::Duration};

    #[test]
    fn a_server_tells_its_memory() {
        let folder = tempfile::tempdir().unwrap();
        let address = Ports::default().free().unwrap();
        let mut redis = Redis::start(address, folder.path()).unwrap();
        while TcpStream::connect(address).is_err() {
            redis.process().check().unwrap();
            thread::sleep(Duration::from_millis(10));
        }
        assert!(redis.used_memory().unwrap() > 100_000);
        assert_eq!(redis.keys().unwrap(), 0);
        redis.ask("SET a b").unwrap();
        assert_eq!(redis.keys().unwrap(), 1);
    }
}
