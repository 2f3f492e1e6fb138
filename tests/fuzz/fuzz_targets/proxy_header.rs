//! See `tests/src/targets/proxy_header.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tests::targets::proxy_header::run(data);
});
