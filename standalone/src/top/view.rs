//! What is on the screen: the last reading, how it is sorted, and where in it the user is. Pure.

use super::{
    overview::{Overview, Point, Quantiles},
    table::{Order, Table},
    units::{age, count, duration, percent, rate},
};
use beckon_ops::program::printable;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Lines that are not of the table: three of sums, one of problems, the head, and the keys.
const OTHER_LINES: usize = 6;

/// The keys that the last line names.
const KEYS: &str = "q quit   left/right sort   r reverse   up/down/PgUp/PgDn/Home/End scroll";

/// What follows from a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// The view goes on.
    Stay,
    /// The user leaves.
    Leave,
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    /// Of the head of the table.
    Head,
    /// Something to read first.
    Alarm,
    /// Of a node that leaves or is not ready.
    Attention,
}

/// One line of the screen.
pub(super) type Line = (Look, String);

/// What is shown.
#[derive(Debug)]
pub(super) struct View {
    overview: Overview,
    order: Order,
    /// The first row that is shown.
    top: usize,
    /// Why the last reading is old.
    failure: Option<String>,
}

impl View {
    /// A view of a first reading.
    pub(super) fn new(overview: Overview, order: Order) -> Self {
        let mut view = Self { overview: Overview::default(), order, top: 0, failure: None };
        view.show(overview);
        view
    }

    /// When the reading was made, in milliseconds since 1970.
    pub(super) fn at_ms(&self) -> u64 {
        self.overview.at_ms
    }

    /// Shows a later reading.
    pub(super) fn show(&mut self, overview: Overview) {
        self.overview = overview;
        self.failure = None;
        self.sort();
    }

    /// Keeps the last reading, and says why there is no later one.
    pub(super) fn fail(&mut self, reason: String) {
        self.failure = Some(reason);
    }

    /// Does what a key says. `rows` is the height of the screen.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all other keys do nothing")]
    pub(super) fn press(&mut self, key: KeyEvent, rows: usize) -> Action {
        let page = table_rows(rows).max(1);
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Action::Leave,
            KeyCode::Char('q') | KeyCode::Esc => return Action::Leave,
            KeyCode::Left | KeyCode::Right | KeyCode::Char('<' | '>') => {
                let is_right = matches!(key.code, KeyCode::Right | KeyCode::Char('>'));
                self.order = Order { column: self.order.column.beside(is_right), is_reverse: false };
                self.sort();
            }
            KeyCode::Char('r') => {
                self.order.is_reverse = !self.order.is_reverse;
                self.sort();
            }
            KeyCode::Up | KeyCode::Char('k') => self.top = self.top.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.top += 1,
            KeyCode::PageUp => self.top = self.top.saturating_sub(page),
            KeyCode::PageDown | KeyCode::Char(' ') => self.top += page,
            KeyCode::Home => self.top = 0,
            KeyCode::End => self.top = usize::MAX,
            _ => {}
        }
        self.top = self.top.min(self.overview.nodes.len().saturating_sub(page));
        Action::Stay
    }

    fn sort(&mut self) {
        self.order.sort(&mut self.overview.nodes, self.overview.at_ms);
    }

    /// The lines of a screen of this height.
    pub(super) fn lines(&self, rows: usize) -> Vec<Line> {
        let [sums, times] = self.sums();
        let Table { head, rows: table } = Table::of(&self.overview.nodes, self.order, self.overview.at_ms);
        let mut lines = vec![(Look::Plain, self.title()), (Look::Plain, sums), (Look::Plain, times)];
        lines.push((Look::Alarm, self.problems()));
        lines.push((Look::Head, head));
        let shown = table_rows(rows);
        let top = self.top.min(table.len().saturating_sub(shown));
        let of_nodes = table.into_iter().zip(&self.overview.nodes).skip(top).take(shown);
        lines.extend(of_nodes.map(|(line, node)| match (node.is_ready(), &*node.state) {
            (true, _) => (Look::Plain, line),
            (false, "ok") => (Look::Attention, line),
            (false, _) => (Look::Alarm, line),
        }));
        lines.resize(rows.saturating_sub(1), (Look::Plain, String::new()));
        lines.push((Look::Plain, KEYS.to_owned()));
        lines.truncate(rows);
        lines
    }

    /// All of it, for what is not a terminal.
    pub(super) fn text(&self) -> String {
        let [sums, times] = self.sums();
        let Table { head, rows } = Table::of(&self.overview.nodes, self.order, self.overview.at_ms);
        let mut lines = vec![self.title(), sums, times];
        lines.extend(Some(self.problems()).filter(|problems| !problems.is_empty()));
        lines.push(String::new());
        lines.push(head);
        lines.extend(rows);
        lines.join("\n") + "\n"
    }

    fn title(&self) -> String {
        let listed: Vec<_> = self.overview.nodes.iter().filter(|node| node.state != "gone").collect();
        let ready = listed.iter().filter(|node| node.is_ready()).count();
        let nodes = if listed.len() == 1 { "node" } else { "nodes" };
        format!("{} {nodes}, {ready} ready, read by {}", listed.len(), printable(&self.overview.by))
    }

    /// What all nodes that have answered do together.
    fn sums(&self) -> [String; 2] {
        let none = Point::default();
        let now = self.overview.history.last().unwrap_or(&none);
        let limit: u64 =
            self.overview.nodes.iter().filter(|node| node.state == "ok").map(|node| node.sockets_max).sum();
        let rate_of = |name: &str| rate(now.rates.get(name).copied());
        let times = |name: &str| {
            let found = now.quantiles.get(name);
            let [p50, p99] = [|times: &Quantiles| times.p50, |times: &Quantiles| times.p99]
                .map(|of| duration(found.map(of)));
            format!("p50 {p50}, p99 {p99}")
        };
        [
            format!(
                "sockets {} of {}   hellos {}/s, ends {}/s   notifications {}/s, delivered {}/s   CPU {}",
                count(now.sockets),
                count(limit),
                rate_of("hellos"),
                rate_of("ends"),
                rate_of("accepted"),
                rate_of("delivered"),
                percent(now.rates.get("cpu").copied()),
            ),
            format!("answer to a sender {}   acknowledgement of a client {}", times("request"), times("ack")),
        ]
    }

    /// What is missing or old; empty if nothing is.
    fn problems(&self) -> String {
        let mut problems = Vec::new();
        if let Some(reason) = &self.failure {
            problems.push(format!("What is shown is old: {}.", printable(reason)));
        }
        if let Some(reason) = &self.overview.directory_failure {
            let reason = printable(reason);
            problems.push(format!("The directory cannot be read ({reason}): an earlier one is shown."));
        }
        let silent: Vec<_> = self.overview.nodes.iter().filter(|node| node.state == "silent").collect();
        if let [first, rest @ ..] = &silent[..] {
            let reason = first.failure.as_deref().unwrap_or("silent");
            let figures = first.age_ms.map_or_else(
                || "it has never answered".to_owned(),
                |age_ms| format!("its figures are {} old", age(age_ms as f64 / 1000.0)),
            );
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            let name = printable(&first.name);
            problems.push(format!("Sums are without {name} ({}; {figures}){more}.", printable(reason)));
        }
        problems.join(" ")
    }
}

/// Rows of the table on a screen of this height.
fn table_rows(rows: usize) -> usize {
    rows.saturating_sub(OTHER_LINES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::{overview::Node, table::Column};

    fn node(name: &str, state: &str, sockets: u64) -> Node {
        Node {
            name: name.into(),
            state: state.into(),
            phase: "serving".into(),
            sockets,
            sockets_max: 100,
            ..Node::default()
        }
    }

    fn of(nodes: Vec<Node>) -> Overview {
        let point = Point {
            sockets: 7,
            rates: [("hellos".to_owned(), 12.0)].into(),
            quantiles: [("ack".to_owned(), Quantiles { p50: 0.002, p99: 0.3 })].into(),
        };
        Overview {
            at_ms: 1_800_000_000_000,
            by: "c0".into(),
            nodes,
            history: vec![point],
            ..Overview::default()
        }
    }

    fn key(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    #[test]
    fn sums_and_problems_are_above_the_table() {
        let mut silent = node("c1", "silent", 9);
        (silent.failure, silent.age_ms) = (Some("no answer within 1s".into()), Some(4000));
        let mut view =
            View::new(of(vec![node("c0", "ok", 7), silent, node("c2", "gone", 1)]), Order::default());
        let text = view.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "2 nodes, 1 ready, read by c0");
        assert!(lines[1].starts_with("sockets 7 of 100   hellos 12/s, ends -/s"), "{text}");
        assert!(lines[2].ends_with("acknowledgement of a client p50 2.0ms, p99 300ms"), "{text}");
        assert_eq!(lines[3], "Sums are without c1 (no answer within 1s; its figures are 4s old).");
        assert!(lines[5].starts_with("NODE") && lines.len() == 9, "{text}");
        view.fail("the node is away".into());
        let screen = view.lines(12);
        assert_eq!((screen.len(), screen[11].1.as_str()), (12, KEYS));
        assert!(screen[3].1.starts_with("What is shown is old: the node is away."), "{screen:?}");
        assert_eq!((screen[5].0, screen[6].0, screen[7].0), (Look::Plain, Look::Alarm, Look::Alarm));
        view.show(of(vec![node("c0", "ok", 7)]));
        assert_eq!(view.lines(12)[3].1, "", "a later reading has come");
    }

    #[test]
    fn a_drain_asks_for_attention() {
        let mut leaving = node("c0", "ok", 7);
        leaving.phase = "leaving".into();
        let view = View::new(of(vec![leaving]), Order::default());
        let screen = view.lines(24);
        assert_eq!(screen[5].0, Look::Attention);
        assert!(screen[5].1.contains("leaving"), "{screen:?}");
    }

    #[test]
    fn keys_sort_and_scroll_and_leave() {
        let nodes = (0..500).map(|number| node(&format!("n{number:03}"), "ok", number)).collect();
        let mut view = View::new(of(nodes), Order { column: Column::State, is_reverse: false });
        let rows = 26;
        let first = |view: &View| view.lines(rows)[5].1.chars().take(4).collect::<String>();
        assert_eq!(first(&view), "n000");
        for (code, expected) in [
            (KeyCode::Right, "n499"),
            (KeyCode::Char('r'), "n000"),
            (KeyCode::PageDown, "n020"),
            (KeyCode::Down, "n021"),
            (KeyCode::End, "n480"),
            (KeyCode::Down, "n480"),
            (KeyCode::PageUp, "n460"),
            (KeyCode::Home, "n000"),
            (KeyCode::Up, "n000"),
            (KeyCode::Tab, "n000"),
        ] {
            assert_eq!(view.press(key(code), rows), Action::Stay);
            assert_eq!(first(&view), expected, "{code:?}");
        }
        assert_eq!(view.press(key(KeyCode::Char('q')), rows), Action::Leave);
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(view.press(interrupt, rows), Action::Leave);
        assert_eq!(view.press(key(KeyCode::Char('c')), rows), Action::Stay);
        // The cluster shrinks while its end is shown.
        view.press(key(KeyCode::End), rows);
        view.show(of(vec![node("n001", "ok", 1)]));
        assert_eq!(first(&view), "n001");
        for rows in 0..8 {
            assert_eq!(view.lines(rows).len(), rows, "any height");
        }
    }
}
