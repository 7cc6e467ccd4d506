//! `beckon config`: the settings of a program, without starting it.

use crate::config::Config;
use beckon_node::config::FAMILY;
use beckon_ops::{
    config::{ConfigErrors, Effective, Field, Origin, Request, Source, effective, schema, template, toml},
    exit::Failure,
    program::{ServerConfig, print},
};
use std::{collections::BTreeMap, ffi::OsString, fmt::Write as _};

const HELP: &str = "\
beckon config: the settings of a program, without starting it

Usage: beckon config ACTION [--for PROGRAM] [SETTINGS]

  check      read the settings as the program would at its start, and report everything that is wrong
  show       print the settings that apply, as TOML, with the place where each is given; secrets are left out
  template   print a TOML file with every setting, its meaning and its default, to fill in
  schema     print a JSON Schema of the TOML file, for editors

  --for PROGRAM  beckon, connection-node or endpoint-node [default: beckon]
  SETTINGS       as the program would be given them: --config FILE, flags, and the environment

Exit code: 0 fine, 64 the settings or the arguments are wrong.
";

/// A program whose settings these commands know.
#[derive(Debug, Clone, Copy)]
struct Program {
    name: &'static str,
    parts: &'static [&'static [Field]],
    defaults: &'static [(&'static str, &'static str)],
    check: fn(Source) -> Result<(), ConfigErrors>,
}

const PROGRAMS: [Program; 3] = [
    Program {
        name: "beckon",
        parts: Config::FIELDS,
        defaults: Config::DEFAULTS,
        check: |source| Config::read(source).map(drop),
    },
    Program {
        name: "connection-node",
        parts: beckon_connection_node::config::Config::FIELDS,
        defaults: &[],
        check: |source| beckon_connection_node::config::Config::read(source).map(drop),
    },
    Program {
        name: "endpoint-node",
        parts: beckon_endpoint_node::config::Config::FIELDS,
        defaults: &[],
        check: |source| beckon_endpoint_node::config::Config::read(source).map(drop),
    },
];

/// Runs `beckon config` with the arguments that follow it.
pub(crate) fn run(mut arguments: Vec<OsString>) -> Result<(), Failure> {
    let action = match arguments.first().and_then(|first| first.to_str()) {
        None | Some("-h" | "--help" | "help") => return print(HELP),
        Some(action) => action.to_owned(),
    };
    arguments.remove(0);
    let name = take_program(&mut arguments)?;
    let program = PROGRAMS.into_iter().find(|program| program.name == name).unwrap_or(PROGRAMS[0]);
    let source = || Source::from_environment(arguments.clone());
    if source().request() == Some(Request::Help) {
        return print(HELP);
    }
    match action.as_str() {
        "check" => {
            (program.check)(source())?;
            print(&summary(program, &effective(&source(), program.parts, program.defaults)))
        }
        "show" => {
            let settings = effective(&source(), program.parts, program.defaults);
            // What is wrong goes to stderr, with exit code 64; what applies is of use nevertheless.
            print(&listing(program, &settings))?;
            (program.check)(source()).map_err(Failure::from)
        }
        "template" => print(&template(program.parts, program.defaults)),
        "schema" => print(&schema(&format!("Settings of {}", program.name), program.parts, FAMILY)),
        other => Err(Failure::usage(format!(
            "`{other}` is not an action; the actions are check, show, template and schema"
        ))),
    }
}

/// Removes `--for PROGRAM` from the arguments, and returns the program's name.
pub(crate) fn take_program(arguments: &mut Vec<OsString>) -> Result<&'static str, Failure> {
    let Some(name) = take_flag(arguments, "--for")? else { return Ok(PROGRAMS[0].name) };
    PROGRAMS.iter().map(|program| program.name).find(|known| *known == name).ok_or_else(|| {
        Failure::usage(format!(
            "--for: `{name}` is not a program; write beckon, connection-node or endpoint-node"
        ))
    })
}

/// Removes a flag and its value (`--for NAME` or `--for=NAME`) from the arguments.
pub(crate) fn take_flag(arguments: &mut Vec<OsString>, flag: &str) -> Result<Option<String>, Failure> {
    let value_of = |argument: &OsString| {
        let rest = argument.to_str()?.strip_prefix(flag)?.to_owned();
        (rest.is_empty() || rest.starts_with('=')).then_some(rest)
    };
    let Some((at, rest)) =
        arguments.iter().enumerate().find_map(|(at, argument)| Some((at, value_of(argument)?)))
    else {
        return Ok(None);
    };
    arguments.remove(at);
    match rest.strip_prefix('=') {
        Some(value) => Ok(Some(value.to_owned())),
        None if at < arguments.len() => Ok(Some(arguments.remove(at).to_string_lossy().into_owned())),
        None => Err(Failure::usage(format!("{flag} needs a value"))),
    }
}

/// Where the settings come from, by place without the name of the setting.
fn summary(program: Program, settings: &[Effective]) -> String {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for setting in settings {
        let Origin::Given(place) = &setting.origin else { continue };
        let place = match place.rsplit_once(": ") {
            Some((file, _)) => file.to_owned(),
            None if place.starts_with("--") => "flags".to_owned(),
            None => "the environment".to_owned(),
        };
        *places.entry(place).or_default() += 1;
    }
    let total: usize = places.values().sum();
    let places: Vec<String> = places.iter().map(|(place, count)| format!("{count} from {place}")).collect();
    let given = if places.is_empty() { "all are defaults".to_owned() } else { places.join(", ") };
    format!("{}: the settings are fine ({} in all; {given})\n", program.name, settings.len().max(total))
}

/// The settings as a TOML file; what cannot be written in one is a comment.
fn listing(program: Program, settings: &[Effective]) -> String {
    let mut text = String::new();
    for Effective { field, value, origin } in settings {
        let name = field.name;
        let described = program.defaults.iter().any(|(replaced, _)| *replaced == name);
        let _ = match value {
            None => writeln!(text, "# {name} is required and not given"),
            Some(value) if *origin == Origin::Default && described => {
                writeln!(text, "# {name}: {value} (default)")
            }
            Some(_) if field.is_secret() && *origin != Origin::Default => {
                writeln!(text, "# {name}: not shown, because it may hold a secret ({origin})")
            }
            Some(value) => writeln!(text, "{name} = {} # {origin}", toml(field, value)),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn read(program: Program, file: &str, arguments: &[&str]) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("beckon.toml");
        std::fs::write(&path, file).unwrap();
        let mut flags = vec!["--config".to_owned(), path.display().to_string()];
        flags.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let source = Source::new(flags, std::iter::empty::<(&str, &str)>());
        (program.check)(source).map_err(|errors| errors.to_string())
    }

    /// The template with the comment sign removed before each setting that has a usable default.
    fn filled_in(program: Program) -> String {
        let template = template(program.parts, program.defaults);
        let lines =
            template.lines().filter_map(|line| line.strip_prefix('#').filter(|line| !line.starts_with(' ')));
        let given = |line: &&str| {
            let name = line.split(' ').next().unwrap_or_default();
            let field = program.parts.iter().copied().flatten().find(|field| field.name == name).unwrap();
            let described = program.defaults.iter().any(|(replaced, _)| *replaced == name);
            field.default.is_some() && !described
        };
        lines.filter(given).map(|line| format!("{line}\n")).collect()
    }

    const REQUIRED: &[&str] = &[
        "--store=redis://127.0.0.1/",
        "--endpoint-url=https://push.example.org",
        "--token-keys=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "--cluster-secret=not-much-of-a-secret-but-long-enough-to-be-one",
    ];

    #[test]
    fn every_default_of_the_template_is_accepted_by_its_program() {
        for program in PROGRAMS {
            let required = match program.name {
                "beckon" => Vec::new(),
                "connection-node" => {
                    [REQUIRED, &["--uaid-key=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]].concat()
                }
                _ => REQUIRED.to_vec(),
            };
            let file = filled_in(program);
            assert!(file.lines().count() > 10, "{file}");
            assert_eq!(read(program, &file, &required), Ok(()), "{}", program.name);
        }
    }

    #[test]
    fn the_schema_has_every_setting_and_nothing_else() {
        for program in PROGRAMS {
            let schema = schema("a", program.parts, FAMILY);
            let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
            let found: BTreeSet<&str> =
                schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(found, FAMILY.iter().copied().collect(), "{}", program.name);
        }
    }

    #[test]
    fn what_is_shown_is_a_file_that_means_the_same() {
        let arguments =
            ["--ws-listen", "127.0.0.1:9000", "--fsync", "false", "--allowed-origins", "https://a.example"];
        let secrets = [
            ("BECKON_STORE", "redis://:hunter2@127.0.0.1"),
            ("BECKON_ADMIN_TOKEN", "alice:hunter2-hunter2-hunter2"),
        ];
        let source = Source::new(arguments, secrets);
        let text = listing(PROGRAMS[0], &effective(&source, Config::FIELDS, Config::DEFAULTS));
        assert!(text.contains("ws_listen = \"127.0.0.1:9000\" # --ws-listen\n"), "{text}");
        assert!(text.contains("fsync = false # --fsync\n"), "{text}");
        assert!(text.contains("# store: not shown, because it may hold a secret (BECKON_STORE)\n"), "{text}");
        assert!(text.contains("# token_keys: made at first start (default)\n"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(read(PROGRAMS[0], &text, &[]), Ok(()));
    }
}
