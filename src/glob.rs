//! Patterns as Redis matches them: `*`, `?`, `[a-z]`, `[^a-z]` and `\`.
//!
//! Bytes, not characters. A class that is not closed ends with the pattern. Nothing recurses and only the last `*` is
//! ever tried again, so that a match takes at most as many steps as pattern and text multiplied, whatever the pattern.

/// Whether all of `text` matches `pattern`; with `nocase`, ASCII letters match in either case.
pub fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    if text.is_empty() {
        // In Redis even `*` does not match what is empty.
        return pattern.is_empty();
    }
    let (mut pattern_at, mut text_at) = (0, 0);
    // Behind the last `*`, and how much of the text begins behind what it stands for.
    let mut retry = None;
    while text_at < text.len() {
        if pattern.get(pattern_at) == Some(&b'*') {
            pattern_at += 1;
            if pattern_at == pattern.len() {
                return true;
            }
            retry = Some((pattern_at, text_at));
            continue;
        }
        let matched = element(&pattern[pattern_at..], text[text_at], nocase);
        if let Some(used) = matched {
            pattern_at += used;
            text_at += 1;
        } else if let Some((behind, begin)) = retry {
            pattern_at = behind;
            text_at = begin + 1;
            retry = Some((behind, begin + 1));
        } else {
            return false;
        }
    }
    pattern[pattern_at..].iter().all(|&byte| byte == b'*')
}

/// Whether a pattern has a meaning beyond its own bytes. One that has not can be looked up instead of searched for.
pub fn is_literal(pattern: &[u8]) -> bool {
    !pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'))
}

/// How much of the pattern stands for `byte` at its beginning; `None` when that is something else.
fn element(pattern: &[u8], byte: u8, nocase: bool) -> Option<usize> {
    match *pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', ref members @ ..] => {
            let (matched, used) = class(members, byte, nocase);
            matched.then_some(1 + used)
        }
        [b'\\', escaped, ..] => same(escaped, byte, nocase).then_some(2),
        [literal, ..] => same(literal, byte, nocase).then_some(1),
    }
}

/// Whether `byte` is in the class that `members` begins with, and how long that is, its `]` included.
fn class(members: &[u8], byte: u8, nocase: bool) -> (bool, usize) {
    let negated = members.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match members[at..] {
            [] => break,
            // An escaped member is taken as it stands, also when letters are not told apart.
            [b'\\', escaped, ..] => {
                found |= escaped == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            // Even a `]` can end a range.
            [first, b'-', last, ..] => {
                found |= in_range(first, last, byte, nocase);
                at += 3;
            }
            [member, ..] => {
                found |= same(member, byte, nocase);
                at += 1;
            }
        }
    }
    (found != negated, at)
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

    #[test]
    fn a_literal_has_nothing_to_search_for() {
        assert!(is_literal(b"session:42"));
        assert!(is_literal(b"a]^-"));
        for pattern in ["*", "a?", "[a", "\\a"] {
            assert!(!is_literal(pattern.as_bytes()));
        }
    }
}
