//! Clients that are told when keys change that they have read.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use super::{Client, Transcript};
use crate::clock::{Millis, Ttl};
use crate::resp::Words;

/// A second client that speaks RESP3 and tracks.
fn tracker(t: &mut Transcript, options: &str) -> Client {
    let mut client = t.enter();
    t.say_as(&mut client, "HELLO 3").hears_start("%7");
    t.say_as(&mut client, &format!("CLIENT TRACKING ON {options}")).hears("+OK");
    client
}

/// The number of INFO's field.
fn number(t: &mut Transcript, field: &str) -> usize {
    let text = t.say("INFO").text();
    let rest = text.split_once(&format!("{field}:")).expect("the field").1;
    rest.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn a_key_that_was_read_is_told_of_once() {
    let mut t = Transcript::start();
    let mut other = tracker(&mut t, "");
    t.say("SET a 1").hears("+OK");
    t.say("SET b 1").hears("+OK");
    assert_eq!(t.mail(&other), "", "nothing was read");
    t.say_as(&mut other, "MGET a b nosuch").hears("*3 $1 1 $1 1 _");
    t.say("SET a 2").hears("+OK");
    assert_eq!(t.mail(&other), ">2 $10 invalidate *1 $1 a");
    t.say("SET a 3").hears("+OK");
    assert_eq!(t.mail(&other), "", "it was forgotten");
    t.say("APPEND b x").hears(":2");
    t.say("LPUSH nosuch x").hears(":1");
    assert_eq!(t.mail(&other), ">2 $10 invalidate *1 $1 b >2 $10 invalidate *1 $6 nosuch");
    t.say_as(&mut other, "LRANGE nosuch 0 -1").hears("*1 $1 x");
    t.say("LPUSH nosuch y").hears(":2");
    assert_eq!(t.mail(&other), ">2 $10 invalidate *1 $6 nosuch");
    // What is written is not noted, nor what is read and written at once.
    t.say_as(&mut other, "INCR n").hears(":1");
    t.say_as(&mut other, "GETSET n 5").hears("$1 1");
    t.say("INCR n").hears(":6");
    assert_eq!(t.mail(&other), "");
}

#[test]
fn all_ends_of_a_key_are_changes() {
    let mut t = Transcript::start();
    let mut other = tracker(&mut t, "");
    for end in ["DEL k", "RENAME k k2", "EXPIRE k 100", "PERSIST k", "GETDEL k", "SET k w"] {
        t.say("SET k v EX 50").hears("+OK");
        t.say_as(&mut other, "GET k").hears("$1 v");
        t.say(end);
        assert_eq!(t.mail(&other), ">2 $10 invalidate *1 $1 k", "{end}");
    }
    t.say("SET k v EX 5").hears("+OK");
    t.say_as(&mut other, "GET k").hears("$1 v");
    t.wait(Ttl::seconds(6));
    t.sweep();
    assert_eq!(t.mail(&other), ">2 $10 invalidate *1 $1 k", "expired");
    t.say("SET k v").hears("+OK");
    t.say_as(&mut other, "GET k").hears("$1 v");
    t.say("SELECT 3").hears("+OK");
    t.say("SET k other").hears("+OK");
    assert_eq!(t.mail(&other), ">2 $10 invalidate *1 $1 k", "names count, whatever the database");
    t.say_as(&mut other, "GET k").hears("$1 v");
    t.say("FLUSHDB").hears("+OK");
    assert_eq!(t.mail(&other), ">2 $10 invalidate _");
    t.say("FLUSHALL").hears("+OK");
    assert_eq!(t.mail(&other), ">2 $10 invalidate _");
    t.say("SET k v").hears("+OK");
    assert_eq!(t.mail(&other), "");
}

#[test]
fn own_changes_come_behind_the_reply() {
    let mut t = Transcript::start();
    t.say("HELLO 3").hears_start("%7");
    t.say("CLIENT TRACKING ON").hears("+OK");
    t.say("GET a").hears("_");
    t.say("SET a 1").hears("+OK >2 $10 invalidate *1 $1 a");
    t.say("GET a").hears("$1 1");
    t.say("MULTI").hears("+OK");
    t.say("INCR a").hears("+QUEUED");
    t.say("GET a").hears("+QUEUED");
    t.say("EXEC").hears("*2 :2 $1 2 >2 $10 invalidate *1 $1 a");
    t.say("INCR a").hears(":3 >2 $10 invalidate *1 $1 a");
    t.say("FLUSHALL").hears("+OK >2 $10 invalidate _");
    t.say("GET a").hears("_");
    t.say("CLIENT REPLY OFF").hears("");
    t.say("SET a 1").hears(">2 $10 invalidate *1 $1 a");
    t.say("CLIENT REPLY ON").hears("+OK");
    t.say("CLIENT TRACKING ON NOLOOP").hears("+OK");
    t.say("GET a").hears("$1 1");
    t.say("INCR a").hears(":2");
    let mut other = t.enter();
    t.say_as(&mut other, "INCR a").hears(":3");
    assert_eq!(t.mail(&t.client), "", "an own change makes it forget, too");
    t.say("GET a").hears("$1 3");
    t.say_as(&mut other, "INCR a").hears(":4");
    assert_eq!(t.mail(&t.client), ">2 $10 invalidate *1 $1 a");
}

#[test]
fn prefixes_are_told_of_together() {
    let mut t = Transcript::start();
    let all = tracker(&mut t, "BCAST");
    let some = tracker(&mut t, "BCAST PREFIX a: PREFIX b:");
    t.say("MSET b:1 1 c 1 a:1 1 a:0 1").hears("+OK");
    assert_eq!(t.mail(&all), ">2 $10 invalidate *4 $3 a:0 $3 a:1 $3 b:1 $1 c");
    assert_eq!(t.mail(&some), ">2 $10 invalidate *2 $3 a:0 $3 a:1 >2 $10 invalidate *1 $3 b:1");
    t.say("MULTI").hears("+OK");
    t.say("INCR a:1").hears("+QUEUED");
    t.say("INCR a:1").hears("+QUEUED");
    t.say("EXEC").hears("*2 :2 :3");
    assert_eq!(t.mail(&some), ">2 $10 invalidate *1 $3 a:1");
    assert_eq!((number(&mut t, "tracking_total_prefixes"), number(&mut t, "tracking_clients")), (3, 2));
    // Behind the own reply, and not at all with NOLOOP, if nobody else has changed it.
    let mut own = tracker(&mut t, "BCAST PREFIX own NOLOOP");
    t.say_as(&mut own, "SET own EX").hears("+OK");
    t.say_as(&mut own, "SET own:2 v PX 5").hears("+OK");
    t.wait(Ttl(6));
    t.sweep();
    assert_eq!(t.mail(&own), ">2 $10 invalidate *1 $5 own:2");
    t.say("SET own x").hears("+OK");
    assert_eq!(t.mail(&own), ">2 $10 invalidate *1 $3 own");
    t.say_as(&mut own, "CLIENT TRACKING ON BCAST PREFIX more").hears("+OK");
    t.say_as(&mut own, "SET more x").hears("+OK >2 $10 invalidate *1 $4 more");
    t.say_as(&mut own, "CLIENT TRACKING OFF").hears("+OK");
    t.say_as(&mut own, "SET own x").hears("+OK");
}

#[test]
fn prefixes_may_not_overlap() {
    let mut t = Transcript::start();
    let refused = |prefix: &str, which: &str, other: &str| {
        format!(
            "-ERR Prefix '{prefix}' overlaps with {which} '{other}'. Prefixes for a single client must not overlap."
        )
    };
    t.say("CLIENT TRACKING ON BCAST PREFIX FOOBAR PREFIX FOO").hears(&refused(
        "FOOBAR",
        "another provided prefix",
        "FOO",
    ));
    t.say("CLIENT TRACKING ON BCAST PREFIX x PREFIX FOO PREFIX FOOBAR").hears(&refused(
        "FOO",
        "another provided prefix",
        "FOOBAR",
    ));
    t.say("CLIENT GETREDIR").hears(":-1");
    t.say("CLIENT TRACKING ON BCAST PREFIX FOO PREFIX BAR").hears("+OK");
    t.say("CLIENT TRACKING ON BCAST PREFIX FO").hears(&refused("FO", "an existing prefix", "FOO"));
    t.say("CLIENT TRACKING ON BCAST PREFIX BAR").hears(&refused("BAR", "an existing prefix", "BAR"));
    t.say("CLIENT TRACKINGINFO").hears("*6 $5 flags *2 $2 on $5 bcast $8 redirect :0 $8 prefixes *2 $3 BAR $3 FOO");
}

#[test]
fn options_and_their_conflicts() {
    let mut t = Transcript::start();
    let other = t.enter();
    for (line, reply) in [
        ("CLIENT TRACKING", "-ERR wrong number of arguments for 'client|tracking' command"),
        ("CLIENT TRACKING MAYBE", "-ERR syntax error"),
        ("CLIENT TRACKING ON NOSUCH", "-ERR syntax error"),
        ("CLIENT TRACKING ON REDIRECT", "-ERR syntax error"),
        ("CLIENT TRACKING ON BCAST PREFIX", "-ERR syntax error"),
        ("CLIENT TRACKING ON REDIRECT x", "-ERR value is not an integer or out of range"),
        ("CLIENT TRACKING ON REDIRECT 99", "-ERR The client ID you want redirect to does not exist"),
        ("CLIENT TRACKING ON REDIRECT -1", "-ERR The client ID you want redirect to does not exist"),
        ("CLIENT TRACKING ON REDIRECT 2 REDIRECT 2", "-ERR A client can only redirect to a single other client"),
        ("CLIENT TRACKING ON PREFIX a", "-ERR PREFIX option requires BCAST mode to be enabled"),
        ("CLIENT TRACKING ON BCAST OPTIN", "-ERR OPTIN and OPTOUT are not compatible with BCAST"),
        ("CLIENT TRACKING ON OPTIN OPTOUT", "-ERR You can't specify both OPTIN mode and OPTOUT mode"),
        (
            "CLIENT CACHING YES",
            "-ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        ),
        ("CLIENT TRACKING OFF", "+OK"),
        ("CLIENT TRACKING on optin", "+OK"),
        ("CLIENT CACHING NO", "-ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode."),
        ("CLIENT CACHING MAYBE", "-ERR syntax error"),
        (
            "CLIENT TRACKING ON BCAST",
            "-ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.",
        ),
        (
            "CLIENT TRACKING ON OPTOUT",
            "-ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.",
        ),
        ("CLIENT TRACKING ON NOLOOP REDIRECT 2", "+OK"),
        ("CLIENT CACHING YES", "-ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode."),
        ("CLIENT GETREDIR", ":2"),
        ("CLIENT TRACKINGINFO", "*6 $5 flags *2 $2 on $6 noloop $8 redirect :2 $8 prefixes *0"),
        ("CLIENT TRACKING OFF", "+OK"),
        ("CLIENT TRACKINGINFO", "*6 $5 flags *1 $3 off $8 redirect :-1 $8 prefixes *0"),
    ] {
        t.say(line).hears(reply);
    }
    t.say("HELLO 3").hears_start("%7");
    t.say("CLIENT TRACKING ON BCAST").hears("+OK");
    t.say("CLIENT TRACKINGINFO").hears("%3 $5 flags ~2 $2 on $5 bcast $8 redirect :0 $8 prefixes *1 $0 ");
    assert_eq!(t.client.peer.flags(), "tB");
    t.say("RESET").hears("+RESET");
    t.say("CLIENT GETREDIR").hears(":-1");
    drop(other);
}

#[test]
fn what_is_noted_can_be_chosen() {
    let mut t = Transcript::start();
    let mut other = tracker(&mut t, "OPTIN");
    let told = |t: &mut Transcript, other: &Client| {
        t.say("SET a 1").hears("+OK");
        !t.mail(other).is_empty()
    };
    t.say_as(&mut other, "GET a").hears("_");
    assert!(!told(&mut t, &other));
    t.say_as(&mut other, "CLIENT CACHING YES").hears("+OK");
    t.say_as(&mut other, "CLIENT TRACKINGINFO")
        .hears("%3 $5 flags ~3 $2 on $5 optin $11 caching-yes $8 redirect :0 $8 prefixes *0");
    t.say_as(&mut other, "GET a").hears("$1 1");
    assert!(told(&mut t, &other));
    t.say_as(&mut other, "GET a").hears("$1 1");
    assert!(!told(&mut t, &other), "it holds for one command");
    t.say_as(&mut other, "CLIENT CACHING YES").hears("+OK");
    t.say_as(&mut other, "MULTI").hears("+OK");
    t.say_as(&mut other, "PING").hears("+QUEUED");
    t.say_as(&mut other, "GET a").hears("+QUEUED");
    t.say_as(&mut other, "EXEC").hears("*2 +PONG $1 1");
    assert!(told(&mut t, &other), "for a whole transaction");
    t.say_as(&mut other, "CLIENT CACHING YES").hears("+OK");
    t.say_as(&mut other, "NOSUCH").hears_start("-ERR unknown command");
    t.say_as(&mut other, "GET a").hears("$1 1");
    assert!(!told(&mut t, &other), "also for one that is refused");
    t.say_as(&mut other, "CLIENT TRACKING OFF").hears("+OK");
    t.say_as(&mut other, "CLIENT TRACKING ON OPTOUT").hears("+OK");
    t.say_as(&mut other, "GET a").hears("$1 1");
    assert!(told(&mut t, &other));
    t.say_as(&mut other, "CLIENT CACHING NO").hears("+OK");
    t.say_as(&mut other, "GET a").hears("$1 1");
    assert!(!told(&mut t, &other));
}

#[test]
fn others_can_be_told_instead() {
    let mut t = Transcript::start();
    let mut ear = t.enter();
    t.say("CLIENT TRACKING ON REDIRECT 2").hears("+OK");
    t.say("GET a").hears("$-1");
    t.say("SET a 1").hears("+OK");
    assert_eq!(t.mail(&ear), "", "in RESP2 it must listen");
    t.say_as(&mut ear, "SUBSCRIBE __redis__:invalidate").hears_start("*3");
    t.say("GET a").hears("$1 1");
    t.say("SET a 2").hears("+OK");
    assert_eq!(t.mail(&ear), "*3 $7 message $20 __redis__:invalidate *1 $1 a");
    t.say("FLUSHALL").hears("+OK");
    assert_eq!(t.mail(&ear), "*3 $7 message $20 __redis__:invalidate $-1");
    t.say_as(&mut ear, "RESET").hears("+RESET");
    t.say_as(&mut ear, "HELLO 3").hears_start("%7");
    t.say("GET a").hears("$-1");
    t.say("SET a 2").hears("+OK");
    assert_eq!(t.mail(&ear), ">2 $10 invalidate *1 $1 a");
    assert!(t.say("CLIENT LIST").text().contains(" flags=t db=0 "));
    assert!(t.say("CLIENT LIST").text().contains(" redir=2 resp=2 "));
    // Who was told is gone.
    t.say("HELLO 3").hears_start("%7");
    t.say("GET a").hears("$1 2");
    t.say_as(&mut ear, "QUIT").hears("+OK");
    t.say("SET a 3").hears("+OK >2 $21 tracking-redir-broken :2");
    t.say("CLIENT TRACKINGINFO").hears("%3 $5 flags ~2 $2 on $15 broken_redirect $8 redirect :2 $8 prefixes *0");
    assert_eq!(t.client.peer.flags(), "tR");
    t.say("CLIENT TRACKING ON").hears("+OK");
    assert_eq!(t.client.peer.flags(), "t");
}

#[test]
fn only_so_many_keys_are_remembered() {
    let mut t = Transcript::with(&[("tracking-table-max-keys", "3")]);
    let mut other = tracker(&mut t, "NOLOOP");
    t.say_as(&mut other, "MGET a b c").hears("*3 _ _ _");
    let mut third = tracker(&mut t, "");
    t.say_as(&mut third, "GET a").hears("_");
    assert_eq!((number(&mut t, "tracking_total_keys"), number(&mut t, "tracking_total_items")), (3, 4));
    t.say_as(&mut other, "GET d").hears_start("_");
    assert_eq!(number(&mut t, "tracking_total_keys"), 3);
    t.mail(&other);
    t.say("CONFIG SET tracking-table-max-keys 1").hears("+OK");
    assert_eq!(number(&mut t, "tracking_total_keys"), 1);
    t.say("CONFIG SET tracking-table-max-keys 0").hears("+OK");
    for number in 0..100 {
        t.say_as(&mut other, &format!("GET key:{number}"));
    }
    assert!(number(&mut t, "tracking_total_keys") >= 100, "0 is no limit");
    t.say_as(&mut other, "CLIENT TRACKING OFF").hears("+OK");
    t.mail(&third);
    t.say_as(&mut third, "RESET").hears("+RESET");
    assert_eq!((number(&mut t, "tracking_total_keys"), number(&mut t, "tracking_clients")), (0, 0));
    assert_eq!(t.engine.tracking.bytes(), 0);
}

#[test]
fn memory_that_is_needed_is_told_of_before_the_reply() {
    let mut t = Transcript::with(&[("maxmemory-policy", "volatile-random")]);
    t.say("HELLO 3").hears_start("%7");
    t.say("CLIENT TRACKING ON").hears("+OK");
    t.say("SET k v EX 50").hears("+OK");
    t.say("GET k").hears("$1 v");
    let limit = t.engine.used_memory() + 50_000;
    t.say(&format!("CONFIG SET maxmemory {limit}")).hears("+OK");
    t.say("SETBIT big 800000 0").hears(":0");
    t.say("GETBIT big 0").hears(">2 $10 invalidate *1 $1 k :0");
}

#[test]
fn a_token_is_told_to_who_has_sent_it() {
    const KEY: &str = "auth:session:s3cret-T0ken";
    let mut t = Transcript::start();
    let mut knows = tracker(&mut t, "");
    let all = tracker(&mut t, "BCAST");
    let sessions = tracker(&mut t, "BCAST PREFIX auth:session:s3cret");
    t.say(&format!("SET {KEY} alice")).hears("+OK");
    let told = t.mail(&all);
    let name = told.strip_prefix(">2 $10 invalidate *1 $36 ").expect("one key");
    assert!(name.starts_with("auth:session:~") && t.mail(&sessions).is_empty());
    let mut lists = tracker(&mut t, "");
    t.say_as(&mut lists, &format!("GET {name}")).hears("$5 alice");
    t.say_as(&mut knows, &format!("GET {KEY}")).hears("$5 alice");
    t.say(&format!("SET {KEY} bob")).hears("+OK");
    assert_eq!(t.mail(&knows), format!(">2 $10 invalidate *1 $25 {KEY}"));
    assert_eq!(t.mail(&lists), told);
    assert_eq!(t.mail(&all), told);
    t.say_as(&mut knows, &format!("MGET {KEY} {name}")).hears("*2 $3 bob $3 bob");
    assert_eq!(number(&mut t, "tracking_total_keys"), 1);
    t.say(&format!("DEL {name}")).hears(":1");
    assert_eq!(t.mail(&knows), format!("{told} >2 $10 invalidate *1 $25 {KEY}"));
}

#[cfg(feature = "server")]
#[test]
fn a_script_that_reads_has_its_keys_noted() {
    let mut t = Transcript::start();
    let mut other = tracker(&mut t, "");
    let told = |t: &mut Transcript, other: &Client| {
        t.say("MSET a 1 b 1").hears("+OK");
        t.mail(other)
    };
    let both = ">2 $10 invalidate *1 $1 a >2 $10 invalidate *1 $1 b";
    t.say_as(&mut other, "EVAL \"redis.call('set', 'c', 1)\" 2 a b").hears("_");
    assert_eq!(told(&mut t, &other), "");
    t.say_as(&mut other, "EVAL \"redis.call('get', 'c')\" 2 a b").hears("_");
    assert_eq!(told(&mut t, &other), both);
    t.say_as(&mut other, "EVAL_RO \"redis.call('ping')\" 2 a b").hears("_");
    assert_eq!(told(&mut t, &other), "");
    t.say_as(&mut other, "EVAL_RO \"redis.call('get', 'a')\" 2 a b").hears("_");
    assert_eq!(told(&mut t, &other), both);
}

#[test]
fn who_is_served_hears_of_it_too() {
    let mut t = Transcript::start();
    let mut other = tracker(&mut t, "");
    t.say_as(&mut other, "LRANGE to 0 -1").hears("*0");
    t.say_as(&mut other, "BLMOVE from to LEFT LEFT 0").hears("");
    t.say("RPUSH from x").hears(":1");
    t.say_as(&mut other, "BLMOVE from to LEFT LEFT 0").hears("$1 x >2 $10 invalidate *1 $2 to");
}

#[test]
fn who_notes_what_it_reads_keeps_nobody_from_telling_what_changes() {
    let mut t = Transcript::start();
    let mut other = tracker(&mut t, "");
    let engine = Arc::new(t.engine);
    let (done, all_done) = mpsc::channel();
    thread::spawn(move || {
        let (key, now, reads) = (b"auth:session:a", engine.clock.now(), engine.clone());
        let reader = engine.store(0).with(key, now, |slot| {
            let reader = thread::spawn(move || {
                let request = Words::of_line(b"GET auth:session:a").expect("words");
                other.run(&reads, request.args(), now, &mut Vec::new())
            });
            // By now it waits for the key, and may have locked whatever it likes.
            thread::sleep(Duration::from_millis(100));
            slot.put_bytes(b"{}", Millis::NEVER).expect("a write");
            reader
        });
        reader.join().expect("no panic");
        done.send(()).expect("somebody waits");
    });
    all_done.recv_timeout(Duration::from_secs(20)).expect("neither waits for the other for ever");
}
