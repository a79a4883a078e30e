//! Everything at once, for as long as one likes: clients of all kinds, connections that come and go and are reset, session
//! checks and sign-outs, and an upstream that fails now and then. Every answer is checked against what it must be, and
//! the server's descriptors and memory must not grow.
//!
//! `make soak T=600` is this test with `SOAK_SECONDS=600` and `SOAK_CONNECTS=1000`; without them it takes some seconds.
//! `SOAK_SEED` makes the same choices again, `SOAK_ONLY=keeper,churn` leaves the other kinds of clients out, and
//! `CLOAKROOM_BIN` names another binary.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::binary::{Binary, Launch, PLAIN, PROGRAM};
use super::browser::{Answer, cookie, send, send_sign_out};
use super::faulty::{Faulty, Mode};
use super::support::{PATIENCE, Peer, until};

/// Seconds without `SOAK_SECONDS`.
const SHORT: u64 = 10;

/// How far off a deadline a reply may be: the two clocks are read at different moments.
const SLACK: Duration = Duration::from_millis(50);

/// How long a signed-out token is asked for. It would be dead for `session-max-age`, a fence each, which is a memory that grows
/// all the time that a soak lasts; without `session-revoke` it is dead until no answer from before can be left: the ten seconds
/// of `session-stale` and some more. A family's record stays for a minute, so that memory is level only after that.
const FENCED: Duration = Duration::from_secs(8);

/// Keys of each RESP client.
const KEYS: u64 = 500;

/// Connections a second that come and go, without `SOAK_CONNECTS`.
const CONNECTS: u64 = 300;

/// What all threads share.
struct Soak {
    resp: SocketAddr,
    http: SocketAddr,
    over: AtomicBool,
    /// How many come and go in a second.
    connects: u64,
    counts: [AtomicU64; KINDS.len()],
    /// How long a batch of a client took, in microseconds.
    took: Mutex<Vec<u32>>,
}

const KINDS: [&str; 7] = ["requests", "transactions", "messages", "elements", "connections", "checks", "sign-outs"];

#[derive(Clone, Copy)]
enum Kind {
    Requests,
    Transactions,
    Messages,
    Elements,
    Connections,
    Checks,
    SignOuts,
}

impl Soak {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    fn count(&self, kind: Kind, some: u64) {
        self.counts[kind as usize].fetch_add(some, Ordering::Relaxed);
    }
}

/// Chance that a seed makes again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).rotate_left(31) % end
    }
}

// ---- RESP -------------------------------------------------------------------------------------------------------

/// Reads replies as they are: a status, an error, a number, a string or none, a list of these.
struct Reader(BufReader<TcpStream>);

#[derive(Debug, PartialEq, Eq)]
enum Reply {
    Line(String),
    Text(Option<Vec<u8>>),
    List(Vec<Reply>),
}

impl Reader {
    fn reply(&mut self) -> Reply {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a reply");
        let line = line.trim_end();
        let size = || line[1..].parse::<i64>().expect("a number");
        match line.as_bytes().first().expect("a reply, not an end") {
            b'$' if size() < 0 => Reply::Text(None),
            b'$' => {
                let mut text = vec![0; size() as usize + 2];
                self.0.read_exact(&mut text).expect("a string");
                text.truncate(text.len() - 2);
                Reply::Text(Some(text))
            }
            b'*' if size() < 0 => Reply::Text(None),
            b'*' => Reply::List((0..size()).map(|_| self.reply()).collect()),
            _ => Reply::Line(line.to_owned()),
        }
    }
}

struct Client {
    writer: TcpStream,
    reader: Reader,
}

impl Client {
    fn connect(to: SocketAddr) -> Client {
        let writer = Peer::connect(to).0;
        let reader = Reader(BufReader::new(writer.try_clone().expect("a socket")));
        Client { writer, reader }
    }

    fn send(&mut self, words: &[&[u8]]) {
        self.writer.write_all(&request(words)).expect("a server that listens");
    }

    fn ask(&mut self, words: &[&[u8]]) -> Reply {
        self.send(words);
        self.reader.reply()
    }
}

fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// What a key holds, and the earliest and the latest moment at which it dies.
struct Held {
    value: Vec<u8>,
    deadline: Option<(Instant, Option<Instant>)>,
}

/// Sets, reads and removes keys of its own in batches, and knows what each reply must be.
fn keeper(soak: &Soak, seed: u64) {
    let mut dice = Dice(seed);
    let mut client = Client::connect(soak.resp);
    let mut model: HashMap<u64, Held> = HashMap::new();
    let mut version = 0;
    while soak.goes_on() {
        let mut bytes = Vec::new();
        let mut expected: Vec<Box<dyn FnOnce(Reply, Instant)>> = Vec::new();
        let sent = Instant::now();
        for _ in 0..=dice.below(32) {
            let number = dice.below(KEYS);
            let key = format!("keeper:{seed}:{number}").into_bytes();
            match dice.below(10) {
                0..4 => {
                    version += 1;
                    let size = [20, 200, 2_000, 20_000][dice.below(4) as usize] >> dice.below(3);
                    let mut value = format!("{seed}:{number}:{version}:").into_bytes();
                    value.resize(value.len() + size as usize, b'v');
                    let ttl = (dice.below(2) == 0).then(|| 20 + dice.below(3_000));
                    match ttl {
                        Some(ttl) => bytes.extend(request(&[b"SET", &key, &value, b"PX", ttl.to_string().as_bytes()])),
                        None => bytes.extend(request(&[b"SET", &key, &value])),
                    }
                    // Its time begins when the server reads it: not before it was sent, nor after it was answered.
                    let earliest = ttl.map(|ttl| sent + Duration::from_millis(ttl));
                    model.insert(number, Held { value, deadline: earliest.map(|at| (at, None)) });
                    expected.push(Box::new(move |reply, _| assert_eq!(reply, Reply::Line("+OK".to_owned()))));
                }
                4..9 => {
                    bytes.extend(request(&[b"GET", &key]));
                    let held = model.get(&number).map(|held| (held.value.clone(), held.deadline));
                    expected.push(Box::new(move |reply, now| match (reply, held) {
                        (Reply::Text(None), None) => {}
                        (Reply::Text(None), Some((_, Some((earliest, _))))) => {
                            assert!(now + SLACK >= earliest, "{number} was dead {:?} too early", earliest - now);
                        }
                        (Reply::Text(Some(text)), Some((value, deadline))) => {
                            assert!(text == value, "{} is not {number}'s", String::from_utf8_lossy(&text));
                            if let Some((_, Some(latest))) = deadline {
                                assert!(sent <= latest + SLACK, "{number} lived {:?} too long", sent - latest);
                            }
                        }
                        (reply, held) => panic!("{number}: {reply:?} in place of {:?}", held.map(|held| held.1)),
                    }));
                }
                _ => {
                    bytes.extend(request(&[b"DEL", &key]));
                    model.remove(&number);
                    expected.push(Box::new(move |reply, _| match reply {
                        Reply::Line(line) if line == ":0" || line == ":1" => {}
                        other => panic!("{other:?}"),
                    }));
                }
            }
        }
        client.writer.write_all(&bytes).expect("a server that listens");
        let count = expected.len() as u64;
        for check in expected {
            let reply = client.reader.reply();
            check(reply, Instant::now());
        }
        let answered = Instant::now();
        for held in model.values_mut() {
            if let Some((earliest, latest @ None)) = &mut held.deadline {
                *latest = Some(*earliest + (answered - sent));
            }
        }
        soak.took.lock().push(sent.elapsed().as_micros() as u32);
        soak.count(Kind::Requests, count);
    }
}

/// Changes two keys together and sees them together, by transactions and scripts.
fn teller(soak: &Soak, seed: u64) {
    let mut client = Client::connect(soak.resp);
    let (left, right) = (format!("left:{seed}"), format!("right:{seed}"));
    let (left, right) = (left.as_bytes(), right.as_bytes());
    const READ: &[u8] = b"return {redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])}";
    for number in 1.. {
        if !soak.goes_on() {
            return;
        }
        for words in [&[&b"MULTI"[..]][..], &[b"INCR", left], &[b"INCR", right]] {
            let reply = client.ask(words);
            assert!(matches!(&reply, Reply::Line(line) if line == "+OK" || line == "+QUEUED"), "{reply:?}");
        }
        let one = || Reply::Line(format!(":{number}"));
        assert_eq!(client.ask(&[b"EXEC"]), Reply::List(vec![one(), one()]));
        let text = || Reply::Text(Some(number.to_string().into_bytes()));
        assert_eq!(client.ask(&[b"EVAL", READ, b"2", left, right]), Reply::List(vec![text(), text()]));
        soak.count(Kind::Transactions, 2);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Publishes numbers and hears them in order.
fn crier(soak: &Soak) {
    let (mut mouth, mut ear) = (Client::connect(soak.resp), Client::connect(soak.resp));
    ear.ask(&[b"SUBSCRIBE", b"news"]);
    for number in 0u64.. {
        if !soak.goes_on() {
            return;
        }
        let said = number.to_string().into_bytes();
        assert_eq!(mouth.ask(&[b"PUBLISH", b"news", &said]), Reply::Line(":1".to_owned()));
        let text = |text: &[u8]| Reply::Text(Some(text.to_vec()));
        assert_eq!(ear.reader.reply(), Reply::List(vec![text(b"message"), text(b"news"), text(&said)]));
        soak.count(Kind::Messages, 1);
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits for elements and gets each once, in order.
fn porter(soak: &Soak) {
    let (mut giver, mut taker) = (Client::connect(soak.resp), Client::connect(soak.resp));
    for number in 0u64.. {
        if !soak.goes_on() {
            return;
        }
        taker.send(&[b"BLPOP", b"queue", b"5"]);
        let element = number.to_string().into_bytes();
        let Reply::Line(_) = giver.ask(&[b"RPUSH", b"queue", &element]) else { panic!("no number") };
        let text = |text: &[u8]| Reply::Text(Some(text.to_vec()));
        assert_eq!(taker.reader.reply(), Reply::List(vec![text(b"queue"), text(&element)]));
        soak.count(Kind::Elements, 1);
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Comes, does something or half of it, and goes, often without a word.
fn churn(soak: &Soak, seed: u64) {
    let mut dice = Dice(seed);
    let (began, mut count) = (Instant::now(), 0);
    let mut lingering: Vec<TcpStream> = Vec::new();
    while soak.goes_on() {
        count += 1;
        let ahead = Duration::from_micros(1_000_000 * count / soak.connects).saturating_sub(began.elapsed());
        std::thread::sleep(ahead);
        let is_resp = dice.below(4) > 0;
        let Ok(mut stream) = TcpStream::connect_timeout(if is_resp { &soak.resp } else { &soak.http }, PATIENCE) else {
            panic!("nobody can come in any more");
        };
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let value = format!("value-{seed}-{count}");
        let whole = request(&[b"SET", format!("churn:{}", dice.below(200)).as_bytes(), value.as_bytes(), b"EX", b"1"]);
        let sent = match (dice.below(6), is_resp) {
            (0, _) => Ok(()),
            (1, true) => stream.write_all(&whole[..dice.below(whole.len() as u64) as usize]),
            (1, false) => stream.write_all(b"GET /api/auth/session HTTP/1.1\r\nHost: a\r\nCoo"),
            (2, true) => stream.write_all(b"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n"),
            (3, true) => {
                stream.write_all(&[request(&[b"SUBSCRIBE", b"a", b"b"]), request(&[b"BLPOP", b"c", b"0"])].concat())
            }
            (4, true) => stream.write_all(b"nonsense \"\r\n"),
            (_, true) => {
                let echo = request(&[b"ECHO", value.as_bytes()]);
                stream.write_all(&[whole, echo].concat()).expect("a server that listens");
                let expected = format!("+OK\r\n${}\r\n{value}\r\n", value.len());
                let mut heard = vec![0; expected.len()];
                stream.read_exact(&mut heard).expect("an answer");
                assert_eq!(String::from_utf8_lossy(&heard), expected);
                Ok(())
            }
            (_, false) => {
                stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").expect("a server that listens");
                let mut heard = [0; 15];
                stream.read_exact(&mut heard).expect("an answer");
                assert_eq!(&heard, b"HTTP/1.1 200 OK");
                Ok(())
            }
        };
        // Who was refused may have been closed already.
        drop(sent);
        if dice.below(2) == 0 {
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket");
        }
        match dice.below(4) {
            0 => lingering.push(stream),
            _ => drop(stream),
        }
        while lingering.len() > 50 {
            lingering.swap_remove(dice.below(50) as usize);
        }
        soak.count(Kind::Connections, 1);
    }
}

// ---- sessions -----------------------------------------------------------------------------------------------------

/// A user that logs in, looks around, logs out and is looked for, while the upstream may fail at any time.
fn visitor(soak: &Soak, seed: u64) {
    let mut dice = Dice(seed);
    // Tokens that must show nobody any more, and since when.
    let mut dead: Vec<(String, Instant)> = Vec::new();
    for number in 0u64.. {
        if !soak.goes_on() {
            return;
        }
        let user = format!("user{seed}x{number}");
        let token = format!("{user}.1");
        for _ in 0..=dice.below(6) {
            let answer = try_check(soak, &token);
            let own = answer.body.contains(&format!(r#""name":"{user}""#));
            assert!(own || answer.body == "{}", "{user} was shown {}", answer.body);
            soak.count(Kind::Checks, 1);
        }
        if dice.below(3) == 0 {
            // The user leaves the page while it is being signed out.
            let stream = send_sign_out(soak.http, &token);
            if dice.below(2) == 0 {
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket");
            }
        } else {
            let answer = Answer::read(&mut send_sign_out(soak.http, &token));
            // Whatever the upstream says of it, the session is closed here; and once that is said it stays so.
            assert!(answer.status == 200 || answer.status >= 429, "{}: {}", answer.status, answer.body);
            soak.count(Kind::SignOuts, 1);
            assert_eq!(try_check(soak, &token).body, "{}", "{token} was signed out a moment ago");
            dead.push((token, Instant::now()));
        }
        for _ in 0..2 {
            let Some((token, since)) = dead.get(dice.below(dead.len().max(1) as u64) as usize) else { break };
            let answer = try_check(soak, token);
            // On a machine that was elsewhere for some seconds it may be so no more.
            assert!(answer.body == "{}" || since.elapsed() > FENCED, "{token} is signed out, and {}", answer.body);
            soak.count(Kind::Checks, 1);
        }
        dead.retain(|(_, since)| since.elapsed() < FENCED);
        std::thread::sleep(Duration::from_millis(dice.below(10)));
    }
}

fn try_check(soak: &Soak, token: &str) -> Answer {
    let cookie = cookie(token);
    Answer::read(&mut send(soak.http, "GET", "/api/auth/session", &[("Cookie", cookie.as_str())], ""))
}

/// Has the upstream fail in one way after the other, and be well in between.
fn trouble(soak: &Soak, upstream: &Faulty, seed: u64) {
    const TROUBLES: [Mode; 7] = [
        Mode::Stall,
        Mode::Drip,
        Mode::ResetMidBody,
        Mode::TooMany,
        Mode::Broken500,
        Mode::WrongLength,
        Mode::Gibberish,
    ];
    let mut dice = Dice(seed);
    while soak.goes_on() {
        let mode = if dice.below(3) > 0 { Mode::Good } else { TROUBLES[dice.below(7) as usize] };
        upstream.behave(mode);
        upstream.take_your_time(dice.below(20));
        upstream.seen.lock().clear();
        std::thread::sleep(Duration::from_millis(50 + dice.below(300)));
    }
}

// ---- what is measured ---------------------------------------------------------------------------------------------

/// What a straight line through the samples gains from the first to the last, by least squares.
fn gain(samples: &[f64]) -> f64 {
    let count = samples.len() as f64;
    let (mean_at, mean) = ((count - 1.0) / 2.0, samples.iter().sum::<f64>() / count);
    let (mut above, mut below) = (0.0, 0.0);
    for (at, sample) in samples.iter().enumerate() {
        above += (at as f64 - mean_at) * (sample - mean);
        below += (at as f64 - mean_at).powi(2);
    }
    if below == 0.0 { 0.0 } else { above / below * (count - 1.0) }
}

#[test]
fn a_straight_line_gains_what_it_gains() {
    assert!((gain(&[1.0, 2.0, 3.0, 4.0]) - 3.0).abs() < 1e-9);
    assert!(gain(&[5.0, 5.0, 5.0]).abs() < 1e-9);
    assert!(gain(&[1.0, 9.0, 1.0, 9.0, 1.0]).abs() < 1e-9);
}

/// What a thread does until the soak is over.
type Work<'a> = Box<dyn FnOnce() + Send + 'a>;

/// A number from the environment, or this one.
fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn binary(upstream: SocketAddr) -> Binary {
    let program = std::env::var_os("CLOAKROOM_BIN").unwrap_or_else(|| PROGRAM.into());
    let mut command = Launch::of(program);
    command.args(["--port", "0", "--http-port", "0", "--workers", "2", "--upstream", &format!("http://{upstream}")]);
    command.args([
        "--upstream-timeout",
        "300ms",
        "--session-ttl",
        "500ms",
        "--session-stale",
        "10s",
        "--session-revoke",
        "no",
    ]);
    command.env_remove("CLOAKROOM_BIN");
    // What it says must be read, or it would wait for that one day.
    command.args(["--loglevel", "nothing"]);
    Binary::of(command, PLAIN)
}

#[test]
fn nothing_grows_and_nothing_is_wrong_under_all_that_happens_at_once() {
    let (seconds, seed) = (number("SOAK_SECONDS", SHORT).max(4), number("SOAK_SEED", 0x5eed));
    let upstream = Faulty::start();
    let binary = binary(upstream.addr);
    let at_rest = binary.descriptors();
    let soak = Soak {
        resp: binary.resp,
        http: binary.http,
        over: AtomicBool::new(false),
        connects: number("SOAK_CONNECTS", CONNECTS).max(1),
        counts: Default::default(),
        took: Mutex::default(),
    };
    let (mut descriptors, mut memory, mut used_memory, mut p99) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        let only = std::env::var("SOAK_ONLY").unwrap_or_default();
        let (soak, upstream) = (&soak, &*upstream);
        let kinds: [(&str, Work<'_>); 9] = [
            ("keeper", Box::new(|| keeper(soak, seed + 1))),
            ("keeper", Box::new(|| keeper(soak, seed + 2))),
            ("visitor", Box::new(|| visitor(soak, seed + 11))),
            ("visitor", Box::new(|| visitor(soak, seed + 12))),
            ("teller", Box::new(|| teller(soak, seed))),
            ("crier", Box::new(|| crier(soak))),
            ("porter", Box::new(|| porter(soak))),
            ("churn", Box::new(|| churn(soak, seed + 20))),
            ("trouble", Box::new(|| trouble(soak, upstream, seed + 30))),
        ];
        let wanted = kinds.into_iter().filter(|(kind, _)| only.is_empty() || only.contains(kind));
        let threads: Vec<_> = wanted.map(|(_, work)| scope.spawn(work)).collect();
        let (began, mut watcher) = (Instant::now(), Client::connect(soak.resp));
        while began.elapsed() < Duration::from_secs(seconds) && threads.iter().all(|thread| !thread.is_finished()) {
            std::thread::sleep(Duration::from_millis(500));
            descriptors.push(binary.descriptors() as f64);
            memory.push(binary.memory("VmRSS:") as f64);
            let mut took = std::mem::take(&mut *soak.took.lock());
            took.sort_unstable();
            p99.push(took.get(took.len() * 99 / 100).copied().unwrap_or_default());
            let Reply::Text(Some(info)) = watcher.ask(&[b"INFO", b"memory"]) else { panic!("no INFO") };
            let info = String::from_utf8_lossy(&info).into_owned();
            let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")?.parse::<f64>().ok());
            used_memory.push(used.expect("a row"));
        }
        soak.over.store(true, Ordering::Relaxed);
        for thread in threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
    // The first third is for getting warm.
    let warm = memory.len() / 3;
    let mean = |samples: &[f64]| samples.iter().sum::<f64>() / samples.len() as f64;
    let (fds, fd_gain) = (mean(&descriptors[warm..]), gain(&descriptors[warm..]));
    let (bytes, byte_gain) = (mean(&memory[warm..]), gain(&memory[warm..]));
    p99.sort_unstable();
    let counted: Vec<String> = KINDS
        .iter()
        .zip(&soak.counts)
        .map(|(kind, count)| format!("{} {kind}", count.load(Ordering::Relaxed)))
        .collect();
    println!("soak of {seconds} s, seed {seed}: {}, none wrong", counted.join(", "));
    println!("descriptors: {fds:.0} on average, {fd_gain:+.1} by the trend after warming up");
    println!("memory: {:.2} MB on average, {:+.3} MB by the trend after warming up", bytes / 1e6, byte_gain / 1e6);
    let tenths: Vec<String> = (0..10)
        .map(|tenth| tenth * memory.len() / 10)
        .map(|at| format!("{:.1} ({:.1})", memory[at] / 1e6, used_memory[at] / 1e6))
        .collect();
    println!("memory at each tenth of the time, and of that in use by the store, in MB: {}", tenths.join(", "));
    println!(
        "p99 of a batch of RESP requests: {} µs in the median half second, {} µs in the worst",
        p99[p99.len() / 2],
        p99[p99.len() - 1]
    );
    for (kind, count) in KINDS.iter().zip(&soak.counts) {
        assert!(count.load(Ordering::Relaxed) > 0 || std::env::var_os("SOAK_ONLY").is_some(), "no {kind}");
    }
    // What a trend of some seconds says is how busy the machine was, and how well it has warmed up. Descriptors that are left
    // open are seen below all the same.
    assert!(seconds < 60 || fd_gain.abs() <= 0.1 * fds + 20.0, "descriptors grow");
    assert!(seconds < 60 || byte_gain <= 0.05 * bytes + 1e6, "memory grows");

    // Everybody has gone: so have their descriptors. Connections to the upstream may be kept.
    let patience = Instant::now() + 2 * PATIENCE;
    let kept = 64;
    while binary.descriptors() > at_rest + kept {
        assert!(
            Instant::now() < patience,
            "{} descriptors are still open, {at_rest} were at rest",
            binary.descriptors()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut client = Client::connect(binary.resp);
    until("everybody else has gone", || {
        let Reply::Text(Some(info)) = client.ask(&[b"INFO", b"clients"]) else { panic!("no INFO") };
        let info = String::from_utf8_lossy(&info);
        info.contains("connected_clients:1\r\n") && info.contains("blocked_clients:0\r\n")
    });
    let mut http = Peer::connect(binary.http);
    http.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let metrics = String::from_utf8_lossy(&http.rest()).into_owned();
    assert!(metrics.contains("cloakroom_panics_total 0\n"), "a handler panicked");
    binary.signal("TERM");
    assert_eq!(binary.ended().0, Some(0));
}
