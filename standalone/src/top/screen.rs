//! The terminal: entered, drawn on, and left as it was.

use super::view::{Line, Look, View};
use beckon_ops::exit::Failure;
use crossterm::{
    cursor::{Hide, MoveTo, MoveToNextLine, Show},
    queue,
    style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor},
    terminal::{
        self, BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
        LeaveAlternateScreen,
    },
};
use std::io::{self, BufWriter, Stdout, Write as _};

/// The size of a terminal that does not say it.
const SIZE_DEFAULT: (u16, u16) = (80, 24);

/// The other screen of the terminal. What was on it before is there again when this is dropped.
#[derive(Debug)]
pub(super) struct Screen {
    out: BufWriter<Stdout>,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// It is none, or does not take the orders.
    pub(super) fn enter() -> Result<Self, Failure> {
        terminal::enable_raw_mode().map_err(failed)?;
        // From here on it is left again, whatever happens.
        let mut screen = Self { out: BufWriter::new(io::stdout()) };
        queue!(screen.out, EnterAlternateScreen, Hide).map_err(failed)?;
        screen.out.flush().map_err(failed)?;
        Ok(screen)
    }

    /// Its height in rows.
    pub(super) fn rows(&self) -> usize {
        size().1.into()
    }

    /// Shows a view.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn draw(&mut self, view: &View) -> Result<(), Failure> {
        let (columns, rows) = size();
        let lines = view.lines(rows.into());
        self.write(&lines, columns.into()).and_then(|()| self.out.flush()).map_err(failed)
    }

    fn write(&mut self, lines: &[Line], columns: usize) -> io::Result<()> {
        let out = &mut self.out;
        queue!(out, BeginSynchronizedUpdate, MoveTo(0, 0))?;
        for (index, (look, text)) in lines.iter().enumerate() {
            if index > 0 {
                queue!(out, MoveToNextLine(1))?;
            }
            match look {
                Look::Plain => {}
                Look::Head => queue!(out, SetAttribute(Attribute::Reverse))?,
                Look::Alarm => queue!(out, SetForegroundColor(Color::Red))?,
                Look::Attention => queue!(out, SetForegroundColor(Color::Yellow))?,
            }
            let shown: String = text.chars().take(columns).collect();
            let is_full = shown.chars().count() == columns;
            queue!(out, Print(shown), SetAttribute(Attribute::Reset), ResetColor)?;
            // After a full line the cursor may still be on its last character.
            if !is_full {
                queue!(out, Clear(ClearType::UntilNewLine))?;
            }
        }
        queue!(out, EndSynchronizedUpdate)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // There is nothing left to do about a terminal that does not take these.
        let _ = queue!(self.out, Show, LeaveAlternateScreen).and_then(|()| self.out.flush());
        let _ = terminal::disable_raw_mode();
    }
}

fn size() -> (u16, u16) {
    terminal::size().unwrap_or(SIZE_DEFAULT)
}

fn failed(error: io::Error) -> Failure {
    Failure::unavailable(format!("the terminal: {error}"))
}
