//! Patterns: the matcher that is never slow says what the plainest one says.

use cloakroom::glob::{cost, is_literal, matches};

/// Pattern and text multiplied, for the plain way's sake.
const WORK_MAX: usize = 1 << 21;

/// What stands for a byte of the text, or for any number of them.
enum Element {
    Any,
    Of(Box<[bool; 256]>),
}

/// The elements of a pattern, each with the bytes that it takes. Redis compares the bytes of a range with their signs.
fn elements(mut pattern: &[u8], nocase: bool) -> Vec<Element> {
    let fold = |byte: u8| if nocase { byte.to_ascii_lowercase() } else { byte };
    let of = |takes: &dyn Fn(u8) -> bool| {
        let mut bytes = Box::new([false; 256]);
        (0..=u8::MAX).for_each(|byte| bytes[usize::from(byte)] = takes(byte));
        Element::Of(bytes)
    };
    let mut found = Vec::new();
    while let Some((&first, rest)) = pattern.split_first() {
        pattern = rest;
        found.push(match first {
            b'*' => Element::Any,
            b'?' => of(&|_| true),
            b'[' => {
                let not = pattern.first() == Some(&b'^');
                pattern = &pattern[usize::from(not)..];
                let mut takes: Vec<Box<dyn Fn(u8) -> bool>> = Vec::new();
                loop {
                    match *pattern {
                        [] => break,
                        [b'\\', byte, ref rest @ ..] => {
                            takes.push(Box::new(move |other| other == byte));
                            pattern = rest;
                        }
                        [b']', ref rest @ ..] => {
                            pattern = rest;
                            break;
                        }
                        [one, b'-', other, ref rest @ ..] => {
                            let (low, high) = ((one as i8).min(other as i8), (one as i8).max(other as i8));
                            let (low, high) = (fold(low as u8) as i8, fold(high as u8) as i8);
                            takes.push(Box::new(move |byte| (low..=high).contains(&(fold(byte) as i8))));
                            pattern = rest;
                        }
                        [byte, ref rest @ ..] => {
                            takes.push(Box::new(move |other| fold(other) == fold(byte)));
                            pattern = rest;
                        }
                    }
                }
                of(&|byte| takes.iter().any(|takes| takes(byte)) != not)
            }
            b'\\' if !pattern.is_empty() => {
                let byte = pattern[0];
                pattern = &pattern[1..];
                of(&|other| fold(other) == fold(byte))
            }
            byte => of(&|other| fold(other) == fold(byte)),
        });
    }
    found
}

/// Whether all of the text is matched: which beginnings of it each element leaves possible.
fn model(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for element in elements(pattern, nocase) {
        let mut next = vec![false; text.len() + 1];
        match element {
            Element::Any => {
                let first = reached.iter().position(|reached| *reached).unwrap_or(text.len() + 1);
                next.iter_mut().skip(first).for_each(|next| *next = true);
            }
            Element::Of(takes) => {
                for at in 0..text.len() {
                    next[at + 1] = reached[at] && takes[usize::from(text[at])];
                }
            }
        }
        reached = next;
    }
    reached[text.len()]
}

/// One case: how often pattern and text are repeated and whether case counts, and both with a line end between them.
pub fn run(input: &[u8]) {
    let [many, rest @ ..] = input else { return };
    let nocase = many & 1 == 1;
    let (patterns, texts) = (1 << (many >> 1 & 7), 1 << (many >> 4 & 15));
    let mut halves = rest.splitn(2, |byte| *byte == b'\n');
    let (pattern, text) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    if (pattern.len() * patterns).saturating_mul(text.len() * texts) > WORK_MAX {
        return;
    }
    let (pattern, text) = (pattern.repeat(patterns), text.repeat(texts));
    let expected = model(&pattern, &text, nocase);
    assert_eq!(matches(&pattern, &text, nocase), expected, "{:?} {:?}", pattern.escape_ascii(), text.escape_ascii());
    assert!(cost(&pattern, &text) >= pattern.len().max(text.len()));
    if is_literal(&pattern) && !text.is_empty() && !nocase {
        assert_eq!(expected, pattern == text, "a literal pattern");
    }
}
