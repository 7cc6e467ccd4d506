//! What a run is made of.

use crate::{
    dialect::{Dialect, webpush::BODY_MIN},
    measure::Watched,
    route::{Server, Sources},
    vapid::Vapid,
};
use beckon_ops::config::{Source, parsed, positive};
use std::{path::PathBuf, time::Duration};

beckon_ops::settings! {
    /// A run: who connects where, what is sent how fast, what is watched, and where the report goes.
    pub struct Settings {
        /// WebSocket URLs, separated by commas; clients go to each in turn. Required.
        ws: Vec<Server> => parse_ws,
        /// URLs of servers to send through, separated by commas, in turn. Empty: the one that the endpoints name.
        http: Vec<Server> = "" => parse_http,
        /// PEM file with the authority to trust, for wss and https URLs. Every connection has a whole handshake.
        tls_ca: Option<PathBuf> = "",
        /// What is spoken: simplepush or webpush.
        dialect: Dialect = "simplepush" => parsed,
        /// Addresses to connect from, each in turn: 127.1.0.1-127.1.0.16,127.2.0.1. Empty: the system's choice.
        source: Vec<Sources> = "" => parse_sources,
        /// Clients to connect.
        clients: u32 = "1000",
        /// Channels that each client registers.
        channels: u32 = "1",
        /// Connections begun per second. 0: as many as the servers take.
        connect_rate: f64 = "0" => parse_rate,
        /// Clients that are connecting at a time.
        connecting_max: u32 = "256",
        /// Time until every client has to have its endpoints; then the run fails.
        connect_limit: Duration = "300s" => positive,
        /// Numbers of clients at which connecting pauses to measure, separated by commas, ascending.
        measure_at: Vec<u32> = "",
        /// Rest before a measurement.
        settle: Duration = "2s",
        /// Time during which all clients are connected and nothing is sent.
        idle: Duration = "0",
        /// Print `ready` when all are connected and send only after a line has come on standard input; print `done`
        /// at the end and keep everybody connected until a second line has come.
        wait_stdin: bool = "false",
        /// Notifications per second, whatever the answers take (open loop). 0: each sender sends the next one
        /// when it has its answer (closed loop).
        rate: f64 = "0" => parse_rate,
        /// Connections that notifications are sent on.
        senders: u32 = "32",
        /// Time of sending. 0: nothing is sent.
        send_for: Duration = "10s",
        /// Pause before a notification that was answered with 429 or 503 is sent again, doubled with each such answer, and no
        /// longer than eight times this. Servers ask for more, which most runs cannot wait for. 0: it is not sent again.
        retry: Duration = "0",
        /// Notifications after which sending ends early. 0: send_for alone counts.
        sends: u64 = "0",
        /// Bytes of data in each notification. Empty: none in SimplePush, 200 in Web Push.
        data: Option<u32> = "",
        /// Web Push: how long a notification may be kept, seconds. 0: only for who is connected.
        ttl: u32 = "3600",
        /// Web Push: who says who it is. none; each: each sender with a key of its own; restricted: channels are
        /// registered with one key and all senders have it.
        vapid: Vapid = "none" => parsed,
        /// Acknowledge notifications.
        ack: bool = "true",
        /// Share of the clients that drop their connection and come back, per second of sending.
        churn: f64 = "0" => parse_share,
        /// Share of the clients that drop their connections all at once and come back.
        storm: f64 = "0" => parse_share,
        /// When the storm is, counted from the beginning of sending.
        storm_at: Duration = "5s",
        /// Time after sending in which accepted notifications may still arrive; then they are lost.
        grace: Duration = "5s",
        /// Share of the clients that leave for good after sending, to measure what is given back then.
        leave: f64 = "0" => parse_share,
        /// Processes to measure, separated by commas: connection-node=123,redis=456. Loadgen measures itself.
        pid: Vec<Watched> = "" => parse_watched,
        /// File for the report as JSON.
        json: Option<PathBuf> = "",
        /// File for a drawing of latency and rate over time, as SVG.
        plot: Option<PathBuf> = "",
    }
}

impl Settings {
    /// Reads everything, and the rules between settings.
    ///
    /// # Errors
    /// Everything that is wrong, together.
    pub fn read_all(mut source: Source) -> Result<Self, beckon_ops::config::ConfigErrors> {
        let settings = Self::read(&mut source);
        if let Some(settings) = &settings {
            for (name, reason) in settings.conflicts() {
                source.reject(name, reason);
            }
        }
        source.finish(settings)
    }

    /// Bytes of data in each notification.
    pub fn data(&self) -> u32 {
        self.data.unwrap_or_else(|| self.dialect.usual_data())
    }

    fn conflicts(&self) -> Vec<(&'static str, String)> {
        let mut conflicts = Vec::new();
        if self.clients == 0 || self.clients.checked_mul(self.channels).is_none() {
            conflicts.push(("clients", "must be at least 1, and clients x channels below 2^32".to_owned()));
        }
        if self.tls_ca.is_none() && self.ws.iter().chain(&self.http).any(|server| server.has_tls) {
            conflicts.push(("tls_ca", "is needed for wss and https URLs".to_owned()));
        }
        if self.senders == 0 {
            conflicts.push(("senders", "must be at least 1".to_owned()));
        }
        if self.connecting_max == 0 {
            conflicts.push(("connecting_max", "must be at least 1".to_owned()));
        }
        if self.channels == 0 && !self.send_for.is_zero() {
            conflicts.push(("channels", "must be at least 1 to send anything; or --send-for 0".to_owned()));
        }
        if !self.measure_at.is_sorted() || self.measure_at.last().is_some_and(|last| *last > self.clients) {
            conflicts.push(("measure_at", "must ascend and not exceed clients".to_owned()));
        }
        if self.dialect == Dialect::WebPush && !(BODY_MIN..=DATA_MAX).contains(&self.data()) {
            conflicts.push(("data", format!("must be from {BODY_MIN} to {DATA_MAX} in Web Push")));
        }
        if self.data() > DATA_MAX {
            conflicts.push(("data", format!("must be at most {DATA_MAX}")));
        }
        if self.dialect == Dialect::SimplePush && self.vapid != Vapid::None {
            conflicts.push(("vapid", "is for Web Push".to_owned()));
        }
        let needed = u64::from(self.clients) + u64::from(self.senders) + OTHER_FILES;
        if let Some(limit) = beckon_ops::process::open_files_max().filter(|limit| needed > *limit) {
            let reason = format!(
                "needs {needed} open files and the limit of this process is {limit} (ulimit -n); \
                 start several processes with --wait-stdin instead"
            );
            conflicts.push(("clients", reason));
        }
        conflicts
    }
}

/// The most data in a notification, bytes: more than any server of this family takes.
const DATA_MAX: u32 = 64 * 1024;

/// Open files besides sockets: standard streams, the event queue, the timer, the reports.
const OTHER_FILES: u64 = 32;

fn list<T>(text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(parse).collect()
}

fn parse_ws(text: &str) -> Result<Vec<Server>, String> {
    let servers = list(text, Server::of_ws_url)?;
    if servers.is_empty() { Err("needs at least one URL".to_owned()) } else { Ok(servers) }
}

fn parse_http(text: &str) -> Result<Vec<Server>, String> {
    list(text, Server::of_http_url)
}

fn parse_sources(text: &str) -> Result<Vec<Sources>, String> {
    list(text, parsed)
}

fn parse_watched(text: &str) -> Result<Vec<Watched>, String> {
    list(text, parsed)
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if (0.0..=1e7).contains(&rate) { Ok(rate) } else { Err("must be from 0 to 10000000".to_owned()) }
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("must be from 0 to 1".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(flags: &[&str]) -> String {
        let source = Source::new(flags, [("", ""); 0]);
        Settings::read_all(source).err().map(|errors| errors.to_string()).unwrap_or_default()
    }

    #[test]
    fn every_wrong_setting_is_named() {
        let ws = "ws://127.0.0.1:1/";
        assert_eq!(complaint(&["--ws", ws]), "");
        for (flags, expected) in [
            (&["--clients", "5"][..], "ws"),
            (&["--ws", "wss://127.0.0.1/"], "tls_ca"),
            (&["--ws", ws, "--senders", "0"], "senders"),
            (&["--ws", ws, "--clients", "100000000"], "open files"),
            (&["--ws", ws, "--measure-at", "5,3"], "ascend"),
            (&["--ws", ws, "--churn", "1.5"], "from 0 to 1"),
            (&["--ws", ws, "--pid", "redis"], "pid"),
            (&["--ws", ws, "--dialect", "irc"], "simplepush"),
            (&["--ws", ws, "--vapid", "each"], "for Web Push"),
            (&["--ws", ws, "--dialect", "webpush", "--data", "9"], "must be from 103"),
        ] {
            let complaint = complaint(flags);
            assert!(complaint.contains(expected), "{flags:?}: {complaint}");
        }
    }
}
