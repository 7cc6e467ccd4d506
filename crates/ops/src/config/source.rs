//! Where settings come from: flags, the environment, and a file.

use super::{
    error::{ConfigError, ConfigErrors},
    field::{Field, PREFIX, flag_of, variable_of},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
};

/// The setting that names the file. It cannot be in the file.
pub(super) const CONFIG: &str = "config";

/// What the caller of the program asks for instead of starting it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// `--help`: everything.
    Help,
    /// `-h`: what matters most.
    Summary,
    /// `--version` or `-V`.
    Version,
}

/// Flags, environment and file of one start of a program, read by each of its parts. It collects errors.
#[derive(Debug)]
pub struct Source {
    /// By name; `None` is a flag without a value.
    flags: BTreeMap<String, Option<String>>,
    variables: BTreeMap<String, String>,
    file: BTreeMap<String, String>,
    /// The file's path as it was given, for error messages.
    file_path: String,
    defaults: BTreeMap<String, String>,
    /// Names of settings that were read, which are `true`, and of those that are ignored.
    known: BTreeMap<String, bool>,
    /// Names that have an error already: two parts may read the same field.
    rejected: BTreeSet<String>,
    errors: Vec<ConfigError>,
    request: Option<Request>,
}

/// The arguments of this program, without its name.
pub fn program_arguments() -> Vec<OsString> {
    std::env::args_os().skip(1).collect()
}

/// A variable of the environment that is not a setting: other systems say there where the program is. `None` if it is empty or
/// not text.
#[expect(clippy::disallowed_methods, reason = "this is the edge that reads the environment")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(any(test, feature = "fuzzing"))]
impl Source {
    /// A source with the text of a file in place of its path.
    pub(crate) fn with_text(flags: &[&str], variables: &[(&str, &str)], text: &str) -> Self {
        let mut source = Self::new(flags, variables.iter().copied());
        source.file_path = "file".to_owned();
        source.take_text("file", text);
        source
    }
}

impl Source {
    /// Reads flags (without the program's name), variables, and the file that `--config` or `BECKON_CONFIG`
    /// names. Variables that do not begin with `BECKON_` are ignored. [`Source::finish`] reports the errors.
    pub fn new<A, K, V>(
        arguments: impl IntoIterator<Item = A>,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self
    where
        A: Into<OsString>,
        K: Into<OsString>,
        V: Into<OsString>,
    {
        let mut source = Self {
            flags: BTreeMap::new(),
            variables: BTreeMap::new(),
            file: BTreeMap::new(),
            file_path: String::new(),
            defaults: BTreeMap::new(),
            known: BTreeMap::from([(CONFIG.to_owned(), true)]),
            rejected: BTreeSet::new(),
            errors: Vec::new(),
            request: None,
        };
        source.take_flags(arguments.into_iter().map(Into::into));
        source.take_variables(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
        source.take_file();
        source
    }

    /// The source of this process: its arguments and its environment.
    pub fn from_process() -> Self {
        Self::from_environment(program_arguments())
    }

    /// The environment of this process, with other arguments: for a program that has removed a subcommand.
    pub fn from_environment(arguments: impl IntoIterator<Item = OsString>) -> Self {
        Self::new(arguments, std::env::vars_os())
    }

    /// What the caller asks for instead of a start. If there is something, errors do not matter.
    pub fn request(&self) -> Option<Request> {
        self.request
    }

    /// Ignores these settings, which other programs have, in the environment and in the file. As flags they stay
    /// unknown, unless this program reads them, too.
    pub fn ignore(&mut self, names: &[&str]) {
        for name in names {
            self.known.entry((*name).to_owned()).or_insert(false);
        }
    }

    /// Replaces the default of a setting, or gives one to a required setting. Call it before the setting is read.
    pub fn set_default(&mut self, name: &str, default: impl Into<String>) {
        self.defaults.insert(name.to_owned(), default.into());
    }

    /// Whether a setting is given anywhere, so that its default does not apply.
    pub fn is_given(&self, name: &str) -> bool {
        self.given(name).is_some()
    }

    /// What is given for a setting, as it is written. It may be a secret.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.given(name).map(|(_, value)| value.unwrap_or("true"))
    }

    /// Reads one setting; the code that [`settings!`](crate::settings!) generates calls this. `None`: an error was
    /// collected.
    pub fn read<T>(&mut self, field: &Field, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.known.insert(field.name.to_owned(), true);
        let text = match self.given(field.name) {
            Some((_, Some(text))) => text.to_owned(),
            Some((_, None)) if field.switch => "true".to_owned(),
            Some((_, None)) => {
                self.reject(field.name, "needs a value");
                return None;
            }
            None => match self.defaults.get(field.name).map(String::as_str).or(field.default) {
                Some(default) => default.to_owned(),
                None => {
                    let (flag, variable) = (field.flag(), field.variable());
                    let reason =
                        format!("is required; give {flag}, {variable}, or {} in the file", field.name);
                    self.reject(field.name, reason);
                    return None;
                }
            },
        };
        match parse(&text) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.reject(field.name, reason);
                None
            }
        }
    }

    /// Collects an error about a setting that was read, for rules between settings. Only the first error about a
    /// setting is kept. The reason must not quote a secret.
    pub fn reject(&mut self, name: &str, reason: impl Into<String>) {
        if self.rejected.insert(name.to_owned()) {
            let place = self.given(name).map_or_else(|| name.to_owned(), |(place, _)| place);
            self.errors.push(ConfigError { place, reason: reason.into() });
        }
    }

    /// Ends the reading. `config` is what was made of the settings: `None` only if an error was collected.
    ///
    /// # Errors
    /// All errors together, among them the names that no part has read.
    pub fn finish<T>(mut self, config: Option<T>) -> Result<T, ConfigErrors> {
        let mut unknown = Vec::new();
        for name in self.flags.keys().filter(|name| self.known.get(*name) != Some(&true)) {
            unknown.push((flag_of(name), name));
        }
        for name in self.variables.keys().filter(|name| !self.known.contains_key(*name)) {
            unknown.push((variable_of(name), name));
        }
        for name in self.file.keys().filter(|name| !self.known.contains_key(*name) || *name == CONFIG) {
            unknown.push((self.place_in_file(name), name));
        }
        for (place, name) in unknown {
            let reason = match self.nearest(name) {
                Some(near) => format!("no such setting; did you mean {}?", in_style_of(&place, near)),
                None => "no such setting; --help lists all".to_owned(),
            };
            self.errors.push(ConfigError { place, reason });
        }
        self.finish_partly(config)
    }

    /// As [`Source::finish`], for a program that reads only a few settings of others: names that it has not read are no
    /// errors, because it does not know them all.
    ///
    /// # Errors
    /// All errors about what was read, together.
    pub fn finish_partly<T>(self, config: Option<T>) -> Result<T, ConfigErrors> {
        match config {
            Some(config) if self.errors.is_empty() => Ok(config),
            Some(_) | None => Err(ConfigErrors(self.errors)),
        }
    }

    /// The value that applies, and its place.
    pub(super) fn given(&self, name: &str) -> Option<(String, Option<&str>)> {
        if let Some(value) = self.flags.get(name) {
            return Some((flag_of(name), value.as_deref()));
        }
        if let Some(value) = self.variables.get(name) {
            return Some((variable_of(name), Some(value)));
        }
        self.file.get(name).map(|value| (self.place_in_file(name), Some(value.as_str())))
    }

    fn place_in_file(&self, name: &str) -> String {
        format!("{}: {name}", self.file_path)
    }

    /// `--name value`, `--name=value`, and `--name` alone.
    fn take_flags(&mut self, arguments: impl Iterator<Item = OsString>) {
        let mut arguments = arguments.enumerate().peekable();
        let mut before = "the program's name".to_owned();
        while let Some((index, argument)) = arguments.next() {
            let argument = argument.to_string_lossy().into_owned();
            match argument.as_str() {
                "--help" => self.request = Some(Request::Help),
                "-h" if self.request != Some(Request::Help) => self.request = Some(Request::Summary),
                "-h" => {}
                "--version" | "-V" => self.request = self.request.or(Some(Request::Version)),
                _ => {
                    let Some(flag) = argument.strip_prefix("--").filter(|flag| !flag.is_empty()) else {
                        // Not quoted: it may be a secret that a shell has split.
                        let place = format!("argument {}", index + 1);
                        let reason = format!("unexpected after {before}; settings are given as --name VALUE");
                        self.errors.push(ConfigError { place, reason });
                        continue;
                    };
                    let (name, value) = match flag.split_once('=') {
                        Some((name, value)) => (name, Some(value.to_owned())),
                        None => {
                            let is_value = |(_, next): &(usize, OsString)| !looks_like_flag(next);
                            let value = arguments.next_if(is_value).map(|(_, value)| value);
                            (flag, value.map(|value| value.to_string_lossy().into_owned()))
                        }
                    };
                    before = format!("--{name}");
                    if self.flags.insert(name.replace('-', "_"), value).is_some() {
                        self.errors
                            .push(ConfigError { place: before.clone(), reason: "is given twice".into() });
                    }
                }
            }
        }
    }

    fn take_variables(&mut self, variables: impl Iterator<Item = (OsString, OsString)>) {
        for (variable, value) in variables {
            let Some(variable) = variable.to_str().filter(|variable| variable.starts_with(PREFIX)) else {
                continue;
            };
            let name = variable[PREFIX.len()..].to_lowercase();
            match value.into_string() {
                Ok(value) if is_service_link(&name, &value) => {}
                Ok(value) => {
                    self.variables.insert(name, value);
                }
                Err(_) => {
                    self.errors
                        .push(ConfigError { place: variable.to_owned(), reason: "is not UTF-8".into() });
                }
            }
        }
    }

    fn take_file(&mut self) {
        let Some((place, path)) = self.given(CONFIG) else { return };
        let Some(path) = path.filter(|path| !path.is_empty()).map(str::to_owned) else {
            return self.errors.push(ConfigError { place, reason: "needs the path of a TOML file".into() });
        };
        self.file_path.clone_from(&path);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                let reason = format!("{path} cannot be read: {error}");
                return self.errors.push(ConfigError { place, reason });
            }
        };
        self.take_text(&path, &text);
    }

    /// Reads the text of a file.
    fn take_text(&mut self, path: &str, text: &str) {
        let table = match text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => {
                // Not the error's own text, which quotes the line: it may hold a secret.
                let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
                let place = format!("{path}: line {line}");
                return self.errors.push(ConfigError { place, reason: error.message().to_owned() });
            }
        };
        for (name, value) in table {
            match text_of(&value) {
                Some(text) => {
                    self.file.insert(name, text);
                }
                None => {
                    let reason = "must be a string, a number, true, false, or a list of strings".into();
                    self.errors.push(ConfigError { place: self.place_in_file(&name), reason });
                    self.rejected.insert(name.clone());
                    self.file.insert(name, String::new());
                }
            }
        }
    }

    /// The setting that an unknown name was probably meant for.
    fn nearest(&self, name: &str) -> Option<&str> {
        let (len, most) = (name.chars().count(), 1 + name.len() / 5);
        let own = self.known.iter().filter(|(_, own)| **own).map(|(known, _)| known.as_str());
        // Each letter that one has more is one to add or remove.
        let alike = own.filter(|known| known.len().abs_diff(len) <= most);
        let (distance, nearest) = alike.map(|known| (strsim::levenshtein(name, known), known)).min()?;
        (distance <= most).then_some(nearest)
    }
}

/// The spelling of a name at a place: as a flag, as a variable, or as it is.
fn in_style_of(place: &str, name: &str) -> String {
    if place.starts_with("--") {
        flag_of(name)
    } else if place.starts_with(PREFIX) {
        variable_of(name)
    } else {
        name.to_owned()
    }
}

fn looks_like_flag(argument: &OsString) -> bool {
    argument.to_string_lossy().starts_with("--") || argument == "-h" || argument == "-V"
}

/// Kubernetes sets such variables in each container if there is a service called `beckon`; they are not settings.
fn is_service_link(name: &str, value: &str) -> bool {
    let is_port = name == "port" || name.ends_with("_port");
    name.ends_with("service_host")
        || name.contains("service_port")
        || (is_port && value.starts_with("tcp://"))
        || name.split_once("port_").is_some_and(|(_, rest)| {
            rest.trim_start_matches(|character: char| character.is_ascii_digit()).starts_with("_tcp")
        })
}

/// A TOML value as it would be written in a variable. `None` for tables, dates and nested lists.
fn text_of(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(switch) => Some(switch.to_string()),
        toml::Value::Array(items) => {
            let items: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            items.map(|items| items.join(","))
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}
