//! A log that is not read must not stop a node.

use beckon_cluster_tests::host::Host;
use beckon_testbed::{folder, ports::Port, programs::Program, until};
use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
};
use tokio::task::JoinSet;

/// A program whose stderr is a pipe. Killed when dropped.
struct Unread(Child);

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lines that the log has no room for; 0 if the node does not say.
async fn dropped(admin: SocketAddr) -> u64 {
    let metrics = Host::new(1).body(admin, "/metrics").await;
    let value = metrics.lines().find_map(|line| line.strip_prefix("beckon_log_lines_dropped_total "));
    value.and_then(|value| value.parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn a_node_whose_stderr_is_blocked_goes_on() {
    const STRANGERS: usize = 8;
    let folder = folder::temporary();
    let ports = [(); 3].map(|()| Port::free());
    let [ws, http, admin] = ports.each_ref().map(Port::address);
    let program = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .arg(Program::Beckon.path())
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("BECKON_WS_LISTEN", ws.to_string())
        .env("BECKON_HTTP_LISTEN", http.to_string())
        .env("BECKON_ADMIN_LISTEN", admin.to_string())
        .env("BECKON_LOG", "debug")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut unread = Unread(program);
    until("the node is ready", async || {
        let ready = beckon_testbed::node::http_status(admin, "/ready") == Some(200);
        ready.then_some(())
    })
    .await;
    // Each of these is a line.
    let mut strangers = JoinSet::new();
    for number in 0..STRANGERS {
        strangers.spawn(async move {
            let host = Host::new(100 + number as u8);
            while dropped(admin).await < 100 {
                for _ in 0..200 {
                    host.status(http, "no HTTP\r\n\r\n").await;
                }
            }
        });
    }
    strangers.join_all().await;
    assert_eq!(Host::new(1).get(ws, "/health").await, 200);
    assert_eq!(Host::new(1).get(http, "/health").await, 200);
    // It also ends, although what it says at the end is not read.
    let pid = rustix::process::Pid::from_child(&unread.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    until("the node has ended", async || unread.0.try_wait().unwrap().filter(|status| status.success()))
        .await;
}
