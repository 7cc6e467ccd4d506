//! Which connection makes room, and which is too late.

use super::*;
use std::net::IpAddr;

const MAX: usize = 3;

fn connections() -> Arc<Connections> {
    let limits = Limits {
        connections_max: MAX,
        source_opening_max: 2,
        head_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(75),
        handshakes: None,
    };
    Connections::new("tested", limits, Clock::start(), &Metrics::default())
}

fn is_ended(visit: &Visit) -> bool {
    visit.poll_ended(&mut Context::from_waker(std::task::Waker::noop()))
}

fn idle(connections: &Arc<Connections>) -> Visit {
    let visit = connections.enter().unwrap();
    visit.begin();
    visit.answered();
    visit
}

#[tokio::test(start_paused = true)]
async fn the_oldest_that_has_said_nothing_makes_room_then_the_longest_idle() {
    let connections = connections();
    let first_idle = idle(&connections);
    tokio::time::advance(Duration::from_secs(1)).await;
    let second_idle = idle(&connections);
    tokio::time::advance(Duration::from_secs(1)).await;
    let silent = connections.enter().unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    let newer = idle(&connections);
    assert!(is_ended(&silent) && !is_ended(&first_idle));
    tokio::time::advance(Duration::from_secs(1)).await;
    let newest = idle(&connections);
    assert!(is_ended(&first_idle) && !is_ended(&second_idle));
    assert_eq!(connections.count(), Counted { handshake: 0, opening: 0, busy: 0, idle: MAX });
    drop((second_idle, newer, newest, first_idle, silent));
    assert_eq!(connections.open.load(Ordering::Relaxed), 0);
}

/// On a port full of connections that were answered once, a new one is not the next to go.
#[tokio::test(start_paused = true)]
async fn a_new_connection_has_a_second_unless_all_are_new() {
    let connections = connections();
    let first = idle(&connections);
    tokio::time::advance(Duration::from_secs(1)).await;
    let second = idle(&connections);
    let new = connections.enter().unwrap();
    tokio::time::advance(Duration::from_millis(999)).await;
    let third = idle(&connections);
    assert!(!is_ended(&new) && is_ended(&first) && !is_ended(&second));
    tokio::time::advance(Duration::from_millis(1)).await;
    let fourth = idle(&connections);
    assert!(is_ended(&new) && !is_ended(&second) && !is_ended(&third));
    drop((first, second, third, fourth, new));
    let new: Vec<Visit> = (0..=MAX).map(|_| connections.enter().unwrap()).collect();
    assert!(is_ended(&new[0]) && new[1..].iter().all(|visit| !is_ended(visit)));
}

#[tokio::test(start_paused = true)]
async fn what_is_busy_stays_and_a_few_more_get_in() {
    let connections = connections();
    let busy: Vec<Visit> = (0..MAX + SPARE)
        .map(|_| {
            let visit = connections.enter().unwrap();
            visit.begin();
            visit
        })
        .collect();
    assert!(connections.enter().is_none());
    assert_eq!(busy.iter().filter(|visit| visit.is_spare()).count(), SPARE);
    assert!(busy.iter().all(|visit| !is_ended(visit)));
    busy[0].answered();
    assert!(connections.enter().is_some());
    assert!(is_ended(&busy[0]));
    assert!(!busy[0].begin(), "an ended connection stays ended");
}

#[tokio::test(start_paused = true)]
async fn a_source_makes_room_for_itself() {
    let connections = connections();
    let source = |text: &str| Source::of(text.parse::<IpAddr>().unwrap()).unwrap();
    let other = connections.enter().unwrap();
    other.belongs_to(source("192.0.2.1"));
    let own: Vec<Visit> = (0..2).map(|_| connections.enter().unwrap()).collect();
    own.iter().for_each(|visit| visit.belongs_to(source("192.0.2.2")));
    assert!(own.iter().all(|visit| !is_ended(visit)));
    own[1].begin();
    drop(other);
    let further = connections.enter().unwrap();
    further.belongs_to(source("192.0.2.2"));
    assert!(!is_ended(&own[0]), "one of them has sent a request");
    connections.table.lock().opening.retain(|entry| entry.stated().state() != State::Ended);
    let limits = Limits { connections_max: 10, ..connections.limits() };
    let connections = Connections::new("tested", limits, connections.clock, &Metrics::default());
    let own: Vec<Visit> = (0..3).map(|_| connections.enter().unwrap()).collect();
    own.iter().for_each(|visit| visit.belongs_to(source("192.0.2.2")));
    assert!(is_ended(&own[0]) && !is_ended(&own[1]) && !is_ended(&own[2]));
}

#[tokio::test(start_paused = true)]
async fn a_sweep_ends_what_is_late() {
    let connections = connections();
    let silent = connections.enter().unwrap();
    let slow = idle(&connections);
    let resting = idle(&connections);
    tokio::time::advance(Duration::from_secs(4)).await;
    slow.heard();
    tokio::time::advance(Duration::from_secs(1)).await;
    connections.sweep();
    assert!(is_ended(&silent) && !is_ended(&slow));
    tokio::time::advance(Duration::from_secs(4)).await;
    connections.sweep();
    assert!(is_ended(&slow) && !is_ended(&resting));
    tokio::time::advance(Duration::from_secs(66)).await;
    connections.sweep();
    assert!(is_ended(&resting));
    assert_eq!(connections.count(), Counted::default());
    assert!(connections.table.lock().settled.is_empty());
}
