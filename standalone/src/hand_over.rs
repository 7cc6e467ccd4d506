//! `beckon hand-over`: the program of a node is started again, and takes everything over, through the admin listener.

use crate::admin::{self, AdminListener, asking};
use beckon_ops::{exit::Failure, program::print};
use bytes::Bytes;
use clap::{ArgMatches, Command};
use http::Method;

/// `beckon hand-over`.
pub(crate) fn command() -> Command {
    asking(Command::new("hand-over"))
        .about("Replace a running process by a new one, with its connections")
        .after_help(
            "The node starts its program again, as it is in its file now, with the same arguments and environment. The new process \
             reads its settings, takes the ports and the connections over, and the old one ends. The setting hand_over has to name \
             a path.\n\n\
             Exit code: 0 done, 1 the old process serves on, 64 invalid arguments, 69 server not reachable.",
        )
}

/// The answer to `POST /hand-over`.
#[derive(Debug, serde::Deserialize)]
struct HandedOver {
    process: Option<u32>,
    sockets: u64,
    http_connections: u64,
    closed: u64,
    pause_ms: u64,
}

/// Runs `beckon hand-over`.
pub(crate) async fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let admin = AdminListener::of(matches);
    let answer = admin.ask(Method::POST, "/hand-over", Bytes::new()).await?;
    print(&text(&admin::answered(&answer)?))
}

fn text(handed_over: &HandedOver) -> String {
    let HandedOver { process, sockets, http_connections, closed, pause_ms } = handed_over;
    let process = process.map_or_else(|| "another process".to_owned(), |id| format!("process {id}"));
    format!(
        "{process} serves: {sockets} WebSockets and {http_connections} HTTP connections handed over in {pause_ms} ms, \
        {closed} closed\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_names_the_process_and_what_became_of_the_sockets() {
        let handed_over =
            HandedOver { process: Some(7), sockets: 9, http_connections: 2, closed: 1, pause_ms: 20 };
        let expected =
            "process 7 serves: 9 WebSockets and 2 HTTP connections handed over in 20 ms, 1 closed\n";
        assert_eq!(text(&handed_over), expected);
        assert!(command().try_get_matches_from(["x", "now"]).is_err());
    }
}
