//! Events of keys, as a client hears them that listens to all.

use super::{Client, Transcript};
use crate::clock::Ttl;

/// A server that tells these events, and who listens to them.
struct House {
    t: Transcript,
    listener: Client,
}

impl House {
    fn telling(letters: &str) -> House {
        let mut t = Transcript::with(&[("notify-keyspace-events", letters), ("enable-debug-command", "yes")]);
        let mut listener = t.enter();
        t.say_as(&mut listener, "PSUBSCRIBE __key*");
        House { t, listener }
    }

    /// What was told since, as `door@db key` or so: the channel behind its dunders and the message.
    fn told(&self) -> String {
        let mail = self.t.mail(&self.listener);
        let words: Vec<&str> = mail.split(' ').collect();
        let lines = words.chunks(9).filter(|chunk| chunk.len() == 9);
        let lines =
            lines.map(|chunk| format!("{} {}", chunk[6].trim_start_matches("__key").replace("__", ""), chunk[8]));
        lines.collect::<Vec<_>>().join(", ")
    }

    #[track_caller]
    fn tells(&mut self, line: &str, expected: &str) {
        self.t.say(line);
        assert_eq!(self.told(), expected, "{line}");
    }
}

#[test]
fn each_event_is_told_by_key_and_by_name_as_the_letters_say() {
    let mut house = House::telling("KEA");
    house.tells("SET a 1", "space@0:a set, event@0:set a");
    house.tells("CONFIG SET notify-keyspace-events KA", "");
    house.tells("SET a 1", "space@0:a set");
    house.tells("CONFIG SET notify-keyspace-events E$", "");
    house.tells("SET a 1", "event@0:set a");
    house.tells("DEL a", "");
    house.tells("CONFIG SET notify-keyspace-events A", "");
    house.tells("SET a 1", "");
    house.tells("CONFIG SET notify-keyspace-events ''", "");
    house.tells("SET a 1", "");
    house.tells("CONFIG SET notify-keyspace-events KEtd", "");
    house.tells("SET a 1", "");
}

#[test]
fn strings_tell_what_redis_tells() {
    let mut house = House::telling("EA");
    for (line, expected) in [
        ("SET a 1 EX 100", "event@0:set a, event@0:expire a"),
        ("SET a 1 KEEPTTL", "event@0:set a"),
        ("SET a 1 NX", ""),
        ("SET a 1 XX GET", "event@0:set a"),
        ("SETNX a 1", ""),
        ("SETEX a 10 1", "event@0:set a, event@0:expire a"),
        ("PSETEX a 10000 1", "event@0:set a, event@0:expire a"),
        ("GETSET a 1", "event@0:set a"),
        ("MSET a 1 b 2", "event@0:set a, event@0:set b"),
        ("MSETNX a 1 c 2", ""),
        ("MSETNX c 1 d 2", "event@0:set c, event@0:set d"),
        ("APPEND a 2", "event@0:append a"),
        ("SETRANGE a 0 3", "event@0:setrange a"),
        ("SETRANGE a 9 ''", ""),
        ("INCR a", "event@0:incrby a"),
        ("DECRBY a 2", "event@0:incrby a"),
        ("INCRBYFLOAT a 0.5", "event@0:incrbyfloat a"),
        ("INCR a", ""),
        ("GETEX a", ""),
        ("GETEX a PERSIST", ""),
        ("GETEX a EX 10", "event@0:expire a"),
        ("GETEX a PERSIST", "event@0:persist a"),
        ("GETEX a PXAT 1", "event@0:del a"),
        ("GETEX a EX 10", ""),
        ("GETDEL b", "event@0:del b"),
        ("GETDEL b", ""),
        ("GET c", ""),
    ] {
        house.tells(line, expected);
    }
}

#[test]
fn keys_tell_what_redis_tells() {
    let mut house = House::telling("EA");
    for (line, expected) in [
        ("MSET a 1 b 2 c 3", "event@0:set a, event@0:set b, event@0:set c"),
        ("DEL a b nothing", "event@0:del a, event@0:del b"),
        ("UNLINK nothing", ""),
        ("EXPIRE c 10", "event@0:expire c"),
        ("EXPIRE c 10 NX", ""),
        ("PERSIST c", "event@0:persist c"),
        ("PERSIST c", ""),
        ("RENAME c d", "event@0:rename_from c, event@0:rename_to d"),
        ("RENAME d d", ""),
        ("RENAMENX d e", "event@0:rename_from d, event@0:rename_to e"),
        ("COPY e f", "event@0:copy_to f"),
        ("COPY e f", ""),
        ("COPY e f DB 3", "event@3:copy_to f"),
        ("MOVE e 3", "event@0:move_from e, event@3:move_to e"),
        ("PEXPIREAT f 1", "event@0:del f"),
        ("EXPIRE f -1", ""),
        ("SELECT 3", ""),
        ("FLUSHDB", ""),
    ] {
        house.tells(line, expected);
    }
}

#[test]
fn new_and_missed_keys_are_told_to_who_asks_for_them() {
    let mut house = House::telling("KEmn$g");
    for (line, expected) in [
        ("SET a 1", "space@0:a new, event@0:new a, space@0:a set, event@0:set a"),
        ("CONFIG SET notify-keyspace-events Emng$", ""),
        ("SET a 2", "event@0:set a"),
        ("GET b", "event@0:keymiss b"),
        ("MGET a b c", "event@0:keymiss b, event@0:keymiss c"),
        ("EXISTS b", "event@0:keymiss b"),
        ("TTL b", "event@0:keymiss b"),
        ("DEL b", ""),
        ("OBJECT ENCODING b", ""),
        ("COPY b c", "event@0:keymiss b"),
        ("RENAME b c", ""),
        ("INCR n", "event@0:new n, event@0:incrby n"),
        ("INCR n", "event@0:incrby n"),
        ("RENAME n a", "event@0:new a, event@0:rename_from n, event@0:rename_to a"),
        ("CONFIG SET notify-keyspace-events EA", ""),
        ("GET b", ""),
    ] {
        house.tells(line, expected);
    }
}

#[test]
fn what_dies_is_told_at_its_deadline_and_once() {
    let mut house = House::telling("Ex");
    house.tells("SET a 1 PX 100", "");
    house.tells("SET b 1 PX 100", "");
    house.t.wait(Ttl(99));
    house.t.sweep();
    assert_eq!(house.told(), "");
    house.t.wait(Ttl(1));
    // A reader sees nothing any more, and leaves the telling to others.
    house.tells("GET a", "");
    // Who writes finds the dead one first.
    house.tells("SET b 2 PX 50", "event@0:expired b");
    house.t.sweep();
    assert_eq!(house.told(), "event@0:expired a");
    house.t.wait(Ttl(50));
    house.t.sweep();
    house.t.sweep();
    assert_eq!(house.told(), "event@0:expired b");
    // One that was moved, refreshed or removed died of nothing.
    for line in ["SET a 1 PX 100", "SET b 1 PX 100", "SET c 1 PX 100", "RENAME a d", "PERSIST b", "DEL c"] {
        house.tells(line, "");
    }
    house.t.wait(Ttl(100));
    house.t.sweep();
    assert_eq!(house.told(), "event@0:expired d");
}

#[test]
fn many_that_die_at_once_are_each_told_once() {
    let mut house = House::telling("Ex");
    for number in 0..500 {
        house.tells(&format!("SET k:{number} v PX {}", 100 + number % 7), "");
    }
    house.t.wait(Ttl(200));
    for number in 0..100 {
        house.t.say(&format!("SET k:{number} v"));
    }
    house.t.sweep();
    let told = house.told();
    let mut names: Vec<&str> = told.split(", ").collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!((told.split(", ").count(), names.len()), (500, 500));
}

#[test]
fn what_is_evicted_is_told() {
    let mut house = House::telling("Ee");
    house.tells("SET foo bar", "");
    house.tells("CONFIG SET maxmemory-policy allkeys-lru", "");
    house.tells("CONFIG SET maxmemory 1", "event@0:evicted foo");
}

#[test]
fn a_database_is_the_one_of_that_number_after_a_swap_too() {
    let mut house = House::telling("EA");
    house.tells("SET a 1 PX 100", "event@0:set a, event@0:expire a");
    house.tells("SWAPDB 0 5", "");
    house.tells("SET a 1", "event@0:set a");
    house.t.wait(Ttl(100));
    house.t.sweep();
    assert_eq!(house.told(), "event@5:expired a");
}

#[test]
fn a_token_is_told_by_its_hash() {
    const KEY: &str = "auth:session:c4n4ry.t0ken-of_a.session";
    let mut house = House::telling("KEAmn");
    let mut other = house.t.enter();
    house.t.say_as(&mut other, &format!("SUBSCRIBE __keyspace@0__:{KEY}"));
    for line in [format!("SET {KEY} {{}} PX 100"), format!("GET {KEY}x"), format!("APPEND {KEY} x")] {
        house.t.say(&line);
    }
    house.t.wait(Ttl(100));
    house.t.sweep();
    let told = house.told();
    assert!(told.contains(" expired") && told.contains("auth:session:~") && !told.contains("c4n4ry"), "{told}");
    let told = house.t.mail(&other);
    assert!(told.contains(" expired") && told.contains("auth:session:~") && !told.contains("c4n4ry"), "{told}");
    house.t.say_as(&mut other, "PSUBSCRIBE __keyspace@0__:auth:session:*");
    house.t.say(&format!("SET {KEY}x {{}}"));
    let told = house.t.mail(&other);
    assert!(told.contains(" set") && told.contains("auth:session:~") && !told.contains("c4n4ry"), "{told}");
    house.t.say_as(&mut other, &format!("UNSUBSCRIBE __keyspace@0__:{KEY}")).hears_start("*3 $11 unsubscribe");
    assert_eq!(other.peer.subscriptions(), [0, 1, 0]);
    house.t.say_as(&mut other, &format!("SUBSCRIBE __keyspace@0__:{KEY}"));
    let listed = house.t.say("PUBSUB CHANNELS").text();
    assert!(listed.contains("auth:session:~") && !listed.contains("c4n4ry"), "{listed}");
}
