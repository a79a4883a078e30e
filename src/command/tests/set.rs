//! Sets, word for word.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::Transcript;
use crate::store::Class;

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const NOT_POSITIVE: &str = "-ERR value is out of range, must be positive";
const SYNTAX: &str = "-ERR syntax error";

/// The bulk strings of a reply, whatever is around them.
fn bulks(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split(' ').collect();
    words.windows(2).filter(|pair| pair[0].starts_with('$')).map(|pair| pair[1].to_owned()).collect()
}

/// The members in a reply, in order.
fn members(t: &mut Transcript, line: &str) -> Vec<String> {
    let mut found = bulks(&t.say(line).text());
    found.sort();
    found
}

/// Adds a row of members.
fn fill(t: &mut Transcript, key: &str, members: impl Iterator<Item = String>) {
    let members: Vec<String> = members.collect();
    t.say(&format!("SADD {key} {}", members.join(" "))).hears(&format!(":{}", members.len()));
}

#[test]
fn members_come_and_go() {
    let mut t = Transcript::start();
    t.say("SADD coats red blue red").hears(":2");
    t.say("SADD coats blue").hears(":0");
    t.say("TYPE coats").hears("+set");
    t.say("SCARD coats").hears(":2");
    t.say("SISMEMBER coats red").hears(":1");
    t.say("SISMEMBER coats green").hears(":0");
    t.say("SMISMEMBER coats green blue red").hears("*3 :0 :1 :1");
    assert_eq!(members(&mut t, "SMEMBERS coats"), ["blue", "red"]);
    t.say("SREM coats green red").hears(":1");
    t.say("SREM coats blue blue").hears(":1");
    t.say("EXISTS coats").hears(":0");
    t.say("SREM coats blue").hears(":0");
    t.say("SCARD none").hears(":0");
    t.say("SISMEMBER none a").hears(":0");
    t.say("SMISMEMBER none a b").hears("*2 :0 :0");
    t.say("SMEMBERS none").hears("*0");
    t.say("SADD coats ''").hears(":1");
    t.say("SMEMBERS coats").hears("*1 $0 ");
}

#[test]
fn sets_are_sets_to_those_who_know_them() {
    let mut t = Transcript::start();
    t.say("HELLO 3").hears_start("%7");
    t.say("SADD s a").hears(":1");
    t.say("SMEMBERS s").hears("~1 $1 a");
    t.say("SMEMBERS none").hears("~0");
    t.say("SUNION s none").hears("~1 $1 a");
    t.say("SINTER s s").hears("~1 $1 a");
    t.say("SDIFF s s").hears("~0");
    t.say("SMISMEMBER s a b").hears("*2 :1 :0");
    t.say("SRANDMEMBER s").hears("$1 a");
    t.say("SRANDMEMBER none").hears("_");
    t.say("SRANDMEMBER s 5").hears("*1 $1 a");
    t.say("SRANDMEMBER none 5").hears("*0");
    t.say("SSCAN s 0").hears("*2 $1 0 *1 $1 a");
    t.say("SPOP none").hears("_");
    t.say("SPOP none 1").hears("~0");
    t.say("SPOP s 0").hears("~0");
    t.say("SPOP s 2").hears("~1 $1 a");
}

#[test]
fn what_is_no_set_is_refused() {
    let mut t = Transcript::start();
    t.say("SET text x").hears("+OK");
    t.say("SADD s a").hears(":1");
    for line in [
        "SADD text a",
        "SCARD text",
        "SDIFF s text",
        "SDIFF text s",
        "SDIFFSTORE to s text",
        "SINTER none text",
        "SINTERCARD 2 none text",
        "SINTERSTORE to none text",
        "SISMEMBER text a",
        "SMEMBERS text",
        "SMISMEMBER text a b",
        "SMOVE text s a",
        "SMOVE s text a",
        "SMOVE s text b",
        "SPOP text",
        "SPOP text 0",
        "SRANDMEMBER text",
        "SRANDMEMBER text -1",
        "SREM text a",
        "SSCAN text 0",
        "SUNION s text",
        "SUNIONSTORE to s text",
        "GET s",
    ] {
        t.say(line).hears(WRONG_TYPE);
    }
    t.say("EXISTS to").hears(":0");
    t.say("SMOVE none text a").hears(":0");
    t.say("SUNIONSTORE text s").hears(":1");
    t.say("TYPE text").hears("+set");
}

#[test]
fn a_set_of_few_integers_is_kept_as_such() {
    let mut t = Transcript::with(&[("set-max-intset-entries", "4")]);
    t.say("SADD s 1 -2 9223372036854775807 4").hears(":4");
    t.say("OBJECT ENCODING s").hears("$6 intset");
    t.say("SMEMBERS s").hears("*4 $2 -2 $1 1 $1 4 $19 9223372036854775807");
    t.say("COPY s copy").hears(":1");
    t.say("SADD s 5").hears(":1");
    t.say("OBJECT ENCODING s").hears("$9 hashtable");
    t.say("SADD copy 01").hears(":1");
    t.say("OBJECT ENCODING copy").hears("$9 hashtable");
    t.say("SREM copy 01").hears(":1");
    t.say("OBJECT ENCODING copy").hears("$9 hashtable");
    t.say("SINTERSTORE both s copy").hears(":4");
    t.say("OBJECT ENCODING both").hears("$6 intset");
}

#[test]
fn a_member_moves_to_another_set() {
    let mut t = Transcript::start();
    t.say("SADD a x y").hears(":2");
    t.say("SADD b y").hears(":1");
    t.say("SMOVE a b none").hears(":0");
    t.say("SMOVE a b x").hears(":1");
    t.say("SMOVE a a y").hears(":1");
    t.say("SMOVE a a x").hears(":0");
    t.say("SMOVE a b y").hears(":1");
    t.say("EXISTS a").hears(":0");
    t.say("SCARD b").hears(":2");
    t.say("SMOVE b new x").hears(":1");
    t.say("SMEMBERS new").hears("*1 $1 x");
}

#[test]
fn sets_are_combined() {
    let mut t = Transcript::start();
    fill(&mut t, "numbers", (0..300).map(|number| number.to_string()));
    fill(&mut t, "even", (0..150).map(|number| (number * 2).to_string()));
    fill(&mut t, "names", (0..200).map(|number| format!("name:{number}")).chain((10..20).map(|n| n.to_string())));
    assert_eq!(members(&mut t, "SINTER numbers even names"), ["10", "12", "14", "16", "18"]);
    assert_eq!(members(&mut t, "SUNION numbers even names").len(), 500);
    assert_eq!(members(&mut t, "SDIFF numbers even").len(), 150);
    assert_eq!(members(&mut t, "SDIFF names numbers none").len(), 200);
    assert_eq!(members(&mut t, "SDIFF numbers"), members(&mut t, "SMEMBERS numbers"));
    t.say("SDIFF none numbers").hears("*0");
    t.say("SDIFF numbers even numbers").hears("*0");
    t.say("SINTER numbers none").hears("*0");
    t.say("SUNION none nothing").hears("*0");
    t.say("SINTERSTORE to numbers even names").hears(":5");
    t.say("SMEMBERS to").hears("*5 $2 10 $2 12 $2 14 $2 16 $2 18");
    t.say("EXPIRE to 100").hears(":1");
    t.say("SUNIONSTORE to to names").hears(":210");
    t.say("TTL to").hears(":-1");
    t.say("SDIFFSTORE to to names").hears(":0");
    t.say("EXISTS to").hears(":0");
    t.say("SDIFFSTORE to none").hears(":0");
    t.say("SDIFFSTORE even numbers even").hears(":150");
    t.say("SISMEMBER even 1").hears(":1");
}

#[test]
fn an_intersection_is_counted_up_to_a_limit() {
    let mut t = Transcript::start();
    fill(&mut t, "a", (0..30).map(|number| number.to_string()));
    fill(&mut t, "b", (10..90).map(|number| number.to_string()));
    t.say("SINTERCARD 1 a").hears(":30");
    t.say("SINTERCARD 2 a b").hears(":20");
    t.say("SINTERCARD 2 a b LIMIT 0").hears(":20");
    t.say("SINTERCARD 2 a b limit 7").hears(":7");
    t.say("SINTERCARD 2 a b LIMIT 100").hears(":20");
    t.say("SINTERCARD 2 a none").hears(":0");
    for count in ["0", "-1", "x"] {
        t.say(&format!("SINTERCARD {count} a")).hears("-ERR numkeys should be greater than 0");
    }
    t.say("SINTERCARD 2 a").hears("-ERR Number of keys can't be greater than number of args");
    t.say("SINTERCARD 9223372036854775807 a").hears("-ERR Number of keys can't be greater than number of args");
    t.say("SINTERCARD 1 a b").hears(SYNTAX);
    t.say("SINTERCARD 1 a LIMIT").hears(SYNTAX);
    for limit in ["-1", "x"] {
        t.say(&format!("SINTERCARD 1 a LIMIT {limit}")).hears("-ERR LIMIT can't be negative");
    }
}

#[test]
fn members_are_taken_at_random() {
    let mut t = Transcript::start();
    for (key, prefix) in [("ints", ""), ("few", "m"), ("many", "m")] {
        let count = if key == "many" { 400 } else { 100 };
        fill(&mut t, key, (0..count).map(|number| format!("{prefix}{number}")));
        let mut taken = BTreeSet::new();
        taken.extend(bulks(&t.say(&format!("SPOP {key}")).text()));
        assert_eq!(taken.len(), 1);
        taken.extend(bulks(&t.say(&format!("SPOP {key} 49")).hears_start("*49").text()));
        assert_eq!(taken.len(), 50);
        t.say(&format!("SCARD {key}")).hears(&format!(":{}", count - 50));
        taken.extend(bulks(&t.say(&format!("SPOP {key} 9223372036854775807")).text()));
        assert_eq!(taken.len(), count);
        t.say(&format!("EXISTS {key}")).hears(":0");
    }
    t.say("SPOP none").hears("$-1");
    t.say("SPOP none 1").hears("*0");
    for count in ["-1", "x", "9223372036854775808"] {
        t.say(&format!("SPOP s {count}")).hears(NOT_POSITIVE);
    }
    t.say("SPOP s 1 2").hears(SYNTAX);
    t.say("SADD s a").hears(":1");
    t.say("SPOP s").hears("$1 a");
    t.say("EXISTS s").hears(":0");
}

#[test]
fn members_are_shown_at_random() {
    let mut t = Transcript::start();
    for (key, prefix) in [("ints", ""), ("few", "m"), ("many", "m")] {
        let count = if key == "many" { 400 } else { 100 };
        fill(&mut t, key, (0..count).map(|number| format!("{prefix}{number}")));
        let mut seen = BTreeSet::new();
        for wanted in [1, 2, count / 2, count - 1] {
            for _ in 0..20 {
                let shown = bulks(&t.say(&format!("SRANDMEMBER {key} {wanted}")).text());
                let different: BTreeSet<String> = shown.iter().cloned().collect();
                assert!(shown.len() == wanted && different.len() == wanted, "{shown:?}");
                seen.extend(different);
            }
        }
        assert_eq!(seen.len(), count);
        for wanted in [count, count + 1, usize::MAX / 2] {
            assert_eq!(bulks(&t.say(&format!("SRANDMEMBER {key} {wanted}")).text()).len(), count);
        }
        let often = bulks(&t.say(&format!("SRANDMEMBER {key} -2000")).hears_start("*2000").text());
        assert!(often.len() == 2000 && often.into_iter().collect::<BTreeSet<_>>().len() > count / 2);
        assert_eq!(bulks(&t.say(&format!("SRANDMEMBER {key}")).text()).len(), 1);
        t.say(&format!("SRANDMEMBER {key} 0")).hears("*0");
        t.say(&format!("SCARD {key}")).hears(&format!(":{count}"));
    }
    t.say("SRANDMEMBER none").hears("$-1");
    t.say("SRANDMEMBER none -5").hears("*0");
    t.say("SRANDMEMBER many x").hears(NOT_INTEGER);
    t.say("SRANDMEMBER many 1 2").hears(SYNTAX);
    let range = "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
    t.say("SRANDMEMBER many -9223372036854775808").hears(range);
    t.say("SRANDMEMBER many -9223372036854775807").hears_start("-OOM reply too large: ");
}

/// Scans to the end and returns every member.
fn scan(t: &mut Transcript, key: &str, options: &str) -> (BTreeSet<String>, usize) {
    let (mut members, mut cursor, mut calls) = (BTreeSet::new(), "0".to_owned(), 0);
    loop {
        let mut found = bulks(&t.say(&format!("SSCAN {key} {cursor} {options}")).text()).into_iter();
        cursor = found.next().expect("a cursor");
        members.extend(found);
        calls += 1;
        if cursor == "0" {
            return (members, calls);
        }
    }
}

#[test]
fn a_scan_shows_every_member() {
    let mut t = Transcript::start();
    fill(&mut t, "ints", (0..100).map(|number| number.to_string()));
    fill(&mut t, "few", (0..100).map(|number| format!("m{number}")));
    fill(&mut t, "many", (0..1000).map(|number| format!("m{number}")));
    for key in ["ints", "few"] {
        let (members, calls) = scan(&mut t, key, "COUNT 1");
        assert_eq!((members.len(), calls), (100, 1));
    }
    let (members, calls) = scan(&mut t, "many", "");
    assert!(members.len() == 1000 && (50..=101).contains(&calls), "{calls}");
    assert_eq!(scan(&mut t, "many", "COUNT 1").0.len(), 1000);
    assert_eq!(scan(&mut t, "many", "COUNT 5000").1, 1);
    assert_eq!(scan(&mut t, "many", "MATCH m1? COUNT 100").0.len(), 10);
    t.say("SSCAN none 0").hears("*2 $1 0 *0");
    t.say("SSCAN none 0 NOSUCH").hears("*2 $1 0 *0");
    t.say("SSCAN many x").hears("-ERR invalid cursor");
    t.say("SSCAN many 0 COUNT").hears(SYNTAX);
    t.say("SSCAN many 0 COUNT 0").hears(SYNTAX);
    t.say("SSCAN many 0 COUNT x").hears(NOT_INTEGER);
    t.say("SSCAN many 0 TYPE set").hears(SYNTAX);
    t.say("SSCAN many 18446744073709551615").hears("*2 $1 0 *0");
}

#[test]
fn what_happens_to_sets_is_told() {
    let mut t = Transcript::start();
    let told = Arc::new(Mutex::new(Vec::new()));
    let ear = told.clone();
    let store = t.engine.store(0);
    store.want_events(Class::SET.and(Class::GENERIC));
    store.on_event(move |event| {
        let key = String::from_utf8_lossy(event.key).into_owned();
        ear.lock().expect("no panic").push(format!("{}:{key}", event.name));
    });
    for (line, expected) in [
        ("SADD s a b c", "sadd:s"),
        ("SADD s a", ""),
        ("SREM s x", ""),
        ("SREM s a", "srem:s"),
        ("SMOVE s to b", "srem:s sadd:to"),
        ("SMOVE s to c", "srem:s del:s sadd:to"),
        ("SUNIONSTORE u to", "sunionstore:u"),
        ("SINTERSTORE i to u", "sinterstore:i"),
        ("SDIFFSTORE d to none", "sdiffstore:d"),
        ("SDIFFSTORE d to u", "del:d"),
        ("SDIFFSTORE d to u", ""),
        ("SPOP to", "spop:to"),
        ("SPOP to", "spop:to del:to"),
        ("SPOP to", ""),
        ("SPOP u 0", ""),
        ("SPOP u 1", "spop:u"),
        ("SPOP u 1", "spop:u del:u"),
        ("SREM i b c", "srem:i del:i"),
    ] {
        t.say(line);
        assert_eq!(std::mem::take(&mut *told.lock().expect("no panic")).join(" "), expected, "{line}");
    }
}

#[test]
fn keys_of_combinations_are_found() {
    let mut t = Transcript::start();
    t.say("COMMAND GETKEYS SUNIONSTORE to a b").hears("*3 $2 to $1 a $1 b");
    t.say("COMMAND GETKEYS SINTERCARD 2 a b LIMIT 1").hears("*2 $1 a $1 b");
    t.say("COMMAND GETKEYSANDFLAGS SDIFFSTORE to a").hears("*2 *2 $2 to *2 +OW +update *2 $1 a *2 +RO +access");
    let info = t.say("COMMAND INFO SINTERSTORE").text();
    assert!(
        info.starts_with("*1 *10 $11 sinterstore :-3 *2 +write +denyoom :1 :-1 :1 *3 +@write +@set +@slow"),
        "{info}"
    );
}
