//! What a hand-over does with sockets that are in the middle of something, with processes of other users and of other versions, and
//! what it says to the supervisor.

use crate::hand_over::{Orphan, devices, greeting, hand_over, metric, plan, traffic};
use beckon_cluster_tests::{
    bare::{BareSocket, PING, TEXT},
    stage::{Registered, Stage},
};
use beckon_testbed::{
    PATIENCE,
    node::{Node, http},
    plan::Plan,
    process::{Process, Signal},
    programs::Programs,
    wait_until,
};
use rustix::{
    io::Errno,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg, sockopt},
    process::{Pid, kill_process},
    thread::{Uid, set_thread_uid},
};
use std::{
    fs,
    io::{IoSliceMut, Read as _, Write as _},
    mem::MaybeUninit,
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixDatagram, UnixStream},
    },
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::{
    task::{JoinSet, block_in_place},
    time::{sleep, timeout},
};

/// How long a server that has stopped reading is given to read on.
const STALLED: Duration = Duration::from_millis(500);

/// The former process may have been about to let its connections do so, for a reason that only that one knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_are_verified_by_the_new_process() {
    const FORGET: &str = "for _, key in ipairs(redis.call('KEYS', 'c{*')) do redis.call('DEL', key) end";
    let (plan, _folder, _) = plan();
    let stage = Stage::own(plan);
    let Registered { mut client, .. } = stage.registered().await;
    stage.redis().unwrap().command(&["EVAL", FORGET, "0"]);
    block_in_place(|| hand_over(stage.node("c0")));
    client.expect_close(1011).await;
}

/// A socket with half a message in it, and one whose peer does not take the answers, stay in the old process, which closes them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_in_the_middle_of_something_are_closed_and_counted() {
    let (plan, _folder, _) = plan();
    let stage = Stage::own(plan);
    let node = stage.node("c0");
    let address = node.addresses().ws.unwrap();
    let Registered { mut client, channel, endpoint, .. } = stage.registered().await;
    let mut half = BareSocket::connect(address).await;
    // A frame of 100 bytes, of which 10 come.
    half.send_bytes(&[TEXT, 0x80 | 100, 1, 2, 3, 4]).await;
    half.send_bytes(&[0; 10]).await;
    let mut deaf = BareSocket::connect(address).await;
    // Each is answered with a Pong of the same length, until nothing more fits between the two.
    while timeout(STALLED, deaf.send(PING, &[7; 125])).await.is_ok() {}
    block_in_place(|| hand_over(node));
    assert_eq!(half.receive_within(PATIENCE).await.and_then(|frame| frame.close_code()), Some(1001));
    deaf.ended().await;
    let sockets =
        |outcome| metric(node, &format!(r#"beckon_hand_over_sockets_total{{outcome="{outcome}"}}"#));
    assert_eq!((sockets("taken"), sockets("busy"), sockets("tls")), (Some(1.0), Some(2.0), Some(0.0)));
    assert_eq!(stage.put(&endpoint, 1).await, 200);
    client.expect_update(&channel, 1).await;
}

/// The mode of the socket keeps other users out. If an operator has changed it, the user at the other end is checked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_of_other_users_get_nothing() {
    if !rustix::process::geteuid().is_root() {
        skipped("only root can be another user");
        return;
    }
    let (plan, folder, path) = plan();
    let stage = Stage::own(plan);
    let node = stage.node("c0");
    let Registered { mut client, channel, endpoint, .. } = stage.registered().await;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let refused = as_another_user(&path).unwrap_err();
    assert_eq!(Errno::from_io_error(&refused), Some(Errno::ACCESS), "{refused}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(as_another_user(&path).unwrap(), b"", "no offer");
    block_in_place(|| {
        wait_until("it is refused", || node.log().contains("nothing is handed over").then_some(()));
    });
    assert_eq!(stage.put(&endpoint, 1).await, 200);
    client.expect_update(&channel, 1).await;
}

/// When the first process of a container ends, so do all others, also one that has just taken everything over.
#[test]
fn the_first_process_of_a_container_starts_no_other_one() {
    if !rustix::process::geteuid().is_root() {
        skipped("only root can make a PID namespace everywhere");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (path, data) = (folder.path().join("hand-over"), folder.path().join("data"));
    let plan = Plan::standalone().all("BECKON_HAND_OVER", &path.to_string_lossy());
    let planned = plan.all("BECKON_DATA_DIR", &data.to_string_lossy()).into_programs().remove(0);
    let settings: Vec<_> = planned.settings.into_iter().collect();
    let program = planned.program.path();
    let arguments = [Path::new("--pid"), Path::new("--fork"), Path::new("--kill-child"), &program];
    let log = folder.path().join("contained.log");
    let mut contained = Process::start(Path::new("unshare"), &arguments, &settings, &log);
    let admin = planned.addresses.admin;
    wait_until("it serves", || http(admin, "GET", "/health").filter(|(status, _)| *status == 200));
    let (status, answer) = http(admin, "POST", "/hand-over").unwrap();
    assert_eq!(status, 409, "{answer}");
    assert!(answer.contains("start another container"), "{answer}");
    assert_eq!(http(admin, "GET", "/health").unwrap().0, 200);
    contained.kill();
}

#[expect(clippy::print_stderr, reason = "what was not tested has to be seen")]
fn skipped(reason: &str) {
    eprintln!("NOT TESTED: {reason}");
}

/// Asks for a hand-over as another user, and returns what is answered.
fn as_another_user(path: &Path) -> std::io::Result<Vec<u8>> {
    const NOBODY: u32 = 65_534;
    // In Linux a thread has a user of its own.
    let ask = || {
        set_thread_uid(Uid::from_raw(NOBODY))?;
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // It may be closed already.
        let _ = stream.write_all(&greeting(1));
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        Ok(answer)
    };
    thread::scope(|scope| scope.spawn(ask).join().unwrap())
}

/// The format on which the two processes of the last hand-over have agreed.
fn format_of(node: &Node) -> Option<char> {
    let log = node.log();
    let (_, rest) = log.rsplit_once("taking over from the process")?;
    rest.split_once("\"format\":")?.1.chars().next()
}

/// The processes of a node become another version and this one again, with traffic.
async fn roll(plan: Plan, receiver: &'static str, sender: &'static str) {
    const DEVICES: usize = 20;
    let (this, next) = (Programs::built(), Programs::next());
    let stage = Arc::new(Stage::own(plan));
    let node = stage.node(receiver);
    let is_over = Arc::new(AtomicBool::new(false));
    let mut running = JoinSet::new();
    for device in devices(node, DEVICES).await {
        running.spawn(traffic(device, stage.clone(), sender, is_over.clone()));
    }
    // The format is that of the older of the two.
    for (build, format) in [(&this, '1'), (&next, '1'), (&next, '2'), (&this, '1'), (&next, '1')] {
        sleep(Duration::from_millis(300)).await;
        node.install(build);
        block_in_place(|| hand_over(node));
        assert_eq!(format_of(node), Some(format), "{}", node.log());
        let taken = metric(node, r#"beckon_hand_over_sockets_total{outcome="taken"}"#);
        assert_eq!(taken, Some(DEVICES as f64));
    }
    sleep(Duration::from_millis(300)).await;
    is_over.store(true, Ordering::Relaxed);
    while let Some(count) = running.join_next().await {
        assert!(count.unwrap() > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_handed_over_to_the_next_version_and_back() {
    let (plan, _folder, _) = plan();
    roll(plan, "c0", "e0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standalone_server_is_handed_over_to_the_next_version_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hand-over");
    let plan = Plan::standalone().all("BECKON_HAND_OVER", &path.to_string_lossy());
    roll(plan, "beckon", "beckon").await;
}

/// The other end of the protocol of `sd_notify(3)`, as systemd implements it for a service with `NotifyAccess=main`: only the main
/// process is heard, and `MAINPID=` says which process that is from then on.
struct Supervisor {
    socket: UnixDatagram,
    main: u32,
}

impl Supervisor {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        sockopt::set_socket_passcred(&socket, true).unwrap();
        Self { socket, main: 0 }
    }

    /// The next message of the main process, or `None` if none comes in this time.
    fn next(&mut self, limit: Duration) -> Option<String> {
        sockopt::set_socket_timeout(&self.socket, sockopt::Timeout::Recv, Some(limit)).unwrap();
        loop {
            let (mut buffer, mut space) =
                ([0; 512], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))]);
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let slices = &mut [IoSliceMut::new(&mut buffer)];
            let received = match recvmsg(&self.socket, slices, &mut control, RecvFlags::empty()) {
                Ok(received) => received.bytes,
                Err(Errno::AGAIN) => return None,
                Err(error) => panic!("{error}"),
            };
            let sender = control.drain().find_map(|message| {
                let RecvAncillaryMessage::ScmCredentials(credentials) = message else { return None };
                Some(credentials.pid)
            });
            if sender.map(|pid| pid.as_raw_nonzero().get().unsigned_abs()) != Some(self.main) {
                continue;
            }
            let message = str::from_utf8(&buffer[..received]).unwrap().trim_end().to_owned();
            if let Some(main) = message.strip_prefix("MAINPID=") {
                self.main = main.parse().unwrap();
            }
            return Some(message);
        }
    }

    /// The next message that is not a sign of life, before the program would be taken for dead.
    fn next_change(&mut self) -> String {
        loop {
            let message = self.next(PATIENCE).expect("the program says what it does");
            if message != "WATCHDOG=1" {
                return message;
            }
        }
    }
}

/// What systemd does when an operator runs `beckon hand-over`: it follows the new process, which gives signs of life and says that
/// it stops.
#[test]
fn the_supervisor_follows_the_process_that_serves() {
    const WATCHDOG: Duration = Duration::from_secs(4);
    let folder = tempfile::tempdir().unwrap();
    let plans = [(Plan::standalone(), "beckon"), (Plan::cluster(1, 1), "c0"), (Plan::cluster(1, 1), "e0")];
    for (mut plan, name) in plans {
        let path = folder.path().join(name);
        let mut supervisor = Supervisor::at(&path);
        let planned = plan.node(name);
        planned.set("NOTIFY_SOCKET", &path.to_string_lossy());
        planned.set("WATCHDOG_USEC", &WATCHDOG.as_micros().to_string());
        planned.set("BECKON_HAND_OVER", &folder.path().join(format!("{name}.hand-over")).to_string_lossy());
        let fleet = plan.launch();
        let node = fleet.node(name);
        supervisor.main = node.pid();
        assert_eq!(supervisor.next_change(), "READY=1", "{name}");
        node.wait_until_ready();
        let (status, answer) = http(node.addresses().admin, "POST", "/hand-over").expect("an answer");
        assert_eq!(status, 200, "{name}: {answer}");
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        let new = answer["process"].as_u64().and_then(|process| u32::try_from(process).ok()).unwrap();
        let _orphan = Orphan(new);
        assert_eq!(supervisor.next_change(), format!("MAINPID={new}"), "{name}");
        assert_eq!(node.wait().code(), Some(0), "{name}");
        for _ in 0..4 {
            let message = supervisor.next(WATCHDOG);
            // The new process says that it serves, whether or not it is heard.
            assert!(matches!(message.as_deref(), Some("WATCHDOG=1" | "READY=1")), "{name}: {message:?}");
        }
        let pid = Pid::from_raw(i32::try_from(new).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        assert_eq!(supervisor.next_change(), "STOPPING=1", "{name}");
    }
}
