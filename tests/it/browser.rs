//! An HTTP client for tests: one request, one connection, every byte of the answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::support::PATIENCE;

/// An answer, parsed with patience for nothing.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The header, empty if there is none.
    pub fn header<'a>(&'a self, name: &'a str) -> &'a str {
        self.all(name).next().unwrap_or_default()
    }

    /// Reads one that ends with its connection.
    pub fn read(stream: &mut TcpStream) -> Answer {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("an answer");
        Answer::parse(&bytes)
    }

    pub fn parse(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| {
            panic!("no head in {:?}", String::from_utf8_lossy(bytes));
        });
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut body = bytes[end + 4..].to_vec();
        if headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked") {
            body = unchunked(&body);
        }
        Answer { status: status.expect("a status"), headers, body: String::from_utf8_lossy(&body).into_owned() }
    }
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&bytes[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.expect("a chunk's size");
        body.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 4 + size..];
        if size == 0 {
            break;
        }
    }
    body
}

/// A connection on which the request has been sent and nothing been read.
pub fn send(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).expect("a server");
    // Some answers are large, and take seconds to be made by a debug build.
    stream.set_read_timeout(Some(3 * PATIENCE)).expect("a timeout");
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !matches!(method, "GET" | "HEAD") {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).expect("a server that listens");
    stream
}

/// Asks and reads the whole answer.
pub fn ask(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    Answer::read(&mut send(to, method, path, headers, body))
}

/// The cookie header of a session with this token.
pub fn cookie(token: &str) -> String {
    format!("next-auth.callback-url=http%3A%2F%2Fapp; next-auth.session-token={token}")
}

/// A session check.
pub fn check(to: SocketAddr, token: &str) -> Answer {
    ask(to, "GET", "/api/auth/session", &[("Cookie", &cookie(token))], "")
}

/// What `signOut()` of next-auth sends.
pub fn send_sign_out(to: SocketAddr, token: &str) -> TcpStream {
    let form = "application/x-www-form-urlencoded";
    let cookies = format!("{}; next-auth.csrf-token=good%7C5f3e", cookie(token));
    let headers = [("Cookie", cookies), ("Content-Type", form.to_owned())];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    send(to, "POST", "/api/auth/signout", &headers, "csrfToken=good&callbackUrl=%2F&json=true")
}

/// The same, and its answer.
pub fn sign_out(to: SocketAddr, token: &str) -> Answer {
    Answer::read(&mut send_sign_out(to, token))
}
