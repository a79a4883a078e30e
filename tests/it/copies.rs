//! `cloakroom import` and `cloakroom export` between real servers.

use redis::Value;

use crate::binary::run;
use crate::snapshots::{all, ask, client, fill};
use crate::support::{Redis, Running};

fn url(address: std::net::SocketAddr) -> String {
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
