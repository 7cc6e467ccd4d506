//! Rules for the repository as a whole, so that people do not have to remember them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod blocks;
mod capacity;
mod circles;
mod crates;
mod defaults;
mod documents;
mod haproxy;
mod imports;
mod packages;
mod packaging;
mod reverse_proxies;
mod sources;
mod tree;
