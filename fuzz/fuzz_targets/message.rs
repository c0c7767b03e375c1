#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| binpulse_fuzz::run("message", input));
