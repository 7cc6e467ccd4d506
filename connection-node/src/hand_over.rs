//! Handing the sockets of a node over to another process on the same machine ([`beckon_node::hand_over`] has the protocol).
//!
//! * `format`: a node and its sockets as data;
//! * `sockets`: those of the old process; `adopting`: what the new one does with them.

mod adopting;
mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod sockets;

pub use adopting::Adopted;
pub use sockets::Sockets;
