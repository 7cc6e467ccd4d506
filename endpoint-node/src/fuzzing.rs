//! Fuzz targets for the requests of application servers, and for settings.

mod credentials;

pub use crate::http::fuzzing::{forms, message_headers, multipart};
pub use credentials::vapid;

use crate::config::Config;
use beckon_ops::fuzzing::settings_of;

/// Settings in lines.
pub fn endpoint_node_config(data: &[u8]) {
    settings_of::<Config>(data, "BECKON_CLUSTER_SECRET");
}

#[cfg(test)]
mod tests {
    use beckon_replay::replay;

    #[test]
    fn kept_forms() {
        replay("forms", super::forms);
    }

    #[test]
    fn kept_forms_in_parts() {
        replay("multipart", super::multipart);
    }

    #[test]
    fn kept_headers() {
        replay("message_headers", super::message_headers);
    }

    #[test]
    fn kept_credentials() {
        replay("vapid", super::vapid);
    }

    #[test]
    fn kept_settings() {
        replay("endpoint_node_config", super::endpoint_node_config);
    }
}
