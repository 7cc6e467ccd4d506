//! Settings: which source takes precedence, how values are written, and which errors are reported.

use beckon_ops::config::{self, Request, Secret, Source, help};
use std::{fs, net::SocketAddr, time::Duration};

beckon_ops::settings! {
    /// A part with a setting of each kind.
    pub struct Part {
        /// Where clients connect.
        ws_listen: SocketAddr = "127.0.0.1:8080",
        /// The shared store.
        store: String,
        /// Scheme, host and port
        /// of endpoints.
        ws_advertise: Option<String> = "",
        /// Web sites that may connect.
        allowed_origins: Vec<String> = "",
        /// Time limit for the first hello.
        hello_timeout: Duration = "30s",
        /// Start without the store.
        wait_for_store: bool = "false",
        /// How many clients.
        max_connections: u32 = "1000",
        /// A secret that nodes share.
        cluster_secret: Option<Secret> = "",
        /// A level.
        level: Level = "low" => parse_level,
        /// Another level.
        top_level: Level => parse_level,
    }
}

beckon_ops::settings! {
    /// A part that shares a setting with [`Part`].
    pub struct Other {
        /// The shared store.
        store: String,
        /// Where application servers connect.
        http_listen: SocketAddr = "127.0.0.1:8081",
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Low,
    High,
}

fn parse_level(text: &str) -> Result<Level, String> {
    match text {
        "low" => Ok(Level::Low),
        "high" => Ok(Level::High),
        _ => Err("must be low or high".to_owned()),
    }
}

/// The required settings, so that each test is about one thing.
const REQUIRED: [(&str, &str); 2] = [("BECKON_STORE", "redis://a"), ("BECKON_TOP_LEVEL", "high")];

fn read(flags: &[&str], variables: &[(&str, &str)]) -> Result<Part, String> {
    let mut source = Source::new(flags, REQUIRED.iter().chain(variables).copied());
    source.ignore(&["http_listen", "store"]);
    let part = Part::read(&mut source);
    source.finish(part).map_err(|errors| errors.to_string())
}

fn check_error(flags: &[&str], variables: &[(&str, &str)], expected: &str) {
    assert_eq!(read(flags, variables).unwrap_err(), expected);
}

/// A file of settings; it lives as long as the guard.
fn file(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("beckon.toml");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

#[test]
fn a_setting_that_is_not_given_has_its_default() {
    let part = read(&[], &[]).unwrap();
    assert_eq!(part.ws_listen, SocketAddr::from(([127, 0, 0, 1], 8080)));
    assert_eq!(part.store, "redis://a");
    assert_eq!(part.ws_advertise, None);
    assert!(part.allowed_origins.is_empty());
    assert_eq!(part.hello_timeout, Duration::from_secs(30));
    assert!(!part.wait_for_store);
    assert_eq!(part.level, Level::Low);
    assert_eq!(part.top_level, Level::High);
}

#[test]
fn flags_override_variables_and_variables_override_the_file() {
    let (_dir, path) =
        file("hello_timeout = '1s'\nmax_connections = 1\nlevel = 'high'\nwait_for_store = true\n");
    let variables =
        [("BECKON_CONFIG", path.as_str()), ("BECKON_HELLO_TIMEOUT", "2s"), ("BECKON_MAX_CONNECTIONS", "2")];
    let part = read(&["--max-connections", "3"], &variables).unwrap();
    assert_eq!(part.level, Level::High);
    assert!(part.wait_for_store);
    assert_eq!(part.hello_timeout, Duration::from_secs(2));
    assert_eq!(part.max_connections, 3);
}

#[test]
fn a_flag_has_two_forms() {
    let flags = [
        "--wait-for-store",
        "--hello-timeout=5m",
        "--allowed-origins",
        "https://a, https://b",
        "--level=high",
    ];
    let part = read(&flags, &[]).unwrap();
    assert!(part.wait_for_store);
    assert_eq!(part.hello_timeout, Duration::from_secs(300));
    assert_eq!(part.allowed_origins, ["https://a", "https://b"]);
    assert_eq!(part.level, Level::High);
    assert!(!read(&["--wait-for-store", "false"], &[]).unwrap().wait_for_store);
    assert!(!read(&["--wait-for-store=false"], &[]).unwrap().wait_for_store);
}

#[test]
fn toml_values_keep_their_types() {
    let (_dir, path) = file(
        "store = 'redis://b'\nallowed_origins = ['https://a', 'https://b']\nmax_connections = 7\nws_advertise = ''\n",
    );
    let mut source = Source::new(["--config", &path, "--top-level", "low"], [("PATH", "/bin")]);
    let part = Part::read(&mut source);
    let part = source.finish(part).unwrap();
    assert_eq!(part.store, "redis://b");
    assert_eq!(part.allowed_origins, ["https://a", "https://b"]);
    assert_eq!(part.max_connections, 7);
    assert_eq!(part.ws_advertise, None);
}

#[test]
fn a_setting_shared_by_two_parts_is_given_once() {
    let mut source = Source::new(["--http-listen", "[::1]:1"], REQUIRED);
    let parts = Part::read(&mut source).zip(Other::read(&mut source));
    let (part, other) = source.finish(parts).unwrap();
    assert_eq!(part.store, other.store);

    let mut source = Source::new(["--top-level", "low"], [("A", "")]);
    assert!(Part::read(&mut source).is_none());
    assert!(Other::read(&mut source).is_none());
    let errors = source.finish(None::<Part>).unwrap_err();
    assert_eq!(errors.0.len(), 1, "a missing setting is reported once: {errors}");
}

#[test]
fn a_program_may_have_other_defaults() {
    let mut source = Source::new(["--level", "high"], [("A", "")]);
    source.set_default("store", "embedded");
    source.set_default("top_level", "high");
    assert!(!source.is_given("store"));
    assert!(source.is_given("level"));
    let part = Part::read(&mut source);
    assert_eq!(source.finish(part).unwrap().store, "embedded");
}

#[test]
fn all_errors_are_reported_together_with_their_places() {
    let (_dir, path) = file("max_connections = 'many'\nlevels = 1\n");
    let flags = ["--config", &path, "--ws-listen", "here", "--ws-lisen", "x"];
    let mut source = Source::new(flags, [("BECKON_HELLO_TIMEOUT", "30"), ("BECKON_LEVEL", "7")]);
    assert!(Part::read(&mut source).is_none());
    let expected = format!(
        "8 settings are wrong\n  \
         --ws-listen: `here` is not an IP address and port; write 127.0.0.1:8080 or [::]:8080\n  \
         store: is required; give --store, BECKON_STORE, or store in the file\n  \
         BECKON_HELLO_TIMEOUT: `30` is not a duration; write 500ms, 30s, 5m, 12h, 90d or 0\n  \
         {path}: max_connections: `many` is not a whole number from 0 to 4294967295\n  \
         BECKON_LEVEL: must be low or high\n  \
         top_level: is required; give --top-level, BECKON_TOP_LEVEL, or top_level in the file\n  \
         --ws-lisen: no such setting; did you mean --ws-listen?\n  \
         {path}: levels: no such setting; did you mean level?"
    );
    assert_eq!(source.finish(None::<Part>).unwrap_err().to_string(), expected);
}

#[test]
fn unknown_names_are_errors() {
    check_error(&["--colour", "red"], &[], "--colour: no such setting; --help lists all");
    let near = "BECKON_STOR: no such setting; did you mean BECKON_STORE?";
    check_error(&[], &[("BECKON_STOR", "x")], near);
    let (_dir, path) = file("config = 'other.toml'\n");
    let error = read(&["--config", &path], &[]).unwrap_err();
    assert!(error.starts_with(&format!("{path}: config: no such setting")), "{error}");
}

#[test]
fn mistakes_of_form_are_errors() {
    check_error(&["--store"], &[], "--store: needs a value");
    check_error(&["--store", "--level", "low"], &[], "--store: needs a value");
    check_error(&["--level", "low", "--level=high"], &[], "--level: is given twice");
    check_error(&["--store="], &[], "--store: must not be empty");
    check_error(&["--wait-for-store", "yes"], &[], "--wait-for-store: `yes` is not true or false");
    check_error(&["--config"], &[], "--config: needs the path of a TOML file");
    let stray = "argument 3: unexpected after --level; settings are given as --name VALUE";
    check_error(&["--level", "low", "high"], &[], stray);
}

#[test]
fn mistakes_in_the_file_are_errors() {
    let missing = read(&[], &[("BECKON_CONFIG", "/nowhere/beckon.toml")]).unwrap_err();
    assert!(missing.starts_with("BECKON_CONFIG: /nowhere/beckon.toml cannot be read: "), "{missing}");
    let (_dir, path) = file("level = 'low'\n[ws_advertise]\nhost = 'a'\n");
    let table =
        format!("{path}: ws_advertise: must be a string, a number, true, false, or a list of strings");
    check_error(&["--config", &path], &[], &table);
    let (_dir, path) = file("level = 'low'\ncluster_secret = 'my-secret\n");
    let error = read(&["--config", &path], &[]).unwrap_err();
    assert!(error.starts_with(&format!("{path}: line 2: ")), "{error}");
}

#[test]
fn secrets_are_never_shown() {
    let secret = "correct-horse-battery";
    let (_dir, path) = file(&format!("cluster_secret = {secret}\n"));
    for flags in [
        &["--cluster-secret", "x", secret][..],
        &["--top-level", secret],
        &["--store", "", secret],
        &[&format!("--cluster-secre={secret}")],
        &["--config", &path],
    ] {
        let error = read(flags, &[]).unwrap_err();
        assert!(!error.contains(secret), "{error}");
    }
    let part = read(&["--cluster-secret", secret], &[]).unwrap();
    assert!(!format!("{part:?}").contains(secret));
    assert_eq!(part.cluster_secret.as_ref().map(Secret::expose), Some(secret));
}

#[test]
fn rules_between_settings_name_the_place() {
    let mut source = Source::new(["--level", "high"], REQUIRED);
    let part = Part::read(&mut source).unwrap();
    assert_eq!(part.level, part.top_level);
    source.reject("level", "must be below top_level");
    source.reject("level", "is not reported a second time");
    source.reject("hello_timeout", "is too long");
    let expected = "2 settings are wrong\n  --level: must be below top_level\n  hello_timeout: is too long";
    assert_eq!(source.finish(Some(part)).unwrap_err().to_string(), expected);
}

#[test]
fn variables_that_are_not_settings_are_ignored() {
    let links = [
        ("BECKON_SERVICE_HOST", "10.0.0.1"),
        ("BECKON_SERVICE_PORT", "80"),
        ("BECKON_SERVICE_PORT_HTTP", "80"),
        ("BECKON_PORT", "tcp://10.0.0.1:80"),
        ("BECKON_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("BECKON_PORT_80_TCP_PROTO", "tcp"),
        ("BECKON_REDIS_SERVICE_HOST", "10.0.0.2"),
        ("HOME", "/root"),
    ];
    read(&[], &links).unwrap();
    check_error(&[], &[("BECKON_PORT", "80")], "BECKON_PORT: no such setting; --help lists all");
}

#[test]
fn settings_of_other_programs_are_ignored_in_the_environment_and_the_file_but_not_as_flags() {
    let (_dir, path) = file("http_listen = '[::]:1'\nlevel = 'high'\n");
    let part = read(&["--config", &path], &[("BECKON_HTTP_LISTEN", "[::]:1")]).unwrap();
    assert_eq!(part.level, Level::High);
    let error = read(&["--http-listen", "[::]:1"], &[]).unwrap_err();
    assert!(error.starts_with("--http-listen: no such setting"), "{error}");
}

#[test]
fn help_and_version_are_returned_to_the_caller() {
    let request = |flags: &[&str]| Source::new(flags, [("A", "")]).request();
    assert_eq!(request(&["--help"]), Some(Request::Help));
    assert_eq!(request(&["--level", "-h"]), Some(Request::Summary));
    assert_eq!(request(&["-h", "--help"]), Some(Request::Help));
    assert_eq!(request(&["--help", "-h"]), Some(Request::Help));
    assert_eq!(request(&["--version"]), Some(Request::Version));
    assert_eq!(request(&["-V", "--help"]), Some(Request::Help));
    assert_eq!(request(&["--level", "high"]), None);
}

#[test]
fn help_lists_every_setting_once() {
    let parts = [
        config::Part { heading: "First", fields: Part::FIELDS },
        config::Part { heading: "Second", fields: Other::FIELDS },
    ];
    let text = help(&parts, &[("store", "embedded")]);
    assert_eq!(text.matches("--store <VALUE>").count(), 1, "{text}");
    let entry = "      --ws-advertise <VALUE>\n          Scheme, host and port of endpoints.\n          \
                 [BECKON_WS_ADVERTISE] [default: none]\n";
    assert!(text.contains(entry), "{text}");
    assert!(text.contains("\nSecond:\n      --http-listen <ADDRESS:PORT>\n"), "{text}");
    assert!(text.contains("[BECKON_STORE] [default: embedded]"), "{text}");
    assert!(text.contains("[BECKON_TOP_LEVEL] [required]"), "{text}");
    assert!(text.contains("--wait-for-store [<true|false>]"), "{text}");
}
