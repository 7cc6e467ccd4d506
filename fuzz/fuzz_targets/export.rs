//! See `standalone/src/transfer/fuzzing.rs`. A program has no library, so its files are included.
#![no_main]

#[path = "../../standalone/src/transfer/file.rs"]
mod file;
#[path = "../../standalone/src/transfer/fuzzing.rs"]
mod fuzzing;
#[path = "../../standalone/src/transfer/line.rs"]
mod line;
/// As in `standalone/src/transfer/order.rs`, which also reads the command line.
mod order {
    #[derive(Debug, Clone)]
    pub(super) struct Keys {
        pub(super) token_keys: beckon_types::KeyRing,
        pub(super) uaid_key: beckon_types::UaidKey,
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::export(data));
