//! The black-box suite: what PROTOCOL.md and DESIGN.md promise, asked of the real programs over real sockets.
//!
//! A test that is named after an item of the checklist (PROTOCOL.md section 10) is written once and run on both
//! shapes: `standalone::sp_27_…` and `cluster::sp_27_…`. [`coverage`] makes sure that no item is left out.
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
                super::$test(cluster_tests::fleet::Shape::Standalone).await;
            })*
        }

        mod cluster {
            $(#[tokio::test]
            async fn $test() {
                super::$test(cluster_tests::fleet::Shape::Cluster).await;
            })*
        }
    };
}

mod between_nodes;
mod coverage;
mod crash;
mod http_endpoint;
mod http_health;
mod programs;
mod redis_faults;
mod sp_ack;
mod sp_delivery;
mod sp_hello;
mod sp_register;
mod sp_socket;
mod sp_socket_limits;
