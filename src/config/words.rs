//! Words of a line, quoted as Redis quotes them: in redis.conf, on the command line, in settings of several words.
//!
//! Double quotes know `\n`, `\r`, `\t`, `\b`, `\a`, `\xHH`; single quotes know `\'`. A closing quote ends its word.
//! Bytes that are no UTF-8 are refused: settings are text.

/// Splits a line into words; `None` when its quotes do not balance or it hides bytes that are no text.
pub fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = line.as_bytes();
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Some(words);
        }
        let (word, after) = next(rest)?;
        words.push(String::from_utf8(word).ok()?);
        rest = after;
    }
}

/// One line that [`split`] takes apart into the same words.
pub fn join<W: AsRef<str>>(words: &[W]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| quote(word.as_ref())).collect();
    quoted.join(" ")
}

/// A word as it stands, or in double quotes where it has to be.
pub fn quote(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
    if !word.is_empty() && !word.starts_with('#') && word.bytes().all(plain) {
        return word.to_owned();
    }
    let mut out = String::from("\"");
    for c in word.chars() {
        match c {
            '\\' | '"' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn next(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => break,
            b'"' => {
                rest = double_quoted(rest, &mut word)?;
                return ends_here(rest).then_some((word, rest));
            }
            b'\'' => {
                rest = single_quoted(rest, &mut word)?;
                return ends_here(rest).then_some((word, rest));
            }
            byte => word.push(byte),
        }
    }
    Some((word, rest))
}

fn ends_here(rest: &[u8]) -> bool {
    rest.first().is_none_or(u8::is_ascii_whitespace)
}

fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'"', after @ ..] => return Some(after),
            [b'\\', b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                word.push(nibble(*high) << 4 | nibble(*low));
                rest = after;
            }
            [b'\\', escaped, after @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                rest = after;
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'\'', after @ ..] => return Some(after),
            [b'\\', b'\'', after @ ..] => {
                word.push(b'\'');
                rest = after;
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

fn nibble(hex: u8) -> u8 {
    match hex {
        b'0'..=b'9' => hex - b'0',
        _ => (hex | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_read_as_redis_reads_them() {
        let words = split(r#"save "" 'it\'s' "a\tb\x41" plain"#);
        assert_eq!(words, Some(vec!["save".into(), "".into(), "it's".into(), "a\tbA".into(), "plain".into()]));
        assert_eq!(split(r#"--maxmemory '700mb'"#), Some(vec!["--maxmemory".into(), "700mb".into()]));
        assert_eq!(split(" \t "), Some(vec![]));
    }

    #[test]
    fn quotes_that_do_not_balance_are_refused() {
        for line in ["\"open", "'open", "\"a\"b", "'a'b", "\"a\\", r#""\xff""#] {
            assert_eq!(split(line), None, "{line}");
        }
    }

    #[test]
    fn what_is_joined_splits_into_the_same_words() {
        for words in [vec![""], vec!["a b", "c"], vec!["\"", "\\", "'", "\n\r\t\x07\x7f"], vec!["#x", "Zoë"]] {
            assert_eq!(
                split(&join(&words)).as_deref(),
                Some(&words.iter().map(|w| w.to_string()).collect::<Vec<_>>()[..])
            );
        }
    }
}
