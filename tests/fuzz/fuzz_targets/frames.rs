//! See `tests/src/targets/frames.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tests::targets::frames::run(data);
});
