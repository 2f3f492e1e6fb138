//! See `tests/src/targets/resume.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tests::targets::resume::run(data);
});
