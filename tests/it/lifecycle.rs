//! How the binary starts where it has little, and how it ends while it is busy.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::binary::{Binary, Launch, PLAIN, PROGRAM};
use crate::support::{PATIENCE, Peer, Running, until};

/// How long it may take to its end: what its clients have for theirs, and what a busy machine takes.
const END_MAX: Duration = Duration::from_secs(15);

// ---- the end ----------------------------------------------------------------------------------------------------

/// Requests that a client sends at once.
const BATCH: usize = 64;

/// Batches that a client may send before it has read their replies: eight megabytes.
const AHEAD_MAX: usize = 40;

/// How long the server waits for those who go on sending or do not read, and for those who say nothing any more. Whoever
/// takes longer may lose replies.
const HEARD_OUT: Duration = Duration::from_secs(2);
const QUIET: Duration = Duration::from_millis(300);

/// Writes on and on, in a thread of its own.
struct Writer {
    thread: JoinHandle<()>,
    silence: Arc<Mutex<Silence>>,
}

struct Silence {
    /// When the server was asked to end, before which silence means nothing.
    asked: Arc<OnceLock<Instant>>,
    /// When it wrote last, while it is not writing.
    since: Option<Instant>,
    longest: Duration,
}

impl Silence {
    fn end(&mut self) {
        if let (Some(since), Some(asked)) = (self.since.take(), self.asked.get()) {
            self.longest = self.longest.max(since.max(*asked).elapsed());
        }
    }
}

impl Writer {
    /// Writes this again and again, to the end of the connection.
    fn start(
        mut stream: TcpStream,
        bytes: String,
        asked: Arc<OnceLock<Instant>>,
        mut waits: impl FnMut(usize) + Send + 'static,
    ) -> Writer {
        let silence = Arc::new(Mutex::new(Silence { asked, since: None, longest: Duration::ZERO }));
        let shared = silence.clone();
        let thread = std::thread::spawn(move || {
            for written in 1.. {
                shared.lock().end();
                if stream.write_all(bytes.as_bytes()).is_err() {
                    return;
                }
                shared.lock().since = Some(Instant::now());
                waits(written);
            }
        });
        Writer { thread, silence }
    }

    /// Whether it has been silent for so long that the server could take it for one that has no more to say.
    fn was_quiet(&self) -> bool {
        let mut silence = self.silence.lock();
        silence.end();
        silence.longest > QUIET * 2 / 3
    }

    fn join(self) {
        self.thread.join().expect("a writer");
    }
}

/// Reads everything to the end, in good order or not.
fn to_the_end(peer: &mut Peer) -> Vec<u8> {
    let (mut bytes, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        match peer.0.read(&mut piece) {
            Ok(0) => return bytes,
            Ok(got) => bytes.extend_from_slice(&piece[..got]),
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::WouldBlock, "neither an answer nor an end");
                return bytes;
            }
        }
    }
}

/// A busy binary that is asked to end by these signals, one after the other.
fn ends_well_under_load(signals: &[&str]) {
    let binary = Binary::start(&["--workers", "2", "--session-prefix", "auth:session:"]);
    let value = "v".repeat(3_000);
    let session = r#"{"user":{"name":"alice"},"expires":"2099-01-01T00:00:00.000Z"}"#;
    let mut setter = Peer::connect(binary.resp);
    setter.send(format!("SET k {value}\r\n")).hears("+OK\r\n");
    setter.send(format!("SET auth:session:alice '{session}' EX 1000\r\n")).hears("+OK\r\n");
    let (started, answered) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let asked = Arc::new(OnceLock::<Instant>::new());
    // On a machine that is too busy to read for so long.
    let is_too_late = {
        let asked = asked.clone();
        move || asked.get().is_some_and(|asked| asked.elapsed() >= HEARD_OUT)
    };
    let reply = format!("$3000\r\n{value}\r\n");
    let request = "GET k\r\n".repeat(BATCH);
    let resp = (0..3).map(|number| {
        let mut peer = Peer::connect(binary.resp);
        let (reply, request, answered, started) = (reply.clone(), request.clone(), answered.clone(), started.clone());
        let (is_too_late, asked) = (is_too_late.clone(), asked.clone());
        std::thread::spawn(move || {
            // One writes on and on and reads in a thread of its own, as a pipelining client does, but is never so far ahead that
            // it would be cut off for what it has not read.
            let read = Arc::new(AtomicUsize::new(0));
            let writer = (number == 0).then(|| {
                let (stream, read) = (peer.0.try_clone().expect("a socket"), read.clone());
                Writer::start(stream, request, asked, move |written| {
                    while written > read.load(Ordering::Relaxed) + AHEAD_MAX {
                        std::thread::yield_now();
                    }
                })
            });
            let mut bytes = Vec::new();
            let request = "GET k\r\n".repeat(BATCH);
            loop {
                if writer.is_none() && peer.0.write_all(request.as_bytes()).is_err() {
                    break;
                }
                let mut batch = vec![0; reply.len() * BATCH];
                let mut filled = 0;
                while filled < batch.len() {
                    match peer.0.read(&mut batch[filled..]) {
                        Ok(0) | Err(_) => break,
                        Ok(got) => filled += got,
                    }
                }
                bytes.clear();
                bytes.extend_from_slice(&batch[..filled]);
                if filled < batch.len() {
                    break;
                }
                assert!(batch == reply.repeat(BATCH).as_bytes(), "a wrong answer");
                answered.fetch_add(BATCH, Ordering::Relaxed);
                if read.fetch_add(1, Ordering::Relaxed) == 0 {
                    started.fetch_add(1, Ordering::Relaxed);
                }
            }
            bytes.extend(to_the_end(&mut peer));
            let is_excused = is_too_late() || writer.as_ref().is_some_and(Writer::was_quiet);
            drop(peer);
            // From here on the writer only waits for the end.
            read.store(usize::MAX / 2, Ordering::Relaxed);
            if let Some(writer) = writer {
                writer.join();
            }
            // What came last is whole replies and nothing else.
            let cut = bytes.len() % reply.len();
            assert!(cut == 0 || is_excused, "a reply was cut after {cut} bytes");
            bytes.truncate(bytes.len() - cut);
            assert!(bytes == reply.repeat(bytes.len() / reply.len()).as_bytes(), "a wrong answer at the end");
        })
    });
    let http = (0..2).map(|number| {
        let mut peer = Peer::connect(binary.http);
        // The plain path, and hyper's.
        let path = ["/api/auth/session", "/healthz"][number];
        let (answered, started, is_too_late) = (answered.clone(), started.clone(), is_too_late.clone());
        std::thread::spawn(move || {
            let ask = format!("GET {path} HTTP/1.1\r\nHost: a\r\nCookie: next-auth.session-token=alice\r\n\r\n");
            let mut peers = 0;
            loop {
                if peer.0.write_all(ask.repeat(8).as_bytes()).is_err() {
                    break;
                }
                let (mut answers, mut bytes, mut piece) = (0, Vec::new(), [0; 16 * 1024]);
                while answers < 8 {
                    match peer.0.read(&mut piece) {
                        Ok(0) | Err(_) => break,
                        Ok(got) => bytes.extend_from_slice(&piece[..got]),
                    }
                    let text = String::from_utf8_lossy(&bytes);
                    answers = text.matches("HTTP/1.1 200 OK\r\n").count();
                    let ends = if path == "/healthz" { "ok\n" } else { "000Z\"}" };
                    if !text.ends_with(ends) {
                        answers = answers.saturating_sub(1);
                    }
                }
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let is_cut = text.matches("HTTP/1.1 ").count() != answers;
                assert!(!is_cut || is_too_late(), "an answer was cut: {text}");
                answered.fetch_add(answers, Ordering::Relaxed);
                if peers == 0 && answers > 0 {
                    started.fetch_add(1, Ordering::Relaxed);
                }
                peers += answers;
                if answers < 8 {
                    break;
                }
            }
            assert!(peers > 0, "no answer at all");
        })
    });
    let mut threads: Vec<_> = resp.chain(http.collect::<Vec<_>>()).collect();
    let mut flood = Peer::connect(binary.http);
    flood.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").hears("HTTP/1.1 200 OK\r\n");
    let asked_then = asked.clone();
    threads.push(std::thread::spawn(move || {
        let ask =
            "GET /api/auth/session HTTP/1.1\r\nHost: a\r\nCookie: next-auth.session-token=alice\r\n\r\n".repeat(50);
        let writer = Writer::start(flood.0.try_clone().expect("a socket"), ask, asked_then, |_| ());
        let bytes = to_the_end(&mut flood);
        let is_excused = is_too_late() || writer.was_quiet();
        drop(flood);
        writer.join();
        let text = String::from_utf8_lossy(&bytes);
        let (begun, whole) = (text.matches("HTTP/1.1 200 OK\r\n").count(), text.matches("000Z\"}").count());
        // The end of the answer to the first question may be what came last.
        let is_whole = begun == 0 || text.ends_with("000Z\"}");
        assert!(begun == whole && is_whole || is_excused, "{begun} answers begun, {whole} whole");
    }));
    let idle = Peer::connect(binary.resp);
    until("each has an answer", || started.load(Ordering::Relaxed) == 5);
    std::thread::sleep(Duration::from_millis(300));
    let before = answered.load(Ordering::Relaxed);
    let asked = *asked.get_or_init(Instant::now);
    for signal in signals {
        binary.signal(signal);
        std::thread::sleep(Duration::from_millis(20));
    }
    for thread in threads {
        thread.join().expect("whole answers");
    }
    let (code, said) = binary.ended();
    println!("{signals:?} after {before} answers in 0.3 s: ended in {:?}", asked.elapsed());
    assert_eq!(code, Some(0), "{said}");
    assert!(asked.elapsed() < END_MAX, "it took {:?}", asked.elapsed());
    drop(idle);
}

#[test]
fn under_load_it_ends_with_whole_answers() {
    ends_well_under_load(&["TERM"]);
}

#[test]
fn asked_to_end_twice_it_ends_once_and_well() {
    ends_well_under_load(&["TERM", "TERM", "INT"]);
}

#[test]
fn who_neither_reads_nor_leaves_does_not_keep_it() {
    let binary = Binary::start(&[]);
    let value = "v".repeat(1 << 20);
    let mut deaf = Peer::connect(binary.resp);
    deaf.send(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048576\r\n{value}\r\n")).hears("+OK\r\n");
    deaf.send("GET k\r\n".repeat(20));
    let mut waiting = Peer::connect(binary.resp);
    waiting.send("BLPOP l 0\r\n");
    let mut half = Peer::connect(binary.http);
    half.send("GET /healthz HTTP/1.1\r\nHost");
    std::thread::sleep(Duration::from_millis(200));
    let asked = Instant::now();
    binary.signal("TERM");
    assert_eq!(binary.ended().0, Some(0));
    assert!(asked.elapsed() < END_MAX, "it took {:?}", asked.elapsed());
    assert_eq!(waiting.rest(), b"");
}

#[test]
fn a_script_without_end_does_not_keep_it() {
    let binary = Binary::start(&["--workers", "2"]);
    let mut scripts = Peer::connect(binary.resp);
    scripts.send("EVAL \"redis.call('SET', 'a', 1) while true do end\" 0\r\n");
    std::thread::sleep(Duration::from_millis(200));
    let asked = Instant::now();
    binary.signal("TERM");
    let (code, said) = binary.ended();
    println!("a script without end: ended in {:?}", asked.elapsed());
    assert_eq!(code, Some(0), "{said}");
    assert!(asked.elapsed() < END_MAX, "it took {:?}", asked.elapsed());
}

// ---- the start --------------------------------------------------------------------------------------------------

fn serves(binary: &Binary) {
    Peer::connect(binary.resp).send("SET a 1 EX 100\r\nGET a\r\nINFO server\r\n").hears("+OK\r\n$1\r\n1\r\n$");
    let mut info = Peer::connect(binary.resp);
    info.send("INFO everything\r\nMEMORY STATS\r\nQUIT\r\n");
    assert!(info.rest().len() > 4_000);
    let mut http = Peer::connect(binary.http);
    http.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(http.rest().starts_with(b"HTTP/1.1 200 OK\r\n"));
}

/// A client that has been let in. The place of one that has just left may not be free yet.
fn enter(door: std::net::SocketAddr, ask: &str, answer: &str) -> Peer {
    let patience = Instant::now() + PATIENCE;
    loop {
        let mut peer = Peer::connect(door);
        let mut heard = vec![0; answer.len()];
        if peer.0.write_all(ask.as_bytes()).is_ok()
            && peer.0.read_exact(&mut heard).is_ok()
            && heard == answer.as_bytes()
        {
            return peer;
        }
        assert!(Instant::now() < patience, "{:?} in place of {answer}", String::from_utf8_lossy(&heard));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn with_few_descriptors_it_starts_with_fewer_clients_and_says_so() {
    let binary = Binary::through("ulimit -n 256; exec \"$@\"", &[]);
    serves(&binary);
    let mut client = Peer::connect(binary.resp);
    client.send("CONFIG GET *maxclients\r\nQUIT\r\n");
    let said = String::from_utf8_lossy(&client.rest()).into_owned();
    let numbers: Vec<usize> = said.lines().filter_map(|line| line.parse().ok()).collect();
    let [resp, http] = numbers[..] else { panic!("{said}") };
    assert!((8..=200).contains(&resp) && (8..=200).contains(&http) && resp + http < 256, "{said}");
    // All of them at once, and one more over each protocol, while descriptors last.
    let ask = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let web: Vec<Peer> = (0..http).map(|_| enter(binary.http, ask, "HTTP/1.1 200 OK\r\n")).collect();
    assert!(Peer::connect(binary.http).rest().starts_with(b"HTTP/1.1 503 "));
    let peers: Vec<Peer> = (0..resp).map(|_| enter(binary.resp, "PING\r\n", "+PONG\r\n")).collect();
    assert_eq!(Peer::connect(binary.resp).rest(), b"-ERR max number of clients reached\r\n");
    drop((web, peers));
    binary.signal("TERM");
    let (code, said) = binary.ended();
    assert_eq!(code, Some(0));
    let warned = said.lines().filter(|line| line.contains("WARN")).collect::<Vec<_>>();
    assert!(warned.len() == 1 && warned[0].contains("256 open files") && warned[0].contains("maxclients"), "{said}");
}

#[test]
fn with_hardly_any_descriptors_it_says_how_many_it_needs() {
    let script = "ulimit -n 40; exec \"$0\" --port 0 --http-port 0";
    let output = Launch::of("sh").args(["-c", script, PROGRAM]).output().expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("40 open files") && said.contains("ulimit -n"), "{said}");
}

/// Runs the binary by a program that takes something away from it, if that program may: as root, on Linux.
fn without(program: &[&str], arguments: &[&str]) -> Option<Binary> {
    let tried = Command::new(program[0]).args(&program[1..]).arg("true").stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        eprintln!("left out, as this system does not let us: {}", program.join(" "));
        return None;
    }
    // Where it was built may be closed to others.
    let folder = tempfile::tempdir().expect("a folder");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("our own folder");
    let copy = folder.path().join("cloakroom");
    // By another process: what this one has open for writing a child of another test's may have too, and then nobody can run it.
    assert!(Command::new("cp").arg(PROGRAM).arg(&copy).status().is_ok_and(|status| status.success()), "a copy");
    let mut command = Launch::of(program[0]);
    command.args(&program[1..]).arg(copy).args(["--port", "0", "--http-port", "0"]).args(arguments);
    command.current_dir("/").env_clear();
    Some(Binary::of(command, PLAIN))
}

#[test]
fn it_needs_no_proc_no_disk_to_write_to_and_no_rights() {
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"];
    let no_proc = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /proc && exec \"$@\"", "sh"];
    let read_only = ["unshare", "--mount", "sh", "-c", "mount -o remount,bind,ro / && exec \"$@\"", "sh"];
    for program in [&nobody[..], &no_proc, &read_only] {
        let Some(binary) = without(program, &[]) else { continue };
        serves(&binary);
        binary.signal("TERM");
        let (code, said) = binary.ended();
        assert_eq!(code, Some(0), "{program:?}: {said}");
        assert!(!said.contains("panicked") && !said.contains("ERROR"), "{program:?}: {said}");
    }
}

/// They hold hashes of passwords, or passwords.
#[test]
fn what_a_command_writes_down_is_for_the_servers_owner_unless_it_was_for_others() {
    use std::fs::{Permissions, metadata, remove_file, set_permissions, write};

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("users.acl");
    let mode = || metadata(&file).expect("a file").permissions().mode() & 0o777;
    write(&file, "user default on nopass ~* &* +@all\n").expect("a file");
    set_permissions(&file, Permissions::from_mode(0o640)).expect("its mode");
    let dir = folder.path().to_str().expect("a plain path");
    let server = Running::start(&[("dir", dir), ("aclfile", "users.acl")]);
    let mut client = server.client();
    client.send("ACL SETUSER eve on >pw\r\nACL SAVE\r\n").hears("+OK\r\n+OK\r\n");
    assert_eq!(mode(), 0o640);
    remove_file(&file).expect("a file");
    client.send("ACL SAVE\r\n").hears("+OK\r\n");
    assert_eq!(mode(), 0o600);
}
