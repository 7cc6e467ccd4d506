//! `beckon config`: the settings of a program, without starting it.

use crate::config::Config;
use beckon_node::config::FAMILY;
use beckon_ops::{
    config::{
        ConfigErrors, Effective, Origin, Part, Source, arguments, effective, given, names, schema, template,
        toml,
    },
    exit::Failure,
    program::{ServerConfig, print},
};
use clap::{Arg, ArgMatches, Command};
use std::{collections::BTreeMap, fmt::Write as _};

/// `beckon config`.
pub(crate) fn command() -> Command {
    let check = Command::new("check")
        .about("Read the settings as the program would at its start, and report everything that is wrong");
    let show = Command::new("show").about(
        "Print the settings that apply, as TOML, with the place where each is given; secrets are left out",
    );
    let template = Command::new("template")
        .about("Print a TOML file with every setting, its meaning and its default, to fill in");
    let schema = Command::new("schema").about("Print a JSON Schema of the TOML file, for editors");
    let settings = [check, show].map(|action| with_settings(action, &all_parts()));
    Command::new("config")
        .about("Check or show the settings, or print a template or a schema of them")
        .subcommands(
            settings.into_iter().chain([template, schema]).map(|action| action.arg(program_argument())),
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .after_help("Exit code: 0 fine, 64 the settings or the arguments are wrong.")
}

/// The argument that says which program the settings are for.
pub(crate) fn program_argument() -> Arg {
    Arg::new("for")
        .long("for")
        .value_name("PROGRAM")
        .default_value(PROGRAMS[0].name)
        .value_parser(PROGRAMS.map(|program| program.name))
        .hide_possible_values(true)
        .help("Whose settings: beckon, connection-node or endpoint-node")
}

/// The program of [`program_argument`].
pub(crate) fn program_name(matches: &ArgMatches) -> &'static str {
    program(matches).name
}

fn program(matches: &ArgMatches) -> Program {
    let name = matches.get_one::<String>("for").map(String::as_str);
    PROGRAMS.into_iter().find(|program| name == Some(program.name)).unwrap_or(PROGRAMS[0])
}

/// Adds settings to a command. Its help does not list them.
pub(crate) fn with_settings(command: Command, parts: &[Part]) -> Command {
    let settings = arguments(parts, Config::DEFAULTS).into_iter();
    command.args(settings.map(|arg| arg.hide_short_help(true).hide_long_help(true))).after_help(
        "Takes the settings as the program would be given them: --config FILE, flags, and the environment.",
    )
}

/// The settings of all programs.
pub(crate) fn all_parts() -> Vec<Part> {
    PROGRAMS.iter().flat_map(|program| program.parts).copied().collect()
}

/// The settings that were given to a command [with settings](with_settings), and the environment.
pub(crate) fn source(matches: &ArgMatches, parts: &[Part]) -> Source {
    Source::from_environment(given(matches, names(parts)))
}

/// A program whose settings these commands know.
#[derive(Debug, Clone, Copy)]
struct Program {
    name: &'static str,
    parts: &'static [Part],
    defaults: &'static [(&'static str, &'static str)],
    check: fn(Source) -> Result<(), ConfigErrors>,
}

const PROGRAMS: [Program; 3] = [
    Program {
        name: "beckon",
        parts: Config::PARTS,
        defaults: Config::DEFAULTS,
        check: |source| Config::read(source).map(drop),
    },
    Program {
        name: "connection-node",
        parts: beckon_connection_node::config::Config::PARTS,
        defaults: &[],
        check: |source| beckon_connection_node::config::Config::read(source).map(drop),
    },
    Program {
        name: "endpoint-node",
        parts: beckon_endpoint_node::config::Config::PARTS,
        defaults: &[],
        check: |source| beckon_endpoint_node::config::Config::read(source).map(drop),
    },
];

/// Runs `beckon config`.
pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let Some((action, matches)) = matches.subcommand() else {
        return Err(Failure::usage("say check, show, template or schema"));
    };
    let program = program(matches);
    let source = || source(matches, &all_parts());
    match action {
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
        _ => print(&schema(&format!("Settings of {}", program.name), program.parts, FAMILY)),
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
            let field =
                program.parts.iter().flat_map(|part| part.fields).find(|field| field.name == name).unwrap();
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
        let text = listing(PROGRAMS[0], &effective(&source, Config::PARTS, Config::DEFAULTS));
        assert!(text.contains("ws_listen = \"127.0.0.1:9000\" # --ws-listen\n"), "{text}");
        assert!(text.contains("fsync = false # --fsync\n"), "{text}");
        assert!(text.contains("# store: not shown, because it may hold a secret (BECKON_STORE)\n"), "{text}");
        assert!(text.contains("# token_keys: made at first start (default)\n"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(read(PROGRAMS[0], &text, &[]), Ok(()));
    }
}
