//! Settings as arguments of a command line: what help, completions and manual pages say about them.

use super::{
    field::{Field, Kind, Part, once},
    source::CONFIG,
};
use clap::{Arg, ArgAction, ArgMatches, ValueHint, builder::PossibleValuesParser, value_parser};
use std::ffi::OsString;

/// `--config FILE`, and every setting of `parts` under the heading of its part. `defaults` replaces the defaults of
/// fields, as [`Source::set_default`](crate::config::Source::set_default) does. Values are texts: what they mean is
/// decided by the [`Source`](crate::config::Source) that is given them.
#[must_use]
pub fn arguments(parts: &[Part], defaults: &[(&str, &str)]) -> Vec<Arg> {
    let file = Arg::new(CONFIG)
        .long(CONFIG)
        .value_name("FILE")
        .value_hint(ValueHint::FilePath)
        .value_parser(value_parser!(OsString))
        .action(ArgAction::Append)
        .help("TOML file with settings")
        .long_help("TOML file with settings.\n[BECKON_CONFIG] [default: none]");
    let settings = once(parts).map(|(heading, field)| argument(field, defaults).help_heading(heading));
    std::iter::once(file).chain(settings).collect()
}

/// The arguments of these names that were given, as a [`Source`](crate::config::Source) takes them. Each of them must be
/// one of [`arguments`].
#[must_use]
pub fn given<'a>(matches: &ArgMatches, names: impl IntoIterator<Item = &'a str>) -> Vec<OsString> {
    let mut flags = Vec::new();
    for name in names {
        for value in matches.get_raw(name).into_iter().flatten() {
            let mut flag = OsString::from(format!("--{}=", name.replace('_', "-")));
            flag.push(value);
            flags.push(flag);
        }
    }
    flags
}

/// The names of all [`arguments`] of `parts`.
pub fn names(parts: &[Part]) -> impl Iterator<Item = &'static str> {
    std::iter::once(CONFIG).chain(once(parts).map(|(_, field)| field.name))
}

fn argument(field: &Field, defaults: &[(&str, &str)]) -> Arg {
    let replaced = defaults.iter().find(|(name, _)| *name == field.name).map(|(_, default)| *default);
    let default = match replaced.or(field.default) {
        Some("") => "default: none".to_owned(),
        Some(default) => format!("default: {default}"),
        None => "required".to_owned(),
    };
    let meaning = field.help.split_whitespace().collect::<Vec<_>>().join(" ");
    let first_sentence = meaning.split_once(". ").map_or(meaning.trim_end_matches('.'), |(first, _)| first);
    let arg = Arg::new(field.name)
        .long(field.flag().trim_start_matches('-').to_owned())
        .action(ArgAction::Append)
        .value_name(value_name(field))
        .help(format!("{first_sentence} [{default}]"))
        .long_help(format!("{meaning}\n[{}] [{default}]", field.variable()));
    match field.kind() {
        Kind::Switch => arg
            .num_args(0..=1)
            .default_missing_value("true")
            .value_parser(PossibleValuesParser::new(["true", "false"]))
            .hide_possible_values(true),
        Kind::Whole | Kind::Fraction | Kind::List | Kind::Text => {
            let hint = if field.is_file() { ValueHint::AnyPath } else { ValueHint::Unknown };
            arg.value_parser(value_parser!(OsString)).value_hint(hint)
        }
    }
}

/// What stands for the value in help.
fn value_name(field: &Field) -> &'static str {
    match field.kind() {
        Kind::Switch => "true|false",
        Kind::Whole | Kind::Fraction => "NUMBER",
        Kind::List if field.is_file() => "FILE,...",
        Kind::List => "ITEM,...",
        Kind::Text if field.name.ends_with("_dir") => "DIR",
        Kind::Text if field.is_file() => "FILE",
        Kind::Text => match field.type_name {
            "SocketAddr" => "ADDRESS:PORT",
            "Duration" => "DURATION",
            "Rate" => "RATE",
            "EndpointUrl" => "URL",
            _ => "VALUE",
        },
    }
}
