//! Patterns as Redis matches them: `*`, `?`, `[a-z]`, `[^a-z]` and `\`.
//!
//! Bytes, not characters. A class that is not closed ends with the pattern. Nothing recurses and only the last `*` is
//! ever tried again. What has been tried in vain is counted: where that gets out of proportion, as it does only for patterns
//! made to be slow, the rest is matched by `glob/bits.rs`, which tries all beginnings at once, sixty-four a step.

mod bits;

/// Bytes of the pattern that may be tried in vain before [`bits`] takes over. No name of a usual length comes near, and it
/// is about what it costs to take over.
const PATIENCE: usize = 16 * 1024;

/// Whether all of `text` matches `pattern`; with `nocase`, ASCII letters match in either case.
pub fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    if text.is_empty() {
        // In Redis even `*` does not match what is empty.
        return pattern.is_empty();
    }
    let (mut pattern_at, mut text_at) = (0, 0);
    // Behind the last `*`, and how much of the text begins behind what it stands for.
    let mut retry = None;
    let mut in_vain = 0;
    while text_at < text.len() {
        if pattern.get(pattern_at) == Some(&b'*') {
            pattern_at += 1;
            if pattern_at == pattern.len() {
                return true;
            }
            retry = Some((pattern_at, text_at));
            continue;
        }
        let (matched, used) = element(&pattern[pattern_at..], text[text_at], nocase);
        if matched {
            pattern_at += used;
            text_at += 1;
        } else if let Some((behind, begin)) = retry {
            in_vain += pattern_at + used - behind;
            if in_vain > PATIENCE {
                return bits::matches(&pattern[behind..], &text[begin + 1..], nocase);
            }
            pattern_at = behind;
            text_at = begin + 1;
            retry = Some((behind, begin + 1));
        } else {
            return false;
        }
    }
    pattern[pattern_at..].iter().all(|&byte| byte == b'*')
}

/// About how many bytes a match looks at, at most.
pub fn cost(pattern: &[u8], text: &[u8]) -> usize {
    let each = pattern.len().saturating_mul(text.len());
    pattern.len() + text.len() + each.min(PATIENCE + each / 64)
}

/// Whether a pattern has a meaning beyond its own bytes. One that has not can be looked up instead of searched for.
pub fn is_literal(pattern: &[u8]) -> bool {
    !pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'))
}

/// Whether the beginning of the pattern stands for `byte`, and how much of the pattern that is.
fn element(pattern: &[u8], byte: u8, nocase: bool) -> (bool, usize) {
    match *pattern {
        [] => (false, 0),
        [b'?', ..] => (true, 1),
        [b'[', ref members @ ..] => {
            let mut found = false;
            let (negated, used) = class(members, |member| {
                found |= match member {
                    Member::Exactly(listed) => listed == byte,
                    Member::Byte(listed) => same(listed, byte, nocase),
                    Member::Range(first, last) => in_range(first, last, byte, nocase),
                };
            });
            (found != negated, 1 + used)
        }
        [b'\\', escaped, ..] => (same(escaped, byte, nocase), 2),
        [literal, ..] => (same(literal, byte, nocase), 1),
    }
}

/// What a class lists.
#[derive(Clone, Copy)]
enum Member {
    /// This byte alone: an escaped one is taken as it stands, also when letters are not told apart.
    Exactly(u8),
    Byte(u8),
    Range(u8, u8),
}

/// Lists the class that `members` begins with, and tells whether it stands for all that is not listed, and how long it is,
/// its `]` included.
#[inline]
fn class(members: &[u8], mut list: impl FnMut(Member)) -> (bool, usize) {
    let negated = members.first() == Some(&b'^');
    let mut at = usize::from(negated);
    loop {
        let (member, used) = match members[at..] {
            [] => return (negated, at),
            [b'\\', escaped, ..] => (Member::Exactly(escaped), 2),
            [b']', ..] => return (negated, at + 1),
            // Even a `]` can end a range.
            [first, b'-', last, ..] => (Member::Range(first, last), 3),
            [member, ..] => (Member::Byte(member), 1),
        };
        list(member);
        at += used;
    }
}

/// Redis compares the bytes of a range as C's signed `char`, and takes its ends in either order.
fn in_range(first: u8, last: u8, byte: u8, nocase: bool) -> bool {
    let (low, high) = match first as i8 > last as i8 {
        true => (last, first),
        false => (first, last),
    };
    let [low, high, byte] = [low, high, byte].map(|byte| fold(byte, nocase) as i8);
    low <= byte && byte <= high
}

fn same(left: u8, right: u8, nocase: bool) -> bool {
    fold(left, nocase) == fold(right, nocase)
}

fn fold(byte: u8, nocase: bool) -> u8 {
    if nocase { byte.to_ascii_lowercase() } else { byte }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes(), false)
    }

    #[test]
    fn a_star_stands_for_any_length() {
        for (pattern, text) in [
            ("*", "a"),
            ("**", "a"),
            ("a*", "a"),
            ("*a", "a"),
            ("a*c", "abbbc"),
            ("a*b*c", "a--b--b--c"),
            ("*ab", "aab"),
            ("session:*:user", "session:42:user"),
            ("a**", "a"),
        ] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a*c", "abbb"), ("*a", "ab"), ("a*b*c", "acb"), ("*", ""), ("**", ""), ("", "a")] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
        assert!(fits("", ""));
    }

    #[test]
    fn a_question_mark_stands_for_one_byte() {
        assert!(fits("h?llo", "hello"));
        assert!(fits("???", "abc"));
        assert!(!fits("?", ""));
        assert!(!fits("??", "abc"));
        assert!(fits("??", "ü"));
    }

    #[test]
    fn a_class_lists_what_it_stands_for() {
        for (pattern, text) in [
            ("h[ae]llo", "hallo"),
            ("h[a-c]llo", "hbllo"),
            ("h[c-a]llo", "hbllo"),
            ("h[^e]llo", "hallo"),
            ("[--z]", "."),
            ("[a-]", "a"),
            ("[a-]", "^"),
            ("[\\]]", "]"),
            ("[\\a-z]", "-"),
            ("[a-zA-Z]*", "Zx"),
        ] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("h[^e]llo", "hello"), ("[a-c]", "d"), ("[]", "a"), ("[]a]", "a"), ("[\\a-z]", "b")] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn an_open_class_ends_with_the_pattern() {
        assert!(fits("[abc", "b"));
        assert!(!fits("[abc", "d"));
        assert!(!fits("[", "["));
        assert!(fits("[^", "x"));
        assert!(fits("[a\\", "\\"));
        assert!(fits("*[a", "xa"));
    }

    #[test]
    fn a_backslash_takes_the_next_byte_as_it_stands() {
        assert!(fits("\\*", "*"));
        assert!(!fits("\\*", "a"));
        assert!(fits("a\\", "a\\"));
        assert!(fits("\\\\", "\\"));
    }

    #[test]
    fn letters_may_match_in_either_case() {
        for (pattern, text) in [("HeLLo*", "hEllO!"), ("[a-c]", "B"), ("[A-C]", "b"), ("[xyz]", "Y"), ("\\a", "A")] {
            assert!(matches(pattern.as_bytes(), text.as_bytes(), true), "{pattern} {text}");
            assert!(!fits(pattern, text));
        }
        // An escaped member of a class is never folded.
        assert!(!matches(b"[\\a]", b"A", true));
    }

    #[test]
    fn bytes_beyond_ascii_are_negative_in_a_range() {
        assert!(matches(b"[\x80-\x90]", b"\x85", false));
        assert!(matches(b"[\x7f-\x80]", b"a", false));
        assert!(!matches(b"[a-\xff]", b"z", false));
        assert!(matches(b"[a-\xff]", b"B", false));
    }

    #[test]
    fn many_stars_against_a_long_text_end_soon() {
        let text = vec![b'a'; 64 * 1024];
        let stars = b"a*".repeat(32 * 1024);
        assert!(matches(&stars, &text, false));
        for stars in [[b"a*".repeat(1000), vec![b'b']].concat(), [b"*?".repeat(1000), vec![b'b']].concat()] {
            assert!(!matches(&stars, &text, false));
        }
    }

    /// Each would be tens of millions of steps, or hundreds, one beginning after another.
    #[test]
    fn what_nearly_matches_everywhere_ends_soon() {
        let text = vec![b'a'; 16 * 1024];
        let any = b"?".repeat(2000);
        let class = [b"[^".to_vec(), b"b".repeat(32 * 1024), b"]".to_vec()].concat();
        for end in [&b"b"[..], b"b*", b"[bc]*a", b"\\b?"] {
            for row in [&b"a".repeat(2000), &any, &b"[a-c]".repeat(2000), &b"\\a?".repeat(1000), &class] {
                let pattern = [b"*", &row[..], end].concat();
                assert!(!matches(&pattern, &text, false));
                assert!(!matches(&pattern, &text, true));
                let text = [&text, &b"abca"[..]].concat();
                let ends = matches(&pattern, &text, false);
                assert_eq!(ends, end != b"b" && end != b"\\b?", "{}", String::from_utf8_lossy(end));
            }
        }
    }

    /// What it comes to, one element and one beginning after another, without any of the above.
    fn model(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
        let mut ends = vec![true];
        ends.resize(text.len() + 1, false);
        let mut at = 0;
        while at < pattern.len() {
            let mut next = vec![false; text.len() + 1];
            if pattern[at] == b'*' {
                at += 1;
                let mut any = false;
                for (end, next) in ends.iter().zip(&mut next) {
                    any |= end;
                    *next = any;
                }
            } else {
                let used = element(&pattern[at..], 0, nocase).1;
                for (end, byte) in text.iter().enumerate() {
                    next[end + 1] = ends[end] && element(&pattern[at..], *byte, nocase).0;
                }
                at += used;
            }
            ends = next;
        }
        ends[text.len()]
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(1_000))]

        /// All three ways to match answer alike. Few bytes, so that they often nearly match.
        #[test]
        fn all_beginnings_at_once_are_one_after_another(
            pieces in proptest::collection::vec("[*?aAb\\\\^\\]\\[\\-\u{e9}]|a{1,70}|\\?{60,70}|\\[[\\^abB]?[aBc\\-\\\\]{0,5}\\]|\\*", 0..8),
            text in "[abABc\\-\u{e9}]{1,9}|a{60,140}[bB]?a{0,9}",
            nocase: bool,
        ) {
            let (pattern, text) = (pieces.concat().into_bytes(), text.into_bytes());
            let expected = model(&pattern, &text, nocase);
            proptest::prop_assert_eq!(matches(&pattern, &text, nocase), expected);
            if let [b'*', row @ ..] = &pattern[..] && !row.is_empty() && row[0] != b'*' {
                proptest::prop_assert_eq!(bits::matches(row, &text, nocase), expected);
            }
            let behind_star = [b"*", &pattern[..]].concat();
            if !pattern.is_empty() && pattern[0] != b'*' {
                proptest::prop_assert_eq!(bits::matches(&pattern, &text, nocase), model(&behind_star, &text, nocase));
            }
        }
    }

    #[test]
    fn a_literal_has_nothing_to_search_for() {
        assert!(is_literal(b"session:42"));
        assert!(is_literal(b"a]^-"));
        for pattern in ["*", "a?", "[a", "\\a"] {
            assert!(!is_literal(pattern.as_bytes()));
        }
    }
}
