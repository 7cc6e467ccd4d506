//! Two runs on one machine do not meet.

use beckon_testbed::{ports::Port, process};
use std::{collections::BTreeSet, net::TcpListener};

/// More than one block has.
const MANY: usize = 120;

#[test]
fn ports_are_free_and_each_belongs_to_one_owner() {
    let ports: Vec<Port> = (0..MANY).map(|_| Port::free()).collect();
    let numbers: BTreeSet<u16> = ports.iter().map(Port::number).collect();
    assert_eq!(numbers.len(), MANY);
    let listeners: Vec<_> = ports.iter().map(|port| TcpListener::bind(port.address()).unwrap()).collect();
    let ephemeral = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let first: u16 = ephemeral.split_whitespace().next().unwrap().parse().unwrap();
    assert!(numbers.iter().all(|number| *number < first), "{numbers:?}");
    drop(listeners);
}

#[test]
fn a_port_that_something_listens_on_is_passed_over() {
    let port = Port::free();
    let _listener = TcpListener::bind(("0.0.0.0", port.number())).unwrap();
    let number = port.number();
    drop(port);
    // It comes up again, and each time it is taken.
    for _ in 0..MANY {
        assert_ne!(Port::free().number(), number);
    }
}

/// Started by the test below as another process; by itself it takes ports, which harms nothing.
#[test]
fn another_process_takes_ports() {
    let held: Vec<Port> = (0..MANY).map(|_| Port::free()).collect();
    let numbers: Vec<String> = held.iter().map(|port| port.number().to_string()).collect();
    assert_eq!(numbers.len(), MANY);
    println!("ports: {}", numbers.join(" "));
}

#[test]
fn two_processes_never_have_the_same_port() {
    let held: Vec<Port> = (0..MANY).map(|_| Port::free()).collect();
    let ours: BTreeSet<u16> = held.iter().map(Port::number).collect();
    let test = std::env::current_exe().unwrap();
    let arguments = ["--exact", "ports::another_process_takes_ports", "--nocapture"];
    let (status, output) = process::run(&test, &arguments, &[]);
    assert!(status.success(), "{output}");
    let line = output.lines().find_map(|line| line.split_once("ports: ")).unwrap().1;
    let theirs: BTreeSet<u16> = line.split(' ').map(|port| port.parse().unwrap()).collect();
    assert_eq!(theirs.len(), MANY);
    assert!(ours.is_disjoint(&theirs), "{ours:?} and {theirs:?}");
}
