//! Who may come in: Unix sockets, and what is refused at the door.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::browser;
use crate::faulty::Faulty;
use crate::support::{PATIENCE, Running, until};

fn path_in(folder: &tempfile::TempDir) -> String {
    folder.path().join("c.sock").to_str().expect("text").to_owned()
}

/// Sends a session check over a Unix socket and hears all of the answer, whose end is a brace.
fn check(stream: &mut UnixStream, request: &str) -> String {
    let mut heard = ask(stream, request);
    while !heard.is_empty() && !heard.ends_with('}') {
        let more = ask(stream, "");
        assert!(!more.is_empty(), "{heard}");
        heard += &more;
    }
    heard
}

/// Sends a request over a Unix socket and hears the first bytes of the answer.
fn ask(stream: &mut UnixStream, request: &str) -> String {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    // Whoever is turned away may be told so before it has said anything.
    let _ = stream.write_all(request.as_bytes());
    let mut heard = [0; 1024];
    let len = stream.read(&mut heard).unwrap_or_default();
    String::from_utf8_lossy(&heard[..len]).into_owned()
}

#[test]
fn a_unix_socket_is_a_door_and_is_gone_at_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = path_in(&folder);
    let server = Running::start(&[("unixsocket", &path), ("unixsocketperm", "700"), ("enable-debug-command", "local")]);
    assert_eq!(std::fs::metadata(&path).expect("a socket").permissions().mode() & 0o777, 0o700);
    let mut client = UnixStream::connect(&path).expect("a door");
    assert_eq!(ask(&mut client, "PING\r\n"), "+PONG\r\n");
    let list = ask(&mut client, "CLIENT LIST\r\n");
    let place = format!(" addr={path}:0 laddr={path}:0 ");
    assert!(list.contains(&place) && list.contains(" flags=U "), "{list}");
    // A client over it is on this machine.
    assert_eq!(ask(&mut client, "DEBUG SLEEP 0\r\n"), "+OK\r\n");
    // More than the socket takes at once.
    let large = "x".repeat(1 << 20);
    client
        .write_all(
            format!(
                "*3\r\n$3\r\nSET\r\n$4\r\ncoat\r\n${}\r\n{large}\r\nSTRLEN coat\r\nGET coat\r\nQUIT\r\n",
                large.len()
            )
            .as_bytes(),
        )
        .expect("a server");
    let mut rest = String::new();
    client.read_to_string(&mut rest).expect("an answer");
    assert_eq!(rest, format!("+OK\r\n:{0}\r\n${0}\r\n{large}\r\n+OK\r\n", large.len()));
    server.stop();
    assert!(!std::path::Path::new(&path).exists(), "left behind");
}

#[test]
fn http_over_a_unix_socket_is_for_a_proxy_on_this_machine() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, upstream) = (path_in(&folder), Faulty::start());
    let url = format!("http://{}", upstream.addr);
    let server = Running::start(&[
        ("http-unixsocket", &path),
        ("http-unixsocketperm", "660"),
        ("upstream", &url),
        ("http-maxclients", "2"),
    ]);
    assert_eq!(std::fs::metadata(&path).expect("a socket").permissions().mode() & 0o777, 0o660);
    // No other door for HTTP was asked for.
    assert_eq!(server.http.port(), 0);
    let mut proxy = UnixStream::connect(&path).expect("a door");
    let request = |more: &str| {
        format!(
            "GET /api/auth/session HTTP/1.1\r\nHost: shop.example\r\nCookie: next-auth.session-token=alice.1\r\n{more}\r\n"
        )
    };
    let first = check(&mut proxy, &request("X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n"));
    assert!(first.contains("x-session-source: nextauth\r\n") && first.contains(r#""name":"alice""#), "{first}");
    // What the proxy has said of its client stays as it is: a socket's path is no address.
    let seen = upstream.last();
    assert_eq!(seen.header("x-forwarded-for").as_deref(), Some("203.0.113.7"));
    assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("https"));
    assert!(check(&mut proxy, &request("")).contains("x-session-source: cache\r\n"));
    let metrics = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    let mut operator = UnixStream::connect(&path).expect("a door");
    assert!(ask(&mut operator, &format!("{metrics}\r\n")).starts_with("HTTP/1.1 200 "));
    let handed_on = format!("{metrics}X-Forwarded-For: 203.0.113.7\r\n\r\n");
    drop(operator);
    until("a place is free", || {
        let mut stranger = UnixStream::connect(&path).expect("a door");
        ask(&mut stranger, &handed_on).starts_with("HTTP/1.1 403 ")
    });
    // It has places like any door for HTTP, and tells protocols apart.
    // All are kept: whom a stranger that still was leaving kept out was told so too, and the next one has its place.
    let mut guests = Vec::new();
    until("one too many is told so", || {
        let mut guest = UnixStream::connect(&path).expect("a door");
        guest.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
        let mut heard = [0; 12];
        let refused = guest.read_exact(&mut heard).is_ok() && heard == *b"HTTP/1.1 503";
        guests.push(guest);
        refused
    });
    drop(guests);
    until("RESP is told where it is", || {
        let mut lost = UnixStream::connect(&path).expect("a door");
        lost.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let _ = lost.write_all(b"*1\r\n$4\r\nPING\r\n");
        let mut heard = [0; 24];
        lost.read_exact(&mut heard).is_ok() && heard == *b"-ERR this is the HTTP po"
    });
    server.stop();
    assert!(!std::path::Path::new(&path).exists(), "left behind");
}

#[test]
fn who_watches_sees_unix_clients_by_their_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = path_in(&folder);
    let server = Running::start(&[("unixsocket", &path)]);
    let mut watcher = UnixStream::connect(&path).expect("a door");
    assert_eq!(ask(&mut watcher, "MONITOR\r\n"), "+OK\r\n");
    let mut client = UnixStream::connect(&path).expect("a door");
    assert_eq!(ask(&mut client, "ECHO hello\r\n"), "$5\r\nhello\r\n");
    let seen = ask(&mut watcher, "");
    assert!(seen.ends_with(&format!(" [0 unix:{path}] \"ECHO\" \"hello\"\r\n")), "{seen}");
    server.stop();
}

#[test]
fn metrics_are_for_this_machine_or_for_whoever_has_the_token() {
    let get =
        |server: &Running, path: &str, headers: &[(&str, &str)]| browser::ask(server.http, "GET", path, headers, "");
    let forwarded = ("X-Forwarded-For", "127.0.0.1");
    let open = Running::start(&[]);
    assert_eq!(get(&open, "/metrics", &[]).status, 200);
    assert_eq!(get(&open, "/metrics", &[forwarded]).status, 403);
    let guarded = Running::start(&[("admin-token", "sesame")]);
    let refusal = get(&guarded, "/metrics", &[]);
    assert_eq!((refusal.status, refusal.header("www-authenticate")), (401, "Bearer realm=\"cloakroom\""));
    for wrong in ["Bearer sesam", "Bearer sesame1", "Bearer ", "Basic sesame", "sesame"] {
        let refusal = get(&guarded, "/metrics", &[("Authorization", wrong)]);
        assert_eq!(refusal.status, 401, "{wrong}");
        assert!(!refusal.body.contains("sesam"));
    }
    let counted = get(&guarded, "/metrics", &[("Authorization", "Bearer sesame"), forwarded]);
    assert_eq!(counted.status, 200);
    assert!(counted.body.contains("\ncloakroom_auth_failures_total 2\n"), "{}", counted.body);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(&guarded, path, &[forwarded]).status, 200, "{path}");
    }
}
