//! See `tests/src/targets/stream.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tests::targets::stream::run(data);
});
