//! See `tidegate_fuzz`.
#![no_main]
libfuzzer_sys::fuzz_target!(init: tidegate_fuzz::seed("parse"), |input: &[u8]| tidegate_fuzz::parse(input));
