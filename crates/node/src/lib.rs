//! What every node is built on, whatever it serves: the connection-node, the endpoint-node, and the standalone
//! server that is both.
//!
//! * [`assembly`]: putting a node together, and taking it apart.
//! * [`config`]: the settings that several programs have.
//! * [`files`]: how many connections fit into the limit of open files.
//! * [`step_failures`]: counting and logging the steps that the store did not perform.
//! * [`drain`]: sending new work elsewhere before a stop, or on request.
//! * [`reloading`]: what every node takes of new settings while it runs.
//! * [`hand_over`]: replacing a process by another one, without closing its connections.
//! * [`store_room`]: what is refused when the store fills up.
//! * [`store`]: opening the store that the settings name.
//! * [`admin`]: health, status, version and metrics over HTTP (PROTOCOL.md section 6).
//! * [`access`], [`guard`]: who may do what on the admin listener; [`session`]: what a browser shows there.
//! * [`routes`]: what it answers; `guesses`: how often a wrong token is compared there.
//! * [`audit`]: what operators have changed through it.
//! * [`trace`]: what happens to single notifications, for a collector of OpenTelemetry.
//! * [`try_page`]: a page on the admin listener to try the server with.
//! * [`error_body`]: the body of an error answer (PROTOCOL.md section 5.8).
//! * [`build()`]: which build a program is.

pub mod access;
pub mod admin;
mod answer;
pub mod assembly;
pub mod audit;
pub mod config;
mod denial;
pub mod drain;
pub mod error_body;
mod family;
pub mod files;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod guard;
mod guesses;
pub mod hand_over;
pub mod key_rings;
mod probe;
mod question;
pub mod reloading;
pub mod routes;
pub mod session;
pub mod step_failures;
pub mod store;
pub mod store_room;
pub mod trace;
pub mod try_page;

#[cfg(all(feature = "next-format", not(debug_assertions)))]
compile_error!("the feature next-format is for tests only");

use beckon_ops::program::Build;

/// The build of a program of this repository, the answer of `/__version__`. Version and commit are the same for all
/// of them; `BECKON_COMMIT` and `BECKON_BUILD` are read when they are compiled.
pub const fn build(program: &'static str) -> Build {
    Build {
        source: program,
        version: env!("CARGO_PKG_VERSION"),
        commit: text_or_empty(option_env!("BECKON_COMMIT")),
        build: text_or_empty(option_env!("BECKON_BUILD")),
    }
}

const fn text_or_empty(text: Option<&'static str>) -> &'static str {
    match text {
        Some(text) => text,
        None => "",
    }
}
