//! Handing a node over to another process on the same machine, with all its sockets.
//!
//! * `format`: what the two processes say;
//! * `giving`: the old process; `taking`: the new one, and `adopting`: what it does with the sockets;
//! * `paths`: what operators ask for.
//!
//! | step | the old process dies | the new process dies |
//! | --- | --- | --- |
//! | until the old one stands still | the new one starts over as the first | the old one serves on |
//! | until the new one has everything | all sockets are lost, as without a hand-over; the new one starts over as the first | the old one resumes everything |
//! | until the old one says that the new one serves | the new one serves, with all sockets | the old one resumes everything |
//! | after that | only the sockets that could not be handed over are lost | all sockets are lost, as without a hand-over |
//!
//! The lock of [`beckon_ops::hand_over`] decides which process serves, so there is never more than one.

pub(crate) mod adopting;
mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
pub(crate) mod giving;
pub(crate) mod paths;
pub(crate) mod taking;

/// A step of a hand-over. The tests of a debug build name one at which the process stops itself, so that either process can be
/// killed there.
fn step(name: &str) {
    beckon_ops::process::stop_at(name);
}
