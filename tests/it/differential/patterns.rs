//! Patterns match what they match in Redis.

use super::{both, number_from};

/// Patterns of one run.
const ROUNDS: usize = 1_500;

const PIECES: &[&[u8]] = &[
    b"*",
    b"*",
    b"?",
    b"a",
    b"b",
    b"A",
    b"B",
    b"-",
    b"]",
    b"[",
    b"^",
    b"\\",
    b"[ab]",
    b"[^a]",
    b"[a-c]",
    b"[c-a]",
    b"[A-b]",
    b"[]a]",
    b"[^",
    b"[\\]]",
    b"[a\\-c]",
    b"[\xc0-\x7f]",
    b"\xe9",
    b"\\*",
    b"[--b]",
    b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    b"???????????????????????????????????????????????????????????????????",
];

const TEXTS: &[&[u8]] = &[
    b"",
    b"a",
    b"b",
    b"A",
    b"ab",
    b"ba",
    b"aB",
    b"-",
    b"]",
    b"[",
    b"^",
    b"\\",
    b"*",
    b"a-b",
    b"[ab]",
    b"\xe9",
    b"a\xe9b",
    b"abcabcabc",
    b"aaaaaaaaab",
    b"]a[",
    b"a]",
    b"^a",
    b"\\a",
    b"AbAb",
];

/// Longer ones are all beginnings and near misses.
fn texts(roll: &mut impl FnMut(usize) -> usize) -> Vec<Vec<u8>> {
    let mut texts: Vec<Vec<u8>> = TEXTS.iter().map(|text| text.to_vec()).collect();
    for _ in 0..40 {
        let len = roll(200);
        texts.push((0..len).map(|_| b"aaaaaaabAB-]"[roll(12)]).collect());
    }
    // So long that what is tried in vain adds up.
    for end in [&b"b"[..], b"ba", b"a"] {
        texts.push([&b"a".repeat(20_000), end].concat());
    }
    texts
}

#[test]
fn patterns_match_what_they_match_in_redis() {
    let seed = number_from("DIFFERENTIAL_SEED").unwrap_or(7);
    let (_redis, _server, mut pair) = both("2", seed);
    let mut dice = seed;
    let mut roll = |sides: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) as usize % sides
    };
    for text in texts(&mut roll) {
        pair.ask(&[b"SET".to_vec(), text, b"v".to_vec()]);
    }
    for _ in 0..ROUNDS {
        let pieces = roll(7);
        let pattern = (0..pieces).map(|_| PIECES[roll(PIECES.len())]).collect::<Vec<_>>().concat();
        pair.ask(&[b"KEYS".to_vec(), pattern]);
    }
    for slow in [
        b"*".repeat(3).to_vec(),
        [b"*", &b"?".repeat(300)[..], b"b*"].concat(),
        [b"*", &b"[a-c]".repeat(90)[..], b"ba*"].concat(),
    ] {
        pair.ask(&[b"KEYS".to_vec(), slow]);
    }
    assert!(pair.count == 0, "{}", pair.differences);
}
