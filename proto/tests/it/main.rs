//! The generated code is up to date.

#[path = "../../examples/generate/code.rs"]
mod code;

use std::{fs, path::Path};

#[test]
fn the_generated_code_matches_the_contract() {
    let committed = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(code::COMMITTED));
    let fresh = committed.expect("the generated code is committed") == code::generated();
    assert!(fresh, "{} is out of date: run `cargo run -p beckon-proto --example generate`", code::COMMITTED);
}
