//! Licence expressions (SPDX), as far as crates use them: names, `WITH`, `AND`, `OR` and parentheses.

/// Whether a choice of allowed licences satisfies an expression. An expression that cannot be read is not.
pub(crate) fn is_satisfied(expression: &str, allowed: &[&str]) -> bool {
    // Old crates write MIT/Apache-2.0.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser { words: &words, allowed };
    let satisfied = parser.any();
    satisfied == Some(true) && parser.words.is_empty()
}

struct Parser<'a> {
    words: &'a [&'a str],
    allowed: &'a [&'a str],
}

impl Parser<'_> {
    fn next_is(&mut self, word: &str) -> bool {
        let is_next = self.words.first() == Some(&word);
        if is_next {
            self.words = &self.words[1..];
        }
        is_next
    }

    /// Terms with `OR` between them.
    fn any(&mut self) -> Option<bool> {
        let mut satisfied = self.all()?;
        while self.next_is("OR") {
            satisfied |= self.all()?;
        }
        Some(satisfied)
    }

    /// Terms with `AND` between them, which binds closer.
    fn all(&mut self) -> Option<bool> {
        let mut satisfied = self.term()?;
        while self.next_is("AND") {
            satisfied &= self.term()?;
        }
        Some(satisfied)
    }

    fn term(&mut self) -> Option<bool> {
        if self.next_is("(") {
            let satisfied = self.any()?;
            return self.next_is(")").then_some(satisfied);
        }
        let (name, rest) = self.words.split_first()?;
        self.words = rest;
        if self.next_is("WITH") {
            let (exception, rest) = self.words.split_first()?;
            self.words = rest;
            return Some(self.allowed.contains(&format!("{name} WITH {exception}").as_str()));
        }
        Some(self.allowed.contains(name))
    }
}

#[test]
fn expressions_are_understood() {
    let allowed = ["MIT", "Apache-2.0", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"];
    for satisfied in [
        "MIT",
        "MIT OR GPL-3.0",
        "GPL-3.0/MIT",
        "MIT AND Unicode-3.0",
        "(MIT OR GPL-3.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
        "GPL-3.0 OR MIT AND Unicode-3.0",
    ] {
        assert!(is_satisfied(satisfied, &allowed), "{satisfied}");
    }
    for refused in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "MIT WITH LLVM-exception",
        "(MIT",
        "MIT)",
        "MIT OR",
        "MIT GPL-3.0",
        "(MIT OR GPL-3.0) AND GPL-3.0",
    ] {
        assert!(!is_satisfied(refused, &allowed), "{refused}");
    }
}
