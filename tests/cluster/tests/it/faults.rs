//! Faults of the store, of the links between nodes, and of the set-up: nothing is lost, no client is deaf, and
//! everything works again by itself.
//!
//! Each test is a *row*: one fault and what has to hold. `cargo xtask test` runs it on the first of its topologies,
//! `cargo xtask faults` on each of them.

/// Makes a test for each row: a function that takes a topology, and the topologies it applies to.
macro_rules! rows {
    ($($row:ident: [$($topology:ident),+ $(,)?]),+ $(,)?) => {
        mod row {
            use crate::faults::gate;
            use beckon_testbed::redis::Topology;

            $(#[test]
            fn $row() {
                gate::run(stringify!($row), &[$(Topology::$topology),+], super::$row);
            })+
        }
    };
}

mod gate;
mod keys;
mod links;
mod nodes;
mod recovery;
mod redis;
mod shards;
