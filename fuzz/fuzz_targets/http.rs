//! Heads of HTTP requests: the quick way and the long way must not read them differently.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&step, input)) = input.split_first() else { return };
    cloakroom::net::http::compare_readings(input, usize::from(step).max(1));
});
