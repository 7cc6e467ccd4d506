//! `beckon listen`: a device that speaks SimplePush.

use super::report::{failure, quoted, report};
use beckon_client::{
    raw,
    user_agent::{Event, Options, Update, UserAgent, new_channel},
};
use beckon_ops::{
    exit::Failure,
    program::{print, printable},
};

/// Runs until stdout is closed.
///
/// # Errors
/// The first connection fails.
pub(super) async fn listen(url: &str) -> Result<(), Failure> {
    let mut agent = UserAgent::connect(url, Options::default()).await.map_err(failure)?;
    report(&format!("connected to {url} ({})", raw::SUBPROTOCOL));
    let endpoint = agent.register(new_channel()).await.map_err(failure)?;
    introduce(&endpoint)?;
    loop {
        match agent.next_event().await {
            Event::Notification(updates) => {
                for update in &updates {
                    // A closed pipe (`| head -1`) ends the command.
                    if print(&line_of(update)).is_err() {
                        return Ok(());
                    }
                }
                if let Err(error) = agent.acknowledge(&updates).await {
                    report(&format!("could not acknowledge, so it will arrive again: {error}"));
                }
            }
            Event::Connected { new_uaid: false } => report("connected again, same UAID, same endpoint"),
            Event::Connected { new_uaid: true } => {
                report("connected again, but the server no longer knows this UAID")
            }
            Event::NewEndpoint { endpoint, .. } => introduce(&endpoint)?,
            Event::Disconnected { error, retry_in } => {
                report(&format!("not connected: {error}; trying again in {:.1} s", retry_in.as_secs_f64()));
            }
        }
    }
}

/// Shows the endpoint and how to use it.
fn introduce(endpoint: &str) -> Result<(), Failure> {
    let try_it = quoted(endpoint).map(|endpoint| format!("try      curl -X PUT -d version=1 {endpoint}\n"));
    print(&format!("endpoint {}\n{}", printable(endpoint), try_it.unwrap_or_default()))
}

/// One line for an update. Anyone may have sent `data`, so control characters are escaped.
fn line_of(update: &Update) -> String {
    match &update.data {
        None => format!("version {}\n", update.version.number()),
        Some(data) => format!("version {} data {data:?}\n", update.version.number()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use beckon_types::Version;

    #[test]
    fn data_cannot_control_the_terminal() {
        let version = Version::new(7).unwrap();
        let update = Update { channel: new_channel(), version, data: Some("a\u{1b}[2J\nb".into()) };
        assert_eq!(line_of(&update), "version 7 data \"a\\u{1b}[2J\\nb\"\n");
    }
}
