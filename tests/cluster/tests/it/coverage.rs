//! No item of the checklist is left out.

use std::collections::{BTreeMap, BTreeSet};

/// The document whose section 10 is the checklist.
const PROTOCOL: &str = include_str!("../../../../docs/PROTOCOL.md");

/// The document that says which test covers what.
const DOCUMENT: &str = include_str!("../../../../docs/protocol-coverage.md");

fn tests() -> BTreeSet<&'static str> {
    let files = [
        crate::checks::NAMES,
        crate::clients::NAMES,
        crate::http_endpoint::NAMES,
        crate::http_health::NAMES,
        crate::http_vapid::NAMES,
        crate::http_webpush::NAMES,
        crate::message_faults::NAMES,
        crate::revoking::NAMES,
        crate::settings::NAMES,
        crate::sp_delivery::NAMES,
        crate::sp_hello::NAMES,
        crate::sp_register::NAMES,
        crate::sp_socket::NAMES,
        crate::strangers::NAMES,
        crate::tls::NAMES,
        crate::wp_ack::NAMES,
        crate::wp_backlog::NAMES,
        crate::wp_broadcast::NAMES,
        crate::wp_hello::NAMES,
        crate::wp_register::NAMES,
        crate::wp_socket::NAMES,
    ];
    files.into_iter().flatten().copied().collect()
}

/// `sp_27_…` is a test of SP-27.
fn item_of(test: &str) -> Option<String> {
    let mut words = test.split('_');
    let (prefix, number) = (words.next()?, words.next()?);
    number.parse::<u32>().ok().map(|number| format!("{}-{number}", prefix.to_uppercase()))
}

/// The items of the checklist, each of which begins a line: `* **SP-27** What has to hold.`
fn items() -> Vec<&'static str> {
    let (_, section) = PROTOCOL.split_once("\n## 10. ").expect("the checklist");
    let (checklist, _) = section.split_once("\n## ").unwrap_or((section, ""));
    checklist.lines().filter_map(|line| Some(line.strip_prefix("* **")?.split_once("**")?.0)).collect()
}

/// The rows `| SP-27 | what covers it |` of the document.
fn rows() -> BTreeMap<&'static str, &'static str> {
    let cells = |line: &'static str| {
        let mut cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
        Some((cells.next()?, cells.next()?))
            .filter(|(item, _)| item.contains(|letter: char| letter.is_ascii_digit()))
    };
    DOCUMENT.lines().filter_map(cells).collect()
}

#[test]
fn every_item_has_a_row_that_names_its_tests_or_a_reason() {
    let rows = rows();
    let tests = tests();
    for item in items() {
        let covered = rows.get(item).unwrap_or_else(|| panic!("{item} is not in the document"));
        let own: Vec<_> = tests.iter().filter(|test| item_of(test).as_deref() == Some(item)).collect();
        if own.is_empty() {
            assert!(covered.starts_with("not tested: "), "{item} has neither a test nor a reason: {covered}");
        }
        for test in own {
            assert!(covered.contains(&format!("`{test}`")), "the row of {item} does not name {test}");
        }
    }
}

/// Neither a row nor a test is about something that is not in the checklist, nor is an item there twice.
#[test]
fn every_row_and_every_test_is_of_an_item() {
    let items = items();
    let known: BTreeSet<&str> = items.iter().copied().collect();
    assert_eq!(known.len(), items.len(), "an item is there twice");
    for prefix in ["SP-", "WP-", "HTTP-"] {
        assert!(known.iter().any(|item| item.starts_with(prefix)), "no item {prefix}: {known:?}");
    }
    for item in rows().keys() {
        assert!(known.contains(item), "the row {item} is of no item");
    }
    for test in tests() {
        let item = item_of(test);
        assert!(item.as_deref().is_none_or(|item| known.contains(item)), "{test} is of no item");
    }
}

#[test]
fn every_test_that_the_document_names_exists() {
    let tests = tests();
    for (item, covered) in rows() {
        for name in covered.split('`').skip(1).step_by(2) {
            assert!(tests.contains(name), "{item} names {name}, which does not exist");
        }
    }
}
