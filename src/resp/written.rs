//! Replies that were written here, read again: for scripts, and for who is answered in JSON. They are whole and sound, so
//! nothing is checked; of what is cut off there is less.

/// Replies, from where they are read on.
pub(crate) struct Written<'a> {
    pub rest: &'a [u8],
}

impl<'a> Written<'a> {
    /// The bytes up to the next line end.
    pub fn line(&mut self) -> &'a [u8] {
        let end = memchr::memchr(b'\r', self.rest).unwrap_or(self.rest.len());
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest.get(2..).unwrap_or_default();
        line
    }

    pub fn number(&mut self) -> i64 {
        crate::num::parse_i64(self.line()).unwrap_or_default()
    }

    /// So many bytes and a line end.
    pub fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (bytes, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest.get(2..).unwrap_or_default();
        bytes
    }
}

/// The text of an error that is a whole reply, without its mark and line end.
pub fn error_of(reply: &[u8]) -> Option<&[u8]> {
    reply.strip_prefix(b"-").map(|text| text.strip_suffix(b"\r\n").unwrap_or(text))
}
