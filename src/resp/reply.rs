//! Replies, written straight into the bytes that go to the client.
//!
//! The caller says what it means (a map, a double, a null) and the version of the client decides how it looks. A reply
//! is begun only when nothing can fail any more, and [`Reply::rewind`] is there for the few that must look first. The
//! caller writes as many elements as it announced: nothing here counts them. One thing alone can go wrong: a reply can
//! become too large. Then strings are left out from there on, and who ran the command answers that it was so.

use std::fmt::{self, Display, Write};

use crate::error::{Error, Result};
use crate::num::Double;

/// Bytes that may be there already when a string comes that alone is larger than a reply may be, so that a value of any size
/// can be read: what other requests of its client may have been answered since that was sent.
const AHEAD_MAX: usize = 256 * 1024;

/// The protocol a client has chosen with `HELLO`.
///
/// ```
/// use cloakroom::resp::{Reply, Version};
///
/// let null = |version| {
///     let mut out = Vec::new();
///     Reply::new(&mut out, version).null();
///     out
/// };
/// assert_eq!(null(Version::default()), b"$-1\r\n");
/// assert_eq!(null(Version::Resp3), b"_\r\n");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// What every client speaks.
    #[default]
    Resp2,
    /// With maps, sets, doubles, booleans and pushes.
    Resp3,
}

/// Where a reply is written. The caller says what it means; the version decides how it looks.
///
/// ```
/// use cloakroom::resp::{Reply, Version};
///
/// let tell = |version| {
///     let mut out = Vec::new();
///     let mut reply = Reply::new(&mut out, version);
///     reply.map(1);
///     reply.bulk(b"warm");
///     reply.boolean(true);
///     String::from_utf8(out).expect("text")
/// };
/// assert_eq!(tell(Version::Resp2), "*2\r\n$4\r\nwarm\r\n:1\r\n");
/// assert_eq!(tell(Version::Resp3), "%1\r\n$4\r\nwarm\r\n#t\r\n");
/// ```
#[derive(Debug)]
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    version: Version,
    /// Bytes that `out` may have; 0 once a string did not fit.
    most: usize,
}

impl<'a> Reply<'a> {
    /// Answers are added at the end of `out`.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// # let mut out = Vec::new();
    /// Reply::new(&mut out, Version::Resp2).ok();
    /// assert_eq!(out, b"+OK\r\n");
    /// ```
    pub fn new(out: &'a mut Vec<u8>, version: Version) -> Reply<'a> {
        Reply { out, version, most: usize::MAX }
    }

    /// The same, where `out` may have so many bytes, which are more than none. Its first string may be larger.
    #[cfg_attr(doc, doc(hidden))]
    pub fn within(out: &'a mut Vec<u8>, version: Version, most: usize) -> Reply<'a> {
        Reply { out, version, most }
    }

    /// Changes how many bytes there may be. To be called before anything is written.
    #[cfg_attr(doc, doc(hidden))]
    pub fn bound(&mut self, most: usize) {
        self.most = most;
    }

    /// Whether it is too large, so that something was left out. Who writes more than a command has data or words looks now
    /// and then, and stops.
    #[cfg_attr(doc, doc(hidden))]
    pub fn is_over(&self) -> bool {
        self.most == 0
    }

    /// Bytes that may still be written; none when it is too large.
    #[cfg_attr(doc, doc(hidden))]
    pub fn room(&self) -> usize {
        self.most.saturating_sub(self.out.len())
    }

    /// What came of a command that has written this: that its reply is too large, if it is.
    #[cfg_attr(doc, doc(hidden))]
    #[inline]
    pub fn outcome(&self, result: Result<()>) -> Result<()> {
        match self.most {
            0 => Err(Error::ReplyTooLarge),
            _ => result,
        }
    }

    /// The version this client speaks.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// assert_eq!(Reply::new(&mut Vec::new(), Version::Resp3).version(), Version::Resp3);
    /// ```
    pub fn version(&self) -> Version {
        self.version
    }

    /// The bytes themselves, for who runs other commands and lets them answer.
    #[cfg_attr(doc, doc(hidden))]
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// Goes on in another version, as HELLO does.
    #[cfg_attr(doc, doc(hidden))]
    pub fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    /// `OK`.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// # let mut out = Vec::new();
    /// Reply::new(&mut out, Version::Resp2).ok();
    /// assert_eq!(out, b"+OK\r\n");
    /// ```
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// A short status without line breaks.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// # let mut out = Vec::new();
    /// Reply::new(&mut out, Version::Resp2).simple("PONG");
    /// assert_eq!(out, b"+PONG\r\n");
    /// ```
    pub fn simple(&mut self, text: &str) {
        debug_assert!(!text.contains(['\r', '\n']), "a status is one line: {text:?}");
        self.out.push(b'+');
        self.line(text.as_bytes());
    }

    /// A refusal, with its code.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// # let mut out = Vec::new();
    /// Reply::new(&mut out, Version::Resp2).error(&cloakroom::Error::WrongType);
    /// assert_eq!(out, b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
    /// ```
    pub fn error(&mut self, error: &Error) {
        let (code, _) = error.faces();
        self.raw_error(&format!("{code} {error}"));
    }

    /// A refusal that brings its own code. It stays one line, whatever a client has smuggled into the text.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// # let mut out = Vec::new();
    /// Reply::new(&mut out, Version::Resp2).raw_error("LOADING not\r\nyet");
    /// assert_eq!(out, b"-LOADING not  yet\r\n");
    /// ```
    pub fn raw_error(&mut self, text: &str) {
        self.out.push(b'-');
        let text = text.trim_matches(['\r', '\n']);
        self.out.extend(text.bytes().map(|byte| match byte {
            b'\r' | b'\n' => b' ',
            other => other,
        }));
        self.raw(b"\r\n");
    }

    /// An integer.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// # let mut out = Vec::new();
    /// Reply::new(&mut out, Version::Resp2).int(-7);
    /// assert_eq!(out, b":-7\r\n");
    /// ```
    pub fn int(&mut self, number: i64) {
        self.header(b':', number);
    }

    /// A count. Redis writes counts as signed integers too.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// # let mut out = Vec::new();
    /// Reply::new(&mut out, Version::Resp2).count([1, 2].len());
    /// assert_eq!(out, b":2\r\n");
    /// ```
    pub fn count(&mut self, number: usize) {
        self.int(i64::try_from(number).unwrap_or(i64::MAX));
    }

    /// A binary-safe string.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// # let mut out = Vec::new();
    /// Reply::new(&mut out, Version::Resp2).bulk(b"a\r\nb");
    /// assert_eq!(out, b"$4\r\na\r\nb\r\n");
    /// ```
    pub fn bulk(&mut self, bytes: &[u8]) {
        let len = bytes.len() + HEADER_MAX + 2;
        if len > self.room() && !self.is_first() {
            return self.give_up();
        }
        self.out.reserve(len);
        self.length(b'$', bytes.len());
        self.line(bytes);
    }

    /// Whether nothing large is here yet. One string is as large as something that is there; more could be the same one again
    /// and again.
    #[cold]
    fn is_first(&self) -> bool {
        self.most > 0 && self.out.len() <= AHEAD_MAX
    }

    #[cold]
    fn give_up(&mut self) {
        self.most = 0;
    }

    /// A binary-safe string, or null.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// # let mut out = Vec::new();
    /// Reply::new(&mut out, Version::Resp2).bulk_or_null(None);
    /// assert_eq!(out, b"$-1\r\n");
    /// out.clear();
    /// Reply::new(&mut out, Version::Resp3).bulk_or_null(None);
    /// assert_eq!(out, b"_\r\n");
    /// ```
    pub fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// A string that is written out here and nowhere before.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// # let mut out = Vec::new();
    /// Reply::new(&mut out, Version::Resp2).bulk_display(1_234);
    /// assert_eq!(out, b"$4\r\n1234\r\n");
    /// ```
    pub fn bulk_display(&mut self, text: impl Display) {
        let mark = self.mark();
        self.display(text);
        let length = self.out.len() - mark;
        self.insert(mark, b'$', length);
        self.raw(b"\r\n");
    }

    /// Nothing there.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// # let mut out = Vec::new();
    /// Reply::new(&mut out, Version::Resp2).null();
    /// assert_eq!(out, b"$-1\r\n");
    /// out.clear();
    /// Reply::new(&mut out, Version::Resp3).null();
    /// assert_eq!(out, b"_\r\n");
    /// ```
    pub fn null(&mut self) {
        self.either(b"$-1\r\n", b"_\r\n");
    }

    /// No array there: a transaction or a blocking command that came to nothing.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// # let mut out = Vec::new();
    /// Reply::new(&mut out, Version::Resp2).null_array();
    /// assert_eq!(out, b"*-1\r\n");
    /// out.clear();
    /// Reply::new(&mut out, Version::Resp3).null_array();
    /// assert_eq!(out, b"_\r\n");
    /// ```
    pub fn null_array(&mut self) {
        self.either(b"*-1\r\n", b"_\r\n");
    }

    /// The head of an array; `len` elements follow.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// # let mut out = Vec::new();
    /// let mut reply = Reply::new(&mut out, Version::Resp2);
    /// reply.array(2);
    /// reply.int(1);
    /// reply.int(2);
    /// assert_eq!(out, b"*2\r\n:1\r\n:2\r\n");
    /// ```
    pub fn array(&mut self, len: usize) {
        self.length(b'*', len);
    }

    /// The head of a map; `len` keys with their values follow.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// # let mut out = Vec::new();
    /// let mut reply = Reply::new(&mut out, Version::Resp2);
    /// reply.map(1);
    /// reply.bulk(b"a");
    /// reply.int(1);
    /// assert_eq!(out, b"*2\r\n$1\r\na\r\n:1\r\n");
    /// out.clear();
    /// let mut reply = Reply::new(&mut out, Version::Resp3);
    /// reply.map(1);
    /// reply.bulk(b"a");
    /// reply.int(1);
    /// assert_eq!(out, b"%1\r\n$1\r\na\r\n:1\r\n");
    /// ```
    pub fn map(&mut self, len: usize) {
        let (kind, len) = self.map_head(len);
        self.length(kind, len);
    }

    /// The head of a set; `len` elements follow.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// # let mut out = Vec::new();
    /// let mut reply = Reply::new(&mut out, Version::Resp2);
    /// reply.set(1);
    /// reply.int(7);
    /// assert_eq!(out, b"*1\r\n:7\r\n");
    /// out.clear();
    /// let mut reply = Reply::new(&mut out, Version::Resp3);
    /// reply.set(1);
    /// reply.int(7);
    /// assert_eq!(out, b"~1\r\n:7\r\n");
    /// ```
    pub fn set(&mut self, len: usize) {
        self.length(self.kind(b'*', b'~'), len);
    }

    /// The head of a message that answers no request; `len` elements follow.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// # let mut out = Vec::new();
    /// let mut reply = Reply::new(&mut out, Version::Resp2);
    /// reply.push(1);
    /// reply.int(7);
    /// assert_eq!(out, b"*1\r\n:7\r\n");
    /// out.clear();
    /// let mut reply = Reply::new(&mut out, Version::Resp3);
    /// reply.push(1);
    /// reply.int(7);
    /// assert_eq!(out, b">1\r\n:7\r\n");
    /// ```
    pub fn push(&mut self, len: usize) {
        self.length(self.kind(b'*', b'>'), len);
    }

    /// The head of `len` pairs about the reply that comes after them. `false`, and nothing written, for a client that
    /// does not know of such a thing; then the pairs must be left out.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// # let mut out = Vec::new();
    /// let mut reply = Reply::new(&mut out, Version::Resp3);
    /// if reply.attribute(1) {
    ///     reply.simple("ttl");
    ///     reply.int(3_600);
    /// }
    /// reply.ok();
    /// assert_eq!(out, b"|1\r\n+ttl\r\n:3600\r\n+OK\r\n");
    /// ```
    #[must_use]
    pub fn attribute(&mut self, len: usize) -> bool {
        let known = self.version == Version::Resp3;
        if known {
            self.length(b'|', len);
        }
        known
    }

    /// A float with as many digits as it takes to read the same one back.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// # let mut out = Vec::new();
    /// Reply::new(&mut out, Version::Resp2).double(0.5);
    /// assert_eq!(out, b"$3\r\n0.5\r\n");
    /// out.clear();
    /// Reply::new(&mut out, Version::Resp3).double(0.5);
    /// assert_eq!(out, b",0.5\r\n");
    /// ```
    pub fn double(&mut self, number: f64) {
        self.double_display(Double(number));
    }

    /// A float that is written its own way, such as a distance with four decimals.
    #[cfg_attr(doc, doc(hidden))]
    pub fn double_display(&mut self, text: impl Display) {
        match self.version {
            Version::Resp2 => self.bulk_display(text),
            Version::Resp3 => {
                self.out.push(b',');
                self.display(text);
                self.raw(b"\r\n");
            }
        }
    }

    /// An integer of any size, in decimal.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// # let mut out = Vec::new();
    /// Reply::new(&mut out, Version::Resp2).big_number("-12");
    /// assert_eq!(out, b"$3\r\n-12\r\n");
    /// out.clear();
    /// Reply::new(&mut out, Version::Resp3).big_number("-12");
    /// assert_eq!(out, b"(-12\r\n");
    /// ```
    pub fn big_number(&mut self, digits: &str) {
        match self.version {
            Version::Resp2 => self.bulk(digits.as_bytes()),
            Version::Resp3 => {
                self.out.push(b'(');
                self.line(digits.as_bytes());
            }
        }
    }

    /// Yes or no.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// # let mut out = Vec::new();
    /// Reply::new(&mut out, Version::Resp2).boolean(true);
    /// assert_eq!(out, b":1\r\n");
    /// out.clear();
    /// Reply::new(&mut out, Version::Resp3).boolean(true);
    /// assert_eq!(out, b"#t\r\n");
    /// ```
    pub fn boolean(&mut self, yes: bool) {
        if yes {
            self.either(b":1\r\n", b"#t\r\n");
        } else {
            self.either(b":0\r\n", b"#f\r\n");
        }
    }

    /// Text for people; `kind` is `txt` or `mkd`.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// # let mut out = Vec::new();
    /// Reply::new(&mut out, Version::Resp2).verbatim("txt", "hi");
    /// assert_eq!(out, b"$2\r\nhi\r\n");
    /// out.clear();
    /// Reply::new(&mut out, Version::Resp3).verbatim("txt", "hi");
    /// assert_eq!(out, b"=6\r\ntxt:hi\r\n");
    /// ```
    pub fn verbatim(&mut self, kind: &str, text: &str) {
        debug_assert_eq!(kind.len(), 3);
        match self.version {
            Version::Resp2 => self.bulk(text.as_bytes()),
            Version::Resp3 if text.len() > self.room() && !self.is_first() => self.give_up(),
            Version::Resp3 => {
                self.length(b'=', text.len() + 4);
                self.raw(kind.as_bytes());
                self.out.push(b':');
                self.line(text.as_bytes());
            }
        }
    }

    /// Bytes that are RESP of this version already.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// # let mut out = Vec::new();
    /// Reply::new(&mut out, Version::Resp2).raw(b"+QUEUED\r\n");
    /// assert_eq!(out, b"+QUEUED\r\n");
    /// ```
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Where the next byte will be written: what [`rewind`](Reply::rewind) and [`array_from`](Reply::array_from) are given.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// let mut out = b"+OK\r\n".to_vec();
    /// assert_eq!(Reply::new(&mut out, Version::Resp2).mark(), 5);
    /// ```
    pub fn mark(&self) -> usize {
        self.out.len()
    }

    /// Whether what was written since `mark` is an error.
    #[cfg_attr(doc, doc(hidden))]
    pub fn is_error(&self, mark: usize) -> bool {
        self.out.get(mark) == Some(&b'-')
    }

    /// Takes back what was written since `mark`.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// # let mut out = Vec::new();
    /// let mut reply = Reply::new(&mut out, Version::Resp2);
    /// let mark = reply.mark();
    /// reply.array(2);
    /// reply.rewind(mark);
    /// reply.null_array();
    /// assert_eq!(out, b"*-1\r\n");
    /// ```
    pub fn rewind(&mut self, mark: usize) {
        self.out.truncate(mark);
    }

    /// Makes an array of the `len` elements written since `mark`.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// # let mut out = Vec::new();
    /// let mut reply = Reply::new(&mut out, Version::Resp2);
    /// let mark = reply.mark();
    /// reply.int(1);
    /// reply.int(2);
    /// reply.array_from(mark, 2);
    /// assert_eq!(out, b"*2\r\n:1\r\n:2\r\n");
    /// ```
    pub fn array_from(&mut self, mark: usize, len: usize) {
        self.insert(mark, b'*', len);
    }

    /// Makes a map of the `len` keys and values written since `mark`.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// # let mut out = Vec::new();
    /// let mut reply = Reply::new(&mut out, Version::Resp3);
    /// let mark = reply.mark();
    /// reply.int(1);
    /// reply.int(2);
    /// reply.map_from(mark, 1);
    /// assert_eq!(out, b"%1\r\n:1\r\n:2\r\n");
    /// ```
    pub fn map_from(&mut self, mark: usize, len: usize) {
        let (kind, len) = self.map_head(len);
        self.insert(mark, kind, len);
    }

    /// Makes a set of the `len` elements written since `mark`.
    ///
    /// ```
    /// # use cloakroom::resp::{Reply, Version};
    /// # let mut out = Vec::new();
    /// let mut reply = Reply::new(&mut out, Version::Resp3);
    /// let mark = reply.mark();
    /// reply.int(1);
    /// reply.int(2);
    /// reply.set_from(mark, 2);
    /// assert_eq!(out, b"~2\r\n:1\r\n:2\r\n");
    /// ```
    pub fn set_from(&mut self, mark: usize, len: usize) {
        self.insert(mark, self.kind(b'*', b'~'), len);
    }

    fn map_head(&self, len: usize) -> (u8, usize) {
        match self.version {
            Version::Resp2 => (b'*', len * 2),
            Version::Resp3 => (b'%', len),
        }
    }

    fn kind(&self, resp2: u8, resp3: u8) -> u8 {
        match self.version {
            Version::Resp2 => resp2,
            Version::Resp3 => resp3,
        }
    }

    fn either(&mut self, resp2: &[u8], resp3: &[u8]) {
        let bytes = match self.version {
            Version::Resp2 => resp2,
            Version::Resp3 => resp3,
        };
        self.raw(bytes);
    }

    fn line(&mut self, bytes: &[u8]) {
        self.raw(bytes);
        self.raw(b"\r\n");
    }

    fn length(&mut self, kind: u8, len: usize) {
        self.header(kind, len);
    }

    fn header(&mut self, kind: u8, number: impl itoa::Integer) {
        self.out.push(kind);
        self.line(itoa::Buffer::new().format(number).as_bytes());
    }

    /// Puts a header in front of what was written since `mark`; that is moved once.
    fn insert(&mut self, mark: usize, kind: u8, len: usize) {
        let end = self.out.len();
        self.length(kind, len);
        let header = self.out.len() - end;
        self.out[mark..].rotate_right(header);
    }

    fn display(&mut self, text: impl Display) {
        // Only a `Display` that refuses to be shown can fail here; then what it has written stands.
        let _ = write!(Text(self.out), "{text}");
    }
}

/// The most bytes that a type byte, a number and a line end take.
const HEADER_MAX: usize = 1 + 20 + 2;

struct Text<'a>(&'a mut Vec<u8>);

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `write` looks like to a client of RESP2 and one of RESP3.
    fn both(write: impl Fn(&mut Reply<'_>)) -> [String; 2] {
        [Version::Resp2, Version::Resp3].map(|version| {
            let mut out = Vec::new();
            write(&mut Reply::new(&mut out, version));
            String::from_utf8(out).expect("the tests write text")
        })
    }

    fn same(text: &str) -> [String; 2] {
        [text.into(), text.into()]
    }

    #[test]
    fn what_resp2_can_say_looks_the_same_in_resp3() {
        assert_eq!(both(|r| r.ok()), same("+OK\r\n"));
        assert_eq!(both(|r| r.simple("PONG")), same("+PONG\r\n"));
        assert_eq!(both(|r| r.int(i64::MIN)), same(":-9223372036854775808\r\n"));
        assert_eq!(both(|r| r.count(7)), same(":7\r\n"));
        assert_eq!(both(|r| r.bulk(b"")), same("$0\r\n\r\n"));
        assert_eq!(both(|r| r.bulk(b"a\r\nb")), same("$4\r\na\r\nb\r\n"));
        assert_eq!(both(|r| r.bulk_display(1234567890)), same("$10\r\n1234567890\r\n"));
        assert_eq!(both(|r| r.array(12)), same("*12\r\n"));
        assert_eq!(both(|r| r.raw(b"+QUEUED\r\n")), same("+QUEUED\r\n"));
    }

    #[test]
    fn what_resp3_added_is_said_in_resp2_as_redis_says_it() {
        assert_eq!(both(|r| r.null()), ["$-1\r\n", "_\r\n"]);
        assert_eq!(both(|r| r.bulk_or_null(None)), ["$-1\r\n", "_\r\n"]);
        assert_eq!(both(|r| r.null_array()), ["*-1\r\n", "_\r\n"]);
        assert_eq!(both(|r| r.map(3)), ["*6\r\n", "%3\r\n"]);
        assert_eq!(both(|r| r.set(3)), ["*3\r\n", "~3\r\n"]);
        assert_eq!(both(|r| r.push(3)), ["*3\r\n", ">3\r\n"]);
        assert_eq!(both(|r| r.boolean(true)), [":1\r\n", "#t\r\n"]);
        assert_eq!(both(|r| r.boolean(false)), [":0\r\n", "#f\r\n"]);
        assert_eq!(both(|r| r.big_number("-12")), ["$3\r\n-12\r\n", "(-12\r\n"]);
        assert_eq!(both(|r| r.double(3.1)), ["$18\r\n3.1000000000000001\r\n", ",3.1000000000000001\r\n"]);
        assert_eq!(both(|r| r.double(f64::NEG_INFINITY)), ["$4\r\n-inf\r\n", ",-inf\r\n"]);
        assert_eq!(both(|r| r.double(f64::NAN)), ["$3\r\nnan\r\n", ",nan\r\n"]);
        assert_eq!(both(|r| r.verbatim("txt", "hi")), ["$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"]);
    }

    #[test]
    fn an_attribute_is_only_for_those_who_know_it() {
        let wrote = both(|r| {
            if r.attribute(1) {
                r.simple("ttl");
                r.int(3600);
            }
            r.ok();
        });
        assert_eq!(wrote, ["+OK\r\n", "|1\r\n+ttl\r\n:3600\r\n+OK\r\n"]);
    }

    #[test]
    fn an_error_stays_one_line() {
        let error = Error::UnknownCommand("'a\r\nb'\r\n".into());
        assert_eq!(both(|r| r.error(&error)), same("-ERR unknown command 'a  b'\r\n"));
        assert_eq!(both(|r| r.raw_error("LOADING wait\n")), same("-LOADING wait\r\n"));
        let text = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
        assert_eq!(both(|r| r.error(&Error::WrongType)), same(text));
    }

    #[test]
    fn a_count_known_at_the_end_still_comes_first() {
        let wrote = both(|r| {
            r.array(2);
            let mark = r.mark();
            r.bulk(b"a");
            r.int(1);
            r.map_from(mark, 1);
            let mark = r.mark();
            r.set_from(mark, 0);
        });
        assert_eq!(wrote, ["*2\r\n*2\r\n$1\r\na\r\n:1\r\n*0\r\n", "*2\r\n%1\r\n$1\r\na\r\n:1\r\n~0\r\n"]);
        let wrote = both(|r| {
            let mark = r.mark();
            (0..11).for_each(|n| r.int(n));
            r.array_from(mark, 11);
        });
        assert!(wrote[0].starts_with("*11\r\n:0\r\n:1\r\n") && wrote[0].ends_with(":10\r\n"));
    }

    #[test]
    fn a_reply_that_is_too_large_leaves_out_what_does_not_fit_and_says_so() {
        let most = AHEAD_MAX + 100;
        let mut out = vec![b'x'; AHEAD_MAX + 10];
        let mut reply = Reply::within(&mut out, Version::Resp3, most);
        reply.bulk(&[b'a'; 40]);
        assert!(!reply.is_over() && reply.outcome(Ok(())).is_ok());
        let room = reply.room();
        reply.bulk(&[b'b'; 40]);
        assert!(reply.is_over() && reply.room() == 0 && room == most - reply.mark());
        assert_eq!(reply.outcome(Err(Error::Syntax)), Err(Error::ReplyTooLarge));
        // Nothing comes behind a gap.
        reply.bulk(b"c");
        reply.verbatim("txt", "c");
        assert_eq!(reply.mark(), most - room);
    }

    #[test]
    fn one_string_may_be_larger_than_all_may_be() {
        for version in [Version::Resp2, Version::Resp3] {
            let mut out = vec![b'x'; 10];
            let mut reply = Reply::within(&mut out, version, 100);
            let text = "a".repeat(AHEAD_MAX);
            if version == Version::Resp2 {
                reply.bulk(text.as_bytes())
            } else {
                reply.verbatim("txt", &text)
            };
            assert!(!reply.is_over() && reply.room() == 0);
            reply.bulk(b"");
            assert!(reply.is_over());
        }
    }

    #[test]
    fn what_was_begun_can_be_taken_back() {
        let wrote = both(|r| {
            r.int(1);
            let mark = r.mark();
            r.array(5);
            r.bulk(b"half");
            r.rewind(mark);
            r.error(&Error::WrongType);
        });
        assert!(wrote[0].starts_with(":1\r\n-WRONGTYPE"));
    }
}
