//! What Redis clients hear of sessions that HTTP fills and signs out: they change keys as commands do.

use super::browser::{check, sign_out};
use super::faulty::Faulty;
use super::support::{Peer, Running};

const FIRST: &str = "auth:session:alice.1";
const SECOND: &str = "auth:session:alice.2";

fn start(settings: &[(&str, &str)]) -> Running {
    let url = format!("http://{}", Faulty::start().addr);
    Running::start(&[&[("upstream", url.as_str())], settings].concat())
}

/// That this key is not what it was.
fn invalidation(key: &str) -> String {
    format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n${}\r\n{key}\r\n", key.len())
}

fn session(body: &str) -> String {
    format!("${}\r\n{body}\r\n", body.len())
}

#[test]
fn who_keeps_copies_hears_of_fills_and_sign_outs() {
    let server = start(&[]);
    let mut client = server.client();
    client.send("HELLO 3\r\nCLIENT TRACKING ON\r\n");
    let mut byte = [0];
    let mut heard = Vec::new();
    while !heard.ends_with(b"+OK\r\n") {
        std::io::Read::read_exact(&mut client.0, &mut byte).expect("an answer");
        heard.push(byte[0]);
    }
    client.send(format!("GET {FIRST}\r\n")).hears("_\r\n");
    let body = check(server.http, "alice.1").body;
    client.hears(invalidation(FIRST));
    // The second is the token that the session has rolled to: another name of the same key.
    client.send(format!("GET {FIRST}\r\nGET {SECOND}\r\n")).hears(session(&body)).hears(session(&body));
    assert_eq!(sign_out(server.http, "alice.2").status, 200);
    let mut told = Vec::new();
    for _ in 0..invalidation(FIRST).len() + invalidation(SECOND).len() {
        std::io::Read::read_exact(&mut client.0, &mut byte).expect("news");
        told.push(byte[0]);
    }
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(told.contains(&invalidation(FIRST)) && told.contains(&invalidation(SECOND)), "{told}");
    client.send(format!("GET {FIRST}\r\n")).hears("_\r\n");
}

#[test]
fn a_watched_session_that_changes_through_http_aborts_a_transaction() {
    let server = start(&[]);
    let mut client = server.client();
    let mut tries = |change: &dyn Fn(), reply: &str| {
        client.send(format!("WATCH {FIRST}\r\n")).hears("+OK\r\n");
        change();
        client.send("MULTI\r\nPING\r\nEXEC\r\n").hears("+OK\r\n+QUEUED\r\n").hears(reply);
    };
    tries(&|| drop(check(server.http, "alice.1")), "*-1\r\n");
    tries(&|| drop(check(server.http, "alice.1")), "*1\r\n+PONG\r\n");
    tries(&|| drop(sign_out(server.http, "alice.1")), "*-1\r\n");
}

#[test]
fn fills_and_sign_outs_are_keyspace_events() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path().to_str().expect("text");
    let server = start(&[("notify-keyspace-events", "Eg$"), ("save", "3600 1"), ("dir", dir)]);
    let mut client = server.client();
    client
        .send("PSUBSCRIBE __keyevent@0__:*\r\n")
        .hears("*3\r\n$10\r\npsubscribe\r\n$16\r\n__keyevent@0__:*\r\n:1\r\n");
    let hears = |client: &mut Peer, event: &str| {
        let channel = format!("__keyevent@0__:{event}");
        client.hears(format!("*4\r\n$8\r\npmessage\r\n$16\r\n__keyevent@0__:*\r\n${}\r\n{channel}\r\n", channel.len()));
        // The hashed name.
        client.hears("$36\r\nauth:session:~");
        let mut rest = [0; 24];
        std::io::Read::read_exact(&mut client.0, &mut rest).expect("a name");
    };
    check(server.http, "alice.1");
    hears(&mut client, "set");
    hears(&mut client, "expire");
    assert_eq!(sign_out(server.http, "alice.2").status, 200);
    hears(&mut client, "del");
    // That was all, and no snapshot is due for it.
    server.client().send("SET auth:session:bob.1 {}\r\n").hears("+OK\r\n");
    hears(&mut client, "set");
    assert_eq!(server.engine.changes_made(), 1);
}
