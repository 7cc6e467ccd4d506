//! The items of PROTOCOL.md section 10.

/// The document.
const PROTOCOL: &str = include_str!("../../../docs/PROTOCOL.md");

/// What a server has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Its name: `SP-27`.
    pub name: &'static str,
    /// The requirement, as the document words it.
    pub requirement: &'static str,
}

/// Items that cannot be checked with a server's addresses alone, and what they need.
const NEEDS: &[(&str, &str)] = &[
    ("SP-2", "the setting allowed_origins"),
    ("SP-3", "max_connections of a few sockets"),
    ("SP-18", "the setting bare_hello=reject"),
    ("SP-30", "a node above redirect_threshold"),
    ("SP-37", "max_channels_sp of a few channels"),
    ("SP-51", "a restart"),
    ("SP-52", "an operator who blocks a client"),
    ("WP-7", "a storage failure"),
    ("WP-9", "an operator who sets a broadcast"),
    ("WP-10", "an operator who sets a broadcast"),
    ("WP-11", "an operator who sets a broadcast"),
    ("WP-41", "an operator who blocks a client"),
    ("HTTP-12", "a storage failure"),
    ("HTTP-24", "a client that the store has lost"),
    ("HTTP-39", "a storage failure"),
    ("HTTP-40", "the admin listener"),
];

/// All items, in the order of the document.
pub fn items() -> Vec<Item> {
    let section = PROTOCOL.split_once("\n## 10. ").map_or("", |(_, section)| section);
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("* **")?.split_once("** "));
    rows.map(|(name, requirement)| Item { name, requirement }).collect()
}

/// Whether a choice is for this item: `SP-27` for that one, `WP-` for all of Web Push.
pub fn is_chosen(item: &str, choice: &str) -> bool {
    if choice.ends_with('-') { item.starts_with(choice) } else { item == choice }
}

/// What is needed to check this item besides the server's addresses; `None`: nothing.
pub fn needs(item: &str) -> Option<&'static str> {
    NEEDS.iter().find(|(name, _)| *name == item).map(|(_, need)| *need)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_item_has_a_check_or_a_reason_and_not_both() {
        let checked: BTreeSet<String> = crate::checks().iter().map(crate::Check::item).collect();
        let items = items();
        assert!(items.len() > 100, "{}", items.len());
        for Item { name, requirement } in &items {
            assert!(requirement.ends_with('.'), "{name}: {requirement}");
            assert_ne!(checked.contains(*name), needs(name).is_some(), "{name}");
        }
        for name in checked.iter().map(String::as_str).chain(NEEDS.iter().map(|(name, _)| *name)) {
            assert!(items.iter().any(|item| item.name == name), "{name} is not an item");
        }
    }
}
