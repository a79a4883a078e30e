//! The token that several cookies join to, as every parser and library reads it; or all that they may mean.

use std::borrow::Cow;

use smallvec::SmallVec;

/// Session cookies of one request that are read; more are never one session of a browser, which keeps about 180 in all.
pub(super) const PARTS_MAX: usize = 32;

/// One cookie of a request or answer that belongs to a session cookie.
pub(super) struct Part<'a> {
    pub known: usize,
    pub suffix: &'a [u8],
    /// `None`: the cookie has no `=`, which some parsers skip and others read as `true`.
    pub value: Option<&'a [u8]>,
    pub name: Name,
}

/// How a cookie's name is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    /// As every parser reads it.
    Plain,
    /// With blanks around it that some parsers take for a part of it.
    Spaced,
    /// With other bytes around it or in it that some parsers trim or decode, and others do not.
    Odd,
}

/// What one side's cookies join to.
pub(super) enum Reading<'a> {
    Clear(Cow<'a, [u8]>),
    /// To any of these, or to others as well.
    Unclear(Vec<Vec<u8>>, bool),
}

/// Cookies to be joined: what is behind the name, and the value.
type Pieces<'n, 'v> = SmallVec<[(&'n [u8], Cow<'v, [u8]>); 4]>;

/// Joins the cookies of one session cookie.
pub(super) fn join<'a>(parts: &[&Part<'a>]) -> Reading<'a> {
    if let [Part { value: Some(value), name: Name::Plain | Name::Spaced, .. }] = parts
        && let Some(value) = plain_value(value)
    {
        return Reading::Clear(value);
    }
    // The first and the last of what came twice: parsers keep the one or the other.
    let mut first: Pieces<'_, 'a> = SmallVec::new();
    let mut last = first.clone();
    // Parsers skip a cookie without `=` or read it as `true`, and differ in what quotes, blanks and their like stand for, in a
    // value and in a name: which tokens may be meant then is more than can be told here. One cookie in whole quotes, as
    // RFC 6265 has it, is read with them or without.
    let mut is_whole = match parts {
        [Part { value: Some(value), name: Name::Plain, .. }] => is_quoted(value),
        _ => parts.len() <= PARTS_MAX && !parts.iter().any(|part| part.is_odd()),
    };
    let mut unclear = !is_whole;
    let mut raw = Vec::new();
    for part in parts.iter().take(PARTS_MAX) {
        let given = part.value.unwrap_or(b"true");
        let value = plain_value(given);
        unclear |= part.value.is_none() || value.is_none();
        raw.extend_from_slice(given);
        let value = value.unwrap_or_else(|| Cow::Owned(unquoted(given)));
        match last.iter_mut().find(|(suffix, _)| *suffix == part.suffix) {
            Some((_, known)) => {
                unclear |= *known != value;
                *known = value;
            }
            None => {
                first.push((part.suffix, value.clone()));
                last.push((part.suffix, value));
            }
        }
    }
    is_whole &= in_order(&mut first) & in_order(&mut last);
    unclear |= !is_whole;
    if !unclear && first.len() == 1 {
        return Reading::Clear(first.remove(0).1);
    }
    let first: Vec<u8> = first.iter().flat_map(|(_, value)| value.iter().copied()).collect();
    if !unclear {
        return Reading::Clear(Cow::Owned(first));
    }
    let last = last.iter().flat_map(|(_, value)| value.iter().copied()).collect();
    Reading::Unclear(vec![first, last, raw], is_whole)
}

impl Part<'_> {
    pub fn is_empty(&self) -> bool {
        self.value == Some(b"")
    }

    /// Whether parsers may differ about it where it is one of several.
    fn is_odd(&self) -> bool {
        self.name != Name::Plain || self.value.is_none_or(|value| plain_value(value).is_none())
    }
}

/// Whether a value is a plain one in quotes.
fn is_quoted(value: &[u8]) -> bool {
    let inner = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    inner.is_some_and(|inner| matches!(plain_value(inner), Some(Cow::Borrowed(_))))
}

/// The value as every parser reads it, percent-decoded; `None` if they differ.
pub(in crate::session) fn plain_value(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let plain = |byte: &u8| byte.is_ascii_graphic() & (*byte != b'"') & (*byte != b',') & (*byte != b'\\');
    // To the end, come what may: without a way out in the middle the compiler looks at many bytes at once.
    if !value.iter().fold(true, |all, byte| all & plain(byte)) {
        return None;
    }
    if memchr::memchr(b'%', value).is_none() {
        return Some(Cow::Borrowed(value));
    }
    let decoded = percent_decoded(value)?;
    decoded.iter().all(|byte| byte.is_ascii_graphic()).then_some(Cow::Owned(decoded))
}

fn percent_decoded(value: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(value.len());
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        if byte == b'%' {
            let digit = |at: usize| value.get(at).and_then(|digit| char::from(*digit).to_digit(16));
            decoded.push((digit(at + 1)? * 16 + digit(at + 2)?) as u8);
            at += 3;
        } else {
            decoded.push(byte);
            at += 1;
        }
    }
    Some(decoded)
}

fn unquoted(value: &[u8]) -> Vec<u8> {
    let inner = value.strip_prefix(b"\"").map(|rest| rest.strip_suffix(b"\"").unwrap_or(rest)).unwrap_or(value);
    percent_decoded(inner).unwrap_or_else(|| inner.to_vec())
}

/// Sorts by the integer after the last dot, as JavaScript's stable sort does; `false` if its result hangs on the inside
/// of a sort, because some have no integer and the others are not in order.
fn in_order(parts: &mut [(&[u8], Cow<'_, [u8]>)]) -> bool {
    if parts.len() < 2 {
        return true;
    }
    let numbers: SmallVec<[Number; 4]> = parts.iter().map(|(suffix, _)| number(suffix)).collect();
    if numbers.contains(&Number::Odd) {
        return false;
    }
    let known = || numbers.iter().filter_map(|number| if let Number::Is(value) = number { Some(*value) } else { None });
    if known().is_sorted() {
        return true;
    }
    if known().count() < parts.len() {
        return false;
    }
    parts.sort_by_key(|(suffix, _)| number(suffix));
    true
}

/// What JavaScript's `parseInt` makes of the text after the last dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Number {
    Not,
    Is(u64),
    /// Signs, hexadecimals, more digits than a double holds.
    Odd,
}

fn number(suffix: &[u8]) -> Number {
    // Without a dot of its own the text is the end of the cookie name, which is no number.
    let Some(dot) = memchr::memrchr(b'.', suffix) else { return Number::Not };
    let text = &suffix[dot + 1..];
    // `"".split(".").pop() || "0"`: a closing dot counts as zero.
    if text.is_empty() {
        return Number::Is(0);
    }
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match (text[0], text.get(1)) {
        (b'+' | b'-', _) | (b'0', Some(b'x' | b'X')) => Number::Odd,
        _ if digits == 0 => Number::Not,
        _ if digits > 15 => Number::Odd,
        _ => Number::Is(text[..digits].iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))),
    }
}
