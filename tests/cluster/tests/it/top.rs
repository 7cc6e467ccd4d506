//! `beckon top`, on a pipe and in a terminal.

use beckon_cluster_tests::stage::Stage;
use beckon_testbed::{
    PATIENCE,
    node::Node,
    plan::{ADMIN_TOKEN, Plan, Shape},
    process::{self, Signal},
    programs::Program,
    until,
};
use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};
use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

/// A cluster whose nodes have the names of the plan.
fn cluster() -> Stage {
    let mut plan = Plan::new(Shape::Cluster).all("BECKON_DRAIN_DELAY", "60s");
    for node in plan.programs_mut() {
        let name = node.name.clone();
        node.set("BECKON_NODE_NAME", &name);
    }
    Stage::own(plan)
}

fn url(node: &Node) -> String {
    format!("http://{}", node.addresses().admin)
}

/// Runs it on a pipe: the exit code, and what it writes.
fn printed(node: &Node, arguments: &[&str], token: &str) -> (Option<i32>, String) {
    let url = url(node);
    let arguments = [&["top", "--interval", "1s", "--admin", &url], arguments].concat();
    let (status, output) =
        process::run(&Program::Beckon.path(), &arguments, &[("BECKON_ADMIN_TOKEN", token)]);
    (status.code(), output)
}

#[tokio::test]
async fn any_node_prints_the_whole_cluster_where_there_is_no_terminal() {
    let stage = cluster();
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(stage.registered().await);
    }
    for node in stage.nodes() {
        let text = until("all nodes are printed", async || {
            let (code, text) = printed(node, &[], ADMIN_TOKEN);
            assert_eq!(code, Some(0), "{text}");
            ["c0 ", "c1 ", "e0 ", "e1 "]
                .iter()
                .all(|name| text.contains(&format!("\n{name}")))
                .then_some(text)
        })
        .await;
        assert!(
            text.starts_with(&format!("4 nodes, 4 ready, read by {}\nsockets 3 of ", node.name())),
            "{text}"
        );
        assert!(text.contains("\nNODE  PROGRAM^         STATE"), "{text}");
        let row = text.lines().find(|line| line.starts_with("c0 ")).unwrap();
        let cells: Vec<_> = row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert_eq!(&cells[1..3], ["connection-node", "ready"], "{row}");
        assert!(
            cells[4] == "0" && cells[8].ends_with('%') && cells[10].starts_with("lease "),
            "it has rates: {row}"
        );
        assert!(!text.contains('\u{1b}'), "nothing that is for terminals only: {text:?}");
    }
    let (_, text) = printed(stage.node("e0"), &["--sort", "node", "--once"], ADMIN_TOKEN);
    assert!(text.contains("NODE^"), "{text}");
}

#[tokio::test]
async fn it_says_why_there_is_nothing_to_show() {
    let stage = cluster();
    let node = stage.node("c0");
    let (code, text) = printed(node, &[], "not-a-token-of-this-cluster");
    assert!(code == Some(1) && text.contains("This is not an admin_token that is set here"), "{text}");
    let (code, text) = printed(node, &["--sort", "height"], ADMIN_TOKEN);
    assert!(code == Some(64) && text.contains("height"), "{text}");
    stage.node("c1").pause();
    let text = until("the silent node is named", async || {
        let (_, text) = printed(node, &[], ADMIN_TOKEN);
        text.contains("\nSums are without c1 (no answer within 1s; ").then_some(text)
    })
    .await;
    assert!(text.lines().any(|line| line.starts_with("c1 ") && line.contains("silent")), "{text}");
    stage.node("c1").resume();
    node.kill();
    let (code, text) = printed(node, &[], ADMIN_TOKEN);
    assert!(code == Some(69) && text.contains("beckon: "), "{text}");
}

/// It in a terminal of its own, which is this side of a pseudoterminal.
struct Terminal {
    child: Child,
    keys: File,
    /// What it has written.
    seen: Arc<Mutex<Vec<u8>>>,
    /// The other side, to look at its modes.
    other: OwnedFd,
}

impl Terminal {
    fn open(node: &Node) -> Self {
        let own = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&own).unwrap();
        unlockpt(&own).unwrap();
        let name = ptsname(&own, Vec::new()).unwrap();
        let other = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        resize(&own, 160, 24);
        let end = || Stdio::from(other.try_clone().unwrap());
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(Program::Beckon.path());
        command.args(["top", "--interval", "1s", "--admin", &url(node)]);
        command.env_clear().env("BECKON_ADMIN_TOKEN", ADMIN_TOKEN).env("TERM", "xterm-256color");
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let (keys, mut output) = (File::from(own.try_clone().unwrap()), File::from(own));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = seen.clone();
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut piece) {
                kept.lock().unwrap().extend_from_slice(&piece[..length]);
            }
        });
        Self { child, keys, seen, other }
    }

    fn press(&mut self, keys: &str) {
        self.seen.lock().unwrap().clear();
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    async fn shows(&self, what: &str) -> String {
        until(&format!("the terminal shows {what}"), async || {
            let seen = String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned();
            seen.contains(what).then_some(seen)
        })
        .await
    }

    /// Waits for its end: the exit code. The terminal is as before.
    async fn ended(mut self) -> Option<i32> {
        let status = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        });
        let status = status.await.expect("it ends");
        self.shows("\u{1b}[?1049l").await;
        self.shows("\u{1b}[?25h").await;
        assert!(is_cooked(&self.other), "lines and echo are on again");
        status.code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(terminal: &OwnedFd, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).unwrap();
}

fn is_cooked(terminal: &OwnedFd) -> bool {
    tcgetattr(terminal).unwrap().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO)
}

#[tokio::test]
async fn in_a_terminal_it_is_live_and_leaves_it_as_it_was() {
    let stage = cluster();
    let mut terminal = Terminal::open(stage.node("e0"));
    terminal.shows("\u{1b}[?1049h").await;
    terminal.shows("4 nodes, 4 ready, read by e0").await;
    assert!(!is_cooked(&terminal.other), "keys come one by one");
    // A node drains, and the screen says so by itself.
    let drained = stage.ask(http::Method::POST, &format!("{}/drain", url(stage.node("c1"))), "").await;
    assert_eq!(drained.status(), 200);
    terminal.shows("leaving").await;
    terminal.shows("4 nodes, 3 ready").await;
    // The arrow to the right.
    terminal.press("\u{1b}[C");
    terminal.shows("STATE^").await;
    terminal.press("\u{1b}[C");
    terminal.shows("SOCKETSv").await;
    terminal.press("r");
    terminal.shows("SOCKETS^").await;
    // The node that is asked goes away and comes back.
    stage.node("e0").kill();
    terminal.shows("What is shown is old").await;
    stage.node("e0").start();
    terminal.press("r");
    terminal.shows("SOCKETSv").await;
    until("it has answered again", async || {
        let seen = String::from_utf8_lossy(&terminal.seen.lock().unwrap()).into_owned();
        let last = seen.rsplit("read by e0").next()?.to_owned();
        (!last.contains("What is shown is old") && last.contains("leaving")).then_some(())
    })
    .await;
    terminal.press("q");
    assert_eq!(terminal.ended().await, Some(0));
}

#[tokio::test]
async fn a_signal_or_a_small_terminal_does_not_break_it() {
    let stage = cluster();
    let terminal = Terminal::open(stage.node("c0"));
    terminal.shows("read by c0").await;
    for (columns, rows) in [(20, 3), (1, 1), (300, 60)] {
        resize(&terminal.other, columns, rows);
        // The kernel tells the process group of a controlling terminal only, and this terminal controls none.
        rustix::process::kill_process(rustix::process::Pid::from_child(&terminal.child), Signal::WINCH)
            .unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    }
    terminal.seen.lock().unwrap().clear();
    terminal.shows("read by c0").await;
    rustix::process::kill_process(rustix::process::Pid::from_child(&terminal.child), Signal::TERM).unwrap();
    assert_eq!(terminal.ended().await, Some(0));
}
