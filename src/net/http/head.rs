//! What the head of a request may look like, judged on the bytes before they are parsed.
//!
//! hyper follows the RFC where it lets a server be lenient: of `Content-Length` and `Transfer-Encoding` it keeps one,
//! two equal lengths become one, a bare LF ends a line. Each is a difference of opinion that request smuggling lives
//! on, and none can be seen in the parsed request. So the bytes pass through a [`Sentry`] that follows the framing,
//! line by line, and remembers which head must be refused. It changes and holds back nothing, and it parses nothing
//! but the two framing headers.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Bytes of a line that are kept when it comes in pieces: enough for the framing headers with any sensible value. A
/// Content-Length in a longer line is refused, however it comes: what was not kept could be more digits.
const LINE_KEPT: usize = 128;

/// Follows the heads on one connection.
#[derive(Default)]
pub(super) struct Heads {
    part: Part,
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    last: u8,
    lengths: u32,
    length: u64,
    encodings: u32,
    /// Heads that have ended.
    ended: u64,
    fault: Option<(u64, &'static str)>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Part {
    /// Before a request line.
    #[default]
    Start,
    /// Among the header lines.
    Lines,
    /// In a body with so many bytes to come.
    Body(u64),
    /// In a chunked body or past a fault. No other request follows on this connection.
    Rest,
}

impl Heads {
    /// Why the head with this number (the first is 0) must be refused.
    pub(super) fn fault(&self, number: u64) -> Option<&'static str> {
        self.fault.filter(|(at, _)| *at == number).map(|(_, why)| why)
    }

    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.part {
                Part::Rest => return,
                Part::Body(left) => {
                    let here = left.min(bytes.len() as u64);
                    bytes = &bytes[here as usize..];
                    self.part = if here == left { Part::Start } else { Part::Body(left - here) };
                }
                Part::Start | Part::Lines => {
                    let Some(end) = memchr::memchr(b'\n', bytes) else {
                        self.keep(bytes);
                        return;
                    };
                    let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
                    bytes = rest;
                    if self.line.is_empty() {
                        self.line_ends(line, line.last().copied());
                    } else {
                        self.keep(line);
                        let line = std::mem::take(&mut self.line);
                        self.line_ends(&line, Some(self.last));
                    }
                }
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LINE_KEPT - self.line.len();
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.last = bytes.last().copied().unwrap_or(self.last);
    }

    fn refuse(&mut self, why: &'static str) {
        self.fault = Some((self.ended, why));
        self.part = Part::Rest;
    }

    fn line_ends(&mut self, line: &[u8], last: Option<u8>) {
        if last != Some(b'\r') {
            return self.refuse("a line must end in CR LF");
        }
        if line.len() > 1 {
            if self.part == Part::Start {
                self.part = Part::Lines;
                (self.lengths, self.length, self.encodings) = (0, 0, 0);
            } else {
                self.header(line);
            }
        } else if self.part == Part::Lines {
            self.head_ends();
        }
    }

    fn header(&mut self, line: &[u8]) {
        if let Some(value) = value_of(line, b"content-length:") {
            self.lengths += 1;
            let digits = value.trim_ascii();
            let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
            let whole = plain && line.len() < LINE_KEPT;
            match std::str::from_utf8(digits).ok().filter(|_| whole).and_then(|digits| digits.parse().ok()) {
                Some(length) => self.length = length,
                None => self.refuse("Content-Length must be one number"),
            }
        } else if value_of(line, b"transfer-encoding:").is_some() {
            self.encodings += 1;
        }
    }

    fn head_ends(&mut self) {
        match (self.lengths, self.encodings) {
            (0, 0) => self.part = Part::Start,
            (1, 0) => self.part = if self.length == 0 { Part::Start } else { Part::Body(self.length) },
            (0, 1) => self.part = Part::Rest,
            (_, 0) => return self.refuse("one Content-Length is enough"),
            (0, _) => return self.refuse("one Transfer-Encoding is enough"),
            _ => return self.refuse("Content-Length and Transfer-Encoding exclude each other"),
        }
        self.ended += 1;
    }
}

fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then_some(value)
}

/// A client's stream whose heads are followed as they are read, and who is cut if it takes nothing for too long.
pub(super) struct Sentry<S> {
    stream: S,
    /// How long a client may leave its answer lying.
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    /// Bytes that were read before it was known that they are HTTP.
    first: Bytes,
    heads: Rc<RefCell<Heads>>,
}

impl<S> Sentry<S> {
    pub(super) fn new(stream: S, first: Bytes, patience: Duration, heads: Rc<RefCell<Heads>>) -> Sentry<S> {
        Sentry { stream, patience, stalled: None, first, heads }
    }

    /// What a write came to: one that makes no progress is given up after a while, so that a client that reads nothing
    /// holds neither memory nor a call to the upstream.
    fn written(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Sentry<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.first.is_empty() {
            std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        } else {
            let count = self.first.len().min(buf.remaining());
            buf.put_slice(&self.first[..count]);
            self.first.advance(count);
        }
        self.heads.borrow_mut().feed(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Sentry<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the bytes in pieces of every size and says, each time, which heads are refused.
    fn refused(bytes: &[u8]) -> Vec<Option<&'static str>> {
        let mut seen: Option<Vec<_>> = None;
        for size in 1..=bytes.len() {
            let mut heads = Heads::default();
            bytes.chunks(size).for_each(|piece| heads.feed(piece));
            let all = (0..3).map(|number| heads.fault(number)).collect();
            assert!(seen.as_ref().is_none_or(|seen| *seen == all), "pieces of {size} bytes differ");
            seen = Some(all);
        }
        seen.expect("some bytes")
    }

    #[test]
    fn a_plain_head_passes_and_so_does_the_next() {
        let twice = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\ncontent-length: 4\r\n\r\na\nb\nGET / HTTP/1.1\r\n\r\n";
        assert_eq!(refused(twice), [None, None, None]);
    }

    #[test]
    fn two_lengths_or_a_length_and_an_encoding_are_refused() {
        let cases: [&[u8]; 4] = [
            b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\ncontent-length: 4\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
            b"POST / HTTP/1.1\r\nContent-Length: +4\r\n\r\nabcd",
        ];
        for case in cases {
            assert!(refused(case)[0].is_some(), "{}", String::from_utf8_lossy(case));
        }
    }

    #[test]
    fn a_length_behind_many_blanks_is_refused_whole_and_in_pieces() {
        for blanks in 100..130 {
            let head = format!("POST / HTTP/1.1\r\nContent-Length:{}1234\r\n\r\nabcd", " ".repeat(blanks));
            assert_eq!(refused(head.as_bytes())[0].is_some(), blanks + 20 >= LINE_KEPT, "{blanks} blanks");
        }
    }

    #[test]
    fn a_bare_line_feed_is_refused_in_a_head_and_free_in_a_body() {
        assert!(refused(b"GET / HTTP/1.1\nHost: a\r\n\r\n")[0].is_some());
        let second = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n\n\nGET / HTTP/1.1\r\nHost: a\n\r\n";
        assert_eq!(refused(second).iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false]);
    }
}
