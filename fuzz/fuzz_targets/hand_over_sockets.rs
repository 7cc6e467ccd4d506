//! See `fuzzing` in the crate of the parser.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| beckon_connection_node::fuzzing::hand_over_sockets(data));
