//! Conversations in memory, and what must hold for every row of the table.

mod acl;
mod acl_files;
mod bitmap;
mod dump;
mod events;
mod expire;
#[cfg(feature = "server")]
mod functions;
mod generic;
mod hash;
mod large;
mod list;
mod pubsub;
#[cfg(feature = "server")]
mod sandbox;
mod script;
mod secret;
mod set;
mod shelf;
mod sort;
mod string;
mod together;
mod tracking;
mod tx;
mod zset;
mod zset_ends;

use std::collections::HashSet;
use std::net::SocketAddr;

use self::shelf::Shelf;
use super::*;
use crate::clock::{Clock, ManualClock, Ttl};
use crate::config::Config;
use crate::resp::request::{Limits, Parser};

/// A client and a server that talk in memory, on a clock that a test moves.
pub(super) struct Transcript {
    pub clock: ManualClock,
    pub engine: Engine,
    pub client: Client,
    pub shelf: Shelf,
    parser: Parser,
}

impl Transcript {
    /// A fresh server and its first client.
    pub fn start() -> Transcript {
        Transcript::with(&[("enable-debug-command", "yes")])
    }

    /// The same with other settings.
    pub fn with(settings: &[(&str, &str)]) -> Transcript {
        let mut config = Config::default();
        for (name, value) in settings {
            config.set(name, value).expect("a setting");
        }
        Transcript::of(config)
    }

    /// Fills a database with so many keys that live for nine seconds.
    pub fn fill(&self, db: usize, count: usize) {
        for number in 0..count {
            self.engine.store(db).put(format!("{number}").as_bytes(), b"x", Ttl::seconds(9)).expect("a write");
        }
    }

    /// The same with all settings.
    pub fn of(config: Config) -> Transcript {
        let clock = ManualClock::default();
        let engine = Engine::new(config, Clock::from(clock.clone()), 1, COUNT);
        let shelf = Shelf::default();
        engine.run_on(shelf.clone());
        let peer = engine.clients.enter(at(50000), at(6379), 8, clock.now());
        let client = Client::new(&engine, peer, 0, true);
        Transcript { clock, engine, client, shelf, parser: Parser::new() }
    }

    /// Sends one line, split as an inline request is: quotes and escapes work.
    pub fn say(&mut self, line: &str) -> Heard {
        self.send(format!("{line}\r\n").as_bytes())
    }

    /// Sends words as they are.
    pub fn words(&mut self, words: &[&[u8]]) -> Heard {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.send(&request)
    }

    /// Lets another client in.
    pub fn enter(&mut self) -> Client {
        let port = 50000 + self.engine.clients.len() as u16;
        let peer = self.engine.clients.enter(at(port), at(6379), 9, self.clock.now());
        Client::new(&self.engine, peer, 0, true)
    }

    /// Sends one line as another client.
    pub fn say_as(&mut self, other: &mut Client, line: &str) -> Heard {
        std::mem::swap(&mut self.client, other);
        let heard = self.say(line);
        std::mem::swap(&mut self.client, other);
        heard
    }

    fn send(&mut self, mut request: &[u8]) -> Heard {
        let mut out = Vec::new();
        self.client.lap = self.engine.clock.micros();
        while let Some(used) = self.parser.parse(request, &Limits::default()).expect("a sound request") {
            let args = self.parser.args(request);
            if !args.is_empty() {
                let ahead = args.get(1).and_then(|key| self.engine.store(self.client.db()).foresee(key, 0));
                while run(&self.engine, &mut self.client, args, ahead.as_ref(), self.clock.now(), &mut out)
                    == Flow::Again
                {
                    self.client.lap = self.engine.clock.micros();
                }
            }
            request = &request[used..];
        }
        Heard(out)
    }

    /// What others left in a client's mailbox, on one line.
    pub fn mail(&self, of: &Client) -> String {
        let mut mail = Vec::new();
        of.peer.collect(&mut mail);
        Heard(mail).text()
    }

    /// Reclaims what has died, as the janitor does.
    pub fn sweep(&self) {
        for store in self.engine.all_stores() {
            while store.sweep(self.clock.now()) == crate::store::Sweep::MoreDue {}
        }
    }

    /// Lets time pass.
    pub fn wait(&mut self, ttl: Ttl) {
        self.clock.advance(ttl);
    }
}

/// A port of this machine.
fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A reply.
pub(super) struct Heard(pub Vec<u8>);

impl Heard {
    /// The reply is this, with blanks for line ends: `$2 42`, `*2 $1 a $-1`, `+OK`.
    #[track_caller]
    pub fn hears(self, expected: &str) -> Heard {
        assert_eq!(self.text(), expected);
        self
    }

    /// The reply starts like this.
    #[track_caller]
    pub fn hears_start(self, expected: &str) -> Heard {
        assert!(self.text().starts_with(expected), "{:?} does not start with {expected:?}", self.text());
        self
    }

    /// The reply as one line.
    pub fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.0).replace("\r\n", " ");
        text.strip_suffix(' ').unwrap_or(&text).to_owned()
    }
}

fn every_row() -> Vec<&'static Found> {
    (0..COUNT).map(|number| numbered(number).expect("a row for every number")).collect()
}

#[test]
fn each_name_finds_its_row_in_any_case() {
    for found in all() {
        for name in [found.spec.name.to_lowercase(), found.spec.name.to_owned()] {
            let again = find(name.as_bytes()).expect("a row");
            assert!(std::ptr::eq(again.spec, found.spec) && again.number == found.number, "{name}");
        }
    }
    assert!(find(b"nosuchcommand").is_none() && find(b"").is_none());
    // The bit that tells small letters from capitals means something else elsewhere.
    for name in ["sort_ro", "bitfield_ro", "eval_ro"] {
        assert!(find(name.as_bytes()).is_some() && find(name.replace('_', "\x7f").as_bytes()).is_none(), "{name}");
    }
    // Of a long name, the middle counts too.
    assert!(find(b"zrangebyscore").is_some() && find(b"zrangeBYxcore").is_none() && find(b"zrangebyxxscore").is_none());
}

#[test]
fn no_two_rows_have_the_same_name() {
    let mut names = HashSet::new();
    for found in every_row() {
        assert!(names.insert(found.full_name()), "{} twice", found.full_name());
        assert_eq!(found.spec.name, found.spec.name.to_uppercase());
    }
}

#[test]
fn a_command_that_writes_names_its_keys() {
    for found in every_row() {
        let flags = found.spec.flags;
        // What FUNCTION changes is under no key.
        let elsewhere =
            flags.has(Flags::ADMIN.and(Flags::KEYSPACE)) || found.container.is_some_and(|of| of.name == "FUNCTION");
        let named = elsewhere || !found.spec.keys.is_none();
        assert!(!found.spec.flags.has(Flags::WRITE) || named, "{}", found.full_name());
    }
}

#[test]
fn a_request_that_runs_a_script_is_known_by_its_first_letters() {
    let t = Transcript::start();
    for found in all() {
        let words: crate::resp::Words = [found.spec.name.as_bytes()].into_iter().collect();
        assert_eq!(may_run_script(&t.client, words.args()), found.spec.runs_script(), "{}", found.spec.name);
    }
}

#[test]
fn a_row_says_what_it_does() {
    for found in every_row() {
        let spec = found.spec;
        assert!(
            spec.summary.ends_with('.') && spec.cost.starts_with('O') || !spec.subs.is_empty(),
            "{}",
            found.full_name()
        );
        assert!(spec.since.split('.').count() == 3, "{}", found.full_name());
    }
}

/// Commands that take any number of words and use none of them.
const IGNORES_WORDS: [&str; 1] = ["quit"];

#[test]
fn usage_implies_arity() {
    for found in every_row().into_iter().filter(|found| found.spec.subs.is_empty()) {
        let name = found.full_name();
        let own = 1 + usize::from(found.container.is_some());
        let (required, open) = usage::words(&usage::arguments(found.spec.usage));
        let open = open || IGNORES_WORDS.contains(&name.as_str());
        let expected = match open {
            true => Arity::AtLeast((own + required) as u8),
            false => Arity::Exactly((own + required) as u8),
        };
        assert_eq!(found.spec.arity, expected, "{name}: {}", found.spec.usage);
    }
}

#[test]
fn wrong_arity_is_refused_in_redis_words() {
    let mut t = Transcript::start();
    t.say("ECHO").hears("-ERR wrong number of arguments for 'echo' command");
    t.say("NOSUCH a b").hears("-ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' ");
}

#[test]
fn a_client_must_authenticate_when_a_password_is_set() {
    let mut t = Transcript::with(&[("requirepass", "sesame")]);
    t.say("PING").hears("-NOAUTH Authentication required.");
    t.say("AUTH wrong").hears("-WRONGPASS invalid username-password pair or user is disabled.");
    t.say("AUTH sesame").hears("+OK");
    t.say("PING").hears("+PONG");
    t.say("RESET").hears("+RESET");
    t.say("PING").hears("-NOAUTH Authentication required.");
    t.say("HELLO 3 AUTH default sesame SETNAME door").hears_start("%7 $6 server $5 redis");
}

#[test]
fn a_pause_holds_what_writes_until_it_ends() {
    let mut t = Transcript::start();
    t.engine.pause(t.clock.now() + Ttl(100), true, t.clock.now());
    t.say("PING").hears("");
    t.wait(Ttl(100));
    t.say("PING").hears("+PONG");
}

#[test]
fn a_token_is_shown_nowhere() {
    const CANARY: &str = "c4n4ry.t0ken-of_a.session";
    let key = format!("auth:session:{CANARY}");
    let mut t = Transcript::with(&[
        ("enable-debug-command", "yes"),
        ("slowlog-log-slower-than", "0"),
        ("slowlog-max-len", "1000"),
        ("latency-monitor-threshold", "1"),
    ]);
    let mut watcher = t.enter();
    t.say_as(&mut watcher, "MONITOR").hears("+OK");
    t.engine.store(0).put(key.as_bytes(), b"{}", Ttl::seconds(60)).expect("a write");
    for line in [
        format!("GET {key}"),
        format!("SET {key} {{}} EX 60"),
        format!("SETEX {key} 60 {{}}"),
        format!("MSET a b {key} c"),
        format!("MEMORY USAGE {key}"),
        format!("MEMORY USAGE {key} SAMPLES"),
        format!("DEBUG OBJECT {key}"),
        format!("DEBUG DIGEST-VALUE {key}"),
        format!("DEBUG LOG {key}"),
        format!("CLIENT SETNAME {key} too many"),
        format!("COMMAND GETKEYS GET {key}"),
        format!("EVAL \"return redis.call('GET','{key}')\" 1 {key}"),
        format!("ECHO \"some words, {key} and more\""),
        format!("PING {key}"),
        format!("NOSUCH {key}"),
        format!("GET {key} {key}"),
        format!("INFO {key}"),
        format!("LATENCY HISTORY {key}"),
        format!("DEL {key}"),
        // Another one stays, for the listings below.
        format!("SET auth:session:of_a.{CANARY} {{}}"),
    ] {
        // The same client may hear its own words again.
        t.say(&line);
    }
    let mut shown: Vec<String> = [
        "SLOWLOG GET -1",
        "KEYS *",
        "SCAN 0",
        "RANDOMKEY",
        "INFO everything",
        "CLIENT LIST",
        "CLIENT INFO",
        "MEMORY STATS",
        "LATENCY LATEST",
        "LATENCY DOCTOR",
        "LATENCY HISTOGRAM",
        "CONFIG GET *",
        "DEBUG HTSTATS 0",
    ]
    .into_iter()
    .map(|line| t.say(line).text())
    .collect();
    let mut seen = Vec::new();
    watcher.peer.collect(&mut seen);
    shown.push(String::from_utf8_lossy(&seen).into_owned());
    shown.push(format!("{:?}", t.engine.store(0)));
    for text in &shown {
        assert!(!text.contains("c4n4ry") && !text.contains("of_a"), "{text}");
    }
    // It was said, or this would prove nothing.
    assert!(shown[1].contains("auth:session:~") && shown[0].contains("auth:session:~"));
    assert!(shown[shown.len() - 2].contains("auth:session:~"));
}

#[test]
fn what_is_counted_has_a_name() {
    for (number, found) in every_row().into_iter().enumerate() {
        assert_eq!(found.number, number);
        let again = find_full(found.full_name().as_bytes()).expect("a row");
        assert!(std::ptr::eq(again.spec, found.spec) && again.number == number, "{}", found.full_name());
    }
    assert!(find_full(b"get|key").is_none() && find_full(b"config|get|key").is_none());
}
