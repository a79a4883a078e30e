//! The parser of requests: what comes in pieces must read as what comes whole, and every request costs what has arrived.

use cloakroom::resp::{Limits, Parser};

/// Small limits, so that inputs of a few hundred bytes reach them.
const LIMITS: Limits = Limits { bulk: 64, inline: 64, words: 16, request: 256, authenticated: true };

/// Requests that are read of one input.
const REQUESTS_MAX: usize = 1000;

/// All requests of the input as their words, and the error that ended them. `step` is how many bytes come at a time.
fn read(input: &[u8], limits: &Limits, step: usize) -> (Vec<Vec<Vec<u8>>>, Option<String>) {
    let (mut parser, mut requests) = (Parser::new(), Vec::new());
    let (mut start, mut end) = (0, 0);
    while requests.len() < REQUESTS_MAX {
        match parser.parse(&input[start..end], limits) {
            Ok(Some(len)) => {
                assert!(len > 0 && len <= end - start, "a request of {len} bytes of {}", end - start);
                requests.push(parser.args(&input[start..end]).iter().map(<[u8]>::to_vec).collect());
                start += len;
            }
            Ok(None) if end == input.len() => break,
            Ok(None) => end = input.len().min(end + step),
            Err(error) => return (requests, Some(error.to_string())),
        }
        assert!(parser.heap() <= 64 * (end - start) + 8192, "{} bytes for {} that arrived", parser.heap(), end - start);
    }
    (requests, None)
}

/// One case.
pub fn run(input: &[u8]) {
    let Some((&first, input)) = input.split_first() else { return };
    let limits = match first & 3 {
        0 => Limits { authenticated: false, ..LIMITS },
        1 => Limits::default(),
        _ => LIMITS,
    };
    let whole = read(input, &limits, input.len().max(1));
    let pieces = read(input, &limits, usize::from(first >> 2).max(1));
    assert_eq!(whole, pieces, "in pieces of {}", usize::from(first >> 2).max(1));
}
