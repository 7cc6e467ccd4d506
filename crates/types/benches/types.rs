//! What each notification and each register costs in this crate: tokens and identifiers.
//!
//! Allocations are counted too: a line without them allocates nothing.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has to stop")]

use beckon_types::{
    channel_id::ChannelId,
    key_ring::{KEY_LEN, KeyRing},
    token::Endpoint,
    uaid::Uaid,
    uuid_text::{self, Spelling},
};
use divan::{AllocProfiler, Bencher, black_box};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const ENDPOINT: Endpoint = Endpoint::SimplePush { uaid: Uaid([7; 16]), channel: ChannelId([9; 16]) };
const ID: [u8; 16] = *b"\x0d\x9f\x7b\x52\x3c\x41\x4e\x8a\x9a\x57\x51\xe0\xc2\xb7\xaa\x10";
const UPPER: Spelling = Spelling { hyphens: true, upper: u32::MAX };

fn main() {
    divan::main();
}

/// A ring of so many keys: the first is 1, the last `count`.
fn ring(count: u8) -> KeyRing {
    let keys: Vec<String> = (1..=count).map(|byte| KeyRing::key_text(&[byte; KEY_LEN])).collect();
    KeyRing::parse(&keys.join(",")).unwrap()
}

/// A token that the last key of [`ring`] made.
fn token_of_key(key: u8) -> String {
    let ring = KeyRing::parse(&KeyRing::key_text(&[key; KEY_LEN])).unwrap();
    ring.seal(ring.newest(), ENDPOINT)
}

/// A register.
#[divan::bench]
fn token_seal(bencher: Bencher<'_, '_>) {
    let ring = ring(1);
    bencher.bench(|| black_box(&ring).seal(ring.newest(), black_box(ENDPOINT)));
}

/// A notification; with several keys the last one made the token.
#[divan::bench(args = [1, 4])]
fn token_open(bencher: Bencher<'_, '_>, keys: u8) {
    let (ring, token) = (ring(keys), token_of_key(keys));
    assert_eq!(ring.open(&token), Ok(ENDPOINT));
    bencher.bench(|| black_box(&ring).open(black_box(&token)));
}

/// A token of the right length that no key made.
#[divan::bench(args = [1, 4])]
fn token_refuse(bencher: Bencher<'_, '_>, keys: u8) {
    let (ring, token) = (ring(keys), token_of_key(99));
    assert!(ring.open(&token).is_err());
    bencher.bench(|| black_box(&ring).open(black_box(&token)));
}

/// Text that is no token at all, as scanners send it.
#[divan::bench]
fn token_refuse_garbage(bencher: Bencher<'_, '_>) {
    let ring = ring(4);
    bencher.bench(|| black_box(&ring).open(black_box("wp-login.php")));
}

#[divan::bench(args = ["0d9f7b523c414e8a9a5751e0c2b7aa10", "0d9f7b52-3c41-4e8a-9a57-51e0c2b7aa10"])]
fn uuid_parse(bencher: Bencher<'_, '_>, text: &str) {
    assert_eq!(uuid_text::parse(text).unwrap().0, ID);
    bencher.bench(|| uuid_text::parse(black_box(text)));
}

/// Into a buffer that has room, as messages are written.
#[divan::bench(args = [Spelling::PLAIN, Spelling::HYPHENATED, UPPER])]
fn uuid_write(bencher: Bencher<'_, '_>, spelling: Spelling) {
    let mut out = String::with_capacity(36);
    bencher.bench_local(|| {
        out.clear();
        uuid_text::write(black_box(&ID), black_box(spelling), &mut out);
        black_box(&out);
    });
}
