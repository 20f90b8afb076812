//! Any bytes, read as JSON on every way there is.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| picloud_core::fuzzing::json(bytes));
