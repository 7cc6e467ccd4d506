//! Logs on stderr: text on a terminal, JSON otherwise, so that what a program prints on stdout stays clean.

use crate::{config::Part, log_writer};
use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io,
    io::IsTerminal as _,
    panic::PanicHookInfo,
    str::FromStr,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

crate::settings! {
    /// What is logged, and how.
    pub struct LogSettings {
        /// Which events are logged: a level (error, warn, info, debug, trace), or a list such as
        /// `info,beckon_store=debug`.
        log: Filter = "info" => Filter::from_str,
        /// How events are written: auto (text on a terminal, otherwise json), text, or json.
        log_format: LogFormat = "auto" => LogFormat::from_str,
    }
}

impl LogSettings {
    /// How help shows these settings.
    pub const PART: Part = Part { heading: "Logs", fields: Self::FIELDS };
}

/// Which events are logged, in the syntax of `tracing_subscriber::filter::Targets`: levels, separated by commas, each
/// for a module or for everything else.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(Targets);

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let reason = "is not a list of log levels (error, warn, info, debug, trace, off); write info or \
                      info,beckon_store=debug";
        // A single word could also be the name of a crate, and then nothing but that crate would be logged: a
        // mistyped level would silence the log.
        let is_clear = |word: &str| {
            // The empty word would also be a level.
            let is_level = !word.is_empty() && LevelFilter::from_str(word).is_ok();
            is_level || word.contains('=')
        };
        let targets = Targets::from_str(text).ok().filter(|_| text.split(',').all(is_clear));
        targets.map(Self).ok_or_else(|| reason.to_owned())
    }
}

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text if stderr is a terminal, JSON otherwise.
    Auto,
    /// A line of text for each event.
    Text,
    /// A JSON object on a line for each event.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("must be auto, text or json".to_owned()),
        }
    }
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    /// Logging was already started in this process.
    #[error("logging was already started in this process")]
    Already,
    /// The thread that writes cannot be started.
    #[error("the thread that writes the log cannot be started: {0}")]
    Thread(#[from] io::Error),
}

/// Sets the filter of the running log.
static FILTER: OnceLock<Box<dyn Fn(Targets) + Send + Sync>> = OnceLock::new();

/// Panics since logging was started.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// How often this process has panicked since logging was started.
pub(crate) fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Starts logging for the whole process. From now on a panic is counted, and an event of the log, too. Nothing that logs waits for
/// stderr, so [`flush`] has to be called at the end.
///
/// # Errors
/// Logging was already started, or its thread cannot be.
pub fn init(settings: &LogSettings) -> Result<(), NotStarted> {
    let terminal = io::stderr().is_terminal();
    let json = match settings.log_format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let (targets, handle) = tracing_subscriber::reload::Layer::new(settings.log.0.clone());
    let filtered = tracing_subscriber::registry().with(targets);
    let stderr = log_writer::start()?;
    let layer = tracing_subscriber::fmt::layer().with_writer(move || stderr);
    let started = if json {
        filtered.with(layer.json().flatten_event(true)).try_init()
    } else {
        filtered.with(layer.with_ansi(terminal)).try_init()
    };
    started.map_err(|_| NotStarted::Already)?;
    // Fails only if the subscriber is gone, and it lives as long as the process.
    let _ = FILTER.set(Box::new(move |targets| drop(handle.reload(targets))));
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Changes which events are logged. Does nothing before [`init`].
pub fn set_filter(filter: &Filter) {
    if let Some(set) = FILTER.get() {
        set(filter.0.clone());
    }
}

/// Waits until stderr has taken what was logged, but no longer than a second.
pub fn flush() {
    log_writer::flush();
}

/// Logs where a panic happened. Its message is logged only if it is in the source: one that was formatted may quote
/// what a client has sent.
fn log_panic(info: &PanicHookInfo<'_>) {
    PANICS.fetch_add(1, Ordering::Relaxed);
    let location = info.location().map(ToString::to_string);
    let message = info.payload().downcast_ref::<&'static str>();
    let thread = std::thread::current();
    let backtrace = Backtrace::capture();
    let is_captured = backtrace.status() == BacktraceStatus::Captured;
    let backtrace = is_captured.then(|| tracing::field::display(backtrace));
    tracing::error!(
        panic.location = location,
        panic.message = message,
        panic.thread = thread.name(),
        panic.backtrace = backtrace,
        "panicked"
    );
}

#[cfg(test)]
mod tests {
    use super::{Filter, LogFormat};
    use std::str::FromStr as _;

    #[test]
    fn a_filter_names_levels() {
        for text in ["info", "OFF", "info,beckon_store=debug", "warn,beckon_connection_node::handshake=trace"]
        {
            assert!(Filter::from_str(text).is_ok(), "{text}");
        }
        for text in ["", "inof", "store", "info,store", "store=inof", "info,"] {
            assert!(Filter::from_str(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_format_is_one_of_three() {
        assert_eq!(LogFormat::from_str("json"), Ok(LogFormat::Json));
        assert!(LogFormat::from_str("xml").is_err());
    }
}
