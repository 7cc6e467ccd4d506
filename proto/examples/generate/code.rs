//! Generates the Rust code of the contract from its `.proto` files, without `protoc`.

use std::{fs, path::Path};

/// The file with the generated code, relative to this crate's folder.
pub(crate) const COMMITTED: &str = "src/push_v1.rs";

/// The contents of [`COMMITTED`].
pub(crate) fn generated() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let files = protox::compile(["push/v1/admin.proto", "push/v1/delivery.proto"], [&root])
        .expect("the contract compiles");
    let out = tempfile::tempdir().expect("a temporary folder");
    tonic_prost_build::configure()
        .out_dir(out.path())
        // Bytes fields share the memory of the received frame, so reading them does not copy.
        .bytes(".")
        // The nodes open connections themselves, so that both ends set the same limits (`beckon_proto::transport`).
        .build_transport(false)
        .compile_fds(files)
        .expect("code is generated");
    let code = fs::read_to_string(out.path().join("push.v1.rs")).expect("one file for each package");
    format!("// Made by `cargo run -p beckon-proto --example generate`.\n{code}")
}
