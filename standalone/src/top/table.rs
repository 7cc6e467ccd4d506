//! The table of nodes: its columns, what is in them, and the order of its rows.

use super::{
    overview::Node,
    units::{NONE, age, bytes, count, duration, percent, rate},
};
use beckon_ops::program::printable;
use std::{cmp::Ordering, str::FromStr};

/// The longest name that is shown whole.
const NAME_LEN: usize = 24;

/// Columns are so far apart.
const GAP: &str = "  ";

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// The name of the node.
    Node,
    /// What it is: connection-node, endpoint-node or beckon.
    Program,
    /// Ready, or why not.
    State,
    /// Open sockets, and how many there may be.
    Sockets,
    /// Hellos in a second.
    Hellos,
    /// Notifications in a second.
    Messages,
    /// Half of the answers or acknowledgements took no longer.
    P50,
    /// All but a hundredth took no longer.
    P99,
    /// CPU, of one core.
    Cpu,
    /// Resident memory.
    Memory,
    /// The age of its lease, or its streams to connection-nodes.
    Links,
    /// Time since its start.
    Up,
    /// What runs.
    Version,
}

impl Column {
    /// All columns, from left to right: what matters least is cut off first.
    pub(super) const ALL: [Self; 13] = [
        Self::Node,
        Self::Program,
        Self::State,
        Self::Sockets,
        Self::Hellos,
        Self::Messages,
        Self::P50,
        Self::P99,
        Self::Cpu,
        Self::Memory,
        Self::Links,
        Self::Up,
        Self::Version,
    ];

    /// What it is called above the table and in `--sort`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Program => "program",
            Self::State => "state",
            Self::Sockets => "sockets",
            Self::Hellos => "hellos/s",
            Self::Messages => "msgs/s",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Links => "links",
            Self::Up => "up",
            Self::Version => "version",
        }
    }

    /// The column to the right of this one, or to the left; beyond the last comes the first.
    pub(super) fn beside(self, is_right: bool) -> Self {
        let (len, step) = (Self::ALL.len(), if is_right { 1 } else { Self::ALL.len() - 1 });
        let at = Self::ALL.iter().position(|column| *column == self).unwrap_or_default();
        Self::ALL[(at + step) % len]
    }

    /// Whether its texts are sorted, rather than its numbers, and begin at the left.
    fn is_text(self) -> bool {
        matches!(self, Self::Node | Self::Program | Self::State | Self::Links | Self::Version)
    }

    /// What a node has in it. `now_ms` is the time of the reading, in milliseconds since 1970.
    fn text(self, node: &Node, now_ms: u64) -> String {
        match self {
            Self::Node => shortened(&node.name),
            Self::Program => printable(&node.program).into_owned(),
            Self::State => printable(node.condition()).into_owned(),
            Self::Sockets => match node.fullness() {
                None => NONE.to_owned(),
                Some(_) => format!("{} / {}", count(node.sockets), count(node.sockets_max)),
            },
            Self::Hellos => rate(node.rates.get("hellos").copied()),
            Self::Messages => rate(node.messages()),
            Self::P50 => duration(node.times().map(|times| times.p50)),
            Self::P99 => duration(node.times().map(|times| times.p99)),
            Self::Cpu => percent(node.rates.get("cpu").copied()),
            Self::Memory => bytes(node.figures.get("memory").copied()),
            Self::Links => links(node),
            Self::Up => uptime(node, now_ms).map_or_else(|| NONE.to_owned(), age),
            Self::Version => {
                let commit: String = node.commit.chars().take(7).collect();
                printable(format!("{} {commit}", node.version).trim_end()).into_owned()
            }
        }
    }

    /// What rows are sorted by, if it is a number. Nodes without one come last.
    fn number(self, node: &Node, now_ms: u64) -> Option<f64> {
        match self {
            Self::Node | Self::Program | Self::State | Self::Links | Self::Version => None,
            Self::Sockets => node.fullness().map(|_| node.sockets as f64),
            Self::Hellos => node.rates.get("hellos").copied(),
            Self::Messages => node.messages(),
            Self::P50 => node.times().map(|times| times.p50),
            Self::P99 => node.times().map(|times| times.p99),
            Self::Cpu => node.rates.get("cpu").copied(),
            Self::Memory => node.figures.get("memory").copied(),
            Self::Up => uptime(node, now_ms),
        }
    }
}

/// The order of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    /// What they are sorted by: texts from A to Z, numbers from the largest.
    pub(super) column: Column,
    /// The other way round.
    pub(super) is_reverse: bool,
}

impl Default for Order {
    fn default() -> Self {
        Self::by(Column::Program)
    }
}

impl FromStr for Column {
    type Err = String;

    /// The name of a column; `hellos` and `msgs` suffice.
    fn from_str(text: &str) -> Result<Self, String> {
        let is_named =
            |column: &&Self| column.name() == text || column.name().strip_suffix("/s") == Some(text);
        Self::ALL.iter().find(is_named).copied().ok_or_else(|| {
            let names = Self::ALL.map(|column| column.name().trim_end_matches("/s")).join(", ");
            format!("`{text}` is not a column; the columns are {names}")
        })
    }
}

impl Order {
    /// By this column, the usual way round.
    pub(super) fn by(column: Column) -> Self {
        Self { column, is_reverse: false }
    }

    /// Sorts nodes. Those that are equal stay in the order of programs and names that the node answers in.
    pub(super) fn sort(self, nodes: &mut [Node], now_ms: u64) {
        let Self { column, is_reverse } = self;
        let turned = |ordering: Ordering| if is_reverse { ordering.reverse() } else { ordering };
        nodes.sort_by(|a, b| {
            if column.is_text() {
                return turned(column.text(a, now_ms).cmp(&column.text(b, now_ms)));
            }
            match (column.number(a, now_ms), column.number(b, now_ms)) {
                (Some(a), Some(b)) => turned(b.total_cmp(&a)),
                (a, b) => b.is_some().cmp(&a.is_some()),
            }
        });
    }
}

/// The head and the rows of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) head: String,
    pub(super) rows: Vec<String>,
}

impl Table {
    /// These nodes in this order, each column as wide as the longest text in it.
    pub(super) fn of(nodes: &[Node], order: Order, now_ms: u64) -> Self {
        let head = Column::ALL.map(|column| {
            let mark = match (column == order.column, order.is_reverse != column.is_text()) {
                (false, _) => "",
                (true, true) => "^",
                (true, false) => "v",
            };
            format!("{}{mark}", column.name().to_uppercase())
        });
        let cells: Vec<_> =
            nodes.iter().map(|node| Column::ALL.map(|column| column.text(node, now_ms))).collect();
        let mut widths = head.each_ref().map(|text| text.chars().count());
        for row in &cells {
            widths.iter_mut().zip(row).for_each(|(width, text)| *width = text.chars().count().max(*width));
        }
        let line = |row: &[String; 13]| {
            let padded = row.iter().zip(widths).zip(Column::ALL).map(|((text, width), column)| {
                if column.is_text() { format!("{text:<width$}") } else { format!("{text:>width$}") }
            });
            padded.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
        };
        Self { head: line(&head), rows: cells.iter().map(line).collect() }
    }
}

fn shortened(name: &str) -> String {
    let name = printable(name).into_owned();
    if name.chars().count() <= NAME_LEN {
        return name;
    }
    // The end tells the nodes of a StatefulSet apart.
    let all: Vec<char> = name.chars().collect();
    let (begin, end) = (&all[..NAME_LEN / 2 - 1], &all[all.len() - NAME_LEN / 2..]);
    format!("{}~{}", String::from_iter(begin), String::from_iter(end))
}

fn links(node: &Node) -> String {
    let figure = |name| node.figures.get(name).copied();
    if let Some(open) = figure("streams_open") {
        return format!("{open:.0}/{:.0} streams", open + figure("streams_closed").unwrap_or(0.0));
    }
    figure("lease_age").map_or_else(|| NONE.to_owned(), |age| format!("lease {age:.1}s"))
}

/// In seconds; 0 if the clocks of the two nodes differ by more than that.
fn uptime(node: &Node, now_ms: u64) -> Option<f64> {
    node.figures.get("started").map(|started| (now_ms as f64 / 1000.0 - started).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::overview::Quantiles;

    const NOW_MS: u64 = 1_800_000_000_000;

    fn connection_node(name: &str, sockets: u64) -> Node {
        Node {
            name: name.into(),
            state: "ok".into(),
            program: "connection-node".into(),
            version: "0.1.0".into(),
            commit: "0123456789abcdef".into(),
            phase: "serving".into(),
            sockets,
            sockets_max: 50_000,
            figures: [("memory", 5e7), ("lease_age", 1.5), ("started", 1_799_996_400.0)]
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
            rates: [("hellos", 12.0), ("sent", 400.0), ("cpu", 0.25)]
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
            quantiles: [("ack".to_owned(), Quantiles { p50: 0.0012, p99: 0.25 })].into(),
            ..Node::default()
        }
    }

    fn endpoint_node(name: &str) -> Node {
        Node {
            name: name.into(),
            state: "ok".into(),
            program: "endpoint-node".into(),
            phase: "closing".into(),
            figures: [("streams_open".to_owned(), 3.0), ("streams_closed".to_owned(), 1.0)].into(),
            rates: [("accepted".to_owned(), 0.5)].into(),
            ..Node::default()
        }
    }

    fn names(nodes: &[Node]) -> Vec<&str> {
        nodes.iter().map(|node| &*node.name).collect()
    }

    #[test]
    fn each_figure_has_a_column() {
        let table = Table::of(&[connection_node("c0", 1234), endpoint_node("e0")], Order::default(), NOW_MS);
        let words = |line: &str| {
            line.split("  ")
                .filter(|word| !word.is_empty())
                .map(|word| word.trim().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            words(&table.rows[0]),
            [
                "c0",
                "connection-node",
                "ready",
                "1,234 / 50,000",
                "12",
                "400",
                "1.2ms",
                "250ms",
                "25%",
                "48MiB",
                "lease 1.5s",
                "1h",
                "0.1.0 0123456"
            ]
        );
        assert_eq!(
            words(&table.rows[1]),
            ["e0", "endpoint-node", "closing", "-", "-", "0.5", "-", "-", "-", "-", "3/4 streams", "-"]
        );
        assert_eq!(words(&table.head).len(), Column::ALL.len());
        assert_eq!(table.head.find("STATE"), table.rows[0].find("ready"));
    }

    #[test]
    fn rows_are_sorted_by_any_column_and_those_without_a_number_come_last() {
        let mut nodes = vec![endpoint_node("e0"), connection_node("c0", 7), connection_node("c1", 70)];
        let mut sorted = |text: &str, is_reverse| {
            let order = Order { column: text.parse().unwrap(), is_reverse };
            order.sort(&mut nodes, NOW_MS);
            names(&nodes).join(" ")
        };
        assert_eq!(sorted("sockets", false), "c1 c0 e0");
        assert_eq!(sorted("sockets", true), "c0 c1 e0");
        assert_eq!(sorted("node", false), "c0 c1 e0");
        assert_eq!(sorted("node", true), "e0 c1 c0");
        assert_eq!(sorted("state", false), "e0 c1 c0");
        assert_eq!(sorted("msgs/s", false), "c1 c0 e0");
        let error = "sokets".parse::<Column>().unwrap_err();
        assert!(
            error.contains("`sokets` is not a column; the columns are node, ") && error.contains("msgs"),
            "{error}"
        );
    }

    #[test]
    fn a_long_name_keeps_its_end() {
        let mut node = connection_node("beckon-connection-node-of-a-long-release-117", 0);
        let table = Table::of(std::slice::from_ref(&node), Order::default(), NOW_MS);
        assert!(table.rows[0].starts_with("beckon-conn~-release-117  "), "{}", table.rows[0]);
        node.name = "x\u{1b}[31m".into();
        let table = Table::of(&[node], Order::default(), NOW_MS);
        assert!(table.rows[0].starts_with("x\\u001b[31m"), "{}", table.rows[0]);
    }
}
