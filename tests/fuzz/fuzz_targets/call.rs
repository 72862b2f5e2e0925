//! Looks for bytes that `oracles::call` does not hold for.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oracles::call(bytes));
