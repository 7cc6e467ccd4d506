//! The checklist of PROTOCOL.md section 10, as checks against any server. The black-box suite of this repository makes a
//! test of each check and runs it on its own fleets; `beckon conformance` runs them against a server of anyone and
//! reports.
//!
//! ```text
//!   run        all checks, several at a time, and what became of each item
//!     ├─▶ checklist  the items, and why some need more than a server's addresses
//!     └─▶ checks     a function for each item that needs no more than that
//!   server     a server as its clients see it: connect, register, PUT, POST
//!     ├─▶ talk       a user agent that sends JSON as it is written in the check
//!     ├─▶ webpush    the same in the Web Push dialect, with the application server's side
//!     ├─▶ bare       a WebSocket without any help: no Pong, no Close, broken frames if wanted
//!     └─▶ registered  what checks have asked a server to register
//!   leftovers  unregisters that in the end
//!   refusal    what every refused request has in common
//! ```
//!
//! A check panics at what it does not expect, as a test does: the suite and the runner catch that, each in its way.
#![expect(clippy::unwrap_used, reason = "a check that panics has failed")]

pub mod bare;
pub mod checklist;
mod checks;
mod leftovers;
mod patience;
pub mod refusal;
mod registered;
pub mod run;
pub mod server;
pub mod talk;
pub mod webpush;

pub use checks::{Check, all as checks};
pub use leftovers::take_back;
pub use patience::PATIENCE;

/// What checks have in common with other tests.
pub mod parts {
    pub use crate::checks::{
        http_endpoint::{body, expect_cors, status},
        http_health::expect_status,
        http_request_ids::request_id_of,
        http_vapid::{claims, post, post_as, token},
        wp_backlog::{BATCH_SIZE, stored},
        wp_broadcast::new_id,
        wp_hello::expect_refused_hello,
    };
}
