//! `beckon top`: the whole cluster, live in a terminal, through the admin listener of any node.
//!
//! `overview` is what a node answers, `table` its columns, `view` what is on the screen, `units` how numbers are written, and
//! `screen` the terminal. Only `screen` and this file do input and output.

mod overview;
mod screen;
mod table;
mod units;
mod view;

use crate::admin::{AdminListener, answered, asking};
use beckon_ops::{config::Value as _, exit::Failure, program::print};
use bytes::Bytes;
use clap::{Arg, ArgAction, ArgMatches, Command};
use crossterm::event::{Event, EventStream, KeyEventKind};
use futures_util::StreamExt as _;
use http::{Method, StatusCode};
use overview::Overview;
use screen::Screen;
use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};
use table::{Column, Order};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{sleep, timeout},
};
use view::{Action, View};

/// `beckon top`.
pub(crate) fn command() -> Command {
    let once = Arg::new("once").long("once").action(ArgAction::SetTrue);
    let sort = Arg::new("sort").long("sort").value_name("COLUMN").value_parser(str::parse::<Column>);
    let interval = Arg::new("interval").long("interval").value_name("TIME").value_parser(interval);
    asking(Command::new("top"))
        .about("Show the whole cluster, live in this terminal")
        .arg(once.help(
            "Print one table and end, as if stdout were not a terminal; it takes one interval, because rates are differences",
        ))
        .arg(sort.default_value("program").help(
            "node, program, state, sockets, hellos, msgs, p50, p99, cpu, memory, links, up or version",
        ))
        .arg(interval.default_value("2s").help("Time between two readings, from 1s to 10s"))
        .after_help(
            "Shows each node with its open sockets and their limit, hellos and notifications in a second, p50 and p99 of the time \
             to answer a sender (on a connection-node to an acknowledgement), CPU, memory, its lease or its streams, and whether \
             it drains. Any node answers for all of them.\n\n\
             Keys: q to leave, left and right to sort by another column, r to reverse, up and down to scroll.\n\n\
             Exit code: 0 done, 1 refused, 64 invalid arguments, 69 server or terminal not available.",
        )
}

/// The shortest and the longest time between two readings. A node shows a reading to everybody for a second, and
/// differences over more than 15 s count for nothing.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
const INTERVAL_MAX: Duration = Duration::from_secs(10);

/// Time limit for an answer: longer than the node waits for the others and for the store.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);

/// What `beckon top` was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    /// The node that is asked.
    admin: AdminListener,
    /// Whether one table is printed, as it is when stdout is not a terminal.
    once: bool,
    /// The pause between two readings, from [`INTERVAL_MIN`] to [`INTERVAL_MAX`].
    interval: Duration,
    /// How rows are sorted at first.
    order: Order,
}

impl Options {
    /// What the arguments of [`command`] say.
    fn of(matches: &ArgMatches) -> Self {
        Self {
            admin: AdminListener::of(matches),
            once: matches.get_flag("once"),
            interval: matches.get_one::<Duration>("interval").copied().unwrap_or(INTERVAL_MIN),
            order: matches.get_one::<Column>("sort").map_or_else(Order::default, |column| Order::by(*column)),
        }
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = Duration::parse(text)?;
    if (INTERVAL_MIN..=INTERVAL_MAX).contains(&interval) {
        Ok(interval)
    } else {
        Err(format!("`{text}` is not between {INTERVAL_MIN:?} and {INTERVAL_MAX:?}"))
    }
}

/// A reading that was not made.
enum Unread {
    /// Asking again may help.
    Passing(Failure),
    /// The node refuses.
    Refused(Failure),
}

impl From<Unread> for Failure {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Passing(failure) | Unread::Refused(failure) => failure,
        }
    }
}

/// Runs `beckon top`.
///
/// # Errors
/// The node refuses, does not answer at first, or the terminal fails.
pub(crate) async fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let options = Options::of(matches);
    let first = read(&options.admin, 0).await.map_err(Failure::from)?;
    if options.once || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return print_once(&options, first).await;
    }
    let view = View::new(first, options.order);
    live(&options, view).await
}

/// Prints one table. The first reading of a node at which nobody has looked has no rates, so a second one is made.
async fn print_once(options: &Options, first: Overview) -> Result<(), Failure> {
    let overview = if first.has_rates() {
        first
    } else {
        sleep(options.interval).await;
        let second = read(&options.admin, first.at_ms).await;
        second.map_err(Failure::from)?
    };
    print(&View::new(overview, options.order).text())
}

/// Shows the cluster until the user leaves, or a signal ends the program.
async fn live(options: &Options, mut view: View) -> Result<(), Failure> {
    let (mut terminated, mut hung_up) = (caught(SignalKind::terminate())?, caught(SignalKind::hangup())?);
    let mut screen = Screen::enter()?;
    let mut events = EventStream::new();
    let mut next = Box::pin(later(options, view.at_ms()));
    loop {
        screen.draw(&view)?;
        tokio::select! {
            reading = &mut next => {
                match reading {
                    Ok(overview) => view.show(overview),
                    Err(Unread::Passing(failure)) => view.fail(failure.message),
                    Err(Unread::Refused(failure)) => return Err(failure),
                }
                next.set(later(options, view.at_ms()));
            }
            event = events.next() => match event {
                Some(Ok(Event::Key(key))) if key.kind != KeyEventKind::Release => match view.press(key, screen.rows()) {
                    Action::Leave => return Ok(()),
                    Action::Stay => {}
                },
                // The next drawing asks for the size.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(Failure::unavailable(format!("the terminal: {error}"))),
                None => return Ok(()),
            },
            _ = terminated.recv() => return Ok(()),
            _ = hung_up.recv() => return Ok(()),
        }
    }
}

fn caught(kind: SignalKind) -> Result<tokio::signal::unix::Signal, Failure> {
    signal(kind).map_err(Failure::unavailable)
}

async fn later(options: &Options, since_ms: u64) -> Result<Overview, Unread> {
    sleep(options.interval).await;
    read(&options.admin, since_ms).await
}

/// Reads the cluster, with the points of the charts that are newer than `since_ms`.
async fn read(admin: &AdminListener, since_ms: u64) -> Result<Overview, Unread> {
    let path = format!("/api/cluster?since={since_ms}");
    let asked = timeout(ANSWER_TIMEOUT, admin.ask(Method::GET, &path, Bytes::new())).await;
    let silent = |_| Unread::Passing(Failure::unavailable(format!("no answer within {ANSWER_TIMEOUT:?}")));
    let answer = asked.map_err(silent)?.map_err(Unread::Passing)?;
    let is_refused = matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    answered(&answer).map_err(if is_refused { Unread::Refused } else { Unread::Passing })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, String> {
        let matches = command().try_get_matches_from([&["top"], arguments].concat());
        matches.map(|matches| Options::of(&matches)).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_taken_or_named() {
        let given = ["--once", "--sort=sockets", "--interval", "1500ms", "--admin=http://n:1"];
        let expected = Options {
            admin: AdminListener::at("http://n:1"),
            once: true,
            interval: Duration::from_millis(1500),
            order: Order::by(Column::Sockets),
        };
        assert_eq!(parse(&given), Ok(expected));
        let usual = parse(&[]).unwrap();
        assert_eq!(
            (usual.once, usual.interval, usual.order),
            (false, Duration::from_secs(2), Order::default())
        );
        for (arguments, reason) in [
            (&["--sort=height"][..], "`height` is not a column"),
            (&["--interval=200ms"], "`200ms` is not between 1s and 10s"),
            (&["--interval=soon"], "soon"),
            (&["now"], "now"),
            (&["--loud"], "--loud"),
        ] {
            let error = parse(arguments).expect_err("they are invalid");
            assert!(error.contains(reason), "{arguments:?}: {error}");
        }
    }
}
