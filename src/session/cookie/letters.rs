//! Tokens in letters that no encoder writes.
//!
//! Decoders of base64 are lax: they leave out what is no letter of theirs, take either alphabet, and overlook bits that the
//! last letter has to spare. So a signed-out token, written otherwise, would be another one here and the same at the source.
//! What a lax decoder takes for the same token is told by how it is written.

/// Whether a token is none that an encoder has written, while a lax decoder may take it for one.
///
/// Of what is [`signed`](may_be_signed) like a JWT all parts but the first must be base64url as it is written: without
/// padding, in its own alphabet, with nothing in spare bits. What else ends in padding (a signature, gorilla's cookies) must
/// have nothing in spare bits.
pub(super) fn is_bent(token: &[u8]) -> bool {
    if token.ends_with(b"=") && is_padded_bent(token) {
        return true;
    }
    if !opens_claims(token) {
        return false;
    }
    let (mut count, mut all_straight) = (0, true);
    for part in parts(token) {
        all_straight &= count == 0 || is_straight(part);
        count += 1;
    }
    !all_straight && PARTS.contains(&count)
}

/// Parts of what is signed, and of what is encrypted. Their readers count them.
const PARTS: [usize; 2] = [3, 5];

/// Whether a token may be signed or encrypted in parts, as JWTs are, Flask's sessions (which may begin with a dot) and
/// Starlette's. The first part of all of them is authenticated as it is written, so a changed token begins as the true one.
/// There may be more parts here than there are to whoever decodes no percent signs.
pub(super) fn may_be_signed(token: &[u8]) -> bool {
    opens_claims(token) && parts(token).nth(2).is_some()
}

/// What is between the dots, of which one in front does not count.
fn parts(token: &[u8]) -> impl Iterator<Item = &[u8]> {
    let body = token.strip_prefix(b".").unwrap_or(token);
    let mut from = 0;
    memchr::memchr_iter(b'.', body)
        .chain([body.len()])
        .map(move |dot| &body[std::mem::replace(&mut from, dot + 1)..dot])
}

/// Whether a token begins with a JSON object in base64 or, behind a dot, with one that was compressed.
fn opens_claims(token: &[u8]) -> bool {
    let body = token.strip_prefix(b".").unwrap_or(token);
    let [first, second, third, ..] = body else { return false };
    let [Some(first), Some(second), Some(third)] = [first, second, third].map(|letter| sextet(*letter)) else {
        return false;
    };
    let start = [first << 2 | second >> 4, second << 4 | third >> 2];
    (start[0] == b'{' && matches!(start[1], b'"' | b'}' | b' ' | b'\t' | b'\r' | b'\n'))
        || (start[0] == ZLIB && body.len() < token.len())
}

/// What zlib begins with.
const ZLIB: u8 = 0x78;

/// Whether this is base64url as it is written.
fn is_straight(part: &[u8]) -> bool {
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() | (*byte == b'-') | (*byte == b'_');
    // To the end, come what may: so the compiler looks at many bytes at once.
    part.iter().fold(true, |all, byte| all & letter(byte)) && part.len() % 4 != 1 && spare(part) == 0
}

/// The bits of the last letter that stand for nothing.
fn spare(letters: &[u8]) -> u8 {
    let last = letters.last().and_then(|letter| sextet(*letter)).unwrap_or(0);
    match letters.len() % 4 {
        2 => last & 0b1111,
        3 => last & 0b11,
        _ => 0,
    }
}

/// Whether what ends in padding has something in bits to spare.
fn is_padded_bent(token: &[u8]) -> bool {
    let padding = token.iter().rev().take_while(|byte| **byte == b'=').count();
    let token = &token[..token.len() - padding];
    let run = token.iter().rev().take_while(|byte| sextet(**byte).is_some()).count();
    (run + padding) % 4 == 0 && padding < 3 && spare(&token[token.len() - run..]) != 0
}

/// What a letter of either alphabet stands for.
fn sextet(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}
