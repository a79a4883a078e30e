//! Who may come in: Unix sockets, and what is refused at the door.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use crate::browser;
use crate::support::{PATIENCE, Running};

fn path_in(folder: &tempfile::TempDir) -> String {
    folder.path().join("c.sock").to_str().expect("text").to_owned()
}

/// Sends a request over a Unix socket and hears the first bytes of the answer.
fn ask(stream: &mut UnixStream, request: &str) -> String {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("a server that listens");
    let mut heard = [0; 1024];
    let len = stream.read(&mut heard).expect("an answer");
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
