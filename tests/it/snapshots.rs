//! A restart keeps what there was, in files that Redis reads too; and what is broken is refused whole.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redis::{Cmd, Connection, Value};

use crate::binary::{Binary, run};
use crate::support::{PATIENCE, Redis, Running, until};

/// A client that speaks to either server.
pub fn client(address: std::net::SocketAddr) -> Connection {
    let client = redis::Client::open(format!("redis://{address}")).expect("an address");
    client.get_connection_with_timeout(PATIENCE).expect("a server")
}

/// Asks one thing, the words of which are separated by spaces.
pub fn ask(client: &mut Connection, line: &str) -> Value {
    let mut command = Cmd::new();
    line.split(' ').for_each(|word| {
        command.arg(word);
    });
    command.query(client).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn refusal(client: &mut Connection, line: &str) -> String {
    let mut command = Cmd::new();
    line.split(' ').for_each(|word| {
        command.arg(word);
    });
    command.query::<Value>(client).expect_err(line).to_string()
}

/// Every type, small and large, in both of the first databases, with deadlines and without.
pub fn fill(client: &mut Connection) {
    for db in [0, 3] {
        ask(client, &format!("SELECT {db}"));
        for line in [
            "SET empty-ish x",
            "SET number 12345",
            "SET negative -7",
            "SET dies hello PX 600000",
            "SET huge-number 9223372036854775807",
            "RPUSH list a b 3 -4 70000",
            "SADD intset 1 2 3 -400000",
            "SADD set a b 3",
            "ZADD zset 1 a -2.5 b inf c 0.1 d",
            "HSET hash f v n 1",
            "PEXPIRE hash 700000",
        ] {
            ask(client, line);
        }
        let long = "the same again and again ".repeat(800);
        Cmd::new().arg("SET").arg("long").arg(&long).query::<Value>(client).expect("set");
        let bytes: Vec<u8> = (0..=255).cycle().take(70_000).map(|byte: u16| (byte * 7) as u8).collect();
        Cmd::new().arg("SET").arg(b"by\0tes\r\n".as_slice()).arg(&bytes).query::<Value>(client).expect("set");
        let mut pipe = redis::pipe();
        for number in 0..700 {
            pipe.cmd("HSET").arg("large-hash").arg(format!("f{number}")).arg(format!("value {number}"));
            pipe.cmd("SADD").arg("large-set").arg(format!("member {number}"));
            pipe.cmd("SADD").arg("large-intset").arg(number * 1_000_003);
            pipe.cmd("ZADD").arg("large-zset").arg(f64::from(number) / 3.0).arg(format!("m{number}"));
            pipe.cmd("RPUSH").arg("large-list").arg(number).arg(format!("element {number}"));
        }
        pipe.cmd("RPUSH").arg("large-list").arg("x".repeat(20_000));
        pipe.query::<Value>(client).expect("a pipeline");
    }
    ask(client, "SELECT 0");
}

/// All that a server holds, each value in an order of its own, with whether it has a deadline.
pub fn all(client: &mut Connection) -> BTreeMap<(usize, Vec<u8>), (String, bool)> {
    let mut found = BTreeMap::new();
    for db in [0, 3] {
        ask(client, &format!("SELECT {db}"));
        let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query(client).expect("keys");
        for key in keys {
            let kind: String = redis::cmd("TYPE").arg(&key).query(client).expect("a type");
            let words: &[&str] = match kind.as_str() {
                "string" => &["GET"],
                "list" => &["LRANGE", "0", "-1"],
                "set" => &["SMEMBERS"],
                "hash" => &["HGETALL"],
                "zset" => &["ZRANGE", "0", "-1", "WITHSCORES"],
                other => panic!("{other}"),
            };
            let mut command = redis::cmd(words[0]);
            command.arg(&key);
            words[1..].iter().for_each(|word| {
                command.arg(word);
            });
            let value: Value = command.query(client).expect("a value");
            let mut shown = match (&value, kind.as_str()) {
                (Value::Array(members), "set") => members.iter().map(|value| format!("{value:?}")).collect(),
                (Value::Array(pairs), "hash") => pairs.chunks(2).map(|pair| format!("{pair:?}")).collect(),
                (value, _) => vec![format!("{value:?}")],
            };
            shown.sort();
            let left: i64 = redis::cmd("PTTL").arg(&key).query(client).expect("a ttl");
            assert!(left == -1 || (500_000..=700_000).contains(&left), "{left} ms are left");
            found.insert((db, key), (format!("{kind} {shown:?}"), left != -1));
        }
    }
    ask(client, "SELECT 0");
    found
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of letters")
}

/// A server whose snapshot lies in a directory.
fn start(dir: &Path) -> Running {
    Running::start(&[("dir", text(dir)), ("enable-debug-command", "yes")])
}

/// Why a server does not start from a directory.
fn refused(dir: &Path) -> String {
    let mut config = cloakroom::Config::default();
    for (name, value) in [("port", "0"), ("http-port", "0"), ("workers", "1"), ("dir", text(dir))] {
        config.set(name, value).expect("known");
    }
    match cloakroom::Server::bind(config) {
        Ok(_) => panic!("it starts"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_server_that_will_write_snapshots_has_its_key_beside_them_from_the_start() {
    let with = Binary::start(&["--save", "3600 1"]);
    assert!(with.home.path().join("cloakroom.key").exists());
    let without = Binary::start(&[]);
    assert!(!without.home.path().join("cloakroom.key").exists(), "nothing is written that nobody asked for");
}

#[test]
fn a_restart_finds_all_there_was() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = start(dir.path());
    let mut before = client(server.resp);
    fill(&mut before);
    ask(&mut before, "SET auth:session:s3cret-token {\"user\":1} PX 600000");
    let there = all(&mut before);
    ask(&mut before, "SET dead x PX 1");
    ask(&mut before, "SAVE");
    server.stop();

    let file = dir.path().join("cloakroom.rdb");
    let bytes = std::fs::read(&file).expect("a snapshot");
    assert!(memchr::memmem::find(&bytes, b"s3cret").is_none(), "a token lies in the snapshot");
    for path in [file, dir.path().join("cloakroom.key")] {
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
    let server = start(dir.path());
    let mut after = client(server.resp);
    let again = all(&mut after);
    assert_eq!(again.len(), there.len());
    assert_eq!(again, there);
    assert_eq!(ask(&mut after, "GET auth:session:s3cret-token"), Value::BulkString(b"{\"user\":1}".to_vec()));
    let info: String = redis::cmd("INFO").arg("persistence").query(&mut after).expect("text");
    assert!(
        info.contains("rdb_changes_since_last_save:0\r\n") && info.contains("rdb_last_load_keys_loaded:35\r\n"),
        "{info}"
    );
}

#[test]
fn who_signed_out_stays_out_and_without_the_key_nobody_is_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = start(dir.path());
    let mut before = client(server.resp);
    ask(&mut before, "SET auth:session:gone x");
    ask(&mut before, "SET auth:session:stays x");
    ask(&mut before, "DEL auth:session:gone");
    ask(&mut before, "SAVE");
    server.stop();

    let server = start(dir.path());
    let mut after = client(server.resp);
    assert!(refusal(&mut after, "SET auth:session:gone y").contains("FENCED"));
    assert_eq!(ask(&mut after, "EXISTS auth:session:stays"), Value::Int(1));
    server.stop();

    let key = dir.path().join("cloakroom.key");
    std::fs::rename(&key, dir.path().join("elsewhere")).expect("moved");
    let why = refused(dir.path());
    assert!(why.contains("another key") && why.contains(text(&key)) && why.lines().count() == 1, "{why}");
    std::fs::rename(dir.path().join("elsewhere"), &key).expect("moved");
    start(dir.path()).stop();
}

#[test]
fn redis_reads_our_snapshots_and_its_checker_passes_them() {
    for compressed in ["yes", "no"] {
        let dir = tempfile::tempdir().expect("a directory");
        let server = Running::start(&[("dir", text(dir.path())), ("rdbcompression", compressed)]);
        let mut ours = client(server.resp);
        fill(&mut ours);
        ask(&mut ours, "DEL auth:session:gone");
        ask(&mut ours, "SAVE");
        let file = dir.path().join("cloakroom.rdb");
        let checked = Command::new("redis-check-rdb").arg(&file).output().expect("tests/tools.sh gets it");
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(checked.status.success() && said.contains("RDB looks OK"), "{said}");
        let redis = Redis::start(&["--dir", text(dir.path()), "--dbfilename", "cloakroom.rdb"]);
        let mut theirs = client(redis.addr);
        assert_eq!(all(&mut theirs), all(&mut ours), "compressed: {compressed}");
    }
}

#[test]
fn we_read_the_snapshots_of_redis_and_refuse_what_we_have_not() {
    let dir = tempfile::tempdir().expect("a directory");
    for compressed in ["yes", "no"] {
        let dir_text = text(dir.path());
        let redis = Redis::start(&["--dir", dir_text, "--dbfilename", "cloakroom.rdb", "--rdbcompression", compressed]);
        let mut theirs = client(redis.addr);
        ask(&mut theirs, "FLUSHALL");
        fill(&mut theirs);
        ask(&mut theirs, "SAVE");
        let server = start(dir.path());
        assert_eq!(all(&mut client(server.resp)), all(&mut theirs), "compressed: {compressed}");
        server.stop();
        ask(&mut theirs, "SELECT 9");
        ask(&mut theirs, "XADD stream * a 1");
        ask(&mut theirs, "SAVE");
        let why = refused(dir.path());
        assert!(why.contains("a stream") && why.contains("cloakroom import") && why.lines().count() == 1, "{why}");
    }
}

#[test]
fn what_is_damaged_is_refused_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = start(dir.path());
    let mut before = client(server.resp);
    fill(&mut before);
    ask(&mut before, "SAVE");
    server.stop();
    let file = dir.path().join("cloakroom.rdb");
    let good = std::fs::read(&file).expect("a snapshot");
    let mut dice = 20_260_101u64;
    for round in 0..40 {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = (dice >> 33) as usize % good.len();
        let mut bad = good.clone();
        match round % 4 {
            0 => bad.truncate(at),
            _ => bad[at] ^= 1 << (dice >> 20 & 7),
        }
        std::fs::write(&file, &bad).expect("written");
        let why = refused(dir.path());
        assert!(why.contains("is not loaded") && why.lines().count() == 1, "round {round}, byte {at}: {why}");
    }
    std::fs::write(&file, [&b"REDIS0099"[..], &good[9..]].concat()).expect("written");
    assert!(refused(dir.path()).contains("its version is 99"));
    std::fs::write(&file, &good).expect("written");
    start(dir.path()).stop();
}

#[test]
fn a_kill_in_the_middle_of_a_write_leaves_the_snapshot_before_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let binary = Binary::start(&["--dir", text(dir.path()), "--rdbcompression", "no", "--rdb-key-save-delay", "300"]);
    let mut writer = client(binary.resp);
    ask(&mut writer, "SET old 1");
    ask(&mut writer, "SAVE");
    let mut pipe = redis::pipe();
    for number in 0..20_000 {
        pipe.cmd("SET").arg(format!("new{number}")).arg("x".repeat(100));
    }
    pipe.query::<Value>(&mut writer).expect("a pipeline");
    ask(&mut writer, "BGSAVE");
    assert!(refusal(&mut writer, "BGSAVE").contains("already in progress"));
    let fresh = dir.path().join("cloakroom.rdb.tmp");
    until("something is written", || std::fs::metadata(&fresh).is_ok_and(|data| data.len() > 0));
    binary.signal("KILL");
    binary.ended();
    assert!(fresh.exists());

    let server = start(dir.path());
    let mut after = client(server.resp);
    assert_eq!(ask(&mut after, "DBSIZE"), Value::Int(1));
    ask(&mut after, "SAVE");
    assert!(!fresh.exists());
}

#[test]
fn what_lives_all_the_while_is_in_a_snapshot_that_is_taken_while_others_write() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Running::start(&[("dir", text(dir.path())), ("rdb-key-save-delay", "10")]);
    let mut own = client(server.resp);
    let mut pipe = redis::pipe();
    for number in 0..20_000 {
        pipe.cmd("SET").arg(format!("stays{number}")).arg(0);
    }
    pipe.query::<Value>(&mut own).expect("a pipeline");
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let (ends, address) = (&ends, server.resp);
            scope.spawn(move || {
                let mut own = client(address);
                let mut number = writer;
                while !ends.load(Ordering::Relaxed) {
                    let mut pipe = redis::pipe();
                    for _ in 0..50 {
                        number = (number + 7) % 20_000;
                        pipe.cmd("INCR").arg(format!("stays{number}"));
                        pipe.cmd("SET").arg(format!("comes{number}")).arg(writer);
                        pipe.cmd("DEL").arg(format!("comes{}", (number + 10_000) % 20_000));
                    }
                    pipe.query::<Value>(&mut own).expect("a pipeline");
                }
            });
        }
        ask(&mut own, "SAVE");
        ask(&mut own, "BGSAVE");
        let patience = Instant::now() + 6 * PATIENCE;
        loop {
            let info: String = redis::cmd("INFO").arg("persistence").query(&mut own).expect("text");
            if info.contains("rdb_saves:2\r\n") {
                break;
            }
            assert!(Instant::now() < patience && info.contains("rdb_last_bgsave_status:ok"), "{info}");
            std::thread::sleep(Duration::from_millis(20));
        }
        ends.store(true, Ordering::Relaxed);
    });
    server.stop();
    let checked = Command::new("redis-check-rdb").arg(dir.path().join("cloakroom.rdb")).output().expect("installed");
    assert!(checked.status.success());
    let server = start(dir.path());
    let mut after = client(server.resp);
    let mut pipe = redis::pipe();
    for number in 0..20_000 {
        pipe.cmd("GET").arg(format!("stays{number}"));
    }
    let values: Vec<Option<u64>> = pipe.query(&mut after).expect("values");
    assert!(values.iter().all(Option::is_some), "{} are lost", values.iter().filter(|value| value.is_none()).count());
    // Redis itself refuses a file that has a key twice.
    let redis = Redis::start(&["--dir", text(dir.path()), "--dbfilename", "cloakroom.rdb"]);
    assert_eq!(ask(&mut client(redis.addr), "DBSIZE"), ask(&mut after, "DBSIZE"));
}

#[test]
fn a_snapshot_is_written_at_the_end_if_that_is_wanted() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("cloakroom.rdb");
    for (arguments, end, written) in [
        (&["--save", ""][..], "", false),
        (&["--save", "3600 1"], "SHUTDOWN NOSAVE", false),
        (&["--save", "3600 1", "--shutdown-on-sigterm", "nosave"], "", false),
        (&["--save", "3600 1"], "", true),
        (&["--shutdown-on-sigterm", "save"], "", true),
        (&["--save", ""], "SHUTDOWN SAVE", true),
    ] {
        // No file may be there that was not written by this round.
        let _ = std::fs::remove_file(&file);
        let binary = Binary::start(&[arguments, &["--dir", text(dir.path())]].concat());
        let mut own = client(binary.resp);
        ask(&mut own, "SET k v");
        match end {
            "" => binary.signal("TERM"),
            end => {
                let mut command = Cmd::new();
                end.split(' ').for_each(|word| {
                    command.arg(word);
                });
                // It answers by closing.
                let _ = command.query::<Value>(&mut own);
            }
        }
        let (code, said) = binary.ended();
        assert_eq!((code, file.exists()), (Some(0), written), "{arguments:?} {end}: {said}");
    }
}

#[test]
fn a_shutdown_does_not_wait_for_a_snapshot_that_is_being_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let binary = Binary::start(&["--dir", text(dir.path()), "--rdb-key-save-delay", "20000"]);
    let mut own = client(binary.resp);
    let mut pipe = redis::pipe();
    for number in 0..1_000 {
        pipe.cmd("SET").arg(number).arg(number);
    }
    pipe.query::<Value>(&mut own).expect("a pipeline");
    ask(&mut own, "BGSAVE");
    let fresh = dir.path().join("cloakroom.rdb.tmp");
    until("a file is begun", || fresh.exists());
    ask(&mut own, "CONFIG SET rdb-key-save-delay 0");
    // It answers by closing. The one under way would have taken twenty seconds.
    let _ = redis::cmd("SHUTDOWN").arg("SAVE").query::<Value>(&mut own);
    let (code, said) = binary.ended();
    assert_eq!((code, fresh.exists()), (Some(0), false), "{said}");
    let server = start(dir.path());
    assert_eq!(ask(&mut client(server.resp), "DBSIZE"), Value::Int(1_000));
}

#[test]
fn a_disk_that_takes_nothing_is_said_with_its_cure_and_the_old_snapshot_stays() {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = [
        ("dir", text(dir.path())),
        ("save", "3600 100"),
        ("stop-writes-on-bgsave-error", "yes"),
        ("enable-protected-configs", "yes"),
    ];
    let server = Running::start(&settings);
    let mut own = client(server.resp);
    ask(&mut own, "SET k v");
    ask(&mut own, "SAVE");
    let good = std::fs::read(dir.path().join("cloakroom.rdb")).expect("a snapshot");
    let nowhere = dir.path().join("nowhere");
    ask(&mut own, &format!("CONFIG SET dir {}", text(&nowhere)));
    let why = refusal(&mut own, "SAVE");
    assert!(why.contains("make that directory"), "{why}");
    let info: String = redis::cmd("INFO").arg("persistence").query(&mut own).expect("text");
    assert!(info.contains("rdb_last_bgsave_status:err\r\n"), "{info}");
    assert!(refusal(&mut own, "SET k w").contains("MISCONF"));
    assert_eq!(ask(&mut own, "GET k"), Value::BulkString(b"v".to_vec()));
    assert!(refusal(&mut own, "SHUTDOWN").contains("Errors trying to SHUTDOWN"));
    ask(&mut own, &format!("CONFIG SET dir {}", text(dir.path())));
    assert_eq!(std::fs::read(dir.path().join("cloakroom.rdb")).expect("a snapshot"), good);
    ask(&mut own, "SAVE");
    ask(&mut own, "SET k w");
    server.stop();
    let (code, _, said) = run(&["--port", "0", "--http-port", "0", "--dir", text(&nowhere)]);
    assert!(code == Some(1) && said.contains("does not exist: make it") && said.lines().count() == 1, "{said}");
}

#[test]
fn nobody_waits_for_anothers_save() {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = [("dir", text(dir.path())), ("rdb-key-save-delay", "200000"), ("workers", "1")];
    let server = Running::start(&settings);
    let mut other = client(server.resp);
    (0..200).for_each(|at| drop(ask(&mut other, &format!("SET key{at} x"))));
    let resp = server.resp;
    let saver = std::thread::spawn(move || {
        let mut saver = client(resp);
        ask(&mut saver, "SAVE")
    });
    let is_saving = |client: &mut Connection| {
        let info: String = redis::cmd("INFO").arg("persistence").query(client).expect("text");
        info.contains("rdb_bgsave_in_progress:1")
    };
    until("one is being written", || is_saving(&mut other));
    assert!(refusal(&mut other, "SAVE").contains("already in progress"));
    ask(&mut other, "SET key0 y");
    assert!(is_saving(&mut other), "it takes forty seconds");
    ask(&mut other, "CONFIG SET rdb-key-save-delay 0");
    assert_eq!(saver.join().expect("no panic"), Value::Okay);
    assert!(!is_saving(&mut other) && dir.path().join("cloakroom.rdb").exists());
}
