//! Keys whatever their type, in conversations.

use std::collections::BTreeSet;

use super::{Heard, Transcript};
use crate::clock::Ttl;
use crate::command::{Flow, run};
use crate::resp::Words;
use crate::store::Store;

const SYNTAX: &str = "-ERR syntax error";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const SAME: &str = "-ERR source and destination objects are the same";

#[test]
fn keys_are_deleted_counted_and_typed() {
    let mut t = Transcript::start();
    t.say("MSET a 1 b 2 c 3 d 4").hears("+OK");
    t.say("EXISTS a b a none").hears(":3");
    t.say("TOUCH a none b").hears(":2");
    t.say("DEL a none a").hears(":1");
    t.say("UNLINK b c").hears(":2");
    t.say("TYPE d").hears("+string");
    t.say("TYPE a").hears("+none");
    t.say("DEL").hears("-ERR wrong number of arguments for 'del' command");
}

#[test]
fn a_rename_takes_value_and_expiration_along() {
    let mut t = Transcript::start();
    t.say("SET coat red PX 500").hears("+OK");
    t.say("SET hat blue").hears("+OK");
    t.say("RENAME coat hat").hears("+OK");
    t.say("MGET coat hat").hears("*2 $-1 $3 red");
    t.say("PTTL hat").hears(":500");
    t.say("RENAME none hat").hears("-ERR no such key");
    t.say("RENAME none none").hears("-ERR no such key");
    t.say("RENAME hat hat").hears("+OK");
    t.say("PTTL hat").hears(":500");
    t.wait(Ttl(500));
    t.say("RENAME hat coat").hears("-ERR no such key");
}

#[test]
fn renamenx_takes_no_name_that_is_taken() {
    let mut t = Transcript::start();
    t.say("MSET coat red hat blue").hears("+OK");
    t.say("RENAMENX coat hat").hears(":0");
    t.say("RENAMENX coat coat").hears(":0");
    t.say("RENAMENX none hat").hears("-ERR no such key");
    t.say("RENAMENX coat scarf").hears(":1");
    t.say("MGET coat hat scarf").hears("*3 $-1 $4 blue $3 red");
}

#[test]
fn a_copy_has_the_same_value_and_expiration() {
    let mut t = Transcript::start();
    t.say("SET coat red PX 500").hears("+OK");
    t.say("COPY coat hat").hears(":1");
    t.say("COPY coat hat").hears(":0");
    t.say("SET coat blue").hears("+OK");
    t.say("GET hat").hears("$3 red");
    t.say("PTTL hat").hears(":500");
    t.say("COPY coat hat REPLACE").hears(":1");
    t.say("GET hat").hears("$4 blue");
    t.say("PTTL hat").hears(":-1");
    t.say("COPY none hat REPLACE").hears(":0");
    t.say("GET hat").hears("$4 blue");
    t.say("COPY coat coat").hears(SAME);
    t.say("COPY none none").hears(SAME);
    t.say("COPY coat coat DB 0").hears(SAME);
}

#[test]
fn keys_go_to_other_databases() {
    let mut t = Transcript::start();
    t.say("SET coat red PX 500").hears("+OK");
    t.say("COPY coat coat db 1").hears(":1");
    t.say("COPY coat coat DB 1").hears(":0");
    t.say("COPY coat coat DB 1 replace").hears(":1");
    t.say("MOVE coat 1").hears(":0");
    t.say("MOVE coat 2").hears(":1");
    t.say("MOVE coat 2").hears(":0");
    t.say("MOVE coat 0").hears(SAME);
    for db in ["1", "2"] {
        t.say(&format!("SELECT {db}")).hears("+OK");
        t.say("GET coat").hears("$3 red");
        t.say("PTTL coat").hears(":500");
    }
    t.say("SELECT 0").hears("+OK");
    t.say("EXISTS coat").hears(":0");
}

#[test]
fn a_database_that_does_not_exist_is_refused() {
    let mut t = Transcript::start();
    t.say("SET coat red").hears("+OK");
    for command in ["MOVE coat", "COPY coat hat DB", "SELECT"] {
        t.say(&format!("{command} 16")).hears("-ERR DB index is out of range");
        t.say(&format!("{command} -1")).hears("-ERR DB index is out of range");
        t.say(&format!("{command} one")).hears(NOT_INTEGER);
        t.say(&format!("{command} 2147483648"))
            .hears("-ERR value is out of range, value must between -2147483648 and 2147483647");
    }
    t.say("COPY coat hat DB").hears(SYNTAX);
    t.say("COPY coat hat REPLACE NOSUCH").hears(SYNTAX);
    t.say("EXISTS coat hat").hears(":1");
}

#[test]
fn keys_finds_names_by_pattern() {
    let mut t = Transcript::start();
    t.say("MSET one 1 two 2 '' 3 user:1 4").hears("+OK");
    t.say("KEYS t*").hears("*1 $3 two");
    t.say("KEYS one").hears("*1 $3 one");
    t.say("KEYS none").hears("*0");
    t.say("KEYS ''").hears("*1 $0 ");
    t.say("KEYS user:[0-9]").hears("*1 $6 user:1");
    t.say("KEYS *").hears_start("*4 ");
    t.say("KEYS ?*").hears_start("*3 ");
}

/// Scans to the end and returns every name, checking that no call returns more than it should.
fn scan(t: &mut Transcript, options: &str) -> BTreeSet<String> {
    let (mut names, mut cursor, mut calls) = (BTreeSet::new(), "0".to_owned(), 0);
    loop {
        let text = t.say(&format!("SCAN {cursor} {options}")).text();
        let words: Vec<&str> = text.split(' ').collect();
        cursor = words[2].to_owned();
        names.extend(words[4..].iter().skip(1).step_by(2).map(|name| (*name).to_owned()));
        calls += 1;
        assert!(calls < 1_000, "a scan without end");
        if cursor == "0" {
            return names;
        }
    }
}

#[test]
fn a_scan_finds_every_key_once_the_cursor_comes_round() {
    let mut t = Transcript::start();
    for number in 0..500 {
        t.say(&format!("SET key:{number} x")).hears("+OK");
    }
    assert_eq!(scan(&mut t, "").len(), 500);
    assert_eq!(scan(&mut t, "COUNT 1").len(), 500);
    assert_eq!(scan(&mut t, "MATCH key:1? COUNT 100").len(), 10);
    assert_eq!(scan(&mut t, "TYPE String COUNT 1000").len(), 500);
    assert_eq!(scan(&mut t, "TYPE list").len(), 0);
    assert_eq!(scan(&mut t, "TYPE nosuch MATCH *").len(), 0);
}

#[test]
fn a_scan_refuses_what_is_no_cursor_and_no_option() {
    let mut t = Transcript::start();
    for cursor in ["x", "1x", "-", "' 1'", "18446744073709551616"] {
        t.say(&format!("SCAN {cursor}")).hears("-ERR invalid cursor");
    }
    for cursor in ["''", "+0", "-0", "18446744073709551615", "-1"] {
        t.say(&format!("SCAN {cursor}")).hears("*2 $1 0 *0");
    }
    t.say("SCAN 0 COUNT 0").hears(SYNTAX);
    t.say("SCAN 0 COUNT -1").hears(SYNTAX);
    t.say("SCAN 0 COUNT many").hears(NOT_INTEGER);
    t.say("SCAN 0 COUNT").hears(SYNTAX);
    t.say("SCAN 0 MATCH a TYPE").hears(SYNTAX);
    t.say("SCAN 0 NOSUCH x").hears(SYNTAX);
    t.say("SCAN 0 NOSUCH").hears(SYNTAX);
}

#[test]
fn randomkey_names_a_key_that_is_there() {
    let mut t = Transcript::start();
    t.say("RANDOMKEY").hears("$-1");
    t.say("MSET a 1 b 2").hears("+OK");
    // One may lie in the shard behind the other's, and then comes up once in 128 times.
    let seen: BTreeSet<String> = (0..4_000).map(|_| t.say("RANDOMKEY").text()).collect();
    assert_eq!(seen, BTreeSet::from(["$1 a".to_owned(), "$1 b".to_owned()]));
}

#[test]
fn object_tells_how_values_are_kept() {
    let mut t = Transcript::start();
    t.say("SET n 12").hears("+OK");
    t.say("OBJECT ENCODING n").hears("$3 int");
    t.say("SET n 012").hears("+OK");
    t.say("OBJECT ENCODING n").hears("$6 embstr");
    t.say("APPEND n 3").hears(":4");
    t.say("OBJECT ENCODING n").hears("$3 raw");
    t.say(&format!("SET n {}", "x".repeat(44))).hears("+OK");
    t.say("OBJECT ENCODING n").hears("$6 embstr");
    t.say(&format!("SET n {}", "x".repeat(45))).hears("+OK");
    t.say("OBJECT ENCODING n").hears("$3 raw");
    t.say("OBJECT REFCOUNT n").hears(":1");
    for subcommand in ["ENCODING", "REFCOUNT", "IDLETIME", "FREQ"] {
        t.say(&format!("OBJECT {subcommand} none")).hears("$-1");
    }
    t.say("OBJECT HELP").hears_start("*15 +OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are: +ENCODING");
    t.say("OBJECT").hears("-ERR wrong number of arguments for 'object' command");
    t.say("OBJECT FREQ").hears("-ERR wrong number of arguments for 'object|freq' command");
    t.say("OBJECT nosuch n").hears("-ERR unknown subcommand 'nosuch'. Try OBJECT HELP.");
}

#[test]
fn accesses_are_told_in_the_unit_of_the_policy() {
    let not_lfu = "-ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
                   switching between policies at runtime LRU and LFU data will take some time to adjust.";
    let is_lfu = "-ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching \
                  between policies at runtime LRU and LFU data will take some time to adjust.";
    let mut t = Transcript::start();
    t.say("SET coat red").hears("+OK");
    t.wait(Ttl::seconds(90));
    t.say("OBJECT IDLETIME coat").hears(":90");
    t.say("OBJECT FREQ coat").hears(not_lfu);

    let mut t = Transcript::with(&[("maxmemory-policy", "allkeys-lfu"), ("lfu-log-factor", "0")]);
    t.say("SET coat red").hears("+OK");
    t.say("OBJECT FREQ coat").hears(":5");
    t.say("GET coat").hears("$3 red");
    t.say("SET coat blue").hears("+OK");
    t.say("APPEND coat !").hears(":5");
    t.say("OBJECT FREQ coat").hears(":8");
    t.wait(Ttl::seconds(120));
    t.say("OBJECT FREQ coat").hears(":6");
    t.say("OBJECT IDLETIME coat").hears(is_lfu);
}

/// Many keys are walked over in many turns, between which others write; whoever may not be interrupted is not.
#[test]
fn many_names_are_shown_in_many_turns() {
    const KEYS: usize = 5_000;
    let mut t = Transcript::start();
    let names: Vec<String> = (0..KEYS).map(|number| format!("key:{number:05}")).collect();
    for name in &names {
        t.say(&format!("SET {name} v"));
    }
    let names_in = |text: &str| -> Vec<String> {
        let mut names: Vec<String> =
            text.split(' ').filter(|word| word.starts_with("key:")).map(str::to_owned).collect();
        names.sort_unstable();
        names
    };
    let mut other = t.enter();
    for request in [&["KEYS", "key:*"][..], &["SCAN", "0", "COUNT", "9999"]] {
        let mut words = Words::new();
        request.iter().for_each(|word| words.push(word.as_bytes()));
        let (mut out, mut turns) = (Vec::new(), 0);
        loop {
            let flow = run(&t.engine, &mut t.client, words.args(), None, t.clock.now(), &mut out);
            turns += 1;
            if flow == Flow::Go {
                break;
            }
            assert_eq!(flow, Flow::Again);
            t.say_as(&mut other, &format!("SET key:new:{turns} v"));
            t.say_as(&mut other, "DEL key:new:1");
        }
        assert!(turns > KEYS / 512, "{turns} turns");
        let shown = names_in(&Heard(out).text());
        assert!(names.iter().all(|name| shown.binary_search(name).is_ok()));
        assert!(shown.windows(2).all(|pair| pair[0] != pair[1]), "nothing is shown twice");
        assert!(t.client.begun.is_none() && t.client.gathered() == 0);
        t.say_as(&mut other, "FLUSHDB");
        for name in &names {
            t.say(&format!("SET {name} v"));
        }
    }
    let whole = t.say("KEYS *").text();
    assert!(whole.starts_with("*5000 $9 key:"));
    assert_eq!(names_in(&whole), names);
    t.say("MULTI");
    t.say("KEYS *");
    assert_eq!(names_in(&t.say("EXEC").text()), names);
    t.say("WATCH a");
    assert_eq!(names_in(&t.say("KEYS *").text()), names);
    t.say_as(&mut other, "SET a b");
    t.say("MULTI").hears("+OK");
    t.say("EXEC").hears("*-1");
    t.say("INFO commandstats");
    let info = t.say("INFO commandstats").text();
    assert!(info.contains("cmdstat_keys:calls=4,"), "{info}");
}

#[test]
fn a_walk_stays_in_the_database_that_it_began_in() {
    let mut t = Transcript::start();
    t.fill(0, 5_000);
    t.say("SELECT 1").hears("+OK");
    t.say("SET other v").hears("+OK");
    t.say("SELECT 0").hears("+OK");
    let (mut other, mut out) = (t.enter(), Vec::new());
    let request = Words::of_line(b"KEYS *").expect("words");
    while run(&t.engine, &mut t.client, request.args(), None, t.clock.now(), &mut out) == Flow::Again {
        t.say_as(&mut other, "SWAPDB 0 1").hears("+OK");
    }
    let shown = Heard(out).text();
    assert!(shown.starts_with("*5000 ") && !shown.contains("other"), "{:.20}", shown);
}

#[test]
fn a_client_that_wants_no_reply_gets_no_part_of_one() {
    let mut t = Transcript::start();
    for number in 0..2_000 {
        t.say(&format!("SET {number} v"));
    }
    t.say("CLIENT REPLY SKIP").hears("");
    t.say("KEYS *").hears("");
    t.say("CLIENT REPLY OFF").hears("");
    t.say("SCAN 0 COUNT 5000").hears("");
    t.say("CLIENT REPLY ON").hears("+OK");
    t.say("KEYS *").hears_start("*2000 ");
}

#[test]
fn the_memory_of_every_change_is_charged_at_once() {
    let mut t = Transcript::start();
    let long = "v".repeat(20_000);
    let changes = [
        format!("SET text {long}"),
        format!("APPEND text {long}"),
        format!("APPEND text {long}"),
        "SETRANGE text 90000 end".to_owned(),
        format!("RPUSH list {long} {long}"),
        format!("LSET list 0 {}", "w".repeat(50)),
        "LPOP list".to_owned(),
        format!("HSET hash field {long}"),
        "HSET hash field short".to_owned(),
        "SADD set 1 2 3".to_owned(),
        "SADD set word".to_owned(),
        "ZADD zset 1 one 2 two".to_owned(),
        "SET text short".to_owned(),
        "EXPIRE text 100".to_owned(),
        "EXPIRE text 10".to_owned(),
        "PERSIST text".to_owned(),
        "SET list plain".to_owned(),
        "RENAME hash list".to_owned(),
        "COPY set other".to_owned(),
        // As long as what stands for a collection.
        "SET four 1234".to_owned(),
        "SUNIONSTORE four set".to_owned(),
        "SUNIONSTORE zset set".to_owned(),
        "DEL zset".to_owned(),
        "FLUSHDB".to_owned(),
    ];
    for change in changes {
        t.say(&change);
        Store::validate(&t.engine.all_stores().cloned().collect::<Vec<_>>());
    }
}
