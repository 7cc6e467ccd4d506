//! The standalone server as another process.

use beckon_testbed::programs::Program;
use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// How often it is looked whether the server listens, and how many times.
const POLL: Duration = Duration::from_millis(20);
const POLLS_MAX: usize = 1_500;

/// A running server. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) ws: SocketAddr,
    _data: TempDir,
}

impl Server {
    /// Starts one and waits until it listens.
    pub(crate) fn start() -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let [ws, http, admin] = free();
        let child = Command::new(Program::Beckon.path())
            .env_clear()
            .env("BECKON_WS_LISTEN", ws.to_string())
            .env("BECKON_HTTP_LISTEN", http.to_string())
            .env("BECKON_ADMIN_LISTEN", admin.to_string())
            .env("BECKON_DATA_DIR", data.path())
            .env("BECKON_FSYNC", "false")
            .env("BECKON_LOG", "error")
            .stdin(Stdio::null())
            .spawn()
            .expect("beckon starts");
        let mut server = Self { child, ws, _data: data };
        for address in [ws, http] {
            server.wait_for(address);
        }
        server
    }

    fn wait_for(&mut self, address: SocketAddr) {
        for _ in 0..POLLS_MAX {
            if TcpStream::connect(address).is_ok() {
                return;
            }
            assert!(self.child.try_wait().expect("a child of ours").is_none(), "beckon has ended");
            thread::sleep(POLL);
        }
        panic!("nobody listens on {address}");
    }

    /// Of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Addresses nobody listened on a moment ago.
fn free() -> [SocketAddr; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    listeners.each_ref().map(|listener| listener.local_addr().expect("its address"))
}
