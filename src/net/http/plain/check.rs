//! A head that is a plain session check and admits no second reading, and what is in it.

use std::mem::MaybeUninit;

use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, Uri};

use super::READ;
use crate::session::{Service, SessionCache, Tokens};

/// How plain checks begin, to the letter.
pub struct Starts {
    session: Box<[u8]>,
    verify: Box<[u8]>,
    /// On the path of a session service other than NextAuth.
    own: Option<Box<[u8]>>,
}

impl Starts {
    /// Those of a session service.
    pub fn of(service: &Service) -> Starts {
        let start = |path: &str| format!("GET {path} HTTP/1.1\r\n").into_bytes().into();
        Starts {
            session: start(service.session_path()),
            verify: start(service.verify_path()),
            own: (!service.is_next_auth()).then(|| start(service.path())),
        }
    }
}

/// Header lines of a head; browsers send about twenty. With more, hyper decides.
pub(super) const LINES_MAX: usize = 48;

/// Room for the header lines of one head.
pub(super) type Lines<'b> = [MaybeUninit<httparse::Header<'b>>; LINES_MAX];

/// A plain session check.
pub(super) struct Check<'l, 'b> {
    pub lines: &'l [httparse::Header<'b>],
    pub path: &'b str,
    /// Bytes of the head.
    pub len: usize,
    /// Whether a proxy asks.
    pub verifies: bool,
}

impl<'l, 'b> Check<'l, 'b> {
    /// Reads a plain check at the beginning of `bytes`; `None` if it is anything else, or not whole.
    pub fn read(bytes: &'b [u8], starts: &Starts, room: &'l mut Lines<'b>) -> Option<Check<'l, 'b>> {
        let is_own = || starts.own.as_ref().is_some_and(|own| bytes.starts_with(own));
        let verifies = !bytes.starts_with(&starts.session) && !is_own();
        if verifies && !bytes.starts_with(&starts.verify) {
            return None;
        }
        let mut request = httparse::Request::new(&mut []);
        let httparse::Status::Complete(len) = request.parse_with_uninit_headers(bytes, room).ok()? else {
            return None;
        };
        let path = request.path?;
        let lines: &'l [httparse::Header<'b>] = request.headers;
        if !ends_in_crlf(&bytes[..len], lines) {
            return None;
        }
        let mut hosts = 0;
        for line in lines {
            match kind(line.name, line.value) {
                Kind::Host => hosts += 1,
                Kind::Plain => {}
                // Of a browser that asks for a page of another origin, and of no proxy.
                Kind::Origin if verifies => {}
                Kind::Origin | Kind::Other => return None,
            }
        }
        (hosts == 1).then_some(Check { lines, path, len, verifies })
    }

    /// What the request shows who it is with.
    pub fn tokens(&self, sessions: &SessionCache) -> Tokens {
        match sessions.service().is_next_auth() {
            true => sessions.tokens(self.cookies()),
            false => sessions.credentials(|| self.lines.iter().map(|line| (line.name.as_bytes(), line.value))),
        }
    }

    /// The values of the `Cookie` headers.
    pub fn cookies(&self) -> impl Iterator<Item = &'b [u8]> + Clone {
        self.lines.iter().filter(|line| line.name.eq_ignore_ascii_case("cookie")).map(|line| line.value)
    }

    /// The values of the headers of this name.
    pub fn named(&self, name: HeaderName) -> impl Iterator<Item = &'b [u8]> {
        self.lines.iter().filter(move |line| line.name.eq_ignore_ascii_case(name.as_str())).map(|line| line.value)
    }

    /// The head of a session check as hyper would give it, for the upstream, which has sessions at `uri`.
    pub fn parts(&self, uri: Uri) -> Parts {
        let mut request = Request::new(());
        *request.uri_mut() = uri;
        for line in self.lines {
            let name = HeaderName::from_bytes(line.name.as_bytes());
            // Both have passed httparse, which is no laxer.
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line.value)) {
                request.headers_mut().append(name, value);
            }
        }
        request.into_parts().0
    }
}

/// For fuzzing: a head that is taken here must be one that the sentry lets pass, whole and in pieces, and hyper's parser
/// must see the same lines in it.
#[doc(hidden)]
pub fn compare_readings(bytes: &[u8], step: usize) {
    use super::super::head::Heads;

    let faults = |step: usize| {
        let mut heads = Heads::default();
        bytes.chunks(step).for_each(|piece| heads.feed(piece));
        (0..8).map(|number| heads.fault(number)).collect::<Vec<_>>()
    };
    let whole = faults(bytes.len().max(1));
    assert_eq!(whole, faults(step), "in pieces of {step}");
    let mut room: Lines<'_> = [const { MaybeUninit::uninit() }; LINES_MAX];
    let Some(check) = Check::read(bytes, &Starts::of(&Service::next_auth()), &mut room) else { return };
    assert_eq!(whole[0], None, "a head that is refused elsewhere");
    let mut lines = [httparse::EMPTY_HEADER; LINES_MAX];
    let mut request = httparse::Request::new(&mut lines);
    assert_eq!(request.parse(bytes), Ok(httparse::Status::Complete(check.len)));
    let framed = |line: &httparse::Header<'_>| {
        ["content-length", "transfer-encoding"].iter().any(|name| line.name.eq_ignore_ascii_case(name))
    };
    assert!(!request.headers.iter().any(framed), "a body behind it would be the next request");
    assert_eq!(check.parts(Uri::default()).headers.len(), request.headers.len(), "a line was lost");
}

/// Whether these bytes may become a plain check with more behind them.
pub(super) fn may_become_one(bytes: &[u8], starts: &Starts) -> bool {
    let begins = |start: &[u8]| start.iter().zip(bytes).all(|(due, byte)| due == byte);
    // Each line so far ends as it must, and none of them is the last.
    let mut ends = memchr::memchr_iter(b'\n', bytes).map(|at| &bytes[..at]);
    bytes.len() < READ
        && (begins(&starts.session) || begins(&starts.verify) || starts.own.as_ref().is_some_and(|own| begins(own)))
        && ends.all(|line| line.ends_with(b"\r") && !line.ends_with(b"\r\n\r"))
}

/// Whether nothing but CR LF lies between one header line and the next. httparse lets a line end in a bare LF; the door
/// refuses that, and says why.
fn ends_in_crlf(head: &[u8], lines: &[httparse::Header<'_>]) -> bool {
    let start_of = |text: &[u8]| (text.as_ptr() as usize).wrapping_sub(head.as_ptr() as usize);
    let ends = lines.iter().map(|line| start_of(line.value).wrapping_add(line.value.len()));
    let starts = lines.iter().map(|line| start_of(line.name.as_bytes())).skip(1).chain([head.len() - 2]);
    head.ends_with(b"\r\n") && ends.zip(starts).all(|(end, start)| head.get(end..start) == Some(b"\r\n"))
}

enum Kind {
    Host,
    Plain,
    Origin,
    /// To be judged by hyper and the guards behind it.
    Other,
}

fn kind(name: &str, value: &[u8]) -> Kind {
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    match name.len() {
        2 if is("te") => Kind::Other,
        3 if is("via") => Kind::Other,
        4 if is("host") => match is_plain_host(value) {
            true => Kind::Host,
            false => Kind::Other,
        },
        6 if is("expect") => Kind::Other,
        6 if is("origin") => Kind::Origin,
        7 if is("upgrade") || is("trailer") => Kind::Other,
        10 if is("connection") && !value.eq_ignore_ascii_case(b"keep-alive") => Kind::Other,
        14 if is("content-length") => Kind::Other,
        17 if is("transfer-encoding") => Kind::Other,
        _ => Kind::Plain,
    }
}

/// A host in letters and digits with an optional port, as nearly all are.
fn is_plain_host(value: &[u8]) -> bool {
    let (host, port) = match memchr::memchr(b':', value) {
        Some(colon) => (&value[..colon], &value[colon + 1..]),
        None => (value, &b"0"[..]),
    };
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    !host.is_empty() && host.iter().all(letter) && (1..=5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether bytes are a plain check, and how long it is.
    fn plain(bytes: &str) -> Option<usize> {
        let starts = Starts::of(&Service::kratos());
        Check::read(bytes.as_bytes(), &starts, &mut [const { MaybeUninit::uninit() }; LINES_MAX]).map(|check| check.len)
    }

    #[test]
    fn a_plain_check_is_whole_and_asks_for_nothing_else() {
        let head = "GET /api/auth/session HTTP/1.1\r\nHost: shop.example:80\r\nCookie: a=b\r\n\r\n";
        let starts = Starts::of(&Service::next_auth());
        assert_eq!(plain(head), Some(head.len()));
        assert_eq!(plain(&format!("{head}GET / HTTP/1.1\r\n")), Some(head.len()));
        assert_eq!(plain(&head.replace("Cookie", "Connection: Keep-Alive\r\nCOOKIE")), Some(head.len() + 24));
        for end in 0..head.len() {
            assert_eq!(plain(&head[..end]), None, "{end} bytes");
            assert!(may_become_one(&head.as_bytes()[..end], &starts), "{end} bytes");
        }
        for never in ["POST", "GET /api/auth/session?", &head.replace("\r\n\r\n", "\n"), head, &head.repeat(200)] {
            assert!(!may_become_one(never.as_bytes(), &starts), "{never}");
        }
        let whoami = head.replace("api/auth/session", "sessions/whoami");
        assert_eq!(plain(&whoami), Some(whoami.len()));
        assert_eq!(plain(&whoami.replace("whoami", "whoami/")), None);
        let verify = head.replace("session", "verify");
        assert_eq!(plain(&verify), Some(verify.len()));
        assert_eq!(plain(&head.replace("session", "verify/session")), None);
        let elsewhere = Starts::of(&Service::next_auth().with_base_path("/docs/api/auth"));
        let there = head.replace("/api", "/docs/api");
        for (text, is_there) in [(&*there, true), (&there.replace("session", "verify"), true), (head, false)] {
            let mut room = [const { MaybeUninit::uninit() }; LINES_MAX];
            assert_eq!(Check::read(text.as_bytes(), &elsewhere, &mut room).is_some(), is_there, "{text}");
            assert_eq!(may_become_one(&text.as_bytes()[..20], &elsewhere), is_there, "{text}");
        }
        let empty = head.replace("Cookie", "X:\r\nCookie");
        assert_eq!(plain(&empty), Some(empty.len()));
    }

    #[test]
    fn what_two_parsers_may_read_differently_is_left_to_hyper() {
        let with = |lines: &str| plain(&format!("GET /api/auth/session HTTP/1.1\r\n{lines}\r\n"));
        assert!(with("Host: a\r\n").is_some());
        for lines in [
            "",
            "Host: a\r\nHost: a\r\n",
            "Host: a, b\r\n",
            "Host: user@a\r\n",
            "Host: a:123456\r\n",
            "Host: a\nX: 1\r\n",
            "Host: a\r\nX: 1\n",
            "Host: a\r\nX:\n",
            "Host: a\r\nX: 1 \r\n",
            "Host: a\r\nX: 1\n\n",
            "Host: a\r\nContent-Length: 0\r\n",
            "Host: a\r\nTransfer-Encoding: chunked\r\n",
            "Host: a\r\nConnection: close\r\n",
            "Host: a\r\nConnection: keep-alive, cookie\r\n",
            "Host: a\r\nExpect: 100-continue\r\n",
            "Host: a\r\nUpgrade: h2c\r\n",
            "Host: a\r\nOrigin: https://b\r\n",
            "Host: a\r\nVia: 1.1 cloakroom\r\n",
            "Host: a\r\nX: 1\r\n folded\r\n",
            "Host: a\r\nX : 1\r\n",
        ] {
            assert_eq!(with(lines), None, "{lines:?}");
        }
        for start in
            ["GET /api/auth/session?x HTTP/1.1", "GET /api/auth/session HTTP/1.0", "HEAD /api/auth/session HTTP/1.1"]
        {
            assert_eq!(plain(&format!("{start}\r\nHost: a\r\n\r\n")), None, "{start}");
        }
        let many = "X: 1\r\n".repeat(LINES_MAX);
        assert_eq!(with(&format!("Host: a\r\n{many}")), None);
    }

    #[test]
    fn the_upstream_gets_every_line() {
        let head = b"GET /api/auth/session HTTP/1.1\r\nHost: a\r\nCookie: a=b\r\nX-One: \xe9\r\nCookie: c=d\r\n\r\n";
        let mut room = [const { MaybeUninit::uninit() }; LINES_MAX];
        let check = Check::read(head, &Starts::of(&Service::next_auth()), &mut room).expect("a plain check");
        assert_eq!(check.cookies().collect::<Vec<_>>(), [b"a=b", b"c=d"]);
        let parts = check.parts(Uri::from_static("/me"));
        assert_eq!((parts.uri.path(), parts.headers.len()), ("/me", 4));
        assert_eq!(parts.headers["x-one"].as_bytes(), b"\xe9");
    }
}
