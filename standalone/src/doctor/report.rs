//! What was found.

use crate::admin::REFUSED;
use beckon_ops::{
    exit::Failure,
    program::{print, printable},
};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it should be.
    Fine,
    /// It works, but not in bad weather, or not at the size that the settings allow.
    Advice,
    /// It does not work.
    Fault,
    /// It was not examined.
    Skipped,
}

/// The findings so far. Each is printed as soon as it is known.
#[derive(Debug, Default)]
pub(super) struct Report {
    faults: u32,
    advice: u32,
    unwritten: Option<Failure>,
}

impl Report {
    /// `subject` is as it should be.
    pub(super) fn fine(&mut self, subject: &str, what: impl AsRef<str>) {
        self.put(Verdict::Fine, subject, what.as_ref());
    }

    /// `subject` should be changed: the message says how.
    pub(super) fn advice(&mut self, subject: &str, what: impl AsRef<str>) {
        self.put(Verdict::Advice, subject, what.as_ref());
    }

    /// `subject` does not work: the message says what to do.
    pub(super) fn fault(&mut self, subject: &str, what: impl AsRef<str>) {
        self.put(Verdict::Fault, subject, what.as_ref());
    }

    /// `subject` was not examined: the message says why.
    pub(super) fn skipped(&mut self, subject: &str, why: impl AsRef<str>) {
        self.put(Verdict::Skipped, subject, why.as_ref());
    }

    /// Fine or advice.
    pub(super) fn weigh(
        &mut self,
        is_fine: bool,
        subject: &str,
        fine: impl AsRef<str>,
        advice: impl AsRef<str>,
    ) {
        if is_fine { self.fine(subject, fine) } else { self.advice(subject, advice) }
    }

    fn put(&mut self, verdict: Verdict, subject: &str, what: &str) {
        let mark = match verdict {
            Verdict::Fine => "fine  ",
            Verdict::Advice => "ADVICE",
            Verdict::Fault => "FAULT ",
            Verdict::Skipped => "-     ",
        };
        self.faults += u32::from(verdict == Verdict::Fault);
        self.advice += u32::from(verdict == Verdict::Advice);
        if let Err(failure) = print(&format!("{mark}  {}: {}\n", printable(subject), printable(what))) {
            self.unwritten = Some(failure);
        }
    }

    /// Ends with the number of faults.
    ///
    /// # Errors
    /// There are faults, or stdout cannot be written to.
    pub(super) fn end(self) -> Result<(), Failure> {
        match (self.unwritten, self.faults) {
            (Some(failure), _) => Err(failure),
            (None, 0) if self.advice == 0 => print("\nNothing is wrong.\n"),
            (None, 0) => print(&format!("\nIt works. {} of the above should be changed.\n", self.advice)),
            (None, faults) => {
                Err(Failure { code: REFUSED, message: format!("{faults} of the above have to be fixed") })
            }
        }
    }
}
