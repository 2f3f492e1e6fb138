//! See `tests/src/targets/hello.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tests::targets::hello::run(data);
});
