//! `cloakroom import` and `cloakroom export` between real servers.

use std::io::{BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use redis::Value;

use crate::binary::run;
use crate::snapshots::{all, ask, client, fill};
use crate::support::{Redis, Running};

fn url(address: SocketAddr) -> String {
    format!("redis://{address}")
}

#[test]
fn a_redis_moves_in_and_out_again() {
    let (old, new, server) = (Redis::start(&[]), Redis::start(&[]), Running::start(&[]));
    let mut theirs = client(old.addr);
    fill(&mut theirs);
    let (code, said, errors) = run(&["import", &url(old.addr), "--into", &url(server.resp)]);
    assert_eq!((code, said.as_str(), errors.as_str()), (Some(0), "34 keys copied\n", ""));
    let there = all(&mut theirs);
    assert_eq!(all(&mut client(server.resp)), there);

    let (code, said, _) = run(&["export", &url(new.addr), "--from", &url(server.resp)]);
    assert_eq!((code, said.as_str()), (Some(0), "34 keys copied\n"));
    assert_eq!(all(&mut client(new.addr)), there);

    let (code, _, errors) = run(&["import", &format!("{}/3", url(old.addr)), "--into", &url(server.resp)]);
    assert!(code == Some(3) && errors.contains("17 were there already") && errors.contains("--replace"), "{errors}");
    let (code, ..) = run(&["import", &url(old.addr), "--into", &url(server.resp), "--replace"]);
    assert_eq!(code, Some(0));
}

/// A server in front of another that answers SCAN as one does whose table grows: `a` is shown twice, batches apart.
fn scans_again(behind: SocketAddr) -> SocketAddr {
    const BATCHES: [&str; 3] = [
        "*2\r\n$1\r\n7\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
        "*2\r\n$1\r\n9\r\n*1\r\n$1\r\na\r\n",
        "*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n",
    ];
    fn line(from: &mut impl BufRead, into: &mut Vec<u8>) -> Option<(u8, usize)> {
        let start = into.len();
        (from.read_until(b'\n', into).ok()? > 0).then_some(())?;
        let text = std::str::from_utf8(&into[start + 1..]).ok()?.trim();
        Some((into[start], text.parse().unwrap_or(0)))
    }
    fn bulk(from: &mut impl BufRead, len: usize, into: &mut Vec<u8>) -> Option<()> {
        let start = into.len();
        into.resize(start + len + 2, 0);
        from.read_exact(&mut into[start..]).ok()
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        let mut client = listener.accept().expect("a client").0;
        let mut server = TcpStream::connect(behind).expect("a server");
        let mut asked = BufReader::new(client.try_clone().expect("a socket"));
        let mut answered = BufReader::new(server.try_clone().expect("a socket"));
        let mut batches = BATCHES.iter();
        loop {
            let (mut request, mut reply) = (Vec::new(), Vec::new());
            let (_, words) = line(&mut asked, &mut request)?;
            for _ in 0..words {
                let (_, len) = line(&mut asked, &mut request)?;
                bulk(&mut asked, len, &mut request)?;
            }
            if request.windows(4).any(|word| word == b"SCAN") {
                client.write_all(batches.next()?.as_bytes()).ok()?;
                continue;
            }
            server.write_all(&request).ok()?;
            let (kind, len) = line(&mut answered, &mut reply)?;
            if kind == b'$' && reply != b"$-1\r\n" {
                bulk(&mut answered, len, &mut reply)?;
            }
            client.write_all(&reply).ok()?;
        }
        #[expect(unreachable_code, reason = "it ends with its sockets")]
        Some(())
    });
    address
}

#[test]
fn a_key_that_is_shown_again_is_none_that_was_there_already() {
    let (old, server) = (Running::start(&[]), Running::start(&[]));
    let mut theirs = client(old.resp);
    ["a", "b"].iter().for_each(|key| drop(ask(&mut theirs, &format!("SET {key} 1"))));
    let (code, said, errors) = run(&["import", &url(scans_again(old.resp)), "--into", &url(server.resp)]);
    assert_eq!((code, said.as_str(), errors.as_str()), (Some(0), "2 keys copied\n", ""));
    let (code, _, errors) = run(&["import", &url(scans_again(old.resp)), "--into", &url(server.resp)]);
    assert!(code == Some(3) && errors.contains("2 were there already"), "{errors}");
    let (code, said, _) = run(&["import", &url(scans_again(old.resp)), "--into", &url(server.resp), "--replace"]);
    assert_eq!((code, said.as_str()), (Some(0), "2 keys copied\n"));
}

#[test]
fn what_cannot_move_in_is_counted_by_type_and_never_named() {
    let (old, server) = (Redis::start(&["--requirepass", "se:s@me"]), Running::start(&[]));
    let open = redis::Client::open(format!("redis://:se%3As%40me@{}", old.addr)).expect("an address");
    let mut theirs = open.get_connection().expect("a server");
    for number in 0..3 {
        ask(&mut theirs, &format!("XADD auth:session:s3cret{number} * a 1"));
    }
    ask(&mut theirs, "SET plain 1");
    ask(&mut theirs, "SET auth:session:s3cret-token {} PX 600000");
    let address = format!("redis://:se%3As%40me@{}", old.addr);
    let (code, said, errors) = run(&["import", &address, "--into", &url(server.resp)]);
    assert_eq!((code, said.as_str()), (Some(3), ""));
    assert!(errors.contains("2 keys copied; 3 of type stream not copied"), "{errors}");
    assert!(!errors.contains("s3cret") && errors.lines().count() == 1, "{errors}");
    let mut ours = client(server.resp);
    assert_eq!(ask(&mut ours, "GET auth:session:s3cret-token"), Value::BulkString(b"{}".to_vec()));

    let (code, _, errors) = run(&["import", &url(old.addr), "--into", &url(server.resp)]);
    assert!(code == Some(1) && errors.contains("NOAUTH") && errors.contains("user:password@"), "{errors}");
    let (code, _, errors) = run(&["import", "redis://127.0.0.1:1", "--into", &url(server.resp)]);
    assert!(code == Some(1) && errors.contains("is a server running there?"), "{errors}");
    let (code, _, errors) = run(&["import", "localhost"]);
    assert!(code == Some(2) && errors.contains("redis://"), "{errors}");
}

#[test]
fn a_redis_moves_into_a_snapshot() {
    let (dir, old) = (tempfile::tempdir().expect("a directory"), Redis::start(&[]));
    let mut theirs = client(old.addr);
    fill(&mut theirs);
    ask(&mut theirs, "SET auth:session:s3cret-token {} PX 600000");
    let file = dir.path().join("cloakroom.rdb");
    let file_text = file.to_str().expect("letters");
    assert_eq!(run(&["import", &url(old.addr), "--into", file_text]).0, Some(0));
    let bytes = std::fs::read(&file).expect("a snapshot");
    assert!(memchr::memmem::find(&bytes, b"s3cret").is_none());
    let (code, _, errors) = run(&["import", &url(old.addr), "--into", file_text]);
    assert!(code == Some(1) && errors.contains("--replace overwrites it"), "{errors}");
    let server = Running::start(&[("dir", dir.path().to_str().expect("letters"))]);
    let mut ours = client(server.resp);
    assert_eq!(ask(&mut ours, "GET auth:session:s3cret-token"), Value::BulkString(b"{}".to_vec()));
    ask(&mut theirs, "DEL auth:session:s3cret-token");
    ask(&mut ours, "DEL auth:session:s3cret-token");
    assert_eq!(all(&mut ours), all(&mut theirs));
}
