//! Keys that are secrets, and keys that were signed out, in conversations.

use super::Transcript;
use crate::clock::Ttl;

const TOKEN: &str = "eyJhbGciOi.s3cret-T0ken_x";
const FENCED: &str = "-FENCED this session was signed out; its key takes no writes until the sign-out has settled";

fn key() -> String {
    format!("auth:session:{TOKEN}")
}

/// The name that KEYS lists for the only session there is.
fn listed(t: &mut Transcript) -> String {
    let text = t.say("KEYS auth:session:*").text();
    let name = text.strip_prefix("*1 $36 ").expect("one session");
    assert!(name.starts_with("auth:session:~"), "{name}");
    name.to_owned()
}

#[test]
fn a_session_is_stored_and_read_like_any_key() {
    let (mut t, key) = (Transcript::start(), key());
    t.say(&format!("SET {key} alice EX 5")).hears("+OK");
    t.say(&format!("GET {key}")).hears("$5 alice");
    t.say(&format!("EXISTS {key}")).hears(":1");
    t.say(&format!("TTL {key}")).hears(":5");
    t.say(&format!("EXPIRE {key} 60")).hears(":1");
    t.say(&format!("SETEX {key} 7 bob")).hears("+OK");
    t.say(&format!("PTTL {key}")).hears(":7000");
    t.say(&format!("MSET {key} carol other x")).hears("+OK");
    t.say(&format!("MGET {key} other")).hears("*2 $5 carol $1 x");
    t.say(&format!("APPEND {key} !")).hears(":6");
    t.say(&format!("GETDEL {key}")).hears("$6 carol!");
    t.say(&format!("GET {key}")).hears("$-1");
}

#[test]
fn a_token_is_named_by_no_command() {
    let (mut t, key) = (Transcript::start(), key());
    t.say(&format!("SET {key} alice")).hears("+OK");
    for request in
        ["KEYS *", "KEYS auth:session:*", "SCAN 0 COUNT 10000", "RANDOMKEY", "SCAN 0 MATCH auth:* COUNT 10000"]
    {
        let text = t.say(request).text();
        assert!(text.contains("auth:session:~") && !text.contains(TOKEN), "{request}");
    }
    // A pattern is held against the stored name, so it cannot be used to try tokens.
    t.say(&format!("KEYS {key}")).hears("*0");
    t.say(&format!("KEYS auth:session:{}*", &TOKEN[..4])).hears("*0");
    t.say(&format!("SCAN 0 MATCH *{TOKEN} COUNT 10000")).hears("*2 $1 0 *0");
}

#[test]
fn a_listed_name_names_the_session() {
    let (mut t, key) = (Transcript::start(), key());
    t.say(&format!("SET {key} alice EX 9")).hears("+OK");
    let name = listed(&mut t);
    t.say(&format!("GET {name}")).hears("$5 alice");
    t.say(&format!("TTL {name}")).hears(":9");
    t.say(&format!("KEYS {name}")).hears_start("*1 ");
    t.say(&format!("DEL {name}")).hears(":1");
    t.say(&format!("GET {key}")).hears("$-1");
    t.say(&format!("SET {key} alice")).hears(FENCED);
}

#[test]
fn a_session_that_was_deleted_takes_no_late_writes() {
    let (mut t, key) = (Transcript::start(), key());
    t.say(&format!("SET {key} alice")).hears("+OK");
    t.say(&format!("DEL {key}")).hears(":1");
    t.say("SET other x").hears("+OK");
    for write in [
        format!("SET {key} late"),
        format!("SET {key} late NX EX 5"),
        format!("SET {key} late GET"),
        format!("SETEX {key} 5 late"),
        format!("PSETEX {key} 5 late"),
        format!("SETNX {key} late"),
        format!("GETSET {key} late"),
        format!("APPEND {key} late"),
        format!("SETRANGE {key} 3 late"),
        format!("INCR {key}"),
        format!("INCRBYFLOAT {key} 1"),
        format!("MSET before 1 {key} late after 2"),
        format!("MSETNX before 1 {key} late after 2"),
        format!("RENAME other {key}"),
        format!("RENAMENX other {key}"),
        format!("COPY other {key}"),
        format!("COPY other {key} REPLACE"),
    ] {
        t.say(&write).hears(FENCED);
        t.say(&format!("EXISTS {key} before after")).hears(":0");
        t.say("GET other").hears("$1 x");
    }
}

#[test]
fn a_session_that_was_deleted_is_not_there_to_read() {
    let (mut t, key) = (Transcript::start(), key());
    t.say(&format!("SET {key} alice")).hears("+OK");
    t.say(&format!("UNLINK {key}")).hears(":1");
    for (request, answer) in [
        (format!("GET {key}"), "$-1"),
        (format!("TYPE {key}"), "+none"),
        (format!("TTL {key}"), ":-2"),
        (format!("EXPIRE {key} 5"), ":0"),
        (format!("PERSIST {key}"), ":0"),
        (format!("GETEX {key} EX 5"), "$-1"),
        (format!("DEL {key}"), ":0"),
        (format!("SET {key} late XX"), "$-1"),
        (format!("RENAME {key} other"), "-ERR no such key"),
        (format!("COPY {key} other"), ":0"),
        (format!("MOVE {key} 1"), ":0"),
        (format!("OBJECT ENCODING {key}"), "$-1"),
        ("KEYS *".to_owned(), "*0"),
        ("SCAN 0".to_owned(), "*2 $1 0 *0"),
        ("RANDOMKEY".to_owned(), "$-1"),
    ] {
        t.say(&request).hears(answer);
    }
}

#[test]
fn sessions_deleted_together_are_all_fenced_whether_there_or_not() {
    for delete in ["DEL", "UNLINK"] {
        let (mut t, key) = (Transcript::start(), key());
        t.say(&format!("SET {key} alice")).hears("+OK");
        t.say(&format!("{delete} {key} plain auth:session:never {key}")).hears(":1");
        t.say(&format!("SET {key} late")).hears(FENCED);
        t.say("SET auth:session:never late").hears(FENCED);
        t.say("SET plain x").hears("+OK");
        t.say(&format!("EXISTS {key} plain auth:session:never")).hears(":1");
    }
}

#[test]
fn a_fence_falls_by_itself() {
    let (mut t, key) = (Transcript::start(), key());
    t.say(&format!("SET {key} alice")).hears("+OK");
    t.say(&format!("EXPIRE {key} -1")).hears(":1");
    t.say(&format!("SET {key} late")).hears(FENCED);
    t.wait(Ttl::seconds(60));
    t.say(&format!("SET {key} again")).hears("+OK");
    t.say(&format!("GET {key}")).hears("$5 again");
}

#[test]
fn a_session_that_only_ran_out_may_come_back() {
    let (mut t, key) = (Transcript::start(), key());
    t.say(&format!("SET {key} alice PX 10")).hears("+OK");
    t.wait(Ttl(10));
    t.say(&format!("GET {key}")).hears("$-1");
    t.say(&format!("SET {key} alice")).hears("+OK");
}

#[test]
fn a_session_can_be_renamed_copied_and_moved() {
    let (mut t, key) = (Transcript::start(), key());
    t.say(&format!("SET {key} alice EX 9")).hears("+OK");
    t.say(&format!("COPY {key} plain")).hears(":1");
    t.say(&format!("RENAME {key} auth:session:other")).hears("+OK");
    t.say(&format!("MGET {key} auth:session:other plain")).hears("*3 $-1 $5 alice $5 alice");
    t.say("TTL auth:session:other").hears(":9");
    let name = listed(&mut t);
    t.say(&format!("RENAME {name} auth:session:other")).hears("+OK");
    t.say(&format!("COPY {name} auth:session:other")).hears("-ERR source and destination objects are the same");
    t.say("MOVE auth:session:other 1").hears(":1");
    t.say("SELECT 1").hears("+OK");
    t.say("GET auth:session:other").hears("$5 alice");
    // Each database has its own keys, and so its own fences.
    t.say("DEL auth:session:other").hears(":1");
    t.say("SELECT 0").hears("+OK");
    t.say("SET auth:session:other bob").hears("+OK");
    t.say("MOVE auth:session:other 1").hears(FENCED);
    t.say("GET auth:session:other").hears("$3 bob");
}

#[cfg(feature = "server")]
#[test]
fn an_error_that_a_script_makes_of_a_key_shows_no_token() {
    let mut t = Transcript::start();
    let heard = t.say("EVAL \"return redis.error_reply(KEYS[1])\" 1 auth:session:only-hers-to-know").text();
    assert!(heard.starts_with('-') && heard.contains("auth:session:"), "{heard}");
    for text in [heard, t.say("INFO errorstats").text()] {
        assert!(!text.contains("only-hers-to-know"), "{text}");
    }
}

#[test]
fn passwords_in_requests_that_are_only_spoken_of_are_shown_nowhere() {
    let mut t = Transcript::with(&[("slowlog-log-slower-than", "0")]);
    let mut watcher = t.enter();
    t.say_as(&mut watcher, "MONITOR").hears("+OK");
    for line in [
        "COMMAND GETKEYS AUTH s3cret",
        "COMMAND GETKEYS HELLO 3 AUTH default s3cret",
        "COMMAND GETKEYSANDFLAGS ACL SETUSER q >s3cret",
        "COMMAND GETKEYS CONFIG SET requirepass s3cret",
        "COMMAND GETKEYS ACL DRYRUN default AUTH s3cret",
        "ACL DRYRUN default AUTH s3cret",
        "ACL DRYRUN default COMMAND GETKEYS AUTH s3cret",
        "COMMAND GETKEYS GET shown",
    ] {
        t.say(line);
    }
    // However often.
    let mut words: Vec<&[u8]> = Vec::new();
    (0..30_000).for_each(|_| words.extend([&b"ACL"[..], b"DRYRUN", b"default"]));
    words.extend([&b"AUTH"[..], b"s3cret"]);
    t.words(&words);
    for text in [t.say("SLOWLOG GET -1").text(), t.mail(&watcher)] {
        assert!(!text.contains("s3cret") && text.contains("(redacted)"));
        assert!(text.contains("GETKEYSANDFLAGS") && text.contains("shown"));
    }
}
