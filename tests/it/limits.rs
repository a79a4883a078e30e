//! What one client may take, and what a house full of them: clients that send slowly, read slowly, say nothing, or come
//! all at once.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cloakroom::net::Patience;

use crate::binary::Binary;
use crate::browser::ask;
use crate::support::{Bound, PATIENCE, Peer, Running, until};

/// What a server says of each of its clients.
fn clients(resp: SocketAddr, login: &str) -> String {
    let mut asker = Peer::connect(resp);
    asker.send(format!("{login}CLIENT LIST\r\nQUIT\r\n"));
    String::from_utf8_lossy(&asker.rest()).into_owned()
}

/// The largest of a number in CLIENT LIST, and how many rows have one.
fn largest(list: &str, field: &str) -> usize {
    let field = format!(" {field}=");
    let numbers = list.lines().filter_map(|line| line.split_once(&field)).map(|(_, rest)| rest.split(' ').next());
    numbers.filter_map(|number| number?.parse().ok()).max().unwrap_or_default()
}

/// Takes what has come, without waiting, and tells whether the other end has closed.
fn has_ended(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

// ---- what one client may take ---------------------------------------------------------------------------------

#[test]
fn who_has_not_logged_in_takes_64_kb_in_each_direction_at_most() {
    let binary = Binary::start(&["--requirepass", "secret"]);
    let before = binary.memory("VmRSS:");
    const STRANGERS: usize = 100;
    let request =
        [&b"*4\r\n$5\r\nHELLO\r\n"[..], b"$16000\r\n", &[b'p'; 16_002], b"$16000\r\n", &[b'p'; 16_002]].concat();
    let mut strangers: Vec<Peer> = (0..STRANGERS).map(|_| Peer::connect(binary.resp)).collect();
    for stranger in &mut strangers {
        stranger.send(&request).send(b"$15000\r\nabc");
    }
    until("all have been read", || {
        clients(binary.resp, "AUTH secret\r\n").matches(" qbuf=32046 ").count() == STRANGERS
    });
    let grown = binary.memory("VmRSS:").saturating_sub(before);
    assert!(grown < STRANGERS * 72 * 1024 + (2 << 20), "{grown} bytes for {STRANGERS}");
    for stranger in &mut strangers {
        stranger.send([b'p'; 14_999]).hears("-");
    }

    // What they do not read.
    strangers.truncate(5);
    for stranger in &mut strangers {
        *stranger = Peer::connect(binary.resp);
        stranger.0.set_nonblocking(true).expect("a socket");
    }
    let requests = "PING\r\n".repeat(10_000);
    let mut most = 0;
    for _ in 0..500 {
        strangers.retain_mut(|stranger| match stranger.0.write(requests.as_bytes()) {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        });
        most = most.max(largest(&clients(binary.resp, "AUTH secret\r\n"), "omem"));
        if strangers.is_empty() {
            break;
        }
    }
    assert!(strangers.is_empty(), "{} are still there", strangers.len());
    assert!(most <= 64 * 1024, "{most} bytes of replies were kept for one");
}

#[test]
fn who_never_logs_in_is_closed_whatever_it_says() {
    let short = Duration::from_secs(1);
    let patience = Patience { stranger: short, login: 2 * short, ..Patience::default() };
    let server = Running::with_patience(patience, &[("requirepass", "secret")]);
    let (mut chatty, mut known) = (server.client(), server.client());
    known.send("AUTH secret\r\n").hears("+OK\r\n");
    let (began, mut last, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
    while chatty.0.write_all(b"PING\r\n").is_ok() {
        longest = longest.max(last.elapsed());
        last = Instant::now();
        assert!(began.elapsed() < PATIENCE, "it may go on for ever");
        std::thread::sleep(short / 20);
    }
    // On a busy machine it may have been silent for too long.
    assert!(began.elapsed() >= 2 * short - short / 10 || longest.max(last.elapsed()) >= short / 2, "{longest:?}");
    known.send("PING\r\n").hears("+PONG\r\n");
    // Who logs out has as long as who comes.
    known.send("RESET\r\nAUTH secret\r\nPING\r\n").hears("+RESET\r\n+OK\r\n+PONG\r\n");
}

#[test]
fn a_million_large_replies_that_nobody_reads_cost_32_mb_and_the_client() {
    let binary = Binary::start(&[]);
    let mut setter = Peer::connect(binary.resp);
    let value = vec![b'v'; 1 << 20];
    setter
        .send(format!("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n${}\r\n", value.len()))
        .send(value)
        .send("\r\n")
        .hears("+OK\r\n");
    let before = binary.memory("VmHWM:");
    let mut greedy = Peer::connect(binary.resp);
    let requests = "GET big\r\n".repeat(10_000);
    let mut most = 0;
    let cut = (0..100).any(|_| {
        let refused = greedy.0.write_all(requests.as_bytes()).is_err();
        most = most.max(largest(&clients(binary.resp, ""), "omem"));
        refused
    });
    assert!(cut, "it may have a terabyte");
    assert!(most <= 34 << 20, "{most} bytes of replies were kept");
    let grown = binary.memory("VmHWM:").saturating_sub(before);
    println!("unread replies: memory grew by {} MB at most", grown >> 20);
    assert!(grown < 96 << 20, "{grown} bytes at the worst moment");
    let mut stats = Peer::connect(binary.resp);
    stats.send("INFO stats\r\nQUIT\r\n");
    let said = String::from_utf8_lossy(&stats.rest()).into_owned();
    assert!(said.contains("client_output_buffer_limit_disconnections:1\r\n"), "{said}");
}

/// What a pop has taken out is nowhere else: by itself it cuts nobody, and what its client reads keeps it for as long as it
/// takes.
#[test]
fn one_large_reply_is_read_however_slowly() {
    let server = Running::start(&[("client-output-buffer-limit", "normal 1mb 512kb 1")]);
    let mut client = server.client();
    let value = vec![b'v'; 40 << 20];
    let set = format!("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n${}\r\n", value.len());
    client.send(set).send(&value).send("\r\n").hears("+OK\r\n");
    client.send("PING\r\nGETDEL big\r\nPING\r\n").hears("+PONG\r\n$41943040\r\n");
    let (began, mut got, mut piece) = (Instant::now(), 0, vec![0; 1 << 20]);
    while got < value.len() {
        let most = piece.len().min(value.len() - got);
        let len = client.0.read(&mut piece[..most]).expect("more of it");
        assert!(len > 0, "cut after {got} bytes");
        got += len;
        // Longer in all than the soft limit has seconds.
        if began.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    client.hears("\r\n+PONG\r\n");
    assert_eq!(server.engine.metrics.sums().output_limit_disconnections, 0);
    // Several are too many for who reads none, and so is one.
    let set = format!("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n${}\r\n", value.len());
    client.send(set).send(&value).send("\r\n").hears("+OK\r\n");
    let mut greedy = server.client();
    greedy.send("GET big\r\nGET big\r\n");
    until("it is cut", || server.engine.metrics.sums().output_limit_disconnections == 1);
    let mut deaf = server.client();
    deaf.send("GET big\r\n");
    until("it is cut", || server.engine.metrics.sums().output_limit_disconnections == 2);
}

#[test]
fn an_answer_over_http_grows_no_further_than_it_may() {
    let binary = Binary::start(&["--rest-token", "sesame"]);
    let mut setter = Peer::connect(binary.resp);
    // Six letters each in JSON.
    let value = vec![1; 20 << 20];
    setter
        .send(format!("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n${}\r\n", value.len()))
        .send(&value)
        .send("\r\n")
        .hears("+OK\r\n");
    let before = binary.memory("VmHWM:");
    let token = [("Authorization", "Bearer sesame")];
    let answer = ask(binary.http, "POST", "/redis", &token, r#"["GET","big"]"#);
    assert!(answer.status == 400 && answer.body.contains("longer than 64 MB"), "{}", answer.status);
    let grown = binary.memory("VmHWM:").saturating_sub(before);
    println!("too long an answer over HTTP: memory grew by {} MB at most", grown >> 20);
    // The reply, and an answer of 64 MB, which is copied as it grows. It was one of 120 MB, and 200 in all.
    assert!(grown < 130 << 20, "{grown} bytes at the worst moment");
}

#[test]
fn an_idle_client_is_closed_and_who_waits_or_listens_is_not() {
    let server = Running::start(&[("timeout", "1")]);
    let (mut idle, mut waiting, mut watching) = (server.client(), server.client(), server.client());
    idle.send("PING\r\n").hears("+PONG\r\n");
    waiting.send("BLPOP l 0\r\n");
    watching.send("MONITOR\r\n").hears("+OK\r\n");
    assert_eq!(idle.rest(), b"");
    std::thread::sleep(Duration::from_millis(1_500));
    let mut other = server.client();
    other.send("RPUSH l x\r\n").hears(":1\r\n");
    waiting.hears("*2\r\n$1\r\nl\r\n$1\r\nx\r\n").send("PING\r\n").hears("+PONG\r\n");
    let mut heard = [0; 1];
    watching.0.read_exact(&mut heard).expect("a monitor that is still there");
    // 0 is never, from one moment to the next.
    let mut patient = server.client();
    patient.send("CONFIG SET timeout 0\r\n").hears("+OK\r\n");
    std::thread::sleep(Duration::from_millis(2_500));
    patient.send("PING\r\n").hears("+PONG\r\n");
}

// ---- a house full of them -------------------------------------------------------------------------------------

/// What slow peers begin with, and what they send now and then: nothing, a request that never ends, a head that never
/// ends.
const SLOW: [(bool, &[u8], &[u8]); 7] = [
    (true, b"", b""),
    (true, b"*2\r\n$3\r\nGET\r\n$1000\r\n", b"x"),
    (true, b"GE", b"T"),
    (true, b"*1000000\r\n", b"$1\r\na\r\n"),
    (false, b"", b""),
    (false, b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-A: ", b"x"),
    (false, b"GET /api/auth/session HTTP/1.1\r\nHost: a\r\n", b"X: y\r\n"),
];

#[test]
fn five_thousand_slow_peers_are_closed_and_others_are_served_meanwhile() {
    let patience = Patience { first_byte: Duration::from_secs(1), head: Duration::from_secs(3), ..Patience::default() };
    let server = Running::with_patience(patience, &[]);
    // Both ends of them are in this process.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let count = usize::try_from(limit / 4).unwrap_or(5_000).min(5_000);
    assert!(count >= 200, "the limit of open files is too low for this test: {limit}");
    let mut peers: Vec<(usize, TcpStream)> = (0..count)
        .map(|number| {
            let (is_resp, first, _) = SLOW[number % SLOW.len()];
            let mut stream = Peer::connect(if is_resp { server.resp } else { server.http }).0;
            stream.write_all(first).expect("room for a little");
            stream.set_nonblocking(true).expect("a socket");
            (number % SLOW.len(), stream)
        })
        .collect();
    let (began, mut served, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    while !peers.is_empty() {
        assert!(began.elapsed() < 4 * PATIENCE, "{} are still there", peers.len());
        let asked = Instant::now();
        server.client().send("PING\r\n").hears("+PONG\r\n");
        let mut http = Peer::connect(server.http);
        http.send("GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert!(http.rest().starts_with(b"HTTP/1.1 200"));
        (served, slowest) = (served + 2, slowest.max(asked.elapsed()));
        peers.retain_mut(|(kind, stream)| {
            let _ = stream.write(SLOW[*kind].2);
            !has_ended(stream)
        });
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("{count} slow peers: {served} others were served meanwhile, two of them in {slowest:?} at worst");
    assert!(began.elapsed() >= Duration::from_secs(1) && served >= 4);
    assert_eq!(server.engine.metrics.sums().panics, 0);
}

#[test]
fn who_comes_while_nobody_accepts_is_held_by_the_kernel_and_served_then() {
    let bound = Bound::new(Patience::default(), &[]);
    // As many as the system lets one door hold; of more each would be dropped, and try again a second later.
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok().and_then(|text| text.trim().parse().ok());
    let count = most.unwrap_or(128).min(2_000);
    let doors = [bound.resp, bound.http];
    let crowds = doors.map(|door| (0..count).map(|_| Peer::connect(door)).collect::<Vec<_>>());
    let server = bound.run();
    let [mut redis, web] = crowds;
    for peer in &mut redis {
        peer.send("PING\r\n").hears("+PONG\r\n");
    }
    drop((redis, web));
    until("all places are free", || server.engine.clients.is_empty());
}

#[test]
fn twenty_thousand_that_come_and_go_are_all_let_in_and_others_are_served_meanwhile() {
    const CONNECTS: usize = 20_000;
    const CROWDS: usize = 2;
    /// Who waits for an answer, so that tests beside this one have their turn.
    const WAITS: usize = 32;
    let server = Running::start(&[]);
    let (over, began) = (AtomicBool::new(false), Instant::now());
    let (served, slowest) = std::thread::scope(|scope| {
        let crowds: Vec<_> = (0..CROWDS)
            .map(|crowd| {
                let (door, ask, answer) = match crowd {
                    0 => (server.http, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\n"),
                    _ => (server.resp, "PING\r\n", "+PONG\r\n"),
                };
                scope.spawn(move || {
                    for number in 0..CONNECTS / CROWDS {
                        let mut peer = Peer::connect(door);
                        // Some say something, and half are gone without a goodbye, so that no port is held after them.
                        if number % 4 == 0 {
                            peer.send(ask);
                        }
                        if number % WAITS == 0 {
                            peer.hears(answer);
                        }
                        if number % 2 == 0 {
                            socket2::SockRef::from(&peer.0).set_linger(Some(Duration::ZERO)).expect("a socket");
                        }
                    }
                })
            })
            .collect();
        let other = scope.spawn(|| {
            let (mut served, mut slowest) = (0, Duration::ZERO);
            while !over.load(Ordering::Relaxed) {
                let asked = Instant::now();
                server.client().send("PING\r\n").hears("+PONG\r\n");
                (served, slowest) = (served + 1, slowest.max(asked.elapsed()));
                std::thread::sleep(Duration::from_millis(5));
            }
            (served, slowest)
        });
        let ended: Vec<_> = crowds.into_iter().map(|crowd| crowd.join()).collect();
        over.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok), "somebody was not let in");
        other.join().expect("somebody was not served")
    });
    println!("{CONNECTS} connects in {:?}: {served} others were served, one in {slowest:?} at worst", began.elapsed());
    assert!(served > 0);
    until("all places are free", || server.engine.clients.is_empty());
    // The last of those who were accepted may be counted after they have gone.
    until("all are counted", || {
        let sums = server.engine.metrics.sums();
        sums.connections + sums.http_connections >= (CONNECTS + served) as u64
    });
    assert_eq!(server.engine.metrics.sums().panics + server.engine.metrics.sums().rejected_connections, 0);
}

#[test]
fn patience_is_ten_seconds_for_a_first_byte_and_thirty_for_a_head() {
    let [ten, thirty] = [10, 30].map(Duration::from_secs);
    let expected =
        Patience { first_byte: ten, handshake: ten, head: thirty, body: thirty, stranger: ten, login: thirty };
    assert_eq!(Patience::default(), expected);
}

#[test]
fn one_http_client_too_many_is_told_so() {
    let server = Running::start(&[("http-maxclients", "2")]);
    const ASK: &str = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut clients = [Peer::connect(server.http), Peer::connect(server.http)];
    for client in &mut clients {
        client.send(ASK).hears("HTTP/1.1 200 OK\r\n");
    }
    let full = Peer::connect(server.http).rest();
    assert!(full.starts_with(b"HTTP/1.1 503 ") && full.ends_with(b"\r\n\r\nmax number of clients reached"), "{full:?}");
    drop(clients);
    until("a place is free again", || {
        let mut client = Peer::connect(server.http);
        // One that is turned away may be closed before it has been able to say anything.
        let _ = client.0.write_all(ASK.as_bytes());
        let mut start = [0; 12];
        client.0.read_exact(&mut start).is_ok() && start == *b"HTTP/1.1 200"
    });
}

#[test]
fn no_more_clients_are_let_in_at_once_than_there_are_places() {
    let server = Running::start(&[("maxclients", "50")]);
    let mut peers: Vec<Peer> = (0..400).map(|_| Peer::connect(server.resp)).collect();
    let told = peers.iter_mut().filter(|peer| {
        let _ = (&peer.0).write_all(b"PING\r\n");
        let mut start = [0; 1];
        (&peer.0).read_exact(&mut start).is_ok() && start == *b"+"
    });
    assert_eq!(told.count(), 50);
    drop(peers);
    until("all places are free again", || server.engine.clients.is_empty());
    server.client().send("PING\r\n").hears("+PONG\r\n");
}

#[test]
fn more_clients_than_descriptors_are_refused_while_it_runs_too() {
    let binary = Binary::through("ulimit -n 256; exec \"$@\"", &[]);
    let mut admin = Peer::connect(binary.resp);
    for name in ["maxclients", "http-maxclients"] {
        let refusal = format!(
            "-ERR CONFIG SET failed (possibly related to argument '{name}') - The operating system is not able to handle \
             the specified number of clients, try with "
        );
        admin.send(format!("CONFIG SET {name} 10000\r\n")).hears(refusal);
        let mut rest = Vec::new();
        while !rest.ends_with(b"\n") {
            let mut byte = [0];
            admin.0.read_exact(&mut byte).expect("a number");
            rest.push(byte[0]);
        }
        let most = String::from_utf8_lossy(&rest).trim_end().to_owned();
        admin.send(format!("CONFIG SET {name} {most}\r\n")).hears("+OK\r\n");
    }
}

#[test]
fn a_request_over_the_limit_is_counted() {
    let server = Running::start(&[("client-query-buffer-limit", "1mb")]);
    let mut client = server.client();
    client.send("*2\r\n$4\r\nECHO\r\n$2000000\r\n").hears("-ERR Protocol error: request exceeds");
    assert_eq!(server.engine.metrics.sums().query_limit_disconnections, 1);
    server.client().send("*1\r\n$x\r\n").hears("-ERR Protocol error");
    let mut info = server.client();
    info.send("INFO clients\r\n");
    assert_eq!(server.engine.metrics.sums().query_limit_disconnections, 1);
}

#[test]
fn a_process_without_descriptors_neither_spins_nor_stays_deaf() {
    let binary = Binary::start(&[]);
    // It has asked for no more than fit, so it runs out of descriptors only if they are taken away.
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let pid = Pid::from_raw(i32::try_from(binary.pid()).expect("a pid")).expect("a process");
    let few = Rlimit { current: Some(256), maximum: Some(256) };
    prlimit(Some(pid), Resource::Nofile, few).expect("a process of one's own");
    let mut admin = Peer::connect(binary.resp);
    admin.send("PING\r\n").hears("+PONG\r\n");
    let mut peers: Vec<Peer> = (0..400).map(|_| Peer::connect(binary.resp)).collect();
    let full = || binary.descriptors() >= 255;
    until("all descriptors are taken", full);
    let ticks = || -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", binary.pid())).expect("a process");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        [11, 12].map(|at| fields[at].parse::<u64>().expect("a number")).iter().sum()
    };
    let before = ticks();
    std::thread::sleep(Duration::from_secs(1));
    let used = ticks() - before;
    println!("out of descriptors: {used} hundredths of a second of CPU in one");
    assert!(used < 30, "{used} hundredths of a second");
    assert!(full());
    // Who is inside is served; who waits is, once others leave.
    admin.send("PING\r\n").hears("+PONG\r\n");
    let mut last = peers.pop().expect("four hundred");
    peers.truncate(200);
    last.send("PING\r\n").hears("+PONG\r\n");
    drop((peers, last, admin));
    binary.signal("TERM");
    let (code, said) = binary.ended();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches("cannot accept").count(), 1, "{said}");
}
