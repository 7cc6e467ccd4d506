//! What programs tell a supervisor such as systemd, as docs/operations.md says: `READY=1` when they serve, `WATCHDOG=1`
//! while they are alive, and `STOPPING=1` when they stop. The test is the supervisor.

use beckon_testbed::{
    PATIENCE,
    fleet::Fleet,
    folder,
    node::http_status,
    plan::{Plan, Shape},
    process::Signal,
    redis::RedisServer,
};
use std::{io, os::unix::net::UnixDatagram, path::Path, time::Duration};

/// The time after which a silent program would be restarted.
const WATCHDOG: Duration = Duration::from_secs(4);

/// The socket that a supervisor gives to one program.
struct Supervisor {
    socket: UnixDatagram,
    path: String,
}

impl Supervisor {
    fn new(folder: &Path, name: &str) -> Self {
        let path = folder.join(name);
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { socket, path: path.to_str().unwrap().to_owned() }
    }

    /// The next message, or `None` if none comes in this time.
    fn next(&self, limit: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(limit)).unwrap();
        let mut buffer = [0; 512];
        match self.socket.recv(&mut buffer) {
            Ok(length) => Some(str::from_utf8(&buffer[..length]).unwrap().trim_end().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// The next message that is not a sign of life.
    fn next_change(&self) -> String {
        loop {
            let message = self.next(PATIENCE).expect("the program says what it does");
            if message != "WATCHDOG=1" {
                return message;
            }
        }
    }
}

/// Programs with a supervisor each, and what has to be kept while they run. None is waited for.
fn supervised(shape: Shape, plan: impl FnOnce(Plan) -> Plan) -> (Fleet, Vec<Supervisor>, impl Sized) {
    let folder = folder::temporary();
    let mut plan = plan(Plan::new(shape)).all("WATCHDOG_USEC", &WATCHDOG.as_micros().to_string());
    let names = match shape {
        Shape::Standalone => &["beckon"][..],
        Shape::Cluster => &["e0", "e1", "c0", "c1"],
    };
    let supervisors = names.iter().map(|name| {
        let supervisor = Supervisor::new(folder.path(), name);
        plan.node(name).set("NOTIFY_SOCKET", &supervisor.path);
        supervisor
    });
    let supervisors = supervisors.collect();
    (plan.launch(), supervisors, folder)
}

fn check(shape: Shape) {
    let (fleet, supervisors, _folder) = supervised(shape, |plan| plan);
    for (node, supervisor) in fleet.nodes().iter().zip(&supervisors) {
        let name = node.name();
        assert_eq!(supervisor.next_change(), "READY=1", "{name}");
        assert_eq!(http_status(node.addresses().admin, "/__lbheartbeat__"), Some(200), "{name}");
        for _ in 0..4 {
            assert_eq!(supervisor.next(WATCHDOG).as_deref(), Some("WATCHDOG=1"), "{name}");
        }
        node.signal(Signal::TERM);
        assert_eq!(supervisor.next_change(), "STOPPING=1", "{name}");
        assert_eq!(node.wait().code(), Some(0), "{name}: {}", node.log());
    }
}

#[test]
fn a_standalone_server_tells_its_supervisor_what_it_does() {
    check(Shape::Standalone);
}

#[test]
fn nodes_tell_their_supervisor_what_they_do() {
    check(Shape::Cluster);
}

#[test]
fn a_node_is_ready_only_once_it_has_a_store_and_stays_alive_without_it() {
    let mut redis = RedisServer::start();
    redis.kill();
    let url = redis.url();
    let (fleet, supervisors, _folder) =
        supervised(Shape::Cluster, |plan| plan.store(url).all("BECKON_WAIT_FOR_STORE", "true"));
    for supervisor in &supervisors {
        assert_eq!(supervisor.next(WATCHDOG).as_deref(), Some("WATCHDOG=1"));
        assert_eq!(supervisor.next(WATCHDOG).as_deref(), Some("WATCHDOG=1"));
    }
    redis.restart();
    for supervisor in &supervisors {
        assert_eq!(supervisor.next_change(), "READY=1");
    }
    redis.pause();
    for (node, supervisor) in fleet.nodes().iter().zip(&supervisors) {
        while supervisor.next(WATCHDOG / 100).is_some() {}
        for _ in 0..4 {
            let message = supervisor.next(WATCHDOG);
            assert_eq!(message.as_deref(), Some("WATCHDOG=1"), "{}: {}", node.name(), node.log());
        }
    }
    redis.resume();
}

#[test]
fn a_program_that_hangs_gives_no_sign_of_life() {
    let (fleet, supervisors, _folder) = supervised(Shape::Standalone, |plan| plan);
    let (node, supervisor) = (&fleet.nodes()[0], &supervisors[0]);
    assert_eq!(supervisor.next_change(), "READY=1");
    node.signal(Signal::STOP);
    // What was sent before is read first.
    while supervisor.next(WATCHDOG / 8).is_some() {}
    assert_eq!(supervisor.next(WATCHDOG), None);
    node.signal(Signal::CONT);
    assert_eq!(supervisor.next(PATIENCE).as_deref(), Some("WATCHDOG=1"), "{}", node.log());
}
