//! Which files of a crate use which others, from their `mod`, `use` and paths.
//!
//! A path is followed to the file that defines what it names: through nested groups, `crate`, `self`, `super`, child
//! modules, re-exports (`pub use`) and macros that are exported to the root. A file therefore uses the root only if it
//! uses something that the root itself defines. Declaring a module is not a use of it. Unit tests are left out: they may
//! use everything.

use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use syn::{
    Attribute, Ident, Item, ItemMacro, ItemMod, ItemUse, UseTree,
    visit::{self, Visit},
};

/// A module by its path from the root of the crate, which is the empty one.
type Module = Vec<String>;

/// How often a name is passed on at most before it is used.
const REEXPORTS_MAX: usize = 8;

/// What a crate consists of.
#[derive(Debug, Default)]
pub(crate) struct Crate {
    /// The file that holds each module. Modules with braces are in the file around them.
    files: BTreeMap<Module, String>,
    /// The paths that each module mentions, with the keywords in front.
    mentions: Vec<(Module, Vec<String>)>,
    /// What each module defines itself.
    defined: BTreeSet<(Module, String)>,
    /// Names that a module passes on, with the paths they stand for. The name `*` stands for all of a module.
    exports: BTreeMap<(Module, String), Vec<Vec<String>>>,
}

impl Crate {
    /// Reads the crate whose root is this file; `read` gives a file's text, or nothing if there is none.
    pub(crate) fn read(root: &str, read: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut own = Self::default();
        own.add_file(Vec::new(), root, read);
        own
    }

    fn add_file(&mut self, module: Module, path: &str, read: &dyn Fn(&str) -> Option<String>) {
        let text = read(path).unwrap_or_else(|| panic!("{path} is declared and does not exist"));
        let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        self.files.insert(module.clone(), path.to_owned());
        // The folder of a file's child modules.
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = match name {
            "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
            name => format!("{folder}/{}", name.trim_end_matches(".rs")),
        };
        let mut visitor = Visitor { own: self, module, folder, path, children: Vec::new() };
        visitor.visit_file(&file);
        for (module, folder, name) in std::mem::take(&mut visitor.children) {
            let candidates = [format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")];
            let path = candidates.iter().find(|path| read(path).is_some());
            let path = path.unwrap_or_else(|| panic!("{module:?} is in none of {candidates:?}"));
            self.add_file(module, path, read);
        }
    }

    /// Every pair of a file and another file that it uses.
    pub(crate) fn uses(&self) -> BTreeSet<(String, String)> {
        let mut uses = BTreeSet::new();
        for (module, path) in &self.mentions {
            let used = self.resolve(module, path, REEXPORTS_MAX);
            if let Some(used) = used.filter(|used| **used != self.files[module]) {
                uses.insert((self.files[module].clone(), used.clone()));
            }
        }
        uses
    }

    /// The module that a path leads to, and what is left of the path; `None` if that is outside of the crate.
    fn walk<'p>(&self, from: &Module, path: &'p [String]) -> Option<(Module, &'p [String])> {
        let mut module = from.clone();
        let mut rest = path;
        while let Some((first, others)) = rest.split_first() {
            match first.as_str() {
                "crate" => module = Vec::new(),
                "super" => _ = module.pop(),
                "self" => {}
                name => {
                    let child = [module.as_slice(), &[name.to_owned()]].concat();
                    if !self.files.contains_key(&child) {
                        break;
                    }
                    module = child;
                }
            }
            rest = others;
        }
        // A bare name is that of another crate, or was imported by a `use`, which is a mention of its own.
        (rest.len() < path.len()).then_some((module, rest))
    }

    /// The file that defines what a path names; `None` if that is outside of the crate.
    fn resolve(&self, from: &Module, path: &[String], depth: usize) -> Option<&String> {
        let (module, rest) = self.walk(from, path)?;
        let defining = rest.split_first().and_then(|(name, rest)| self.find(&module, name, rest, depth));
        defining.or_else(|| self.files.get(&module))
    }

    /// The file that defines a name of a module, itself or by passing it on.
    fn find(&self, module: &Module, name: &str, rest: &[String], depth: usize) -> Option<&String> {
        if self.defined.contains(&(module.clone(), name.to_owned())) {
            return self.files.get(module);
        }
        // Two modules may pass on all of each other.
        let depth = depth.checked_sub(1)?;
        let exports = |name: &str| self.exports.get(&(module.clone(), name.to_owned())).into_iter().flatten();
        let by_name =
            exports(name).find_map(|target| self.resolve(module, &[target.as_slice(), rest].concat(), depth));
        by_name.or_else(|| {
            exports("*").find_map(|target| {
                let (module, _) = self.walk(module, target).filter(|(_, rest)| rest.is_empty())?;
                self.find(&module, name, rest, depth)
            })
        })
    }
}

struct Visitor<'a> {
    own: &'a mut Crate,
    module: Module,
    folder: String,
    path: &'a str,
    /// Modules in files of their own, with the folder and the name of the file.
    children: Vec<(Module, String, String)>,
}

impl Visitor<'_> {
    fn mention(&mut self, path: Vec<String>) {
        self.own.mentions.push((self.module.clone(), path));
    }

    fn use_tree(&mut self, tree: &UseTree, before: &[String], is_passed_on: bool) {
        let with = |name: &Ident| [before, &[name.to_string()]].concat();
        let (name, target) = match tree {
            UseTree::Path(path) => return self.use_tree(&path.tree, &with(&path.ident), is_passed_on),
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.use_tree(tree, before, is_passed_on));
            }
            // `use a::{self}` is `use a`.
            UseTree::Name(name) if name.ident == "self" => {
                (before.last().cloned().unwrap_or_default(), before.to_vec())
            }
            UseTree::Name(name) => (name.ident.to_string(), with(&name.ident)),
            UseTree::Rename(rename) => (rename.rename.to_string(), with(&rename.ident)),
            UseTree::Glob(_) => ("*".to_owned(), before.to_vec()),
        };
        // What the root passes on is its table of contents, not something that it uses.
        if !(is_passed_on && self.module.is_empty()) {
            self.mention(target.clone());
        }
        if is_passed_on {
            self.own.exports.entry((self.module.clone(), name)).or_default().push(target);
        }
    }

    /// Paths among the tokens of a macro, which nothing parses: they begin with `crate` or `super`.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(word) => {
                    let is_start = word == "crate" || word == "super";
                    if colons != 2 || path.is_empty() {
                        self.mention_tokens(&mut path);
                    }
                    if is_start || !path.is_empty() {
                        path.push(word.to_string());
                    }
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    // The members of `crate::a::{b, c}` are somewhere below `crate::a`.
                    self.mention_tokens(&mut path);
                    colons = 0;
                    self.tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.mention_tokens(&mut path);
                    colons = 0;
                }
            }
        }
        self.mention_tokens(&mut path);
    }

    fn mention_tokens(&mut self, path: &mut Vec<String>) {
        if path.len() > 1 {
            self.mention(path.clone());
        }
        path.clear();
    }
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let (attributes, name) = attributes_and_name(item);
        if is_for_tests(attributes) {
            return;
        }
        if let Some(name) = name {
            self.own.defined.insert((self.module.clone(), name.to_string()));
        }
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let name = item.ident.to_string();
        let module: Module = [self.module.clone(), vec![name.clone()]].concat();
        let Some((_, items)) = &item.content else {
            self.children.push((module, self.folder.clone(), name));
            return;
        };
        self.own.files.insert(module.clone(), self.path.to_owned());
        let outer = std::mem::replace(&mut self.module, module);
        let folder = format!("{}/{name}", self.folder);
        let outer_folder = std::mem::replace(&mut self.folder, folder);
        items.iter().for_each(|item| self.visit_item(item));
        (self.module, self.folder) = (outer, outer_folder);
    }

    /// The path in `pub(crate)` is no use of it.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if item.leading_colon.is_none() {
            let is_passed_on = !matches!(item.vis, syn::Visibility::Inherited);
            self.use_tree(&item.tree, &[], is_passed_on);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            self.mention(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        // Generic arguments are paths, too.
        visit::visit_path(self, path);
    }

    fn visit_item_macro(&mut self, item: &'ast ItemMacro) {
        let is_exported = item.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export"));
        if let Some(name) = item.ident.as_ref().filter(|_| is_exported) {
            let target = [&["crate".to_owned()][..], &self.module, &[name.to_string()]].concat();
            self.own.exports.entry((Vec::new(), name.to_string())).or_default().push(target);
        }
        visit::visit_item_macro(self, item);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }
}

/// Only built for tests: `#[cfg(test)]`.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
    })
}

/// An item's attributes, and the name that it defines.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum may grow; the others have neither that matters here"
)]
fn attributes_and_name(item: &Item) -> (&[Attribute], Option<&Ident>) {
    match item {
        Item::Const(item) => (&item.attrs, Some(&item.ident)),
        Item::Enum(item) => (&item.attrs, Some(&item.ident)),
        Item::Fn(item) => (&item.attrs, Some(&item.sig.ident)),
        Item::Static(item) => (&item.attrs, Some(&item.ident)),
        Item::Struct(item) => (&item.attrs, Some(&item.ident)),
        Item::Trait(item) => (&item.attrs, Some(&item.ident)),
        Item::Type(item) => (&item.attrs, Some(&item.ident)),
        Item::Union(item) => (&item.attrs, Some(&item.ident)),
        Item::Macro(item) => (&item.attrs, item.ident.as_ref()),
        Item::Impl(item) => (&item.attrs, None),
        Item::Mod(item) => (&item.attrs, None),
        Item::Use(item) => (&item.attrs, None),
        _ => (&[], None),
    }
}
