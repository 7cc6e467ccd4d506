//! What has to hold for the repository as a whole, so that nobody has to remember it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod circles;
mod crates;
mod documents;
mod haproxy;
mod imports;
mod packages;
mod reverse_proxies;
mod sources;
mod tree;
