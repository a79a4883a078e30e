//! Cookies at random, read as cloakroom reads them and as the parsers of frameworks do: a token that somebody else reads is
//! one that is known here by its name, or nobody is asked.

use super::*;
use crate::session::cookie::Seen;

#[path = "../../../fuzz/src/parsers.rs"]
mod model;

use model::{is_taken_for, tokens_read};

use super::random::Dice;

const CASES: u64 = 20_000;

/// A token like NextAuth's, whose last letter has bits to spare, another, and the id of a row.
const TOKENS: [&str; 3] = [
    "eyJhbGciOiJkaXIifQ..AAECAwQFBgcICQoL.c2Vzc2lvbi1vZi1hbGljZQ.AAECAwQFBgcICQoLDA0ODw",
    "eyJhbGciOiJkaXIifQ.eyJuYW1lIjoiYm9iIn0.-_ECAwQFBgcICQoLDA0ODw",
    "0c9a4f60-5c3e-4f0e-8f0a-7a3f5f0c9a4f",
];

impl Dice {
    fn of<'a>(&mut self, choices: &[&'a [u8]]) -> &'a [u8] {
        choices[self.below(choices.len())]
    }

    /// Nothing, mostly.
    fn seldom<'a>(&mut self, choices: &[&'a [u8]]) -> &'a [u8] {
        if self.below(6) == 0 { self.of(choices) } else { b"" }
    }

    /// A token, its letters changed perhaps, or a part of one.
    fn value(&mut self) -> Vec<u8> {
        let mut value = TOKENS[self.below(TOKENS.len())].as_bytes().to_vec();
        match self.below(12) {
            0 => value = self.of(&[b"junk", b"", b"a%2Eb", b"%zz"]).to_vec(),
            1 => value.truncate(self.below(value.len())),
            2 => drop(value.drain(..self.below(value.len()))),
            3 => *value.last_mut().unwrap() ^= 1,
            4 => value
                .extend_from_slice(self.of(&[b"=", b"!", b"==", b"%3D", b"%21", b"%20", b"%C2%A0", b"\xa0", b"=A"])),
            5 => {
                let at = self.below(value.len());
                let letters =
                    self.of(&[b"!", b"%", b"%0A", b"%2E", b"+", b" ", b",", b"\"", b"\\", b"\xe9", b"\t", b"%00"]);
                value.splice(at..at, letters.iter().copied());
            }
            6 => {
                let at = self.below(value.len());
                let encoded = format!("%{:02x}", value[at]);
                value.splice(at..=at, encoded.bytes());
            }
            7 => value.iter_mut().for_each(|byte| match byte {
                b'-' => *byte = b'+',
                b'_' => *byte = b'/',
                _ => {}
            }),
            _ => {}
        }
        value
    }

    fn cookie(&mut self) -> Vec<u8> {
        const ODD: [&[u8]; 8] = [b" ", b"\t", b"\xa0", b"\x85", b"\"", b"\xc2\xa0", b"%20", b"\xef\xbb\xbf"];
        let mut cookie = self.seldom(&ODD).to_vec();
        cookie.extend_from_slice(match self.below(8) {
            0 => self.of(&[b"theme", b"next-auth.csrf-token", b"next-auth.session", b"next%2Dauth.session-token"]),
            _ => b"next-auth.session-token",
        });
        if self.below(3) == 0 {
            cookie.extend_from_slice(self.of(&[b".0", b".1", b".2", b".", b".x", b".0x1", b".+1", b"\xa0"]));
        }
        cookie.extend_from_slice(self.seldom(&ODD));
        if self.below(20) > 0 {
            cookie.push(b'=');
            cookie.extend_from_slice(self.seldom(&ODD));
            cookie.extend_from_slice(&self.value());
            cookie.extend_from_slice(self.seldom(&[b" ", b"\t", b"\xa0", b"\x85", b"\"", b"x"]));
        }
        cookie
    }

    /// One or two lines of a few cookies.
    fn header(&mut self) -> Vec<Vec<u8>> {
        let mut lines = vec![Vec::new()];
        for at in 0..1 + self.below(3) {
            if at > 0 {
                match self.of(&[b"; ", b";", b";  ", b"\n"]) {
                    b"\n" => lines.push(Vec::new()),
                    between => lines.last_mut().unwrap().extend_from_slice(between),
                }
            }
            lines.last_mut().unwrap().extend_from_slice(&self.cookie());
        }
        lines.iter().map(|line| line.trim_ascii().to_vec()).collect()
    }
}

#[test]
fn what_a_framework_reads_in_cookies_is_known_by_its_name_or_nobody_is_asked() {
    let cases = std::env::var("CLOAKROOM_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(CASES);
    let first = std::env::var("CLOAKROOM_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1_u64);
    let desk = Desk::upstream();
    let own = TOKENS.map(|token| desk.tokens(&cookie(token)).key().unwrap().clone());
    let (mut clear, mut unclear, mut refused) = (0, 0, 0);
    for seed in first..first + cases {
        let lines = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1).header();
        let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        let tokens = desk.sessions.tokens(lines.iter().copied());
        for read in tokens_read(&lines, "next-auth.session-token") {
            let Some(meant) = TOKENS.iter().position(|token| is_taken_for(&read, token)) else { continue };
            let name = &own[meant];
            let shown = || lines.iter().map(|line| line.escape_ascii().to_string()).collect::<Vec<_>>();
            match &tokens.seen {
                Seen::One { key, .. } => {
                    assert_eq!(key, name, "seed {seed}: {read:?} in {:?}", shown());
                    clear += 1;
                }
                Seen::Unclear { is_whole: true, names, .. } => {
                    assert!(names.contains(name), "seed {seed}: {read:?} in {:?}", shown());
                    unclear += 1;
                }
                Seen::Unclear { is_whole: false, .. } => {
                    assert!(desk.sessions.admit(&tokens, Passage::Check, desk.now()).is_some());
                    refused += 1;
                }
                other => panic!("seed {seed}: {read:?} in {:?} is {other:?}", shown()),
            }
        }
    }
    let some = cases / 100;
    assert!(clear > some && unclear > some && refused > some, "{clear} clear, {unclear} unclear, {refused} refused");
}
