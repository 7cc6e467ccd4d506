//! What each notification and each register costs in this crate: endpoints and identifiers.
//!
//! Allocations are counted too: a line without them allocates nothing.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has to stop")]

use beckon_types::{ChannelId, ClientId, Endpoint, KeyRing, Spelling, TOKEN_KEY_LEN};
use divan::{AllocProfiler, Bencher, black_box};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const ENDPOINT: Endpoint = Endpoint::SimplePush { client: ClientId([7; 16]), channel: ChannelId([9; 16]) };
const ID: [u8; 16] = *b"\x0d\x9f\x7b\x52\x3c\x41\x4e\x8a\x9a\x57\x51\xe0\xc2\xb7\xaa\x10";
const UPPER: Spelling = Spelling { hyphens: true, upper: u32::MAX };

fn main() {
    divan::main();
}

/// A ring of so many keys: the first is 1, the last `count`.
fn ring(count: u8) -> KeyRing {
    let keys: Vec<String> = (1..=count).map(|byte| KeyRing::key_text(&[byte; TOKEN_KEY_LEN])).collect();
    KeyRing::parse(&keys.join(",")).unwrap()
}

/// The path of an endpoint whose token was sealed with the last key of [`ring`].
fn path_of_key(key: u8) -> String {
    let ring = KeyRing::parse(&KeyRing::key_text(&[key; TOKEN_KEY_LEN])).unwrap();
    ENDPOINT.path(&ring, ring.newest())
}

/// A register.
#[divan::bench]
fn endpoint_path(bencher: Bencher<'_, '_>) {
    let ring = ring(1);
    bencher.bench(|| black_box(ENDPOINT).path(black_box(&ring), ring.newest()));
}

/// A notification; of several keys, the last one sealed the token.
#[divan::bench(args = [1, 4])]
fn endpoint_from_path(bencher: Bencher<'_, '_>, keys: u8) {
    let (ring, path) = (ring(keys), path_of_key(keys));
    assert_eq!(Endpoint::from_path(&ring, &path), Ok(ENDPOINT));
    bencher.bench(|| Endpoint::from_path(black_box(&ring), black_box(&path)));
}

/// A token of the right length that no key sealed.
#[divan::bench(args = [1, 4])]
fn unknown_from_path(bencher: Bencher<'_, '_>, keys: u8) {
    let (ring, path) = (ring(keys), path_of_key(99));
    assert!(Endpoint::from_path(&ring, &path).is_err());
    bencher.bench(|| Endpoint::from_path(black_box(&ring), black_box(&path)));
}

/// Text that is not a token at all, such as scanners send.
#[divan::bench]
fn garbage_from_path(bencher: Bencher<'_, '_>) {
    let ring = ring(4);
    bencher.bench(|| Endpoint::from_path(black_box(&ring), black_box("/update/wp-login.php")));
}

#[divan::bench(args = ["0d9f7b523c414e8a9a5751e0c2b7aa10", "0d9f7b52-3c41-4e8a-9a57-51e0c2b7aa10"])]
fn uuid_parse(bencher: Bencher<'_, '_>, text: &str) {
    assert_eq!(ChannelId::parse(text).unwrap().0, ChannelId(ID));
    bencher.bench(|| ChannelId::parse(black_box(text)));
}

/// Into a buffer that has room, as messages are written.
#[divan::bench(args = [Spelling::PLAIN, Spelling::HYPHENATED, UPPER])]
fn uuid_write(bencher: Bencher<'_, '_>, spelling: Spelling) {
    let mut out = String::with_capacity(36);
    bencher.bench_local(|| {
        out.clear();
        black_box(ChannelId(ID)).write(black_box(spelling), &mut out);
        black_box(&out);
    });
}
