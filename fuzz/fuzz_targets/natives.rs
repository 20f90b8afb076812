#![no_main]

// Any function of the language with any arguments.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| picloud_core::fuzzing::natives(bytes));
