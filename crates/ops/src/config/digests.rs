//! Which settings differ between two readings, without keeping their values, which may be secrets.

use super::{Field, Part, Source};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    hash::{BuildHasher as _, RandomState},
};

/// A hash of each setting that is given, and of the contents of the file that it names.
#[derive(Debug, Clone)]
pub struct Digests {
    hasher: RandomState,
    given: BTreeMap<&'static str, Digest>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Digest {
    text: u64,
    contents: u64,
}

impl Digests {
    /// Reads the files that these settings name.
    pub fn of(source: &Source, parts: &[Part]) -> Self {
        Self { hasher: RandomState::new(), given: BTreeMap::new() }.again(source, parts)
    }

    /// Those of another reading, which can be compared with these.
    pub(crate) fn again(&self, source: &Source, parts: &[Part]) -> Self {
        let digest = |field: &Field| {
            let text = source.text(field.name)?;
            let paths = text.split(',').map(str::trim).filter(|_| field.is_file());
            let contents: Vec<_> = paths.map(|path| fs::read(path).ok()).collect();
            let digest =
                Digest { text: self.hasher.hash_one(text), contents: self.hasher.hash_one(contents) };
            Some((field.name, digest))
        };
        let given = parts.iter().flat_map(|part| part.fields).filter_map(digest).collect();
        Self { hasher: self.hasher.clone(), given }
    }

    /// The settings that differ, sorted.
    pub(crate) fn differing(&self, new: &Self) -> BTreeSet<&'static str> {
        let all = self.given.keys().chain(new.given.keys()).copied();
        all.filter(|name| self.given.get(name) != new.given.get(name)).collect()
    }

    /// Whether a setting names the same file.
    pub(crate) fn names_same_file(&self, new: &Self, name: &str) -> bool {
        let text = |digests: &Self| digests.given.get(name).map(|digest| digest.text);
        text(self) == text(new)
    }

    /// Takes the digests of these settings.
    pub(crate) fn keep(&mut self, new: &Self, names: &[&'static str]) {
        for name in names {
            match new.given.get(name) {
                Some(digest) => self.given.insert(name, *digest),
                None => self.given.remove(name),
            };
        }
    }
}
