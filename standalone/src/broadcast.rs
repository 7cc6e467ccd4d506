//! `beckon broadcast`: the broadcasts on the command line, through the admin listener of any node.

use crate::admin::{AdminListener, asking, refusal};
use beckon_ops::{
    exit::Failure,
    program::{print, printable},
};
use beckon_types::{BroadcastId, BroadcastVersion};
use bytes::Bytes;
use clap::{Arg, ArgMatches, Command};
use http::{Method, Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::BTreeMap;

/// Characters that are percent-encoded in a path. Slashes are part of an id, and of the path.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// `beckon broadcast`.
pub(crate) fn command() -> Command {
    let id = || {
        Arg::new("id")
            .value_name("ID")
            .required(true)
            .value_parser(|text: &str| BroadcastId::parse(text))
            .help("Such as news/main: 1 to 128 visible ASCII characters")
    };
    let version = Arg::new("version")
        .value_name("VERSION")
        .required(true)
        .value_parser(|text: &str| BroadcastVersion::parse(text))
        .help("What clients compare with what they have; 1 to 200 bytes");
    let list = Command::new("list").about("List the broadcasts");
    let set = Command::new("set").about("Set the version of a broadcast").arg(id()).arg(version);
    let remove = Command::new("remove").about("Remove a broadcast").arg(id());
    Command::new("broadcast")
        .about("Show and set values that all Web Push clients share")
        .subcommands([list, set, remove].map(asking))
        .subcommand_required(true)
        .arg_required_else_help(true)
}

/// The arguments of the command.
#[derive(Debug, PartialEq, Eq)]
struct Arguments {
    admin: AdminListener,
    action: Action,
}

#[derive(Debug, PartialEq, Eq)]
enum Action {
    List,
    Set(BroadcastId, BroadcastVersion),
    Remove(BroadcastId),
}

/// The answer to a listing.
#[derive(serde::Deserialize)]
struct Listing {
    broadcasts: BTreeMap<String, String>,
}

impl Arguments {
    fn of(matches: &ArgMatches) -> Option<Self> {
        let (name, matches) = matches.subcommand()?;
        let id = || matches.get_one::<BroadcastId>("id").cloned();
        let action = match name {
            "set" => Action::Set(id()?, matches.get_one::<BroadcastVersion>("version").cloned()?),
            "remove" => Action::Remove(id()?),
            _ => Action::List,
        };
        Some(Self { admin: AdminListener::of(matches), action })
    }
}

/// Runs `beckon broadcast`.
pub(crate) async fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let arguments = Arguments::of(matches).ok_or_else(|| Failure::usage("say list, set or remove"))?;
    let Arguments { admin, action } = arguments;
    let answer = perform(&admin, &action).await?;
    match (answer.status(), action) {
        (StatusCode::OK, Action::List) => print(&listing(answer.body())?),
        (StatusCode::NO_CONTENT, Action::Set(..) | Action::Remove(_)) => Ok(()),
        (_, Action::List | Action::Set(..) | Action::Remove(_)) => Err(refusal(&answer)),
    }
}

async fn perform(admin: &AdminListener, action: &Action) -> Result<Response<Bytes>, Failure> {
    let (method, path, body) = request(action);
    admin.ask(method, &path, body).await
}

fn request(action: &Action) -> (Method, String, Bytes) {
    match action {
        Action::List => (Method::GET, "/broadcasts".to_owned(), Bytes::new()),
        Action::Set(id, version) => {
            (Method::PUT, path(id), Bytes::copy_from_slice(version.as_str().as_bytes()))
        }
        Action::Remove(id) => (Method::DELETE, path(id), Bytes::new()),
    }
}

fn path(id: &BroadcastId) -> String {
    format!("/broadcasts/{}", utf8_percent_encode(id.as_str(), ENCODED))
}

/// A line for each broadcast: the id, a space, and the version, which may have spaces in it.
fn listing(body: &Bytes) -> Result<String, Failure> {
    let Listing { broadcasts } = serde_json::from_slice(body).map_err(|error| {
        Failure::unavailable(format!("the answer is not that of a connection-node: {error}"))
    })?;
    let line = |(id, version): (&String, &String)| format!("{} {}\n", printable(id), printable(version));
    Ok(broadcasts.iter().map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Config,
        serve::{Listeners, Opened, Standalone},
    };
    use beckon_node::assembly::Run;
    use beckon_ops::{config::Source, program::ServerConfig as _, shutdown::Shutdown, workers::Workers};
    use beckon_store::Store as _;
    use beckon_types::{BROADCAST_ID_LEN_MAX, BROADCAST_VERSION_LEN_MAX, BROADCASTS_MAX};

    /// A running server lists the most broadcasts of the greatest length, full of characters that JSON escapes.
    #[tokio::test]
    async fn the_longest_listing_is_read() {
        let data = tempfile::tempdir().unwrap();
        let variables = [
            ("BECKON_DATA_DIR", data.path().to_str().unwrap()),
            ("BECKON_STORE_TIMEOUT", "10s"),
            ("BECKON_WS_LISTEN", "127.0.0.1:0"),
            ("BECKON_HTTP_LISTEN", "127.0.0.1:0"),
            ("BECKON_ADMIN_LISTEN", "127.0.0.1:0"),
            ("BECKON_ENDPOINT_URL", "http://push.example"),
        ];
        let config = Config::read(Source::new(std::iter::empty::<&str>(), variables)).unwrap();
        let shutdown = Shutdown::new();
        let store = beckon_node::store::open_embedded(
            config.embedded(),
            &config.common,
            &config.sockets.uaid_key,
            &shutdown,
        )
        .await;
        let store = store.map_err(|failure| failure.message).unwrap().unwrap();
        let version = BroadcastVersion::parse(&"\"".repeat(BROADCAST_VERSION_LEN_MAX)).unwrap();
        let mut expected = String::new();
        for number in 0..BROADCASTS_MAX {
            let id = id(&format!("{number:\"<BROADCAST_ID_LEN_MAX$}"));
            store.set_broadcast(id, version.clone()).await.unwrap().unwrap();
        }
        for id in store.broadcasts(0).await.unwrap().unwrap().values.keys() {
            expected.push_str(&format!("{id} {version}\n"));
        }
        let listeners = Listeners::bind(&config).unwrap();
        let admin = AdminListener::at(&format!("http://{}", listeners.admin.local_addr().unwrap()));
        let workers = Workers::current();
        let opened = Opened { store: store.clone(), embedded: Some(store) };
        let run = Run::new(shutdown.clone(), workers);
        let starting = Standalone::start(&config, listeners, opened, None, run).await;
        let standalone = starting.map_err(|failure| failure.message).unwrap();
        let talk = async {
            let answer = perform(&admin, &Action::List).await.map_err(|failure| failure.message).unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            let text = listing(answer.body()).map_err(|failure| failure.message).unwrap();
            assert!(text == expected, "{} bytes", text.len());
            shutdown.request();
        };
        tokio::join!(standalone.run(), talk);
        assert!(shutdown.result().is_ok());
    }

    fn parse(arguments: &[&str]) -> Result<Arguments, String> {
        let matches = command().no_binary_name(true).try_get_matches_from(arguments);
        matches.map(|matches| Arguments::of(&matches).unwrap()).map_err(|error| error.to_string())
    }

    fn id(text: &str) -> BroadcastId {
        BroadcastId::parse(text).unwrap()
    }

    #[test]
    fn each_action_takes_its_words() {
        let version = BroadcastVersion::parse("\"42\"").unwrap();
        for (arguments, admin, action) in [
            (&["list"][..], None, Action::List),
            (&["list", "--admin=http://n:1/"], Some("http://n:1/"), Action::List),
            (&["set", "news/main", "\"42\""], None, Action::Set(id("news/main"), version)),
            (&["remove", "--admin", "http://n:1", "x"], Some("http://n:1"), Action::Remove(id("x"))),
        ] {
            let admin = admin.map_or_else(AdminListener::default, AdminListener::at);
            let expected = Arguments { admin, action };
            assert_eq!(parse(arguments), Ok(expected), "{arguments:?}");
        }
    }

    #[test]
    fn invalid_arguments_are_errors() {
        for (arguments, reason) in [
            (&[][..], "Usage"),
            (&["list", "x"], "'x'"),
            (&["set", "x"], "<VERSION>"),
            (&["set", "x", "1", "2"], "2"),
            (&["set", "a b", "1"], "a broadcast id has"),
            (&["set", "x", ""], "a broadcast version has"),
            (&["remove", "errors"], "a broadcast id has"),
            (&["list", "--loud"], "--loud"),
        ] {
            let error = parse(arguments).expect_err("they are invalid");
            assert!(error.contains(reason), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn an_id_is_one_path_whatever_is_in_it() {
        let (method, path, _) = request(&Action::Remove(id("a/b?c#d%e")));
        assert_eq!((method, &*path), (Method::DELETE, "/broadcasts/a/b%3Fc%23d%25e"));
    }
}
