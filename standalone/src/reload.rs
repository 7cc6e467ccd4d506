//! `beckon reload`: the settings are read again, through the admin listener of a node.

use crate::admin::{self, AdminListener, asking};
use beckon_ops::{
    exit::Failure,
    program::{print, printable},
};
use bytes::Bytes;
use clap::{ArgMatches, Command};
use http::Method;

/// `beckon reload`.
pub(crate) fn command() -> Command {
    asking(Command::new("reload"))
        .about("Read the settings of a running node again")
        .after_help(
            "Takes new token keys, secrets, certificates, limits, origins and log filters from the file and the files that it \
             names. Prints which settings have changed, and which ones change with the next start. If one of them is wrong, \
             none changes.\n\n\
             Exit code: 0 done, 1 refused, or the settings are wrong, 64 invalid arguments, 69 server not reachable.",
        )
}

/// The answer to `POST /reload`.
#[derive(Debug, serde::Deserialize)]
struct Reloaded {
    changed: Vec<String>,
    needs_restart: Vec<String>,
}

/// Runs `beckon reload`.
pub(crate) async fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let admin = AdminListener::of(matches);
    let answer = admin.ask(Method::POST, "/reload", Bytes::new()).await?;
    print(&text(&admin::answered(&answer)?))
}

fn text(reloaded: &Reloaded) -> String {
    let mut text = match reloaded.changed.as_slice() {
        [] => "nothing has changed\n".to_owned(),
        changed => format!("changed: {}\n", printable(&changed.join(", "))),
    };
    if !reloaded.needs_restart.is_empty() {
        text.push_str(&format!("need a restart: {}\n", printable(&reloaded.needs_restart.join(", "))));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_names_what_has_changed_and_what_needs_a_restart() {
        let printed = |changed: &[&str], needs_restart: &[&str]| {
            let [changed, needs_restart] =
                [changed, needs_restart].map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            text(&Reloaded { changed, needs_restart })
        };
        assert_eq!(printed(&[], &[]), "nothing has changed\n");
        assert_eq!(printed(&["a", "b"], &["c"]), "changed: a, b\nneed a restart: c\n");
        assert!(command().try_get_matches_from(["x", "now"]).is_err());
    }
}
