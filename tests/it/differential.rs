//! The same requests to Redis and to this server, and the replies side by side, byte by byte.
//!
//! A seed makes the requests: sound ones, ones with a word too many, too few or out of place, numbers at every edge,
//! options that contradict each other. What may differ is in [`Likeness`] with the reason; everything else may not. A
//! failure names its seed; `DIFFERENTIAL_SEED` runs that one again and `DIFFERENTIAL_ROUNDS` makes the run longer.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{PATIENCE, Peer, Running};

/// Requests of one run, unless told otherwise: a few seconds' worth.
const ROUNDS: usize = 12_000;

/// Requests between two comparisons of everything that is stored.
const ROUNDS_BETWEEN_LOOKS: usize = 500;

/// Differences that are shown before a run is given up.
const SHOWN_MAX: usize = 10;

/// Both servers take strings up to this, so that their limits are in reach of a test.
const BULK_MAX: &str = "1048576";

/// A real Redis on a free port, killed when dropped.
struct Redis {
    child: Child,
    addr: SocketAddr,
}

impl Redis {
    fn start() -> Redis {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let port_text = port.to_string();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port_text, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.args(["--proto-max-bulk-len", BULK_MAX]);
        let child = command.stdout(Stdio::null()).spawn().expect("redis-server is installed; tests/tools.sh gets it");
        let redis = Redis { child, addr: SocketAddr::from(([127, 0, 0, 1], port)) };
        let patience = Instant::now() + PATIENCE;
        while TcpStream::connect(redis.addr).is_err() {
            assert!(Instant::now() < patience, "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        redis
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How alike two replies must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Likeness {
    /// The same bytes.
    Bytes,
    /// Integers this far apart at most: both servers read their own clock, one after the other.
    Near(i64),
    /// The same elements in any order: both tables are seeded at random.
    Elements,
    /// Both an error, the same one, or both none: which key, and where a scan stands, is each server's own affair.
    Kind,
    /// The same bytes, or what Redis says and we say is one of these pairs.
    BytesOr(&'static [(&'static str, &'static str)]),
    /// The same beginning. An error that quotes a word which is no text: Redis sends the bytes as they are and stops at
    /// a zero, our errors are text.
    Beginning,
}

const RAW: &str = "$3\r\nraw\r\n";
const EMBSTR: &str = "$6\r\nembstr\r\n";
const INT: &str = "$3\r\nint\r\n";

/// Bytes of an error that must be the same even if it quotes something: more than `-ERR Unsupported`.
const ERROR_HEAD: usize = 20;

impl Likeness {
    fn of(words: &[Vec<u8>]) -> Likeness {
        let word = |at: usize| words.get(at).map_or(String::new(), |word| String::from_utf8_lossy(word).to_uppercase());
        match word(0).as_str() {
            "PTTL" | "PEXPIRETIME" => Likeness::Near(1_000),
            "TTL" | "EXPIRETIME" => Likeness::Near(1),
            "KEYS" => Likeness::Elements,
            "SCAN" if word(1) == "0" && word(2) == "COUNT" && word(3) == "10000" => Likeness::Elements,
            "SCAN" | "RANDOMKEY" => Likeness::Kind,
            "OBJECT" => match word(1).as_str() {
                // A string that was changed in place is `raw` in Redis for the rest of its life, here until it moves to
                // another key. An integer that INCRBYFLOAT has made is none to Redis.
                "ENCODING" => Likeness::BytesOr(&[(RAW, EMBSTR), (RAW, INT), (EMBSTR, INT)]),
                // Redis shares small integers, and says so.
                "REFCOUNT" => Likeness::BytesOr(&[(":2147483647\r\n", ":1\r\n")]),
                "IDLETIME" => Likeness::Near(1),
                _ if words.iter().any(|word| !word.is_ascii()) => Likeness::Beginning,
                _ => Likeness::Bytes,
            },
            _ if words.iter().any(|word| !word.is_ascii()) => Likeness::Beginning,
            _ => Likeness::Bytes,
        }
    }

    fn holds(self, theirs: &[u8], ours: &[u8]) -> bool {
        let is_error = |reply: &[u8]| reply.starts_with(b"-");
        let number = |reply: &[u8]| -> Option<i64> {
            std::str::from_utf8(reply).ok()?.strip_prefix(':')?.trim_end().parse().ok()
        };
        if theirs == ours {
            return true;
        }
        match self {
            Likeness::Bytes => false,
            Likeness::Near(far) => match (number(theirs), number(ours)) {
                (Some(theirs), Some(ours)) => theirs >= 0 && ours >= 0 && theirs.abs_diff(ours) <= far as u64,
                _ => false,
            },
            Likeness::Elements => !is_error(theirs) && !is_error(ours) && elements(theirs) == elements(ours),
            Likeness::Kind => {
                !is_error(theirs) && !is_error(ours) && (theirs[0], theirs[1] == b'-') == (ours[0], ours[1] == b'-')
            }
            Likeness::BytesOr(pairs) => {
                pairs.iter().any(|pair| (pair.0.as_bytes(), pair.1.as_bytes()) == (theirs, ours))
            }
            Likeness::Beginning => is_error(theirs) && theirs.get(..ERROR_HEAD) == ours.get(..ERROR_HEAD),
        }
    }
}

/// The bulk strings of a reply in order of their bytes, and its length.
fn elements(reply: &[u8]) -> (usize, Vec<Vec<u8>>) {
    let mut found = Vec::new();
    let mut at = 0;
    while at < reply.len() {
        let line_end = at + line(&reply[at..]);
        let len = match reply[at] {
            b'$' => whole(&reply[at..]).expect("a whole reply"),
            _ => line_end - at,
        };
        found.push(reply[at..at + len].to_vec());
        at += len;
    }
    found.sort();
    (reply.len(), found)
}

/// Length of the first line, its end included.
fn line(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1)
}

/// Length of the first reply if it is there as a whole.
fn whole(bytes: &[u8]) -> Option<usize> {
    let end = bytes.iter().position(|byte| *byte == b'\n')? + 1;
    let number = || std::str::from_utf8(&bytes[1..end - 2]).ok().and_then(|text| text.parse::<i64>().ok());
    let children = match bytes[0] {
        b'$' | b'=' => {
            let len = number().expect("a length");
            let len = if len < 0 { end } else { end + len as usize + 2 };
            return (bytes.len() >= len).then_some(len);
        }
        b'*' | b'~' | b'>' => number().expect("a count").max(0),
        b'%' => number().expect("a count") * 2,
        _ => 0,
    };
    let mut len = end;
    for _ in 0..children {
        len += whole(&bytes[len..])?;
    }
    Some(len)
}

/// A client that asks one thing at a time.
struct Asker {
    peer: Peer,
    name: &'static str,
}

impl Asker {
    fn ask(&mut self, words: &[Vec<u8>]) -> Vec<u8> {
        use std::io::Read as _;
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.peer.send(request);
        let mut reply = Vec::new();
        let mut chunk = [0; 16 * 1024];
        while whole(&reply).is_none() {
            let read = self.peer.0.read(&mut chunk).unwrap_or_else(|error| {
                panic!("{} does not answer {}: {error}", self.name, show(words));
            });
            assert!(read > 0, "{} has closed on {}", self.name, show(words));
            reply.extend_from_slice(&chunk[..read]);
        }
        assert_eq!(whole(&reply), Some(reply.len()), "{} says more than it was asked", self.name);
        reply
    }
}

fn show(words: &[Vec<u8>]) -> String {
    words.iter().fold(String::new(), |mut text, word| {
        let shown = &word[..word.len().min(80)];
        write!(text, "{} ", shown.escape_ascii()).expect("a String takes everything");
        text
    })
}

/// Chance from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit as u64) as usize
    }

    fn one_in(&mut self, odds: usize) -> bool {
        self.below(odds) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// What the requests are made of. In a pattern, `key`, `value` and so on stand for a word of that sort, `[..]` for
/// something that may be left out, `{..}` for one of its words, `...` for what came before it once more; capitals for
/// themselves.
const REQUESTS: &[&str] = &[
    "GET key",
    "SET key value",
    "SET key value {NX XX}",
    "SET key value life",
    "SET key value life life",
    "SET key value set-option set-option",
    "SET key value set-option life set-option",
    "SETNX key value",
    "SETEX key seconds value",
    "PSETEX key millis value",
    "MGET keys",
    "MSET pairs",
    "MSETNX pairs",
    "GETSET key value",
    "GETDEL key",
    "GETEX key",
    "GETEX key life",
    "GETEX key {PERSIST KEEPTTL NX GET}",
    "GETEX key life {PERSIST KEEPTTL EX}",
    "APPEND key value",
    "STRLEN key",
    "SETRANGE key offset value",
    "GETRANGE key offset offset",
    "SUBSTR key offset offset",
    "INCR key",
    "DECR key",
    "INCRBY key integer",
    "DECRBY key integer",
    "INCRBYFLOAT key value",
    "SET key integer",
    "LCS key key",
    "LCS key key lcs-option",
    "LCS key key IDX lcs-option lcs-option",
    "DEL keys",
    "UNLINK keys",
    "EXISTS keys",
    "TOUCH keys",
    "TYPE key",
    "TTL key",
    "PTTL key",
    "EXPIRETIME key",
    "PEXPIRETIME key",
    "EXPIRE key seconds",
    "PEXPIRE key millis",
    "EXPIREAT key unix-seconds",
    "PEXPIREAT key unix-millis",
    "EXPIRE key seconds condition",
    "PEXPIRE key millis condition condition",
    "EXPIREAT key unix-seconds condition",
    "PEXPIREAT key unix-millis condition condition",
    "PERSIST key",
    "RENAME key key",
    "RENAMENX key key",
    "COPY key key",
    "COPY key key REPLACE",
    "COPY key key DB db",
    "COPY key key REPLACE DB db",
    "MOVE key db",
    "SELECT db",
    "KEYS pattern",
    "SCAN 0 COUNT 10000",
    "SCAN 0 COUNT 10000 scan-option",
    "SCAN 0 COUNT 10000 scan-option scan-option",
    "SCAN cursor scan-option",
    "RANDOMKEY",
    "OBJECT {ENCODING REFCOUNT IDLETIME FREQ} key",
    "OBJECT {HELP NOSUCH}",
];

const KEYS: &[&[u8]] = &[b"a", b"b", b"c", b"counter", b"", b"user:1", b"user:2", b"\xff\r\n\x00*[", b"auth:session"];

/// None begins with a zero byte: where Redis expects an option or a number that is an empty word, here it is not.
const VALUES: &[&[u8]] = &[
    b"",
    b"0",
    b"1",
    b"-1",
    b"10",
    b"9999",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"007",
    b"+5",
    b" 5",
    b"5 ",
    b"-0",
    b"3.0",
    b"0.1",
    b"-2.5e3",
    b"1e400",
    b"1e5000",
    b"1e-5000",
    b"0x1p3",
    b"nan",
    b"inf",
    b"-infinity",
    b"1.",
    b".5",
    b"3.141592653589793238462643",
    b"abc",
    b"ohmytext",
    b"mynewtext",
    b"hello world",
    b"\x7f\x00\xff\r\n\x80",
    b"abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHI",
    b"abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGH",
];

const INTEGERS: &[&[u8]] = &[
    b"0",
    b"1",
    b"-1",
    b"2",
    b"10",
    b"1000",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"-9223372036854775807",
    b"9223372036854775808",
    b"99999999999999999999",
    b"",
    b"abc",
    b"1.5",
    b"01",
    b" 1",
    b"+1",
    b"-",
];

const OFFSETS: &[&[u8]] = &[
    b"0",
    b"1",
    b"2",
    b"3",
    b"-1",
    b"-2",
    b"-3",
    b"5",
    b"-5",
    b"40",
    b"100",
    b"600",
    b"1048575",
    b"1048576",
    b"4294967296",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"x",
];

const TIMES: &[&[u8]] = &[
    b"0",
    b"-1",
    b"-1000000",
    b"9223372036854775807",
    b"9223372036854775",
    b"9223372036854776",
    b"-9223372036854775",
    b"-9223372036854775808",
    b"9223370000000000000",
    b"-9223372036854776",
    b"abc",
    b"",
    b"1.5",
    b"99999999999999999999",
];

const PATTERNS: &[&[u8]] = &[
    b"*",
    b"a",
    b"",
    b"?",
    b"user:*",
    b"user:[12]",
    b"user:[^1]",
    b"[a-c]",
    b"\\a",
    b"**",
    b"*:*",
    b"nosuch",
    b"[",
    b"a\\",
    b"",
    b"?*[",
    b"\xff*",
];

const CURSORS: &[&[u8]] = &[
    b"",
    b"0",
    b"00",
    b"+0",
    b"-0",
    b"-1",
    b"+",
    b"-",
    b"--1",
    b" 0",
    b"0 ",
    b"x",
    b"18446744073709551615",
    b"18446744073709551616",
];

const DBS: &[&[u8]] = &[
    b"0",
    b"0",
    b"0",
    b"1",
    b"1",
    b"2",
    b"15",
    b"16",
    b"-1",
    b"abc",
    b"",
    b"2147483647",
    b"2147483648",
    b"-2147483649",
    b"99999999999999999999",
];

/// Makes requests from a seed.
struct Author {
    dice: Dice,
    /// When it began, in Unix milliseconds.
    began: u64,
}

impl Author {
    fn request(&mut self) -> Vec<Vec<u8>> {
        let pattern = self.dice.pick(REQUESTS);
        let mut words = Vec::new();
        let mut rest = pattern;
        while !rest.is_empty() {
            let (sort, behind) = match rest.strip_prefix('{') {
                Some(choice) => {
                    let (choice, behind) = choice.split_once('}').expect("a closed choice");
                    (self.dice.pick(&choice.split(' ').collect::<Vec<_>>()), behind)
                }
                None => rest.split_once(' ').unwrap_or((rest, "")),
            };
            rest = behind.trim_start();
            self.write(sort, &mut words);
        }
        if self.dice.one_in(12) {
            self.spoil(&mut words);
        }
        words
    }

    /// Takes a word away, puts one in or exchanges two; the command's name stays.
    fn spoil(&mut self, words: &mut Vec<Vec<u8>>) {
        let at = 1 + self.dice.below(words.len());
        match self.dice.below(3) {
            0 if at < words.len() => {
                words.remove(at);
            }
            1 if at < words.len() => {
                let other = 1 + self.dice.below(words.len() - 1);
                words.swap(at, other);
            }
            _ => words.insert(at, self.dice.pick(VALUES).to_vec()),
        }
    }

    /// Writes one word of a sort, or as many as it takes.
    fn write(&mut self, sort: &str, words: &mut Vec<Vec<u8>>) {
        let word = match sort {
            "key" => self.dice.pick(KEYS).to_vec(),
            "value" => self.value(),
            "integer" => self.dice.pick(INTEGERS).to_vec(),
            "offset" => self.dice.pick(OFFSETS).to_vec(),
            "pattern" => self.dice.pick(PATTERNS).to_vec(),
            "cursor" => self.dice.pick(CURSORS).to_vec(),
            "db" => self.dice.pick(DBS).to_vec(),
            "keys" => {
                let count = 1 + self.dice.below(4);
                return (0..count).for_each(|_| self.write("key", words));
            }
            "pairs" => {
                let count = 1 + self.dice.below(4);
                return (0..count).for_each(|_| {
                    self.write("key", words);
                    self.write("value", words);
                });
            }
            "seconds" | "millis" | "unix-seconds" | "unix-millis" => self.time(sort),
            "life" => {
                let (option, sort) = self.dice.pick(&[
                    &("EX", "seconds"),
                    &("PX", "millis"),
                    &("EXAT", "unix-seconds"),
                    &("PXAT", "unix-millis"),
                ]);
                words.push(self.option(option));
                self.time(sort)
            }
            "set-option" => match self.dice.below(3) {
                0 => return self.write("life", words),
                _ => {
                    let option = self.dice.pick(&["NX", "XX", "GET", "GET", "KEEPTTL", "PERSIST", "EX"]);
                    self.option(option)
                }
            },
            "condition" => {
                let option = self.dice.pick(&["NX", "XX", "GT", "LT", "YY\r\n"]);
                self.option(option)
            }
            "lcs-option" => match self.dice.below(3) {
                0 => {
                    words.push(self.option("MINMATCHLEN"));
                    self.dice.pick(INTEGERS).to_vec()
                }
                _ => {
                    let option = self.dice.pick(&["LEN", "IDX", "WITHMATCHLEN", "WITHMATCHLEN", "MINMATCHLEN"]);
                    self.option(option)
                }
            },
            "scan-option" => {
                let (option, values) = self.dice.pick(&[
                    &("MATCH", PATTERNS),
                    &("TYPE", &[b"string", b"STRING", b"hash", b"nosuch"]),
                    &("COUNT", &[b"10000", b"9223372036854775807", b"0", b"-1", b"x"]),
                    &("NOSUCH", VALUES),
                ]);
                words.push(self.option(option));
                self.dice.pick(values).to_vec()
            }
            literal => self.option(literal),
        };
        words.push(word);
    }

    /// An option's or a command's name in some case.
    fn option(&mut self, name: &str) -> Vec<u8> {
        if self.dice.one_in(2) { name.into() } else { name.to_lowercase().into_bytes() }
    }

    fn value(&mut self) -> Vec<u8> {
        match self.dice.below(8) {
            // Of two letters, so that there is something in common.
            0 => {
                let len = self.dice.below(40);
                (0..len).map(|_| b"xy"[self.dice.below(2)]).collect()
            }
            1 => vec![b'x'; self.dice.below(700)],
            _ => self.dice.pick(VALUES).to_vec(),
        }
    }

    /// A time that makes no sense, has passed, or is so far off and so odd that no two are near each other: which of two
    /// is later must not depend on when each server read its clock.
    fn time(&mut self, sort: &str) -> Vec<u8> {
        if self.dice.one_in(3) {
            return self.dice.pick(TIMES).to_vec();
        }
        let ahead = 1_000_000 + self.dice.roll() % 1_000_000_000_000;
        let passed = self.dice.one_in(6);
        let unix = if passed { self.began - ahead % 1_000_000_000 } else { self.began + ahead };
        let number = match sort {
            "seconds" => ahead / 1_000,
            "millis" => ahead,
            "unix-seconds" => unix / 1_000,
            _ => unix,
        };
        number.to_string().into_bytes()
    }
}

/// Talks to both and keeps what differs.
struct Pair {
    redis: Asker,
    cloakroom: Asker,
    seed: u64,
    asked: Vec<String>,
    differences: String,
    count: usize,
}

impl Pair {
    fn ask(&mut self, words: &[Vec<u8>]) {
        let theirs = self.redis.ask(words);
        let ours = self.cloakroom.ask(words);
        self.asked.push(show(words));
        if Likeness::of(words).holds(&theirs, &ours) {
            return;
        }
        self.count += 1;
        let before = self.asked[self.asked.len().saturating_sub(6)..].join("\n    ");
        let (theirs, ours) = (&theirs[..theirs.len().min(300)], &ours[..ours.len().min(300)]);
        let (theirs, ours) = (theirs.escape_ascii(), ours.escape_ascii());
        write!(self.differences, "\n    {before}\n  Redis: {theirs}\n  we:    {ours}\n")
            .expect("a String takes everything");
        let seed = self.seed;
        assert!(self.count < SHOWN_MAX, "seed {seed}, many differences:\n{}", self.differences);
    }

    fn say(&mut self, request: &str) {
        let words: Vec<Vec<u8>> = request.split(' ').map(|word| word.into()).collect();
        self.ask(&words);
    }

    /// Compares everything in the databases that requests reach.
    fn look(&mut self) {
        for db in ["0", "1", "2", "15"] {
            self.say(&format!("SELECT {db}"));
            self.say("KEYS *");
            for key in KEYS {
                for command in ["GET", "PEXPIRETIME"] {
                    self.ask(&[command.into(), key.to_vec()]);
                }
            }
        }
        self.say("SELECT 0");
    }
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// Talks to both in one protocol, from one seed.
fn compare(version: &str, seed: u64) {
    let (redis, server) = (Redis::start(), Running::start(&[("proto-max-bulk-len", BULK_MAX)]));
    let mut pair = Pair {
        redis: Asker { peer: Peer::connect(redis.addr), name: "Redis" },
        cloakroom: Asker { peer: server.client(), name: "cloakroom" },
        seed,
        asked: Vec::new(),
        differences: String::new(),
        count: 0,
    };
    for asker in [&mut pair.redis, &mut pair.cloakroom] {
        let hello = asker.ask(&[b"HELLO".to_vec(), version.into()]);
        assert!(!hello.starts_with(b"-"), "{}", hello.escape_ascii());
    }
    let rounds = number_from("DIFFERENTIAL_ROUNDS").map_or(ROUNDS, |rounds| rounds as usize);
    let mut author = Author { dice: Dice(seed), began: server.engine.clock.now().0 };
    for round in 0..rounds {
        let request = author.request();
        pair.ask(&request);
        if round % ROUNDS_BETWEEN_LOOKS == 0 {
            pair.look();
        }
    }
    pair.look();
    assert!(pair.count == 0, "seed {seed}, RESP{version}:\n{}", pair.differences);
}

#[test]
fn strings_and_keys_answer_as_redis_does_in_resp2() {
    compare("2", number_from("DIFFERENTIAL_SEED").unwrap_or(2));
}

#[test]
fn strings_and_keys_answer_as_redis_does_in_resp3() {
    compare("3", number_from("DIFFERENTIAL_SEED").unwrap_or(3));
}
