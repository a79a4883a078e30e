//! Several keys in one command: what is counted for each, and that a write by somebody else is seen whole or not at all.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Heard, Transcript};
use crate::clock::Ttl;
use crate::command::{self, Client};
use crate::engine::Engine;
use crate::resp::request::{Limits, Parser};

/// How often a client asks at least. What is torn shows within a few hundred times.
const TIMES: usize = 20_000;

/// How long it may take until every reply that there is was heard.
const PATIENCE: Duration = Duration::from_secs(10);

fn say(engine: &Engine, client: &mut Client, line: &str) -> Heard {
    let (request, mut parser, mut out) = (format!("{line}\r\n"), Parser::new(), Vec::new());
    let parsed = parser.parse(request.as_bytes(), &Limits::default());
    assert_eq!(parsed.ok().flatten(), Some(request.len()));
    command::run(engine, client, parser.args(request.as_bytes()), None, engine.clock.now(), &mut out);
    Heard(out)
}

/// While one client writes these lines over and over, another one that asks hears these replies, all of them in the
/// end, and no others.
#[track_caller]
fn while_others_write(written: &[&str], asked: &str, replies: &[&str]) {
    let mut t = Transcript::start();
    written.iter().for_each(|line| drop(t.say(line)));
    let mut writer = t.enter();
    let Transcript { engine, client: mut asker, .. } = t;
    let done = AtomicBool::new(false);
    let mut heard = BTreeSet::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                written.iter().for_each(|line| drop(say(&engine, &mut writer, line)));
            }
        });
        let (began, mut times) = (Instant::now(), 0);
        while times < TIMES || heard.len() < replies.len() && began.elapsed() < PATIENCE {
            heard.insert(say(&engine, &mut asker, asked).text());
            times += 1;
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(heard, replies.iter().map(|reply| (*reply).to_owned()).collect());
}

#[test]
fn mget_never_sees_half_of_an_mset() {
    let written = ["MSET a 1 b 1", "MSET a 2 b 2"];
    while_others_write(&written, "MGET a b", &["*2 $1 1 $1 1", "*2 $1 2 $1 2"]);
    while_others_write(&written, "MGET b b a", &["*3 $1 1 $1 1 $1 1", "*3 $1 2 $1 2 $1 2"]);
}

#[test]
fn keys_that_come_and_go_together_are_counted_together() {
    let written = ["MSET a 1 b 1", "DEL a b", "MSET a 1 b 1", "UNLINK b a"];
    while_others_write(&written, "EXISTS a b", &[":0", ":2"]);
    while_others_write(&written, "TOUCH b a", &[":0", ":2"]);
    while_others_write(&written, "MGET a b", &["*2 $-1 $-1", "*2 $1 1 $1 1"]);
}

#[test]
fn keys_that_were_written_together_are_deleted_together() {
    while_others_write(&["MSET a 1 b 1"], "DEL a b", &[":0", ":2"]);
    while_others_write(&["MSET a 1 b 1"], "UNLINK b a", &[":0", ":2"]);
}

#[test]
fn a_key_that_is_named_twice_is_found_twice_and_deleted_once() {
    let mut t = Transcript::start();
    t.say("MSET a 1 b 2").hears("+OK");
    t.say("MGET a none a b a").hears("*5 $1 1 $-1 $1 1 $1 2 $1 1");
    t.say("EXISTS a a none a").hears(":3");
    t.say("TOUCH a a none").hears(":2");
    t.say("DEL a none a b").hears(":2");
    t.say("SET a 1").hears("+OK");
    t.say("UNLINK a a").hears(":1");
    t.say("EXISTS a a").hears(":0");
}

#[test]
fn a_read_of_several_keys_counts_each_as_a_read_of_one_would() {
    let mut t = Transcript::start();
    let mut counts = |line: &str, hits: u64, misses: u64| {
        t.engine.store(0).reset_stats();
        t.say(line);
        let stats = t.engine.store(0).stats();
        assert_eq!((stats.hits, stats.misses), (hits, misses), "{line}");
    };
    counts("MGET a b", 0, 2);
    counts("EXISTS a b", 0, 2);
    counts("MSET a 1 b 2", 0, 0);
    for line in ["MGET a", "EXISTS a", "TOUCH a"] {
        counts(line, 1, 0);
        counts(&format!("{line} none"), 1, 1);
        counts(&format!("{line} none b a"), 3, 1);
    }
    counts("DEL a none b", 0, 0);
}

#[test]
fn only_what_reads_several_keys_keeps_them_fresh() {
    let mut t = Transcript::start();
    let idle = |t: &mut Transcript, line: &str| -> String {
        t.say("MSET a 1 b 2").hears("+OK");
        t.wait(Ttl::seconds(7));
        t.say(line);
        t.say("OBJECT IDLETIME b").text()
    };
    assert_eq!(idle(&mut t, "EXISTS a b"), ":7");
    assert_eq!(idle(&mut t, "MGET a b"), ":0");
    assert_eq!(idle(&mut t, "TOUCH a b"), ":0");
    t.say("CLIENT NO-TOUCH ON").hears("+OK");
    assert_eq!(idle(&mut t, "MGET a b"), ":7");
    assert_eq!(idle(&mut t, "TOUCH a b"), ":0");
}

#[test]
fn what_has_died_is_not_among_several_keys() {
    let mut t = Transcript::start();
    t.say("SET a 1 PX 100").hears("+OK");
    t.say("SET b 2").hears("+OK");
    t.wait(Ttl(100));
    t.say("MGET a b").hears("*2 $-1 $1 2");
    t.say("EXISTS a b").hears(":1");
    t.say("TOUCH a b").hears(":1");
    t.say("DEL a b").hears(":1");
}
