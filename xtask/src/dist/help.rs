//! What the programs print for `--help`, as data. Their settings are declared in one place; manuals and completions are
//! made from what that place prints. Text that is not understood is an error, so that nothing is left out silently.

use super::release::PROGRAMS;
use crate::run;
use anyhow::{Context as _, Result, ensure};
use std::{path::Path, process::Command};

/// A program.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) name: String,
    /// What it is, in a few words.
    pub(super) summary: String,
    /// How it is called: a line each, without spaces before it.
    pub(super) usage: Vec<String>,
    /// What is said before the settings.
    pub(super) about_settings: String,
    pub(super) settings: Vec<Setting>,
    pub(super) commands: Vec<Subcommand>,
}

/// A setting, or another flag.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// `--ws-listen`.
    pub(super) flag: String,
    /// `VALUE`; `None` for a flag that takes none.
    pub(super) value: Option<String>,
    pub(super) meaning: String,
    /// What the last line says in brackets: the variable and the default.
    pub(super) notes: Vec<String>,
}

/// `beckon listen` and its like, or several that one help describes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Subcommand {
    pub(super) names: Vec<String>,
    pub(super) summary: String,
    /// What it prints for `--help`, after the first line.
    pub(super) help: String,
}

/// Asks all programs in a folder.
pub(super) fn of_programs(folder: &Path) -> Result<Vec<Program>> {
    PROGRAMS.iter().map(|(_, name)| of_program(&folder.join(name), name)).collect()
}

fn of_program(path: &Path, name: &str) -> Result<Program> {
    let mut program =
        parse(&run::output(Command::new(path).arg("--help"))?).with_context(|| name.to_owned())?;
    ensure!(program.name == name, "{name} calls itself {}", program.name);
    for command in &mut program.commands {
        let text = run::output(Command::new(path).args([&command.names[0], "--help"]))?;
        let (_, help) = text.split_once("\n\n").with_context(|| command.names[0].clone())?;
        help.clone_into(&mut command.help);
    }
    Ok(program)
}

/// Parses the text of `--help`.
fn parse(text: &str) -> Result<Program> {
    let mut paragraphs = text.splitn(4, "\n\n");
    let mut paragraph = |what: &str| paragraphs.next().with_context(|| format!("no {what}"));
    let (name, summary) = paragraph("first line")?.split_once(": ").context("no summary")?;
    let usage = paragraph("usage")?.strip_prefix("Usage: ").context("no usage")?;
    let about_settings = paragraph("text about settings")?.replace('\n', " ");
    let settings = settings(paragraph("settings")?)?;
    let mut program = Program {
        name: name.to_owned(),
        summary: summary.to_owned(),
        usage: Vec::new(),
        about_settings,
        settings,
        commands: Vec::new(),
    };
    for line in usage.lines().map(str::trim) {
        let (call, summary) = line.split_once("  ").unwrap_or((line, ""));
        program.usage.push(call.to_owned());
        if !summary.is_empty() {
            let names = names(call);
            ensure!(!names.is_empty(), "no command: {line}");
            let summary = summary.trim().to_owned();
            program.commands.push(Subcommand { names, summary, help: String::new() });
        }
    }
    Ok(program)
}

/// The commands of a line such as `beckon drain, undrain, shed` or `beckon listen [URL]`.
fn names(call: &str) -> Vec<String> {
    let mut names = Vec::new();
    for word in call.split(' ').skip(1) {
        let name = word.trim_end_matches(',');
        names.push(name.to_owned());
        if name == word {
            break;
        }
    }
    names
}

fn settings(text: &str) -> Result<Vec<Setting>> {
    let mut settings: Vec<Setting> = Vec::new();
    for line in text.lines() {
        if let Some(line) = line.strip_prefix("      ") {
            let setting = settings.last_mut().with_context(|| format!("no flag before: {line}"))?;
            if let Some(notes) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                setting.notes = notes.split("] [").map(str::to_owned).collect();
            } else {
                ensure!(setting.notes.is_empty(), "text after the brackets of {}: {line}", setting.flag);
                let space = if setting.meaning.is_empty() { "" } else { " " };
                setting.meaning = format!("{}{space}{line}", setting.meaning);
            }
        } else {
            let words = line.trim().split_once(' ');
            let (flag, value) = words.map_or((line.trim(), None), |(flag, value)| (flag, Some(value)));
            ensure!(flag.starts_with("--"), "not a flag: {line}");
            settings.push(Setting {
                flag: flag.to_owned(),
                value: value.map(str::to_owned),
                meaning: String::new(),
                notes: Vec::new(),
            });
        }
    }
    ensure!(!settings.is_empty(), "no settings");
    Ok(settings)
}

impl Setting {
    /// The meaning without what comes after its first sentence.
    pub(super) fn first_sentence(&self) -> &str {
        let end = self.meaning.find(". ").unwrap_or(self.meaning.len());
        self.meaning[..end].trim_end_matches('.')
    }
}

impl Subcommand {
    /// The flags that its help names.
    pub(super) fn flags(&self) -> Vec<&str> {
        let is_part = |character: char| character.is_ascii_lowercase() || character == '-';
        let words = self.help.split(|character| !is_part(character));
        let mut flags: Vec<&str> = words.filter(|word| word.starts_with("--") && word.len() > 2).collect();
        flags.push("--help");
        flags.sort_unstable();
        flags.dedup();
        flags
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A program with everything that there can be.
    pub(in crate::dist) fn example() -> Program {
        let text = "p: does 'it'\n\nUsage: p [serve] [SETTINGS]\n       p listen [URL]     hear\n\nThey come\nfrom there.\n\n  \
                    --config FILE\n      The file.\n      [P_CONFIG] [default: none]\n  --fast [true|false]\n      \
                    Whether it is fast. It's\n      .not [a] \\toy.\n      [P_FAST] [default: true]\n  --help\n      Show this text.\n";
        let mut program = parse(text).unwrap();
        program.commands[0].help = "Usage: p listen [URL] [--port N]\n\n.x  'y'".to_owned();
        program
    }

    #[test]
    fn help_is_read() {
        let program = example();
        assert_eq!((&*program.name, &*program.summary), ("p", "does 'it'"));
        assert_eq!(program.usage, ["p [serve] [SETTINGS]", "p listen [URL]"]);
        assert_eq!(program.about_settings, "They come from there.");
        let flags: Vec<_> =
            program.settings.iter().map(|each| (&*each.flag, each.value.as_deref())).collect();
        assert_eq!(flags, [("--config", Some("FILE")), ("--fast", Some("[true|false]")), ("--help", None)]);
        assert_eq!(program.settings[1].meaning, "Whether it is fast. It's .not [a] \\toy.");
        assert_eq!(program.settings[1].notes, ["P_FAST", "default: true"]);
        assert_eq!(program.settings[1].first_sentence(), "Whether it is fast");
        assert_eq!(
            (&program.commands[0].names[..], &*program.commands[0].summary),
            (&["listen".to_owned()][..], "hear")
        );
        assert_eq!(program.commands[0].flags(), ["--help", "--port"]);
        assert_eq!(names("p drain, shed"), ["drain", "shed"]);
        assert!(parse("p: x\n\nUsage: p\n\nabout\n\nnot a flag\n").is_err());
    }
}
