//! Requests: where the words of one request lie in the bytes that have arrived.
//!
//! The parser is handed the same bytes again with more behind them, and goes on where it stopped: a request that
//! arrives byte by byte costs no more than one that arrives whole. It copies nothing (only a line of text with quotes
//! and escapes has to be unescaped) and allocates by what has arrived, never by what was announced.
//!
//! A request is flat: an array in an array, or a RESP3 aggregate, is refused. Like Redis it looks for the `\r` of a
//! header and skips the byte after it unseen, and skips the two bytes after a bulk string unseen.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

pub use super::args::{Args, Span, Words};
use crate::error::{Error, Result};
use crate::num::parse_i64;

/// What a request may cost before it is refused.
///
/// ```
/// use cloakroom::resp::{Limits, Parser};
///
/// let limits = Limits { bulk: 1_000, ..Limits::default() };
/// let refused = Parser::new().parse(b"*1\r\n$1001\r\n", &limits).unwrap_err();
/// assert_eq!(refused.to_string(), "Protocol error: invalid bulk length");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one bulk string (`proto-max-bulk-len`).
    pub bulk: usize,
    /// Bytes of a line: an inline request, or the header of an array or bulk string.
    pub inline: usize,
    /// Words of one request. Redis would take up to 2^31 − 1, which serves nobody but an attacker.
    pub words: usize,
    /// Bytes of one whole request (`client-query-buffer-limit`); below 4 GB, so that a [`Span`] can hold it.
    pub request: usize,
    /// Whether the client may send requests of that size yet; one that still has to log in needs little room.
    pub authenticated: bool,
}

/// Words a client may send before it has authenticated: the longest useful request is `HELLO` with everything.
pub const WORDS_BEFORE_AUTH: usize = 10;

/// Bytes of one bulk string before the client has authenticated.
pub const BULK_BEFORE_AUTH: usize = 16 * 1024;

/// Bytes of one whole request, or line of text, before the client has authenticated. It fits into the 64 KB that are made
/// room for at first, with a quarter of them left for what is read with it.
pub const REQUEST_BEFORE_AUTH: usize = 48 * 1024;

/// Bytes of capacity an idle parser may keep, per buffer, so that a million idle clients stay cheap.
const REST_MAX: usize = 512;

/// Bytes that a reader's buffer may have however little has arrived.
const RESERVE_MIN: usize = 64 * 1024;

impl Default for Limits {
    fn default() -> Limits {
        Limits { bulk: 512 << 20, inline: 64 << 10, words: 1 << 20, request: 1 << 30, authenticated: true }
    }
}

impl Limits {
    fn line(&self) -> usize {
        if self.authenticated { self.inline } else { self.inline.min(REQUEST_BEFORE_AUTH) }
    }
}

/// Finds one request after the other in what a client sends.
///
/// ```
/// use cloakroom::resp::{Limits, Parser};
///
/// let (mut parser, limits) = (Parser::new(), Limits::default());
/// // It comes in pieces, and the parser sees them all, from the beginning of the request on.
/// let whole = b"*2\r\n$3\r\nGET\r\n$4\r\ncoat\r\n";
/// assert_eq!(parser.parse(&whole[..9], &limits)?, None);
/// assert_eq!(parser.parse(whole, &limits)?, Some(whole.len()));
/// assert!(parser.args(whole).iter().eq([&b"GET"[..], b"coat"]));
///
/// // After an error nobody knows where the next one would begin.
/// assert!(parser.parse(b"*1\r\n+PING\r\n", &limits).is_err());
/// # Ok::<(), cloakroom::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Parser {
    state: State,
    /// The first byte that is not understood yet.
    at: usize,
    /// Up to here no line end was found, so that no byte is searched twice.
    searched: usize,
    /// How many bytes there were when last looked.
    seen: usize,
    /// The words found: spans of the caller's bytes, or, of an inline request, words of their own.
    words: Words,
    /// Bytes looked at and calls made, so that a test can hold the parser to its promise.
    #[cfg(test)]
    steps: usize,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Nothing of a request is known; `words` may still hold the one before.
    #[default]
    Start,
    /// In the header of an array.
    Array,
    /// In an array: this many words to come, the next one's header first.
    Header { left: usize },
    /// In an array: `left` words to come, the first a bulk string of `len` bytes that begins at `at`.
    Bulk { left: usize, len: usize },
    /// In a line of text.
    Inline,
}

impl Parser {
    /// A parser at the beginning of a request.
    ///
    /// ```
    /// # use cloakroom::resp::{Limits, Parser};
    /// # let (mut parser, limits) = (Parser::new(), Limits::default());
    /// assert!(!Parser::new().is_midway());
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn new() -> Parser {
        Parser::default()
    }

    /// Looks for one whole request at the beginning of `bytes`.
    ///
    /// `Some(used)`: it lies in `bytes[..used]` and [`args`](Parser::args) has its words; no words means an empty
    /// request, to be skipped. `None`: call again with the same bytes and more behind them. After an error the
    /// stream cannot be followed any further.
    ///
    /// ```
    /// # use cloakroom::resp::{Limits, Parser};
    /// # let (mut parser, limits) = (Parser::new(), Limits::default());
    /// assert_eq!(parser.parse(b"PING\r\nPI", &limits)?, Some(6));
    /// assert_eq!(parser.parse(b"PI", &limits)?, None);
    /// assert_eq!(parser.parse(b"*0\r\n", &limits)?, Some(4), "an empty one");
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn parse(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>> {
        self.count(1);
        self.seen = bytes.len();
        let found = self.advance(bytes, limits);
        if !matches!(found, Ok(None)) {
            self.state = State::Start;
        }
        found
    }

    /// The words of the request that [`parse`](Parser::parse) just found in `bytes`.
    ///
    /// ```
    /// # use cloakroom::resp::{Limits, Parser};
    /// # let (mut parser, limits) = (Parser::new(), Limits::default());
    /// let input = b"GET 'my coat'\r\n";
    /// parser.parse(input, &limits)?;
    /// assert_eq!(&parser.args(input)[1], b"my coat");
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn args<'a>(&'a self, bytes: &'a [u8]) -> Args<'a> {
        let inline = !self.words.bytes.is_empty();
        Args { bytes: if inline { &self.words.bytes } else { bytes }, spans: &self.words.spans }
    }

    /// How much room to make for the rest of the request. Never more than has arrived already, or 64 KB with it, so that
    /// announcing a size costs the announcer as much as it costs the server.
    ///
    /// ```
    /// # use cloakroom::resp::{Limits, Parser};
    /// # let (mut parser, limits) = (Parser::new(), Limits::default());
    /// let input = b"*2\r\n$4\r\nECHO\r\n$100\r\n";
    /// parser.parse(input, &limits)?;
    /// assert_eq!(parser.needs(), 100 + 2, "the rest of the last word");
    /// parser.restart();
    /// parser.parse(b"*1\r\n$400000000\r\n", &limits)?;
    /// assert!(parser.needs() <= 64 * 1024);
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn needs(&self) -> usize {
        let most = match self.seen {
            few if few <= REQUEST_BEFORE_AUTH => RESERVE_MIN - few,
            many => many,
        };
        match self.state {
            State::Start => 0,
            // What is behind this word, if anything, is not known yet.
            State::Bulk { left: 1, len } => (self.at + len + 2).saturating_sub(self.seen).min(most),
            _ => most,
        }
    }

    /// Whether part of a request has been read and the rest is awaited.
    ///
    /// ```
    /// # use cloakroom::resp::{Limits, Parser};
    /// # let (mut parser, limits) = (Parser::new(), Limits::default());
    /// parser.parse(b"*1\r\n$4\r\nPI", &limits)?;
    /// assert!(parser.is_midway());
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn is_midway(&self) -> bool {
        !matches!(self.state, State::Start)
    }

    /// Bytes of heap the parser holds.
    #[cfg_attr(doc, doc(hidden))]
    pub fn heap(&self) -> usize {
        self.words.heap()
    }

    /// Forgets what was begun: the next bytes are those of another client.
    ///
    /// ```
    /// # use cloakroom::resp::{Limits, Parser};
    /// # let (mut parser, limits) = (Parser::new(), Limits::default());
    /// parser.parse(b"*1\r\n$4\r\nPI", &limits)?;
    /// parser.restart();
    /// assert_eq!(parser.parse(b"PING\r\n", &limits)?, Some(6));
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn restart(&mut self) {
        self.state = State::Start;
    }

    /// The client pauses: gives back what a large request has left behind. Must not be called while the words of a
    /// request are still needed.
    ///
    /// ```
    /// # use cloakroom::resp::{Limits, Parser};
    /// # let (mut parser, limits) = (Parser::new(), Limits::default());
    /// let input = [b"MGET".to_vec(), b" coat".repeat(1_000), b"\r\n".to_vec()].concat();
    /// parser.parse(&input, &limits)?;
    /// assert_eq!(parser.args(&input).len(), 1_001);
    /// parser.rest();
    /// assert!(parser.args(&[]).is_empty());
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn rest(&mut self) {
        if self.is_midway() {
            return;
        }
        self.words.clear();
        if self.words.spans.capacity() * size_of::<Span>() > REST_MAX {
            self.words.spans = Vec::new();
        }
        if self.words.bytes.capacity() > REST_MAX {
            self.words.bytes = Vec::new();
        }
    }

    fn advance(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>> {
        loop {
            match self.state {
                State::Start => {
                    let Some(&first) = bytes.first() else {
                        return Ok(None);
                    };
                    self.words.clear();
                    self.at = 0;
                    self.searched = 0;
                    if let Some(used) = self.whole(bytes, limits) {
                        return Ok(Some(used));
                    }
                    self.state = match first {
                        b'*' => State::Array,
                        _ => State::Inline,
                    };
                }
                State::Inline => return self.inline(bytes, limits),
                State::Array => match self.array(bytes, limits)? {
                    None => return Ok(None),
                    Some(0) => return Ok(Some(self.at)),
                    Some(left) => self.state = State::Header { left },
                },
                State::Header { left } => match self.word(bytes, limits)? {
                    None => return Ok(None),
                    Some(Word::Bulk(len)) => self.state = State::Bulk { left, len },
                    Some(Word::Whole) if left == 1 => return Ok(Some(self.at)),
                    Some(Word::Whole) => self.state = State::Header { left: left - 1 },
                },
                State::Bulk { left, len } => {
                    let end = self.at + len;
                    if bytes.len() < end + 2 {
                        return Ok(None);
                    }
                    self.words.spans.push(Span::new(self.at, end));
                    self.at = end + 2;
                    if left == 1 {
                        return Ok(Some(self.at));
                    }
                    self.state = State::Header { left: left - 1 };
                }
            }
        }
    }

    /// The request that nearly all are: an array of bulk strings that has arrived whole, with nothing unusual about it. It
    /// is `None` for anything else, which begins again the careful way, once.
    fn whole(&mut self, bytes: &[u8], limits: &Limits) -> Option<usize> {
        // So few that a client which has not authenticated may send them too.
        let most = limits.words.min(WORDS_BEFORE_AUTH);
        let (words, mut at) = announced(bytes, 0, b'*').filter(|(words, _)| (1..=most).contains(words))?;
        let (most, all) = match limits.authenticated {
            true => (limits.bulk, limits.request.min(u32::MAX as usize)),
            false => (limits.bulk.min(BULK_BEFORE_AUTH), REQUEST_BEFORE_AUTH),
        };
        for _ in 0..words {
            let word = announced(bytes, at, b'$').filter(|(len, start)| *len <= most && start + len + 2 <= bytes.len());
            let Some((len, start)) = word.filter(|(len, start)| start + len <= all) else {
                self.words.spans.clear();
                return None;
            };
            self.count(start - at);
            self.words.spans.push(Span::new(start, start + len));
            at = start + len + 2;
        }
        Some(at)
    }

    /// The header of an array: how many words it announces, zero for an empty or null one.
    fn array(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>> {
        let Some(number) = self.header(bytes, limits, "too big mbulk count string")? else {
            return Ok(None);
        };
        let number = number.ok_or(INVALID_MULTIBULK)?.max(0) as usize;
        if number > limits.words {
            return Err(INVALID_MULTIBULK);
        }
        if number > WORDS_BEFORE_AUTH && !limits.authenticated {
            return Err(protocol("unauthenticated multibulk length"));
        }
        Ok(Some(number))
    }

    /// The header of a word: the length of a bulk string, or an integer, which is a word already.
    fn word(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<Word>> {
        let start = self.at;
        let Some(number) = self.header(bytes, limits, "too big bulk count string")? else {
            return Ok(None);
        };
        match (bytes[start], number) {
            // Redis takes no integers here; mini-redis' client sends them all the same.
            (b':', Some(_)) => {
                self.words.spans.push(Span::new(start + 1, self.at - 2));
                Ok(Some(Word::Whole))
            }
            (b'$', Some(len @ 0..)) if len as u64 <= limits.bulk as u64 => {
                let len = len as usize;
                if !limits.authenticated && (len > BULK_BEFORE_AUTH || self.at + len > REQUEST_BEFORE_AUTH) {
                    return Err(protocol("unauthenticated bulk length"));
                }
                if self.at + len > limits.request.min(u32::MAX as usize) {
                    return Err(TOO_LARGE);
                }
                Ok(Some(Word::Bulk(len)))
            }
            (b'$', _) => Err(protocol("invalid bulk length")),
            (other, _) => Err(unexpected(other)),
        }
    }

    /// Reads the line at `at`: a type byte, a number, `\r` and one byte more. `Some(None)` if it is no number.
    fn header(&mut self, bytes: &[u8], limits: &Limits, too_big: &'static str) -> Result<Option<Option<i64>>> {
        let quick = bytes.get(self.at).filter(|kind| matches!(kind, b'$' | b'*'));
        if let Some((number, next)) = quick.and_then(|&kind| announced(bytes, self.at, kind)) {
            self.count(next - self.at);
            self.at = next;
            return Ok(Some(Some(number as i64)));
        }
        let from = self.searched.max(self.at);
        let end = memchr(b'\r', &bytes[from..]).map(|offset| from + offset);
        self.searched = end.unwrap_or(bytes.len());
        self.count(self.searched - from);
        if self.searched - self.at > limits.line() || (!limits.authenticated && self.searched > REQUEST_BEFORE_AUTH) {
            return Err(protocol(too_big));
        }
        match end {
            Some(end) if end + 2 <= bytes.len() => {
                // A line of `\r` alone has not even a type byte.
                let number = bytes.get(self.at + 1..end).and_then(parse_i64);
                self.at = end + 2;
                Ok(Some(number))
            }
            _ => Ok(None),
        }
    }

    /// A line of text. A NUL in it is refused at once: to Redis it hides the rest of the line, so that the client (one
    /// that speaks TLS, say) would wait for an answer until it gives up.
    fn inline(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>> {
        let from = self.searched;
        let end = memchr2(b'\n', 0, &bytes[from..]).map(|offset| from + offset);
        self.searched = end.unwrap_or(bytes.len());
        self.count(self.searched - from);
        if self.searched > limits.line() {
            return Err(protocol("too big inline request"));
        }
        let Some(end) = end else {
            return Ok(None);
        };
        if bytes[end] == 0 {
            return Err(protocol("NUL byte in inline request"));
        }
        split_line(&bytes[..end], &mut self.words).ok_or(protocol("unbalanced quotes in request"))?;
        Ok(Some(end + 1))
    }

    #[cfg(test)]
    fn count(&mut self, steps: usize) {
        self.steps += steps;
    }

    #[cfg(not(test))]
    fn count(&mut self, _steps: usize) {}
}

enum Word {
    /// An integer: nothing follows.
    Whole,
    /// A bulk string of so many bytes follows.
    Bulk(usize),
}

/// A request that would be larger than `client-query-buffer-limit`.
pub const TOO_LARGE: Error = protocol("request exceeds client-query-buffer-limit");
const INVALID_MULTIBULK: Error = protocol("invalid multibulk length");

const fn protocol(text: &'static str) -> Error {
    Error::Protocol(Cow::Borrowed(text))
}

#[cold]
fn unexpected(byte: u8) -> Error {
    let shown = match byte {
        b' '..=b'~' => char::from(byte),
        b'\r' | b'\n' => ' ',
        _ => '?',
    };
    Error::Protocol(format!("expected '$', got '{shown}'").into())
}

/// The word behind the name of the request at the beginning of `bytes`, if so much has arrived, and the length of the word
/// behind that. For most commands they are a key and a value. A guess: who acts on it must not mind if it is wrong.
pub fn guess_key(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (_, name) = announced(bytes, 0, b'*')?;
    let (len, start) = announced(bytes, name, b'$')?;
    let (len, start) = announced(bytes, start + len + 2, b'$')?;
    let key = bytes.get(start..start + len)?;
    Some((key, announced(bytes, start + len + 2, b'$').map_or(0, |(len, _)| len)))
}

/// The header that nearly all lines are: the type's byte, up to eight digits without a leading zero, `\r` and a byte more.
/// The number, and where the next byte is. Anything else, also what has not arrived whole, is left to the careful way.
#[inline]
fn announced(bytes: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    let line = bytes.get(at..)?;
    let (&[first, digit], mut rest) = line.split_first_chunk()?;
    let digit = digit.wrapping_sub(b'0');
    if first != kind || digit > 9 {
        return None;
    }
    let mut number = usize::from(digit);
    for used in 4.. {
        let (&byte, behind) = rest.split_first()?;
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return (byte == b'\r' && !behind.is_empty()).then_some((number, at + used));
        }
        if number == 0 || number > 9_999_999 {
            return None;
        }
        number = number * 10 + usize::from(digit);
        rest = behind;
    }
    None
}

/// Splits a line into words as Redis does: blanks between, `"…"` with escapes, `'…'` with `\'` only. `None` when a
/// quote is not closed or something but a blank follows one.
pub(super) fn split_line(line: &[u8], words: &mut Words) -> Option<()> {
    let mut rest = line;
    loop {
        let blanks = rest.iter().take_while(|&&byte| is_space(byte)).count();
        rest = &rest[blanks..];
        if rest.is_empty() {
            return Some(());
        }
        rest = split_word(rest, words)?;
        words.close();
    }
}

/// Unescapes the word at the beginning of `rest` and returns what follows it. A quote may open in the middle of a
/// word, but closes it.
fn split_word<'l>(mut rest: &'l [u8], words: &mut Words) -> Option<&'l [u8]> {
    let mut quote = None;
    loop {
        let (byte, used) = match (quote, rest) {
            (Some(_), []) => return None,
            (None, [] | [b' ' | b'\n' | b'\r' | b'\t', ..]) => return Some(rest),
            (None, [open @ (b'"' | b'\''), ..]) => {
                quote = Some(*open);
                rest = &rest[1..];
                continue;
            }
            (Some(b'"'), [b'\\', b'x', high, low, ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex(*high) << 4 | hex(*low), 4)
            }
            (Some(b'"'), [b'\\', escaped, ..]) => (unescape(*escaped), 2),
            (Some(b'\''), [b'\\', b'\'', ..]) => (b'\'', 2),
            (Some(open), [close, after @ ..]) if open == *close => {
                return after.first().is_none_or(|&next| is_space(next)).then_some(after);
            }
            (_, [byte, ..]) => (*byte, 1),
        };
        words.bytes.push(byte);
        rest = &rest[used..];
    }
}

fn unescape(escaped: u8) -> u8 {
    match escaped {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn hex(digit: u8) -> u8 {
    char::from(digit).to_digit(16).unwrap_or_default() as u8
}

/// C's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
