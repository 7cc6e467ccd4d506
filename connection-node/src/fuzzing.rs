//! Fuzz targets for what user agents send before their first message, and in frames; for what another process hands over; and
//! for settings.

pub use crate::{
    hand_over::fuzzing::hand_over_sockets, handshake::fuzzing::upgrade, socket::fuzzing::frames,
};

use crate::config::Config;
use beckon_ops::{config::Source, program::ServerConfig as _};

/// Settings that name files, which are of this machine.
const FILES: [&str; 5] = ["tls", "config", "file", "cert", "key="];

/// Settings in lines, as variables of the environment without their prefix. Two of them are secrets, which no error shows.
pub fn connection_node_config(data: &[u8]) {
    const SECRET: &str = "hunter2hunter2,short";
    let Ok(text) = str::from_utf8(data) else { return };
    let lines =
        text.lines().filter(|line| FILES.iter().all(|file| !line.to_ascii_lowercase().contains(file)));
    let mut variables: Vec<(String, &str)> = vec![("BECKON_CLUSTER_SECRET".to_owned(), SECRET)];
    variables.extend(
        lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (format!("BECKON_{name}"), value)),
    );
    if let Err(errors) = Config::read(Source::new([""; 0], variables)) {
        let text = errors.to_string();
        assert!(!text.is_empty() && !text.contains(SECRET) && !text.contains("hunter2"), "{text}");
    }
}

#[cfg(test)]
mod tests {
    use beckon_replay::replay;

    #[test]
    fn kept_upgrades() {
        replay("upgrade", super::upgrade);
    }

    #[test]
    fn kept_frames() {
        replay("frames", super::frames);
    }

    #[test]
    fn kept_sockets() {
        replay("hand_over_sockets", super::hand_over_sockets);
    }

    #[test]
    fn kept_settings() {
        replay("connection_node_config", super::connection_node_config);
    }
}
