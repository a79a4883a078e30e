//! When keys die, in conversations.

use super::Transcript;
use crate::clock::Ttl;

const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";

/// Where the clock of a transcript stands at first.
const START: u64 = 1_700_000_000_000;

#[test]
fn a_refresh_outlives_the_old_deadline() {
    let mut t = Transcript::start();
    t.say("SET coat 42 PX 100").hears("+OK");
    t.say("PEXPIRE coat 500").hears(":1");
    t.wait(Ttl(100));
    t.say("GET coat").hears("$2 42");
    t.wait(Ttl(400));
    t.say("GET coat").hears("$-1");
}

#[test]
fn what_is_left_is_told_in_four_ways() {
    let mut t = Transcript::start();
    t.say("SET coat red").hears("+OK");
    for command in ["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"] {
        t.say(&format!("{command} none")).hears(":-2");
        t.say(&format!("{command} coat")).hears(":-1");
    }
    t.say("PEXPIRE coat 10499").hears(":1");
    t.say("TTL coat").hears(":10");
    t.say("PTTL coat").hears(":10499");
    t.say("EXPIRETIME coat").hears(":1700000010");
    t.say("PEXPIRETIME coat").hears(":1700000010499");
    t.say("PEXPIRE coat 10500").hears(":1");
    t.say("TTL coat").hears(":11");
    t.say("EXPIRETIME coat").hears(":1700000011");
}

#[test]
fn an_expiration_in_the_past_deletes() {
    let mut t = Transcript::start();
    for request in
        ["EXPIRE coat 0", "EXPIRE coat -1", "PEXPIRE coat -9223372036854775808", "EXPIREAT coat 1", "PEXPIREAT coat -5"]
    {
        t.say("SET coat red").hears("+OK");
        t.say(request).hears(":1");
        t.say("EXISTS coat").hears(":0");
        t.say(request).hears(":0");
    }
    t.say("SET coat red").hears("+OK");
    t.say(&format!("PEXPIREAT coat {START}")).hears(":1");
    t.say("GET coat").hears("$-1");
    assert_eq!(t.engine.store(0).len(), 0);
}

#[test]
fn an_expiration_past_the_end_of_time_is_refused() {
    let mut t = Transcript::start();
    t.say("SET coat red").hears("+OK");
    for (request, name) in [
        ("EXPIRE coat 9223372036854775807", "expire"),
        ("EXPIRE coat -9223372036854775808", "expire"),
        ("EXPIRE coat 9223372036854776", "expire"),
        ("PEXPIRE coat 9223372036854775807", "pexpire"),
        ("EXPIREAT coat 9223372036854776", "expireat"),
        ("EXPIRE none 9223372036854775807", "expire"),
    ] {
        t.say(request).hears(&format!("-ERR invalid expire time in '{name}' command"));
    }
    for request in ["EXPIRE coat soon", "PEXPIRE none 1.5", "EXPIREAT coat ''", "PEXPIREAT coat 9223372036854775808"] {
        t.say(request).hears(NOT_INTEGER);
    }
    t.say("TTL coat").hears(":-1");
}

#[test]
fn the_longest_expiration_is_kept_to_the_millisecond() {
    let mut t = Transcript::start();
    t.say("SET coat red").hears("+OK");
    t.say("PEXPIREAT coat 9223372036854775807").hears(":1");
    t.say("PEXPIRETIME coat").hears(":9223372036854775807");
    t.say("PTTL coat").hears(&format!(":{}", i64::MAX as u64 - START));
    t.say(&format!("SET coat red PX {}", i64::MAX as u64 - START)).hears("+OK");
    t.say("PEXPIRETIME coat").hears(":9223372036854775807");
    t.wait(Ttl::seconds(1_000_000_000));
    t.say("GET coat").hears("$3 red");
    t.say("PERSIST coat").hears(":1");
    t.say("TTL coat").hears(":-1");
}

#[test]
fn a_wall_clock_that_jumps_forward_expires_nothing_early() {
    let mut t = Transcript::start();
    t.say("SET coat red EX 100").hears("+OK");
    t.say("SET hat blue EXAT 1700000100").hears("+OK");
    t.clock.set_wall_offset(3_600_000);
    t.say("MGET coat hat").hears("*2 $3 red $4 blue");
    t.say("TTL coat").hears(":100");
    t.say("EXPIRETIME coat").hears(":1700003700");
    // What is asked for in Unix time from now on is meant by the new clock.
    t.say("EXPIREAT coat 1700000200").hears(":1");
    t.say("EXISTS coat").hears(":0");
    t.say("SET coat red EXAT 1700003650").hears("+OK");
    t.say("PTTL coat").hears(":50000");
    t.say("EXPIRETIME coat").hears(":1700003650");
    t.wait(Ttl::seconds(50));
    t.say("MGET coat hat").hears("*2 $-1 $4 blue");
    t.wait(Ttl::seconds(50));
    t.say("GET hat").hears("$-1");
}

#[test]
fn a_wall_clock_that_jumps_back_keeps_nothing_longer() {
    let mut t = Transcript::start();
    t.say("SET coat red EX 100").hears("+OK");
    t.clock.set_wall_offset(-3_600_000);
    t.say("PTTL coat").hears(":100000");
    t.say("PEXPIRETIME coat").hears(&format!(":{}", START - 3_500_000));
    t.say(&format!("PEXPIREAT coat {}", START - 3_600_000 + 50)).hears(":1");
    t.say("PTTL coat").hears(":50");
    t.wait(Ttl(50));
    t.say("GET coat").hears("$-1");
}

#[test]
fn conditions_decide_whether_an_expiration_is_set() {
    let mut t = Transcript::start();
    t.say("SET coat red").hears("+OK");
    // Without an expiration a key lives longer than any other.
    t.say("EXPIRE coat 100 XX").hears(":0");
    t.say("EXPIRE coat 100 GT").hears(":0");
    t.say("EXPIRE coat 100 LT").hears(":1");
    t.say("EXPIRE coat 200 NX").hears(":0");
    t.say("EXPIRE coat 200 XX").hears(":1");
    t.say("EXPIRE coat 200 GT").hears(":0");
    t.say("EXPIRE coat 200 LT").hears(":0");
    t.say("EXPIRE coat 300 gt").hears(":1");
    t.say("EXPIRE coat 250 lt").hears(":1");
    t.say("EXPIRE coat 400 XX GT").hears(":1");
    t.say("TTL coat").hears(":400");
    t.say("PEXPIRE coat -1 GT").hears(":0");
    t.say("EXPIREAT coat 1 XX LT").hears(":1");
    t.say("EXISTS coat").hears(":0");
    t.say("EXPIRE coat 100 NX").hears(":0");
}

#[test]
fn conditions_that_cannot_both_hold_are_refused() {
    let mut t = Transcript::start();
    t.say("SET coat red").hears("+OK");
    for options in ["NX XX", "NX GT", "LT NX"] {
        t.say(&format!("EXPIRE coat 10 {options}"))
            .hears("-ERR NX and XX, GT or LT options at the same time are not compatible");
    }
    t.say("PEXPIRE coat 10 GT LT").hears("-ERR GT and LT options at the same time are not compatible");
    t.say("EXPIREAT coat 10 nx AB").hears("-ERR Unsupported option AB");
    t.say("PEXPIREAT coat soon AB").hears("-ERR Unsupported option AB");
    t.say("TTL coat").hears(":-1");
}

#[test]
fn persist_takes_the_expiration_away_once() {
    let mut t = Transcript::start();
    t.say("PERSIST none").hears(":0");
    t.say("SET coat red PX 10").hears("+OK");
    t.say("PERSIST coat").hears(":1");
    t.say("PERSIST coat").hears(":0");
    t.wait(Ttl(10));
    t.say("GET coat").hears("$3 red");
}

#[test]
fn what_has_died_is_not_there_for_any_command() {
    let mut t = Transcript::start();
    for (request, answer) in [
        ("GET coat", "$-1"),
        ("EXISTS coat", ":0"),
        ("TYPE coat", "+none"),
        ("PTTL coat", ":-2"),
        ("EXPIRE coat 10", ":0"),
        ("PERSIST coat", ":0"),
        ("DEL coat", ":0"),
        ("TOUCH coat", ":0"),
        ("RENAME coat hat", "-ERR no such key"),
        ("COPY coat hat", ":0"),
        ("MOVE coat 1", ":0"),
        ("KEYS *", "*0"),
        ("SCAN 0", "*2 $1 0 *0"),
        ("RANDOMKEY", "$-1"),
        ("OBJECT ENCODING coat", "$-1"),
        ("SET coat x XX", "$-1"),
        ("APPEND coat x", ":1"),
        ("SETNX coat x", ":1"),
        ("INCR coat", ":1"),
    ] {
        t.say("SET coat 7 PX 10").hears("+OK");
        t.wait(Ttl(10));
        t.say(request).hears(answer);
        t.say("DEL coat hat");
    }
}
