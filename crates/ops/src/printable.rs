//! What others have written is not to move the cursor of a terminal, change its colours or its title, or worse: control characters are
//! escaped, as in JSON.

use std::{borrow::Cow, fmt::Write as _};

/// A text that others have written, as a part of one line: all control characters are escaped, also the ends of lines.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, char::is_control)
}

/// A text of several lines, with all other control characters escaped.
pub(crate) fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |character| character.is_control() && !matches!(character, '\n' | '\t'))
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            _ if !is_escaped(character) => escaped.push(character),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            // A string takes every write, and no control character has more than four digits.
            _ => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(character));
            }
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_have_written_cannot_control_a_terminal() {
        for (text, line, lines) in [
            ("http://a/b?c=é", "http://a/b?c=é", "http://a/b?c=é"),
            ("a\u{1b}[2Jb", "a\\u001b[2Jb", "a\\u001b[2Jb"),
            // The introducer of escape sequences as one character, and what rings and deletes.
            ("\u{9b}2J\u{7}\u{7f}", "\\u009b2J\\u0007\\u007f", "\\u009b2J\\u0007\\u007f"),
            ("a\nb\tc\r", "a\\nb\\tc\\r", "a\nb\tc\\r"),
        ] {
            assert_eq!(printable(text), line);
            assert_eq!(printable_lines(text), lines);
        }
    }

    #[test]
    fn what_is_escaped_is_still_json() {
        let text = serde_json::to_string("a\u{1b}\u{7f}\u{9b}\n").unwrap();
        let read: String = serde_json::from_str(&printable_lines(&text)).unwrap();
        assert_eq!(read, "a\u{1b}\u{7f}\u{9b}\n");
    }
}
