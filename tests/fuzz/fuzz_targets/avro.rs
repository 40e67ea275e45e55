//! See `tidegate_fuzz`.
#![no_main]
libfuzzer_sys::fuzz_target!(init: tidegate_fuzz::seed("avro"), |input: &[u8]| tidegate_fuzz::decode("avro", input));
