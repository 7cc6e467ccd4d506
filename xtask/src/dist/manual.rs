//! Manual pages.

use super::help::{Program, Setting};
use roff::{Inline, Roff, bold, italic, roman};

/// What is the same for all programs.
const EXIT_CODES: [(&str, &str); 4] = [
    ("0", "The program has done what was asked, or has stopped after SIGTERM or SIGINT."),
    ("64", "Wrong flags or settings. All of them are reported together."),
    ("69", "The store or a port is not available."),
    ("70", "A part without which the program does not work has failed."),
];

/// The page of a program, for section 1.
pub(super) fn page(program: &Program, date: &str) -> String {
    let mut page = Roff::new();
    let (name, summary) = (&program.name, &program.summary);
    page.control("TH", [&*name.to_uppercase(), "1", date, "Beckon", "Beckon"]);
    page.control("SH", ["NAME"]).text([roman(format!("{name} - {summary}"))]);
    page.control("SH", ["SYNOPSIS"]);
    verbatim(&mut page, program.usage.iter().map(String::as_str));
    if !program.commands.is_empty() {
        page.control("SH", ["COMMANDS"]);
        for command in &program.commands {
            page.control("SS", [&*format!("{name} {}", command.names.join(", "))]);
            page.text([roman(sentence(&command.summary))]).control("PP", []);
            verbatim(&mut page, command.help.lines());
        }
    }
    page.control("SH", ["SETTINGS"]).text([roman(&program.about_settings)]);
    for setting in &program.settings {
        entry(&mut page, heading(setting), &setting.meaning);
        if !setting.notes.is_empty() {
            let notes: Vec<String> = setting.notes.iter().map(|note| format!("[{note}]")).collect();
            page.control("br", []).text([roman(notes.join(" "))]);
        }
    }
    page.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in EXIT_CODES {
        entry(&mut page, vec![bold(code)], meaning);
    }
    page.control("SH", ["SIGNALS"]);
    let signals = "SIGTERM and SIGINT stop a server, which drains first; a second one ends it at once.";
    page.text([roman(signals)]);
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("beckon"), roman("(1), "), bold("connection-node"), roman("(1), ")]);
    page.text([bold("endpoint-node"), roman("(1), "), bold("systemctl"), roman("(1)")]);
    page.to_roff()
}

fn heading(setting: &Setting) -> Vec<Inline> {
    let mut heading = vec![bold(&*setting.flag)];
    heading.extend(setting.value.iter().flat_map(|value| [roman(" "), italic(&**value)]));
    heading
}

fn entry(page: &mut Roff, heading: Vec<Inline>, text: &str) {
    page.control("TP", []).text(heading).text([roman(text)]);
}

/// Lines as they are.
fn verbatim<'a>(page: &mut Roff, lines: impl Iterator<Item = &'a str>) {
    page.control("nf", []);
    for line in lines {
        page.text([roman(line)]);
    }
    page.control("fi", []);
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::help::tests::example;
    use super::*;

    #[test]
    fn a_page_has_everything_and_no_text_is_taken_for_a_command() {
        let page = page(&example(), "2026-01-02");
        for expected in
            [".TH P 1", "\\-\\-fast", "[P_FAST] [default: true]", ".SS \"p listen\"", "\\&.x", "\\\\toy"]
        {
            assert!(page.contains(expected), "{expected}: {page}");
        }
    }
}
