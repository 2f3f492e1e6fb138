//! See `tests/src/targets/ticket.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tests::targets::ticket::run(data);
});
