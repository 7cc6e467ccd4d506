//! See `fuzzing` in the crate of the parser.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| beckon_node::fuzzing::hand_over(data));
