//! Fuzz targets for what user agents send before their first message, and in frames; for what another process hands over; and
//! for settings.

pub use crate::{
    hand_over::fuzzing::hand_over_sockets, handshake::fuzzing::upgrade, socket::fuzzing::frames,
};

use crate::config::Config;
use beckon_ops::fuzzing::settings_of;

/// Settings in lines.
pub fn connection_node_config(data: &[u8]) {
    settings_of::<Config>(data, "BECKON_CLUSTER_SECRET");
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
