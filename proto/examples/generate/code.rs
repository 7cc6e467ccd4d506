//! Generates the Rust code of the contract from its `.proto` files, without `protoc`.

use std::{fs, path::Path};

/// What the next version could add to the contract: behind these lines, these fields. The code has them with the feature
/// `next-format` only. A kind of notification is a field that the receiver does not know, whether it is in the `oneof` or not.
const NEXT: [(&str, &[&str]); 2] = [
    (
        "message Parcel {",
        &["Update next_update = 1001;", "Message next_message = 1002;", "bytes next_note = 1003;"],
    ),
    ("message Receipt {", &["uint64 next_number = 1004;"]),
];

/// The file with the generated code, relative to this crate's folder.
pub(crate) const COMMITTED: &str = "src/push_v1.rs";

/// The contracts, relative to their folder.
const CONTRACTS: [&str; 2] = ["push/v1/admin.proto", "push/v1/delivery.proto"];

/// Before a field of [`NEXT`].
const IN_NEXT: &str = "#[cfg(feature = \"next-format\")]";

/// The contents of [`COMMITTED`].
pub(crate) fn generated() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let out = tempfile::tempdir().expect("a temporary folder");
    for contract in CONTRACTS {
        let mut text = fs::read_to_string(root.join(contract)).expect("a contract is committed");
        for (line, fields) in NEXT {
            text = text.replace(line, &[&[line], fields].concat().join("\n"));
        }
        let copy = out.path().join(contract);
        fs::create_dir_all(copy.parent().expect("a folder")).expect("a folder");
        fs::write(copy, text).expect("a file");
    }
    let files = protox::compile(CONTRACTS, [out.path()]).expect("the contract compiles");
    tonic_prost_build::configure()
        .out_dir(out.path())
        // Bytes fields share the memory of the received frame, so reading them does not copy.
        .bytes(".")
        // Hardly any parcel has one.
        .boxed(".push.v1.Parcel.trace")
        .field_attribute("next_update", IN_NEXT)
        .field_attribute("next_message", IN_NEXT)
        .field_attribute("next_note", IN_NEXT)
        .field_attribute("next_number", IN_NEXT)
        // The nodes open connections themselves, so that both ends set the same limits (`beckon_proto::transport`).
        .build_transport(false)
        .compile_fds(files)
        .expect("code is generated");
    let code = fs::read_to_string(out.path().join("push.v1.rs")).expect("one file for each package");
    format!("// Made by `cargo run -p beckon-proto --example generate`.\n{code}")
}
