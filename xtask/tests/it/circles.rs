//! Files of a crate do not use each other in a circle: each can be read, tested and replaced with what is below it.

use crate::{
    imports::Crate,
    tree::{assert_none, files_ending, root},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

/// Files that use each other, each directly or through the others.
type Circle = BTreeSet<String>;

/// The largest sets of files in which each reaches all others, if there is more than one file in them.
fn circles(uses: &BTreeSet<(String, String)>) -> BTreeSet<Circle> {
    let mut used: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (user, of) in uses {
        used.entry(user).or_default().insert(of);
    }
    let reached = |start: &str| {
        let mut reached = BTreeSet::new();
        let mut waiting = vec![start];
        while let Some(file) = waiting.pop() {
            let next = used.get(file).into_iter().flatten().filter(|next| reached.insert(**next));
            waiting.extend(next.collect::<Vec<_>>());
        }
        reached
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> = used.keys().map(|file| (*file, reached(file))).collect();
    let returns = |from: &str, to: &str| reached.get(from).is_some_and(|reached| reached.contains(to));
    let circle_of = |file: &str| -> Circle {
        let others = reached[file].iter().filter(|other| returns(other, file));
        others.map(|other| (*other).to_owned()).collect()
    };
    used.keys().map(|file| circle_of(file)).filter(|circle| circle.len() > 1).collect()
}

/// Every file of every crate with the files of the same crate that it uses.
fn uses_of_the_workspace() -> BTreeSet<(String, String)> {
    let roots = files_ending("src/lib.rs").into_iter().chain(files_ending("src/main.rs"));
    let read = |path: &str| fs::read_to_string(root().join(path)).ok();
    roots.flat_map(|path| Crate::read(&path, &read).uses()).collect()
}

/// A circle for people: which of its files uses which.
fn describe(circle: &Circle, uses: &BTreeSet<(String, String)>) -> String {
    let inside = uses.iter().filter(|(user, used)| circle.contains(user) && circle.contains(used));
    let lines: Vec<String> = inside.map(|(user, used)| format!("{user} -> {used}")).collect();
    lines.join("\n  ") + "\n"
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let uses = uses_of_the_workspace();
    assert!(uses.len() > 300, "{}", uses.len());
    let found = circles(&uses);
    let found: Vec<String> = found.iter().map(|circle| describe(circle, &uses)).collect();
    assert_none("files that use each other in a circle", &found);
}

/// The uses among made-up files, by their names without `src/` and `.rs`.
fn uses_among(files: &[(&str, &str)]) -> Vec<String> {
    let read = |path: &str| {
        let name = path.strip_prefix("src/")?.strip_suffix(".rs")?;
        files.iter().find(|(own, _)| *own == name).map(|(_, text)| (*text).to_owned())
    };
    let short = |path: &str| path["src/".len()..path.len() - ".rs".len()].to_owned();
    let uses = Crate::read("src/lib.rs", &read).uses();
    uses.iter().map(|(user, used)| format!("{} -> {}", short(user), short(used))).collect()
}

#[test]
fn uses_are_found_in_every_form() {
    for (text, expected) in [
        ("use crate::b::B;", &["a -> b"][..]),
        ("use super::b::{self, c::{C, D as E}};", &["a -> b", "a -> b/c"]),
        ("fn f() { crate::b::c::g(); }", &["a -> b/c"]),
        ("fn f(x: Vec<crate::b::B>) {}", &["a -> b"]),
        ("use crate::b::*;", &["a -> b"]),
        ("fn f() { assert!(x == crate::b::c::D, \"{}\", y); }", &["a -> b/c"]),
        ("use crate::{b as x}; fn f() { x::g() }", &["a -> b"]),
        // What the root passes on is where it is defined.
        ("use crate::Passed;", &["a -> b/c"]),
        ("use crate::Starred;", &["a -> d"]),
        ("crate::exported!();", &["a -> d"]),
        // What the root defines is in the root.
        ("use crate::Own;", &["a -> lib"]),
        ("mod inner { use super::super::b::B; fn f() { super::g() } }", &["a -> b"]),
        // Not of this crate, or not of this file.
        ("use std::fmt; use b::B; fn f() { other::b::g() }", &[]),
        ("#[cfg(test)] mod tests { use crate::b::B; }", &[]),
        ("/// See [`crate::b`].\nfn f() {}", &[]),
    ] {
        let root = "mod a; mod b; mod d; pub use b::c::Passed; pub use d::*; pub struct Own;";
        let d = "#[macro_export] macro_rules! exported { () => {} }\npub struct Starred;";
        let files = [("lib", root), ("a", text), ("b", "pub mod c;"), ("b/c", ""), ("d", d)];
        assert_eq!(uses_among(&files), expected, "{text}");
    }
}

#[test]
fn a_circle_is_found() {
    let of = |pairs: &[(&str, &str)]| {
        circles(&pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect())
    };
    let circle = |files: &[&str]| files.iter().map(|file| (*file).to_owned()).collect::<Circle>();
    assert_eq!(of(&[("a", "b"), ("b", "c"), ("a", "c")]), BTreeSet::new());
    assert_eq!(of(&[("a", "b"), ("b", "a"), ("c", "a")]), BTreeSet::from([circle(&["a", "b"])]));
    assert_eq!(
        of(&[("a", "b"), ("b", "c"), ("c", "a"), ("d", "e"), ("e", "d"), ("a", "d")]),
        BTreeSet::from([circle(&["a", "b", "c"]), circle(&["d", "e"])])
    );
}
