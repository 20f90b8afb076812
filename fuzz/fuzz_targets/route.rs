#![no_main]

// Patterns, conflicts and the table beside a linear search.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| picloud_core::fuzzing::route(bytes));
