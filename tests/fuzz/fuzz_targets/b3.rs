//! Looks for bytes that `oracles::b3` does not hold for.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oracles::b3(bytes));
