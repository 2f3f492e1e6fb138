//! See `tests/src/targets/foreign.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tests::targets::foreign::run(data);
});
