//! Handing a program over to another process on the same machine, with its open connections.
//!
//! * `format`: what the two processes say;
//! * `giving`: the old process, which has [`Holdings`]; `taking`: the new one;
//! * `beginning`: how a program begins, as the first process or as the next one;
//! * `requests`: HTTP connections, which programs with endpoints have;
//! * `paths`: what operators ask for; `seat`: what both processes use.
//!
//! | step | the old process dies | the new process dies |
//! | --- | --- | --- |
//! | until the old one stands still | the new one starts over as the first | the old one serves on |
//! | until the new one has everything | all connections are lost, as without a hand-over; the new one starts over as the first | the old one resumes everything |
//! | until the old one says that the new one serves | the new one serves, with all connections | the old one resumes everything |
//! | after that | only the connections that could not be handed over are lost | all connections are lost, as without a hand-over |
//!
//! The lock of [`beckon_ops::hand_over`] decides which process serves, so there is never more than one.

mod beginning;
mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod giving;
mod paths;
mod requests;
mod seat;
mod taking;

pub use beginning::{Program, start};
pub use format::Kind;
pub use giving::{Failed, Giver, Holdings, Outgoing, Rest};
pub use paths::HandOvers;
pub use requests::Requests;
pub use seat::{PortFiles, Seat, port_files, until};
pub use taking::{Beginning, Inheritance, Offered, Successor, begin};
