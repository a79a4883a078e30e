//! Requests that are turned away unseen: other protocols, and heads that two parsers may read differently.

use http::header::{HOST, HeaderValue, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{Method, Request, Version};
use hyper::body::Body;

use crate::net::strangers::{TLS_ALERT, is_tls};

/// What came instead of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Resp,
    Tls,
}

impl Protocol {
    pub(super) fn name(self) -> &'static str {
        match self {
            Protocol::Resp => "RESP",
            Protocol::Tls => "TLS",
        }
    }

    /// The last words, in the client's own protocol.
    pub(super) fn farewell(self, resp_port: u16) -> String {
        match self {
            Protocol::Resp => format!("-ERR this is the HTTP port; Redis clients connect to port {resp_port}\r\n"),
            Protocol::Tls => TLS_ALERT.to_owned(),
        }
    }
}

/// Tells other protocols by their first bytes. No HTTP method begins like them; Redis' inline commands are no HTTP
/// request line either and end as 400.
pub(super) fn stranger(first: &[u8]) -> Option<Protocol> {
    match first {
        [b'*' | b'$', ..] => Some(Protocol::Resp),
        _ if is_tls(first) => Some(Protocol::Tls),
        _ => None,
    }
}

/// Why a request that hyper has taken is refused here.
pub(super) fn fault<B: Body>(request: &Request<B>) -> Option<&'static str> {
    let uri = request.uri();
    if request.method() == Method::CONNECT || uri.scheme().is_some() || uri.authority().is_some() {
        return Some("this is no proxy: a path is due in the request line");
    }
    if !uri.path().starts_with('/') {
        return Some("a path is due in the request line");
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version() >= Version::HTTP_11 => return Some("a Host header is due"),
        (Some(_), Some(_)) => return Some("one Host header is enough"),
        (Some(host), None) if !is_host(host) => return Some("the Host header names no host"),
        _ => {}
    }
    let mut encodings = request.headers().get_all(TRANSFER_ENCODING).iter();
    if encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Some("of transfer encodings only chunked is known here");
    }
    if matches!(*request.method(), Method::GET | Method::HEAD) && !request.body().is_end_stream() {
        return Some("GET and HEAD have no body");
    }
    None
}

fn is_host(value: &HeaderValue) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:[]%".contains(byte);
    let bytes = value.as_bytes();
    bytes.iter().all(plain) && Authority::try_from(bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_one_host() {
        for (host, is) in [
            ("a", true),
            ("shop.example:8379", true),
            ("[::1]:80", true),
            ("a, b", false),
            ("a b", false),
            ("user@a", false),
            ("a/b", false),
            ("", false),
        ] {
            assert_eq!(is_host(&HeaderValue::from_static(host)), is, "{host}");
        }
    }

    #[test]
    fn other_protocols_are_told_by_their_first_bytes() {
        assert_eq!(stranger(b"*1\r\n$4\r\nPING\r\n"), Some(Protocol::Resp));
        assert_eq!(stranger(&[0x16, 3, 1, 2, 0]), Some(Protocol::Tls));
        assert_eq!(stranger(b"GET / HTTP/1.1\r\n"), None);
    }
}
