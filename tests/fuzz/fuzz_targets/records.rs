//! See `tests/src/targets/records.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tests::targets::records::run(data);
});
