//! Heads of HTTP requests: the quick way and the long way must not read them differently.

/// One case.
pub fn run(input: &[u8]) {
    let Some((&step, input)) = input.split_first() else { return };
    cloakroom::net::http::compare_readings(input, usize::from(step).max(1));
}
