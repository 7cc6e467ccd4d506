//! The black-box suite: what PROTOCOL.md and README.md promise, checked against the real programs over real sockets.
//!
//! A test that is named after an item of the checklist (PROTOCOL.md section 10) is written once and run on both
//! shapes: `standalone::sp_27_…` and `cluster::sp_27_…`. Those that need no more than a server's addresses are in
//! `crates/conformance`, from where `beckon conformance` takes them too; [`checks`] makes tests of them. [`coverage`]
//! makes sure that no item is left out.
//! Which test covers what is in `docs/protocol-coverage.md`.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

/// Makes a test for each shape of each function, and the list of their names.
macro_rules! on_both_shapes {
    ($($test:ident),* $(,)?) => {
        /// The tests of this file that run on both shapes.
        pub(crate) const NAMES: &[&str] = &[$(stringify!($test)),*];

        mod standalone {
            $(#[tokio::test]
            async fn $test() {
                super::$test(beckon_testbed::plan::Shape::Standalone).await;
            })*
        }

        mod cluster {
            $(#[tokio::test]
            async fn $test() {
                super::$test(beckon_testbed::plan::Shape::Cluster).await;
            })*
        }
    };
}

mod admin;
mod advertise;
mod between_nodes;
mod blocked_log;
mod checks;
mod clients;
mod command_line;
mod conformance;
mod contracts;
mod coverage;
mod crash;
mod crowds;
mod crowds_store;
mod crowds_tls;
mod dashboard;
mod data_dir;
mod dead_client;
mod doctor;
mod draining;
mod faults;
mod full_disk;
mod full_store;
mod hand_over;
mod hand_over_alone;
mod hand_over_edges;
mod hand_over_requests;
mod http_endpoint;
mod http_health;
mod http_vapid;
mod http_webpush;
mod kills;
mod large_directory;
mod message_faults;
mod metrics;
mod probe;
mod programs;
mod redis_faults;
mod reload;
mod request_ids;
mod revoking;
mod settings;
mod sp_delivery;
mod sp_hello;
mod sp_register;
mod sp_socket;
mod stopping;
mod strangers;
mod supervision;
mod terminal;
mod tls;
mod top;
mod traces;
mod transfer;
mod versions;
mod wp_ack;
mod wp_backlog;
mod wp_broadcast;
mod wp_hello;
mod wp_register;
mod wp_socket;
