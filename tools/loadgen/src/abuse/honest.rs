//! A host that wants its service.

use super::{caller::upgrade_request, scene::Scene};
use beckon_ops::clock::Clock;
use std::{io, net::SocketAddr, thread, time::Duration};

/// Rest between two rounds of requests.
const REST: Duration = Duration::from_millis(100);

/// What became of honest requests.
#[derive(Debug, Default)]
pub(super) struct Served {
    asked: u64,
    failures: u64,
    slowest: Duration,
    first_failure: Option<String>,
}

impl Served {
    pub(super) fn asked(&self) -> u64 {
        self.asked
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures
    }

    pub(super) fn slowest(&self) -> Duration {
        self.slowest
    }

    pub(super) fn first_failure(&self) -> Option<&str> {
        self.first_failure.as_deref()
    }

    pub(super) fn failed(&mut self, reason: String) {
        self.failures += 1;
        self.first_failure.get_or_insert(reason);
    }
}

/// Wants an upgrade, a notification answered, and health on both ports, again and again for so long.
pub(super) fn ask_for(scene: &Scene<'_>, clock: &Clock, time: Duration) -> Served {
    let (ws, http) = (scene.settings.ws, scene.settings.http);
    let health =
        |to: SocketAddr| format!("GET /__lbheartbeat__ HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n");
    let put = format!(
        "PUT /update/none HTTP/1.1\r\nHost: {http}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let requests = [
        ("upgrade", ws, upgrade_request(ws), 101),
        ("health of the WebSocket port", ws, health(ws), 200),
        // There is no such endpoint, and the answer says so.
        ("notification", http, put, 404),
        ("health of the HTTP port", http, health(http), 200),
    ];
    let mut served = Served::default();
    let end = clock.now_us() + time.as_micros() as u64;
    while clock.now_us() < end {
        for (what, to, request, expected) in &requests {
            let begun = clock.now_us();
            let status = scene.honest.ask(*to, request, scene.settings.limit).map(|(status, _)| status);
            let took = Duration::from_micros(clock.now_us() - begun);
            served.asked += 1;
            served.slowest = served.slowest.max(took);
            if let Some(reason) = failure(status, *expected, took, scene.settings.limit) {
                served.failed(format!("{what}: {reason}"));
            }
        }
        thread::sleep(REST);
    }
    served
}

fn failure(status: io::Result<u16>, expected: u16, took: Duration, limit: Duration) -> Option<String> {
    match status {
        Ok(status) if status != expected => Some(format!("HTTP status {status} instead of {expected}")),
        Ok(_) if took > limit => Some(format!("answered after {} ms", took.as_millis())),
        Ok(_) => None,
        Err(error) => Some(format!("no answer within {} ms: {error}", limit.as_millis())),
    }
}
