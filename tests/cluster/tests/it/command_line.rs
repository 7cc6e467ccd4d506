//! Help, completions and manual pages, used with the programs that they are for: three shells and two readers of manuals.

use beckon_testbed::{process, programs::Program};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

const PROGRAMS: [Program; 3] = [Program::Beckon, Program::ConnectionNode, Program::EndpointNode];

/// What a command prints, both ways, if it succeeds.
fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}

fn beckon(arguments: &[&str]) -> String {
    output(Command::new(Program::Beckon.path()).args(arguments))
}

/// A folder with what `beckon completions` prints for a shell.
fn script(shell: &str, program: Program) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = beckon(&["completions", shell, "--for", program.name()]);
    fs::write(folder.path().join("script"), text).unwrap();
    folder
}

/// What bash would insert for the last of these words.
fn bash(folder: &Path, program: Program, words: &str) -> Vec<String> {
    let name = program.name();
    let script = format!(
        "source {}/script; COMP_WORDS=({name} {words}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 )); \
         function=$(complete -p {name} | sed 's/.*-F \\([^ ]*\\).*/\\1/'); \
         $function {name} \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        folder.display()
    );
    output(Command::new("bash").args(["--norc", "-c", &script]))
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

/// What fish offers for the last of these words.
fn fish(folder: &Path, program: Program, words: &str) -> Vec<String> {
    let script =
        format!("source {}/script; complete --do-complete '{} {words}'", folder.display(), program.name());
    let home = tempfile::tempdir().unwrap();
    let text =
        output(Command::new("fish").args(["--no-config", "--command", &script]).env("HOME", home.path()));
    text.lines().filter_map(|line| line.split('\t').next()).map(str::to_owned).collect()
}

/// What a line becomes in an interactive zsh when the tabulator key is pressed. The terminal shows what is typed before the shell
/// reads it, so the word that is waited for is not typed as it is printed.
fn zsh(folder: &Path, program: Program, words: &str) -> String {
    let name = program.name();
    let function = format!("_{name}");
    fs::copy(folder.join("script"), folder.join(&function)).unwrap();
    let script = format!(
        "zmodload zsh/zpty; zpty shell 'TERM=dumb zsh -f -i'
         zpty -w shell 'PS1=; unsetopt zle_bracketed_paste; fpath=({folder} $fpath); autoload -U compinit; compinit -u -D'
         zpty -w shell 'complete-and-print() {{ zle expand-or-complete; print -r -- \"[$BUFFER]\"; zle kill-buffer }}'
         zpty -w shell 'zle -N complete-and-print; bindkey \"^X\" complete-and-print; print rea\"\"dy'
         zpty -r shell text '*ready*' && zpty -w -n shell '{name} {words}'$'\\C-x' && zpty -r shell text '*\\]*'
         print -r -- $text",
        folder = folder.display()
    );
    output(Command::new("timeout").args(["20", "zsh", "-f", "-c", &script]))
}

#[tokio::test]
async fn bash_completes_commands_settings_and_their_values() {
    for program in PROGRAMS {
        let folder = script("bash", program);
        assert_eq!(bash(folder.path(), program, "--endpoint-u"), ["--endpoint-url"]);
    }
    let folder = script("bash", Program::Beckon);
    let complete = |words: &str| bash(folder.path(), Program::Beckon, words);
    assert_eq!(complete("lis"), ["listen"]);
    assert_eq!(complete("serve --data-d"), ["--data-dir"]);
    assert_eq!(complete("client bl"), ["block"]);
    assert_eq!(complete("client block --adm"), ["--admin", "--admin-token-file"]);
    assert_eq!(complete("hand-over --data-d"), ["--data-dir"]);
    assert_eq!(complete("completions f"), ["fish"]);
    assert_eq!(complete("--fsync f"), ["false"]);
    assert_eq!(complete("config show --for end"), ["endpoint-node"]);
    let of_send = complete("send --");
    assert!(of_send.iter().any(|flag| flag == "--ttl"), "{of_send:?}");
    assert!(!of_send.iter().any(|flag| flag == "--endpoint-url"), "{of_send:?}");
}

#[tokio::test]
async fn fish_completes_commands_and_settings() {
    for program in PROGRAMS {
        let folder = script("fish", program);
        assert_eq!(fish(folder.path(), program, "--endpoint-u"), ["--endpoint-url"]);
    }
    let folder = script("fish", Program::Beckon);
    let complete = |words: &str| fish(folder.path(), Program::Beckon, words);
    assert_eq!(complete("lis"), ["listen"]);
    assert_eq!(complete("client bl"), ["block"]);
    assert_eq!(complete("send --tt"), ["--ttl"]);
    assert_eq!(complete("config show --for c"), ["connection-node"]);
}

#[tokio::test]
async fn zsh_completes_commands_and_settings() {
    for program in PROGRAMS {
        let folder = script("zsh", program);
        let line = zsh(folder.path(), program, "--endpoint-u");
        assert!(line.contains(&format!("[{} --endpoint-url", program.name())), "{line:?}");
    }
    let folder = script("zsh", Program::Beckon);
    for (words, expected) in [
        ("lis", "[beckon listen"),
        ("client bl", "[beckon client block"),
        ("send --tt", "[beckon send --ttl"),
    ] {
        let line = zsh(folder.path(), Program::Beckon, words);
        assert!(line.contains(expected), "{words}: {line:?}");
    }
}

#[tokio::test]
async fn every_manual_page_is_well_formed_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    beckon(&["manual", "--date", "2026-01-02", folder.path().to_str().unwrap()]);
    let mut names: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for expected in
        ["beckon.1", "beckon-send.1", "beckon-client-block.1", "connection-node.1", "endpoint-node.1"]
    {
        assert!(names.iter().any(|name| name == expected), "{expected} in {names:?}");
    }
    for name in names {
        let path = folder.path().join(&name);
        let linted = output(Command::new("mandoc").args(["-Tlint", "-Wwarning"]).arg(&path));
        assert_eq!(linted, "", "{name}");
        let shown = output(
            Command::new("man").args(["--warnings", "--local-file"]).arg(&path).env("MANWIDTH", "100"),
        );
        assert!(!shown.contains("warning"), "{name}: {shown}");
    }
    let page = |name: &str| {
        let path = folder.path().join(name);
        output(Command::new("man").arg("--local-file").arg(path).env("MANWIDTH", "100"))
    };
    let send = page("beckon-send.1");
    for flag in ["--data", "--p256dh", "--ttl", "NOTES"] {
        assert!(send.contains(flag), "{flag}: {send}");
    }
    let page = page("beckon.1");
    for expected in
        ["--ws-listen", "BECKON_WS_LISTEN", "127.0.0.1:8080", "beckon-listen(1)", "EXIT STATUS", "SIGHUP"]
    {
        assert!(page.contains(expected), "{expected}: {page}");
    }
}

#[tokio::test]
async fn short_help_has_what_a_beginner_needs_and_long_help_everything() {
    const SHORT_LINES_MAX: usize = 65;
    for program in PROGRAMS {
        let (status, short) = process::run(&program.path(), &["-h"], &[]);
        assert_eq!(status.code(), Some(0), "{short}");
        let (_, long) = process::run(&program.path(), &["--help"], &[]);
        assert!(short.lines().count() < SHORT_LINES_MAX, "{} lines: {short}", short.lines().count());
        assert!(short.contains("--admin-listen") && !short.contains("--head-timeout"), "{short}");
        assert!(long.contains("--head-timeout") && long.contains("BECKON_HEAD_TIMEOUT"), "{long}");
        assert!(long.contains("Operators:\n"), "{long}");
    }
    let (_, short) = process::run(&Program::Beckon.path(), &["help"], &[]);
    for expected in ["Send and receive:\n  listen ", "Look after the store:\n  backup "] {
        assert!(short.contains(expected), "{expected}: {short}");
    }
}
