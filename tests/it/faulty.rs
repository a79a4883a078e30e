//! An upstream that behaves like NextAuth, and misbehaves on demand.
//!
//! It speaks HTTP by hand over tokio, so that it can break every rule of it. A token is `<user>.<number>`; each session
//! check answers with the next number, as JWT sessions do, and every token stays good for ever, as JWTs do.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// How often it is looked whether something may go on.
const LOOKED_AT: Duration = Duration::from_millis(2);

/// What the upstream does with a session check or a sign-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Good,
    /// Takes the request and says nothing.
    Stall,
    /// A good answer, one byte a second.
    Drip,
    /// Half a body, then a reset.
    ResetMidBody,
    TooMany,
    Broken500,
    /// A status that no other test uses.
    Broken599,
    Html,
    Elsewhere301,
    /// Wants a slash behind every path, and says so with a 308.
    Slashes,
    /// A hundred megabytes, without saying so before.
    HundredMegabytes,
    /// Says gzip without being asked.
    GzipBomb,
    /// Cookies of somebody else, `Vary: *`, `public`.
    Foreign,
    /// Announces more than it sends.
    WrongLength,
    /// No HTTP.
    Gibberish,
    /// Speaks another protocol from here on, without being asked.
    Switching101,
    /// Closes the connection on which it has answered once, without having said so.
    CloseAfterOne,
    /// Closes the connection as soon as it has answered, without having said so.
    CloseAfterEach,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn header(&self, name: &str) -> Option<String> {
        self.all(name).next().map(str::to_owned)
    }
}

pub struct Faulty {
    pub addr: SocketAddr,
    mode: Mutex<Mode>,
    delay: AtomicU64,
    /// Whether session checks get no answer for now.
    pub holds: AtomicBool,
    /// How many of the pieces behind the first of `/api/auth/drops` may go.
    pub drops: AtomicUsize,
    /// Session checks that arrived.
    pub checks: AtomicUsize,
    /// Connections on which something was asked; one that only looks whether anybody is there is none.
    pub connections: AtomicUsize,
    /// Heads that have come, whether a body follows or not.
    pub heads: AtomicUsize,
    /// Bytes of the body that is coming in.
    pub uploaded: AtomicUsize,
    pub seen: Mutex<Vec<Seen>>,
}

impl Faulty {
    /// Starts one on a port and a thread of its own, which live as long as the tests do.
    pub fn start() -> Arc<Faulty> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let faulty = Arc::new(Faulty {
            addr: listener.local_addr().expect("an address"),
            mode: Mutex::new(Mode::Good),
            delay: AtomicU64::new(0),
            holds: AtomicBool::new(false),
            drops: AtomicUsize::new(0),
            checks: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            heads: AtomicUsize::new(0),
            uploaded: AtomicUsize::new(0),
            seen: Mutex::default(),
        });
        let host = faulty.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            tokio::task::LocalSet::new().block_on(&runtime, host.accept(listener));
        });
        faulty
    }

    async fn accept(self: Arc<Faulty>, listener: std::net::TcpListener) {
        let listener = TcpListener::from_std(listener).expect("a listener");
        while let Ok((stream, _)) = listener.accept().await {
            let host = self.clone();
            // A client that hangs up ends its task, as it should.
            tokio::task::spawn_local(async move { drop(host.serve(stream).await) });
        }
    }

    pub fn behave(&self, mode: Mode) {
        *self.mode.lock() = mode;
    }

    pub fn take_your_time(&self, millis: u64) {
        self.delay.store(millis, Ordering::SeqCst);
    }

    pub fn checks(&self) -> usize {
        self.checks.load(Ordering::SeqCst)
    }

    pub fn last(&self) -> Seen {
        self.seen.lock().last().cloned().expect("a request has come")
    }

    async fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut served = 0;
        loop {
            let Some(seen) = self.read(&mut stream).await? else { return Ok(()) };
            self.seen.lock().push(seen.clone());
            self.connections.fetch_add(usize::from(served == 0), Ordering::SeqCst);
            let mode = *self.mode.lock();
            if mode == Mode::CloseAfterOne && served > 0 {
                return Ok(());
            }
            served += 1;
            if !self.answer(&seen, mode, stream.get_mut()).await? || mode == Mode::CloseAfterEach {
                return Ok(());
            }
        }
    }

    async fn read(&self, stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<Seen>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return Ok(None),
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.lines();
        let line = lines.next().unwrap_or_default().to_owned();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut seen = Seen { line, headers, body: Vec::new() };
        self.heads.fetch_add(1, Ordering::SeqCst);
        // Says no before it has the body, which it then takes all the same.
        if seen.line.starts_with("POST /api/auth/early ") {
            let answer = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
            stream.get_mut().write_all(answer).await?;
        }
        if let Some(length) = seen.header("content-length") {
            self.uploaded.store(0, Ordering::SeqCst);
            let length: usize = length.parse().expect("a length");
            let mut piece = vec![0; 16 * 1024];
            while seen.body.len() < length {
                let want = piece.len().min(length - seen.body.len());
                let read = stream.read(&mut piece[..want]).await?;
                if read == 0 {
                    return Ok(None);
                }
                seen.body.extend_from_slice(&piece[..read]);
                self.uploaded.fetch_add(read, Ordering::SeqCst);
            }
        }
        assert!(seen.header("transfer-encoding").is_none(), "no test sends a chunked body");
        Ok(Some(seen))
    }

    async fn answer(&self, seen: &Seen, mode: Mode, stream: &mut TcpStream) -> std::io::Result<bool> {
        let mut words = seen.line.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut path = target.split('?').next().unwrap_or_default();
        if mode == Mode::Slashes {
            let Some(bare) = path.strip_suffix('/') else {
                let to = format!("HTTP/1.1 308 Permanent Redirect\r\nLocation: {path}/\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(to.as_bytes()).await?;
                return Ok(true);
            };
            path = bare;
        }
        let token = cookies(seen).remove("next-auth.session-token");
        // As a CORS middleware with a list of origins does.
        let lets_in = seen
            .header("origin")
            .map(|origin| format!("\r\nAccess-Control-Allow-Origin: {origin}\r\nVary: Origin\r\n"));
        let with_cors =
            |answer: String| lets_in.as_ref().map_or(answer.clone(), |more| answer.replacen("\r\n", more, 1));
        match (method, path) {
            ("GET", "/api/auth/session") => {
                self.checks.fetch_add(1, Ordering::SeqCst);
                sleep(Duration::from_millis(self.delay.load(Ordering::SeqCst))).await;
                while self.holds.load(Ordering::SeqCst) {
                    sleep(LOOKED_AT).await;
                }
                self.trouble_or(mode, stream, with_cors(check(token))).await
            }
            ("POST", "/api/auth/session") => {
                sleep(Duration::from_millis(self.delay.load(Ordering::SeqCst))).await;
                self.trouble_or(mode, stream, check(token)).await
            }
            ("POST", "/api/auth/signout") => {
                sleep(Duration::from_millis(self.delay.load(Ordering::SeqCst))).await;
                // As with `skipCSRFCheck`, where no token is sent.
                let skips = seen.header("x-auth-return-redirect").is_some() && !seen.body.starts_with(b"csrfToken");
                let good = skips || seen.body.windows(14).any(|part| part == b"csrfToken=good");
                let answer = match good {
                    true => json(
                        r#"{"url":"http://app/signin"}"#,
                        &["next-auth.session-token=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"],
                    ),
                    false => json(r#"{"url":"http://app/api/auth/signout?csrf=true"}"#, &[]),
                };
                self.trouble_or(mode, stream, answer).await
            }
            ("POST", "/api/auth/callback/credentials") => {
                let user = String::from_utf8_lossy(&seen.body).replace("user=", "");
                let cookie = format!("next-auth.session-token={user}.1; Path=/; HttpOnly; SameSite=Lax");
                let other = "next-auth.callback-url=http%3A%2F%2Fapp; Path=/; HttpOnly; SameSite=Lax";
                let answer = json(r#"{"url":"http://app/dashboard"}"#, &[&cookie, other]);
                stream.write_all(answer.as_bytes()).await?;
                Ok(true)
            }
            // What a server action of the application's own does that calls `signOut()`.
            ("POST", "/api/auth/leave") => {
                let cookie = "next-auth.session-token=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly";
                let answer = json("{}", &[cookie]).replacen("200 OK", "303 See Other", 1);
                stream.write_all(answer.as_bytes()).await?;
                Ok(true)
            }
            ("GET", "/api/auth/drops") => {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
                    .await?;
                for drop in 0..4 {
                    while drop > self.drops.load(Ordering::SeqCst) {
                        sleep(LOOKED_AT).await;
                    }
                    stream.write_all(format!("6\r\ndrop {drop}\r\n").as_bytes()).await?;
                }
                stream.write_all(b"0\r\n\r\n").await?;
                Ok(true)
            }
            ("POST", "/api/auth/early") => Ok(true),
            ("GET", "/api/auth/switch") => self.trouble_or(Mode::Switching101, stream, String::new()).await,
            ("POST", "/api/auth/callback/upload") => {
                let answer = json(&format!("{{\"bytes\":{}}}", seen.body.len()), &[]);
                stream.write_all(answer.as_bytes()).await?;
                Ok(true)
            }
            ("HEAD", _) => {
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n").await?;
                Ok(true)
            }
            _ => {
                let cookies = ["a=1; Path=/", "b=2; Path=/; Expires=Thu, 01 Jan 2099 00:00:00 GMT", "c=3"];
                stream.write_all(json(r#"{"csrfToken":"good"}"#, &cookies).as_bytes()).await?;
                Ok(true)
            }
        }
    }

    async fn trouble_or(&self, mode: Mode, stream: &mut TcpStream, good: String) -> std::io::Result<bool> {
        match mode {
            Mode::Good | Mode::Slashes | Mode::CloseAfterOne | Mode::CloseAfterEach => {
                stream.write_all(good.as_bytes()).await?;
            }
            Mode::Stall => {
                sleep(Duration::from_secs(30)).await;
                return Ok(false);
            }
            Mode::Drip => {
                for byte in good.as_bytes() {
                    stream.write_all(&[*byte]).await?;
                    sleep(Duration::from_secs(1)).await;
                }
            }
            Mode::ResetMidBody => {
                stream.write_all(&good.as_bytes()[..good.len() - 10]).await?;
                stream.flush().await?;
                // Unread bytes or a zero linger make the close a reset.
                stream.set_zero_linger()?;
                return Ok(false);
            }
            Mode::TooMany => {
                let answer = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 8\r\n\r\ntoo many";
                stream.write_all(answer.as_bytes()).await?;
            }
            Mode::Broken500 => {
                let answer = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops";
                stream.write_all(answer.as_bytes()).await?;
            }
            Mode::Broken599 => {
                let answer = "HTTP/1.1 599 Unheard Of\r\nContent-Length: 4\r\n\r\noops";
                stream.write_all(answer.as_bytes()).await?;
            }
            Mode::Html => {
                let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>";
                stream.write_all(answer.as_bytes()).await?;
            }
            Mode::Elsewhere301 => {
                let answer =
                    "HTTP/1.1 301 Moved Permanently\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
                stream.write_all(answer.as_bytes()).await?;
            }
            Mode::HundredMegabytes => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n").await?;
                let piece = vec![b' '; 1 << 16];
                for _ in 0..1600 {
                    stream.write_all(&piece).await?;
                    self.uploaded.fetch_add(piece.len(), Ordering::SeqCst);
                }
                return Ok(false);
            }
            Mode::GzipBomb => {
                let answer = good.replacen("\r\n", "\r\nContent-Encoding: gzip\r\n", 1);
                stream.write_all(answer.as_bytes()).await?;
            }
            Mode::Foreign => {
                let more = "\r\nSet-Cookie: tracker=42; Path=/\r\nVary: *\r\nCache-Control: public, max-age=600\r\n";
                stream.write_all(good.replacen("\r\n", more, 1).as_bytes()).await?;
            }
            Mode::WrongLength => {
                let answer =
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"user\":{}}";
                stream.write_all(answer.as_bytes()).await?;
                return Ok(false);
            }
            Mode::Switching101 => {
                let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: own\r\n\r\n";
                stream.write_all(answer.as_bytes()).await?;
            }
            Mode::Gibberish => {
                stream.write_all(b"+OK\r\n\r\n").await?;
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn cookies(seen: &Seen) -> HashMap<String, String> {
    let lines: Vec<&str> = seen.all("cookie").collect();
    let pairs = lines.iter().flat_map(|line| line.split("; ")).filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What NextAuth v4 answers to a session check with this token.
fn check(token: Option<String>) -> String {
    let Some((user, number)) = token.as_deref().and_then(|token| token.split_once('.')) else {
        return json("{}", &["next-auth.csrf-token=token%7Chash; Path=/; HttpOnly; SameSite=Lax"]);
    };
    let next = number.parse::<u64>().map_or(1, |number| number + 1);
    let body = format!(r#"{{"user":{{"name":"{user}"}},"expires":"2099-01-01T00:00:00.000Z"}}"#);
    let cookie = format!("next-auth.session-token={user}.{next}; Path=/; HttpOnly; SameSite=Lax");
    json(&body, &[&cookie])
}

fn json(body: &str, cookies: &[&str]) -> String {
    let cookies: String = cookies.iter().map(|cookie| format!("set-cookie: {cookie}\r\n")).collect();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncache-control: private, no-cache, no-store\r\n{cookies}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
