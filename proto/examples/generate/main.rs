//! Rewrites `src/push_v1.rs` after a change to a file in `proto/push/v1`:
//! `cargo run -p beckon-proto --example generate`.

mod code;

use std::{fs, path::Path};

fn main() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(code::COMMITTED);
    fs::write(&path, code::generated()).expect("the generated code can be written");
}
