//! The same requests to Redis and to this server, and the replies side by side, byte by byte.
//!
//! A seed makes the requests: sound ones, ones with a word too many, too few or out of place, numbers at every edge,
//! options that contradict each other. What may differ is in [`Likeness`] with the reason; everything else may not. A
//! failure names its seed; `DIFFERENTIAL_SEED` runs that one again and `DIFFERENTIAL_ROUNDS` makes the run longer.

mod author;
mod likeness;
mod patterns;
mod unchanged;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use cloakroom::command::{self, Flags, Group, Keys};

use crate::support::{Peer, Redis, Running};
use author::{Author, KEYS};
use likeness::{Likeness, whole};

/// Requests of one run, unless told otherwise: a few seconds' worth.
const ROUNDS: usize = 12_000;

/// Requests between two comparisons of everything that is stored.
const ROUNDS_BETWEEN_LOOKS: usize = 500;

/// Differences that are shown before a run is given up.
const SHOWN_MAX: usize = 10;

/// Both servers take strings up to this, so that their limits are in reach of a test.
const BULK_MAX: &str = "1048576";

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

/// Both servers, and a client of each that speaks this version.
fn both(version: &str, seed: u64) -> (Redis, Running, Pair) {
    let (redis, server) =
        (Redis::start(&["--proto-max-bulk-len", BULK_MAX]), Running::start(&[("proto-max-bulk-len", BULK_MAX)]));
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
    (redis, server, pair)
}

/// Talks to both in one protocol, from one seed.
fn compare(version: &str, seed: u64) {
    let (_redis, server, mut pair) = both(version, seed);
    let rounds = number_from("DIFFERENTIAL_ROUNDS").map_or(ROUNDS, |rounds| rounds as usize);
    let mut author = Author::new(seed, server.engine.clock.now().0);
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
fn what_happens_to_keys_is_told_as_redis_tells_it() {
    let (_redis, _server, mut pair) = both("3", 0);
    for request in [
        "GET a",
        "SET a b",
        "SET a b EX 1 get",
        "MSET a 1 b 2",
        "DEL a b c",
        "RENAME a b",
        "RENAMENX a b",
        "COPY a b REPLACE",
        "MOVE a 1",
        "LCS a b LEN",
        "OBJECT FREQ a",
        "APPEND a b",
        "PING x",
        "GET a b",
    ] {
        pair.say(&format!("COMMAND GETKEYS {request}"));
        pair.say(&format!("COMMAND GETKEYSANDFLAGS {request}"));
    }
    assert!(pair.count == 0, "{}", pair.differences);
}

#[test]
fn strings_and_keys_answer_as_redis_does_in_resp2() {
    compare("2", number_from("DIFFERENTIAL_SEED").unwrap_or(2));
}

#[test]
fn strings_and_keys_answer_as_redis_does_in_resp3() {
    compare("3", number_from("DIFFERENTIAL_SEED").unwrap_or(3));
}

#[test]
fn rows_say_what_redis_says_of_its_commands() {
    let redis = Redis::start(&["--proto-max-bulk-len", BULK_MAX]);
    let mut asker = Asker { peer: Peer::connect(redis.addr), name: "Redis" };
    let mut ask = |words: &[&str]| {
        let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        String::from_utf8(asker.ask(&words)).expect("text").lines().map(str::to_owned).collect::<Vec<String>>()
    };
    let mut seen = 0;
    let has_redis = |found: &&command::Found| !found.spec.since.starts_with("7.2");
    let others = [Group::Connection, Group::Server, Group::Cluster];
    // Functions are not here; what test harnesses send of them is.
    let compared = |found: &&command::Found| !others.contains(&found.spec.group) && found.spec.name != "FUNCTION";
    for found in command::all().filter(has_redis).filter(compared) {
        let subcommands = found.spec.subs.iter().filter_map(|sub| found.subcommand(sub.name.as_bytes()));
        for found in std::iter::once(found).chain(subcommands).filter(has_redis) {
            let (name, spec) = (found.full_name(), found.spec);
            let info = ask(&["COMMAND", "INFO", &name]);
            let docs = ask(&["COMMAND", "DOCS", &name]);
            assert_eq!(info[0..2], ["*1", "*10"], "{name}: Redis knows it");

            let number = |at: usize| info[at].strip_prefix(':').and_then(|text| text.parse::<i64>().ok());
            // WITHSCORE came with 7.2.
            if !["zrank", "zrevrank"].contains(&name.as_str()) {
                assert_eq!(number(4), Some(spec.arity.number()), "{name}: arity");
            }
            let (flags, behind) = words_from(&info, 5);
            let known = Flags::NAMES.iter().filter(|(flag, _)| spec.flags.has(*flag));
            let ours: BTreeSet<String> = known.filter_map(|(_, word)| word.map(str::to_owned)).collect();
            assert_eq!(flags, ours, "{name}: flags");
            let doc = |field: &str| docs.iter().position(|line| line == field).map(|at| docs[at + 2].as_str());
            assert_eq!(doc("since"), Some(spec.since), "{name}: since");
            assert_eq!(doc("group"), Some(spec.group.name()), "{name}: group");
            seen += 1;
            // Keys that are counted, or lie in several places, are said in other words.
            if spec.keys.also.is_some() || spec.keys.count_at > 0 || spec.group == Group::PubSub {
                continue;
            }
            let keys = [spec.keys.first, spec.keys.last, spec.keys.step].map(|number| Some(i64::from(number)));
            assert_eq!([number(behind), number(behind + 1), number(behind + 2)], keys, "{name}: keys");

            let heads = info.iter().enumerate().filter(|(_, line)| *line == "flags");
            let theirs: Vec<BTreeSet<String>> = heads.map(|(at, _)| words_from(&info, at + 1).0).collect();
            let access = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<String>>();
            let last = spec.keys.last_access.map(access);
            let ours = if spec.keys == Keys::NONE { None } else { Some(access(spec.keys.access)) };
            // What Redis says of a container has its subcommands inside.
            let theirs = if spec.subs.is_empty() { theirs } else { Vec::new() };
            assert_eq!(theirs, ours.into_iter().chain(last).collect::<Vec<_>>(), "{name}: what happens to the keys");
        }
    }
    assert!(seen > 180, "{seen} rows were compared");
}

/// The statuses of an array that begins at a line, and the line behind it.
fn words_from(lines: &[String], at: usize) -> (BTreeSet<String>, usize) {
    let count: usize = lines[at].trim_start_matches(['*', '~']).parse().expect("an array");
    let words = &lines[at + 1..at + 1 + count];
    (words.iter().map(|word| word.trim_start_matches('+').to_owned()).collect(), at + 1 + count)
}
