//! What shells offer when the tabulator key is pressed.

use super::help::{Program, Setting, Subcommand};
use std::fmt::Write as _;

/// The command of a program that takes its settings.
const SERVE: &str = "serve";

/// For bash.
pub(super) fn bash(program: &Program) -> String {
    let name = &program.name;
    let function = format!("_{}", name.replace('-', "_"));
    let flags: Vec<&str> = program.settings.iter().map(|setting| &*setting.flag).collect();
    let flags = flags.join(" ");
    let mut text = format!("# bash completion of {name}\n{function}() {{\n    local words\n");
    text.push_str("    case ${COMP_WORDS[1]} in\n");
    for command in &program.commands {
        let _ =
            writeln!(text, "        {}) words=\"{}\" ;;", command.names.join("|"), command.flags().join(" "));
    }
    let _ = writeln!(text, "        *) words=\"{flags}\" ;;\n    esac");
    if !program.commands.is_empty() {
        let names: Vec<&str> =
            program.commands.iter().flat_map(|command| &command.names).map(String::as_str).collect();
        let _ = writeln!(text, "    (( COMP_CWORD > 1 )) || words+=\" {SERVE} {}\"", names.join(" "));
    }
    let _ = writeln!(
        text,
        "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"${{COMP_WORDS[COMP_CWORD]}}\")\n}}\n\
         complete -o default -F {function} {name}"
    );
    text
}

/// For zsh.
pub(super) fn zsh(program: &Program) -> String {
    let name = &program.name;
    let mut text = format!("#compdef {name}\n\n");
    let settings: String = program.settings.iter().map(zsh_setting).collect();
    if program.commands.is_empty() {
        let _ = writeln!(text, "_arguments{settings}");
        return text;
    }
    text.push_str("if (( CURRENT == 2 )); then\n    local -a commands=(\n");
    let _ = writeln!(text, "        {}", quoted(&format!("{SERVE}:run the server")));
    for Subcommand { names, summary, .. } in &program.commands {
        for name in names {
            let _ = writeln!(text, "        {}", quoted(&format!("{name}:{summary}")));
        }
    }
    text.push_str("    )\n    _describe command commands\nfi\ncase $words[2] in\n");
    for command in &program.commands {
        let flags: String = command.flags().iter().map(|flag| format!(" {}", quoted(flag))).collect();
        let _ = writeln!(
            text,
            "    {}) shift words; (( CURRENT-- )); _arguments{flags} '*:argument:_default' ;;",
            command.names.join("|")
        );
    }
    let _ = writeln!(
        text,
        "    {SERVE}) shift words; (( CURRENT-- )); _arguments{settings} ;;\n    -*|'') _arguments{settings} ;;\nesac"
    );
    text
}

fn zsh_setting(setting: &Setting) -> String {
    let meaning = setting.first_sentence().replace(['[', ']'], "").replace(':', "\\:");
    let value = match &setting.value {
        None => String::new(),
        Some(value) if value == "[true|false]" => "::value:(true false)".to_owned(),
        Some(_) => ":value:_default".to_owned(),
    };
    format!(" \\\n    {}", quoted(&format!("{}[{meaning}]{value}", setting.flag)))
}

/// For fish.
pub(super) fn fish(program: &Program) -> String {
    let name = &program.name;
    let names: Vec<&str> =
        program.commands.iter().flat_map(|command| &command.names).map(String::as_str).collect();
    let names = names.join(" ");
    let mut text = format!("# fish completion of {name}\n");
    let condition = if names.is_empty() {
        String::new()
    } else {
        let _ = writeln!(text, "complete -c {name} -n __fish_use_subcommand -a {SERVE} -d 'run the server'");
        format!(" -n {}", fish_quoted(&format!("not __fish_seen_subcommand_from {names}")))
    };
    for setting in &program.settings {
        let flag = setting.flag.trim_start_matches('-');
        let value = match &setting.value {
            None => "",
            Some(value) if value == "[true|false]" => " -a 'true false'",
            Some(_) => " -r",
        };
        let meaning = fish_quoted(setting.first_sentence());
        let _ = writeln!(text, "complete -c {name}{condition} -l {flag}{value} -d {meaning}");
    }
    for command in &program.commands {
        let summary = fish_quoted(&command.summary);
        let words = fish_quoted(&command.names.join(" "));
        let _ = writeln!(text, "complete -c {name} -n __fish_use_subcommand -a {words} -d {summary}");
        for flag in command.flags() {
            let flag = flag.trim_start_matches('-');
            let condition = fish_quoted(&format!("__fish_seen_subcommand_from {}", command.names.join(" ")));
            let _ = writeln!(text, "complete -c {name} -n {condition} -l {flag}");
        }
    }
    text
}

/// A word for bash and zsh.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A word for fish.
fn fish_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
