//! What the parsers of web frameworks read in a `Cookie` header, and what lax decoders take for a token, as they are known to
//! do it: a model to hold the reading of the session door to.

#![allow(dead_code)]

/// How a parser reads a header: it is told apart from others by these.
struct Parser {
    /// Whether letters around names and values are left out, and which.
    trims: fn(char) -> bool,
    /// Whether the first of two cookies with one name counts.
    keeps_first: bool,
    quotes: Quotes,
    decodes: bool,
    /// Whether a cookie without `=` is there, as `true`.
    takes_bare: bool,
    /// Whether a value that cannot be decoded is left as it is; otherwise there is no such cookie.
    keeps_undecoded: bool,
}

#[derive(PartialEq)]
enum Quotes {
    Stay,
    /// First and last letter go if the first is a quote.
    First,
    /// They go if both are quotes.
    Both,
}

/// What JavaScript's `trim` leaves out.
fn javascript(letter: char) -> bool {
    matches!(letter, '\t' | '\n' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{a0}' | '\u{feff}')
}

/// What Python's `strip` leaves out.
fn python(letter: char) -> bool {
    javascript(letter) || matches!(letter, '\u{1c}'..='\u{1f}' | '\u{85}')
}

const PARSERS: [Parser; 6] = [
    // `cookie` up to 0.6, as Next's pages have it; better-auth's.
    Parser {
        trims: javascript,
        keeps_first: true,
        quotes: Quotes::First,
        decodes: true,
        takes_bare: false,
        keeps_undecoded: true,
    },
    // Next's app router and middleware.
    Parser {
        trims: |_| false,
        keeps_first: false,
        quotes: Quotes::Stay,
        decodes: true,
        takes_bare: true,
        keeps_undecoded: false,
    },
    // `cookie` 0.7.
    Parser {
        trims: |letter| matches!(letter, ' ' | '\t'),
        keeps_first: true,
        quotes: Quotes::Both,
        decodes: true,
        takes_bare: false,
        keeps_undecoded: true,
    },
    // `cookie` 1, which Auth.js has.
    Parser {
        trims: |letter| matches!(letter, ' ' | '\t'),
        keeps_first: true,
        quotes: Quotes::Stay,
        decodes: true,
        takes_bare: false,
        keeps_undecoded: true,
    },
    // Django, Flask and Starlette.
    Parser {
        trims: python,
        keeps_first: false,
        quotes: Quotes::Both,
        decodes: false,
        takes_bare: false,
        keeps_undecoded: true,
    },
    // Go.
    Parser {
        trims: |letter| matches!(letter, ' ' | '\t'),
        keeps_first: true,
        quotes: Quotes::Both,
        decodes: false,
        takes_bare: false,
        keeps_undecoded: true,
    },
];

/// `decodeURIComponent`.
fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find('%') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let digits = rest.get(at + 1..at + 3).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[at + 3..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

impl Parser {
    fn read(&self, header: &str) -> Vec<(String, String)> {
        let mut cookies: Vec<(String, String)> = Vec::new();
        for cookie in header.split(';').map(|cookie| cookie.trim_start_matches(' ')).filter(|cookie| !cookie.is_empty())
        {
            let (name, value) = match cookie.split_once('=') {
                Some((name, value)) => (name, value),
                None if self.takes_bare => (cookie, "true"),
                None => continue,
            };
            let (name, value) = (name.trim_matches(self.trims), value.trim_matches(self.trims));
            let is_open = value.starts_with('"');
            let is_quoted = is_open && value.len() > 1 && value.ends_with('"');
            let mut value = value.to_owned();
            if (is_open && self.quotes == Quotes::First) || (is_quoted && self.quotes == Quotes::Both) {
                value.remove(0);
                value.pop();
            }
            let value = match decoded(&value).filter(|_| self.decodes) {
                Some(decoded) => decoded,
                None if self.keeps_undecoded => value,
                None => continue,
            };
            match cookies.iter_mut().find(|(known, _)| known == name) {
                Some(_) if self.keeps_first => {}
                Some((_, known)) => *known = value,
                None => cookies.push((name.to_owned(), value)),
            }
        }
        cookies
    }
}

/// `parseInt` of what is behind the last dot.
fn number(name: &str) -> Option<i64> {
    let text = name.rsplit('.').next().filter(|text| !text.is_empty()).unwrap_or("0").trim_start_matches(javascript);
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, text) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(rest) => (16, rest),
        None => (10, text),
    };
    let digits: String = text.chars().take_while(|digit| digit.is_digit(radix)).collect();
    Some(i64::from_str_radix(&digits, radix).ok()? * sign)
}

/// The session token that each parser and NextAuth read in these `Cookie` lines under this cookie name. What hangs on the
/// inside of a sort is left out.
pub fn tokens_read(lines: &[&[u8]], name: &str) -> Vec<String> {
    let latin = |line: &&[u8]| line.iter().map(|byte| char::from(*byte)).collect::<String>();
    let header = lines.iter().map(latin).collect::<Vec<_>>().join("; ");
    let mut tokens = Vec::new();
    for parser in &PARSERS {
        let mut chunks = parser.read(header.trim_matches([' ', '\t']));
        chunks.retain(|(known, _)| known.starts_with(name));
        let numbers: Vec<i64> = chunks.iter().filter_map(|(name, _)| number(name)).collect();
        if numbers.len() == chunks.len() {
            chunks.sort_by_key(|(name, _)| number(name));
        } else if !numbers.is_sorted() {
            continue;
        }
        tokens.push(chunks.into_iter().map(|(_, value)| value).collect());
    }
    tokens
}

fn sextet(letter: char) -> Option<u32> {
    match letter {
        'A'..='Z' => Some(letter as u32 - 'A' as u32),
        'a'..='z' => Some(letter as u32 - 'a' as u32 + 26),
        '0'..='9' => Some(letter as u32 - '0' as u32 + 52),
        '+' | '-' => Some(62),
        '/' | '_' => Some(63),
        _ => None,
    }
}

/// The bytes that a lax decoder makes of a text.
fn lax(text: &str) -> Vec<u8> {
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for sextet in text.chars().filter_map(sextet) {
        (bits, count) = (bits << 6 | sextet, count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
        bits &= (1 << count) - 1;
    }
    bytes
}

/// Whether a lax decoder takes a text for this token: its first part is authenticated as it is written, and the others as they
/// are decoded, up to padding or past it.
pub fn is_taken_for(text: &str, token: &str) -> bool {
    let (given, own): (Vec<&str>, Vec<&str>) = (text.split('.').collect(), token.split('.').collect());
    let alike = |(given, own): (&&str, &&str)| {
        let padded = given.split('=').next().unwrap_or_default();
        lax(given) == lax(own) || lax(padded) == lax(own)
    };
    let is_signed = matches!(own.len(), 3 | 5);
    text == token || (is_signed && given.len() == own.len() && given[0] == own[0] && given.iter().zip(&own).all(alike))
}
