//! The map from slots to primaries.

use super::super::{
    address::Node,
    primary::Primary,
    slot::{SLOTS, Slot},
};
use redis::Value;
use std::{collections::HashSet, fmt, ops::RangeInclusive, sync::Arc};

/// In place of a primary's number: no primary serves the slot.
const NO_PRIMARY: u16 = u16::MAX;

/// Which primary serves which slot.
#[derive(Clone)]
pub(in super::super) struct Map {
    primaries: Vec<Arc<Primary>>,
    /// The number of the primary of each slot.
    owners: Vec<u16>,
}

/// The primaries, each with how many slots it serves.
impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let served = |number| self.owners.iter().filter(|owner| usize::from(**owner) == number).count();
        let primaries = self.primaries.iter().enumerate();
        f.debug_map()
            .entries(primaries.map(|(number, primary)| (primary.to_string(), served(number))))
            .finish()
    }
}

/// Consecutive slots of one primary.
pub(in super::super) type Range = (RangeInclusive<usize>, Node);

impl Default for Map {
    fn default() -> Self {
        Self { primaries: Vec::new(), owners: vec![NO_PRIMARY; SLOTS] }
    }
}

impl Map {
    /// One primary that serves all slots.
    pub(super) fn of_one(primary: Primary) -> Self {
        Self { primaries: vec![Arc::new(primary)], owners: vec![0; SLOTS] }
    }

    /// All primaries. The number of a primary is its index.
    pub(in super::super) fn primaries(&self) -> &[Arc<Primary>] {
        &self.primaries
    }

    /// The number of the primary that serves a slot, if there is one.
    pub(in super::super) fn owner(&self, slot: Slot) -> Option<usize> {
        self.owners.get(slot.index()).copied().filter(|&owner| owner != NO_PRIMARY).map(usize::from)
    }

    /// The first slot of the primary whose first slot is the next one behind this slot.
    pub(in super::super) fn next_primary(&self, slot: Slot) -> Option<Slot> {
        let mut seen = HashSet::new();
        let mut firsts = (0..).zip(&self.owners).filter(|(_, owner)| seen.insert(**owner));
        firsts.find(|(first, _)| *first > slot.index() as u64).and_then(|(first, _)| Slot::new(first))
    }

    /// Whether a primary that serves a slot serves none in this later map.
    pub(super) fn has_lost_one_in(&self, later: &Self) -> bool {
        let serves = |map: &Self| -> HashSet<_> {
            let owners: HashSet<u16> = map.owners.iter().copied().collect();
            let primaries = (0_u16..).zip(&map.primaries).filter(|(number, _)| owners.contains(number));
            primaries.map(|(_, primary)| Arc::as_ptr(primary)).collect()
        };
        !serves(self).is_subset(&serves(later))
    }

    /// Whether there are slots that no primary serves.
    pub(in super::super) fn has_gaps(&self) -> bool {
        self.owners.contains(&NO_PRIMARY)
    }

    /// A number that is, as text, a hash tag for one of the slots of a primary. `None` if the primary serves none.
    pub(in super::super) fn tag_for(&self, primary: &Primary) -> Option<u32> {
        let number = self.primaries.iter().position(|known| std::ptr::eq(Arc::as_ptr(known), primary))?;
        let number = u16::try_from(number).ok()?;
        if !self.owners.contains(&number) {
            return None;
        }
        // A number hits a given slot with a probability of one in 16384, so this many numbers miss none.
        (0..20 * SLOTS as u32).find(|tag| {
            let slot = Slot::of_key(tag.to_string().as_bytes());
            self.owners.get(slot.index()) == Some(&number)
        })
    }

    /// The map for these ranges, if it differs. Primaries that were known are kept.
    pub(super) fn with_ranges(&self, ranges: &[Range]) -> Option<Self> {
        let mut map = Self::default();
        for (slots, node) in ranges {
            let number = map.number(node, &self.primaries);
            if let Some(owners) = map.owners.get_mut(slots.clone()) {
                owners.fill(number);
            }
        }
        (!map.is_same(self)).then_some(map)
    }

    /// The map with one slot at this node, if it differs.
    pub(super) fn with_slot(&self, slot: Slot, node: &Node) -> Option<Self> {
        if self.owner(slot).and_then(|owner| self.primaries[owner].node()) == Some(node) {
            return None;
        }
        let mut map = self.clone();
        let number = map.number(node, &self.primaries);
        map.owners[slot.index()] = number;
        Some(map)
    }

    fn number(&mut self, node: &Node, known: &[Arc<Primary>]) -> u16 {
        let is_here = |primary: &Arc<Primary>| primary.node() == Some(node);
        let number = self.primaries.iter().position(is_here).unwrap_or_else(|| {
            let primary = known.iter().find(|primary| is_here(primary)).cloned();
            self.primaries.push(primary.unwrap_or_else(|| Arc::new(Primary::new(Some(node.clone())))));
            self.primaries.len() - 1
        });
        // There are never more primaries than slots.
        u16::try_from(number).unwrap_or(NO_PRIMARY)
    }

    fn is_same(&self, other: &Self) -> bool {
        let node = |map: &Self, slot: usize| {
            let owner = map.owners.get(slot).copied().map(usize::from)?;
            map.primaries.get(owner)?.node().cloned()
        };
        // The order of the primaries may differ, but rarely does.
        let same_numbers = self.owners == other.owners
            && self.primaries.len() == other.primaries.len()
            && self.primaries.iter().zip(&other.primaries).all(|(a, b)| a.node() == b.node());
        same_numbers || (0..SLOTS).all(|slot| node(self, slot) == node(other, slot))
    }
}

/// Reads the answer to `CLUSTER SLOTS`. `None` if it contains no slots.
pub(in super::super) fn read(answer: &Value, asked: &Node) -> Option<Vec<Range>> {
    let Value::Array(ranges) = answer else { return None };
    let ranges: Vec<_> = ranges.iter().filter_map(|range| read_range(range, asked)).collect();
    (!ranges.is_empty()).then_some(ranges)
}

/// Reads the first slot, the last slot and the primary: its preferred host, its port, its id and more. Replicas follow.
fn read_range(range: &Value, asked: &Node) -> Option<Range> {
    let Value::Array(parts) = range else { return None };
    let [Value::Int(first), Value::Int(last), primary, ..] = &parts[..] else { return None };
    let slot = |number: &i64| u64::try_from(*number).ok().and_then(Slot::new).map(Slot::index);
    Some((slot(first)?..=slot(last)?, read_node(primary, asked)?))
}

/// Reads the replicas in the answer to `CLUSTER SLOTS`.
pub(in super::super) fn replicas(answer: &Value, asked: &Node) -> Vec<Node> {
    let Value::Array(ranges) = answer else { return Vec::new() };
    let nodes = ranges.iter().filter_map(|range| match range {
        Value::Array(parts) => parts.get(3..),
        _ => None,
    });
    let mut nodes: Vec<_> = nodes.flatten().filter_map(|node| read_node(node, asked)).collect();
    nodes.sort_unstable_by(|a, b| (&a.host, a.port).cmp(&(&b.host, b.port)));
    nodes.dedup();
    nodes
}

/// Reads a node: its preferred host, its port, its id and more.
fn read_node(node: &Value, asked: &Node) -> Option<Node> {
    let Value::Array(parts) = node else { return None };
    let [host, Value::Int(port), ..] = &parts[..] else { return None };
    let host = match host {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?,
        Value::SimpleString(text) => text,
        // The node does not know its host, which is the one that was asked.
        _ => "",
    };
    Some(Node::beside(asked, host, u16::try_from(*port).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(port: u16) -> Node {
        Node { host: "h".into(), port }
    }

    fn slot(number: u64) -> Slot {
        Slot::new(number).unwrap()
    }

    fn owner(map: &Map, number: u64) -> Option<&Node> {
        map.owner(slot(number)).and_then(|owner| map.primaries()[owner].node())
    }

    fn two() -> Map {
        Map::default().with_ranges(&[(0..=99, node(1)), (200..=16383, node(2))]).unwrap()
    }

    #[test]
    fn a_range_belongs_to_its_primary_and_a_gap_to_none() {
        let map = two();
        assert_eq!(owner(&map, 99), Some(&node(1)));
        assert_eq!(owner(&map, 100), None);
        assert_eq!(owner(&map, 16383), Some(&node(2)));
    }

    #[test]
    fn known_primaries_are_kept_and_equal_ranges_change_nothing() {
        let map = two();
        assert!(map.with_ranges(&[(200..=16383, node(2)), (0..=99, node(1))]).is_none(), "in another order");
        let later = map.with_ranges(&[(0..=199, node(3)), (200..=16383, node(2))]).unwrap();
        let of = |map: &Map| {
            map.primaries().iter().find(|primary| primary.node() == Some(&node(2))).cloned().unwrap()
        };
        assert!(Arc::ptr_eq(&of(&map), &of(&later)));
        assert_eq!(later.primaries().len(), 2);
    }

    #[test]
    fn a_map_is_shown_by_how_many_slots_each_primary_serves() {
        assert_eq!(format!("{:?}", two()), r#"{"h:1": 100, "h:2": 16184}"#);
    }

    #[test]
    fn one_slot_can_move_even_to_an_unknown_node() {
        let map = two();
        assert!(map.with_slot(slot(5), &node(1)).is_none(), "it is there already");
        let map = map.with_slot(slot(5), &node(2)).unwrap().with_slot(slot(6), &node(9)).unwrap();
        assert_eq!([4, 5, 6].map(|slot| owner(&map, slot).unwrap().port), [1, 2, 9]);
    }

    #[test]
    fn a_primary_is_lost_when_it_serves_no_slot_any_more() {
        let map = two();
        assert!(!Map::default().has_lost_one_in(&map), "there was none");
        let moved = map.with_slot(slot(5), &node(2)).unwrap().with_slot(slot(6), &node(3)).unwrap();
        assert!(!map.has_lost_one_in(&moved), "slots move");
        let replaced = map.with_ranges(&[(0..=99, node(3)), (200..=16383, node(2))]).unwrap();
        assert!(map.has_lost_one_in(&replaced));
        let emptied =
            (0..100).fold(map.clone(), |map, number| map.with_slot(slot(number), &node(3)).unwrap());
        assert!(map.has_lost_one_in(&emptied));
        let later = emptied.with_ranges(&[(0..=199, node(3)), (200..=16383, node(2))]).unwrap();
        assert!(!emptied.has_lost_one_in(&later), "it was lost before");
    }

    #[test]
    fn a_tag_hashes_to_a_slot_of_the_primary() {
        let map = two().with_slot(slot(150), &node(9)).unwrap();
        for (number, primary) in map.primaries().iter().enumerate() {
            let tag = map.tag_for(primary).unwrap();
            assert_eq!(map.owner(Slot::of_key(format!("x{{{tag}}}").as_bytes())), Some(number));
        }
        assert_eq!(map.tag_for(&Primary::new(Some(node(1)))), None, "not of this map");
    }

    #[test]
    fn the_answer_to_cluster_slots_is_read() {
        let int = Value::Int;
        let text = |text: &str| Value::BulkString(text.into());
        let range = |first, last, host: Value, port| {
            let primary = Value::Array(vec![host, int(port), text("id"), Value::Array(Vec::new())]);
            Value::Array(vec![int(first), int(last), primary.clone(), primary])
        };
        let answer = Value::Array(vec![
            range(0, 5, text("10.0.0.1"), 7000),
            range(6, 6, text(""), 7001),
            range(7, 8, Value::Nil, 7002),
            range(9, 9, text("?"), 7003),
            range(10, 16384, text("h"), 1),
            range(10, 11, text("h"), 70000),
            Value::Nil,
        ]);
        let asked = Node { host: "asked".into(), port: 1 };
        let shown: Vec<_> =
            read(&answer, &asked).unwrap().iter().map(|(slots, node)| format!("{slots:?} {node}")).collect();
        assert_eq!(
            shown,
            ["0..=5 10.0.0.1:7000", "6..=6 asked:7001", "7..=8 asked:7002", "9..=9 asked:7003"]
        );
        let port = |node: &Node| node.port;
        assert_eq!(
            replicas(&answer, &asked).iter().map(port).collect::<Vec<_>>(),
            [7000, 7001, 7002, 7003, 1]
        );
        assert_eq!(read(&Value::Array(Vec::new()), &asked), None);
        assert_eq!(read(&Value::Okay, &asked), None);
    }
}
