//! The harness of the black-box tests: the real programs as processes, a real Redis, and clients that speak
//! literal messages.
//!
//! ```text
//!   stage      one test's view: connect, register, PUT; shows the logs if the test fails
//!     └─▶ fleet      the running programs: one standalone server, or nodes around a Redis
//!           ├─▶ plan       which programs with which settings, before they run
//!           ├─▶ node       one program: start, SIGTERM, kill -9, start again
//!           │     └─▶ process, programs, ports
//!           └─▶ beckon_store::harness   Redis
//!   talk       a user agent that sends JSON as it is written in the test
//!   webpush    the same in the Web Push dialect, with the application server's side
//!   bare       a WebSocket without any help: no Pong, no Close, broken frames if wanted
//!   proxy      a TCP connection that can be cut
//! ```
//!
//! Nothing here waits for a fixed time: what should happen is waited for, at most [`PATIENCE`].

use std::time::Duration;

pub mod bare;
pub mod fleet;
pub mod node;
pub mod plan;
pub mod ports;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod stage;
pub mod talk;
pub mod webpush;

/// How long anything that should happen may take. Generous, because the machine may be busy; nothing passes or
/// fails because of how long it took.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The time between two looks at something that cannot be waited for in another way.
pub const POLL: Duration = Duration::from_millis(20);

/// Waits until `done` returns something, at most [`PATIENCE`].
///
/// # Panics
/// If it does not, naming `what`.
pub async fn until<T>(what: &str, mut done: impl AsyncFnMut() -> Option<T>) -> T {
    let search = async {
        loop {
            if let Some(found) = done().await {
                return found;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    match tokio::time::timeout(PATIENCE, search).await {
        Ok(found) => found,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}
