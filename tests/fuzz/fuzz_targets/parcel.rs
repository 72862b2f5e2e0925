//! Looks for bytes that `oracles::parcel` does not hold for.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oracles::parcel(bytes));
