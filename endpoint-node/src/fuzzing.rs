//! Fuzz targets for the requests of application servers, and for settings.

mod credentials;

pub use crate::http::fuzzing::{forms, message_headers, multipart};
pub use credentials::vapid;

use crate::config::Config;
use beckon_ops::{config::Source, program::ServerConfig as _};

/// Settings that name files, which are of this machine.
const FILES: [&str; 5] = ["tls", "config", "file", "cert", "key="];

/// Settings in lines, as variables of the environment without their prefix. One of them is a secret, which no error shows.
pub fn endpoint_node_config(data: &[u8]) {
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
        assert!(!text.is_empty() && !text.contains("hunter2"), "{text}");
    }
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
