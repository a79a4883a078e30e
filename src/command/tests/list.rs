//! Lists, and the commands that wait for what is in them.

use std::sync::atomic::Ordering;

use super::Transcript;
use crate::clock::Ttl;
use crate::command::{Client, Flow, forget};

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn elements_are_pushed_and_popped_at_either_end() {
    let mut t = Transcript::start();
    t.say("RPUSH l a b").hears(":2");
    t.say("LPUSH l c d").hears(":4");
    t.say("LRANGE l 0 -1").hears("*4 $1 d $1 c $1 a $1 b");
    t.say("OBJECT ENCODING l").hears("$9 quicklist");
    t.say("TYPE l").hears("+list");
    t.say("LLEN l").hears(":4");
    t.say("LPOP l").hears("$1 d");
    t.say("RPOP l 2").hears("*2 $1 b $1 a");
    t.say("LPOP l 0").hears("*0");
    t.say("LPOP l 9223372036854775807").hears("*1 $1 c");
    t.say("EXISTS l").hears(":0");
    t.say("LPOP l").hears("$-1");
    t.say("LPOP l 0").hears("*-1");
    t.say("LPOP l -1").hears("-ERR value is out of range, must be positive");
    t.say("RPOP l x").hears("-ERR value is out of range, must be positive");
    t.say("LPOP l 1 2").hears("-ERR wrong number of arguments for 'lpop' command");
    t.say("LPUSHX l a").hears(":0");
    t.say("RPUSHX l a").hears(":0");
    t.say("RPUSH l a").hears(":1");
    t.say("RPUSHX l b c").hears(":3");
    t.say("LPUSHX l 1").hears(":4");
    t.say("LRANGE l 0 -1").hears("*4 $1 1 $1 a $1 b $1 c");
}

#[test]
fn elements_are_found_by_index() {
    let mut t = Transcript::start();
    t.say("RPUSH l a b c 10").hears(":4");
    t.say("LINDEX l 0").hears("$1 a");
    t.say("LINDEX l -1").hears("$2 10");
    t.say("LINDEX l 4").hears("$-1");
    t.say("LINDEX l -9223372036854775808").hears("$-1");
    t.say("LINDEX none x").hears("$-1");
    t.say("LINDEX l x").hears("-ERR value is not an integer or out of range");
    t.say("LRANGE l 1 2").hears("*2 $1 b $1 c");
    t.say("LRANGE l -2 9223372036854775807").hears("*2 $1 c $2 10");
    t.say("LRANGE l 3 1").hears("*0");
    t.say("LRANGE l -9223372036854775808 -9223372036854775808").hears("*0");
    t.say("LRANGE none 0 -1").hears("*0");
    t.say("LSET l 1 x").hears("+OK");
    t.say("LSET l -1 y").hears("+OK");
    t.say("LRANGE l 0 -1").hears("*4 $1 a $1 x $1 c $1 y");
    t.say("LSET l 4 x").hears("-ERR index out of range");
    t.say("LSET none x x").hears("-ERR no such key");
    t.say("LSET l x x").hears("-ERR value is not an integer or out of range");
}

#[test]
fn lists_are_cut_and_filled() {
    let mut t = Transcript::start();
    t.say("RPUSH l a b a c a").hears(":5");
    t.say("LINSERT l BEFORE c x").hears(":6");
    t.say("LINSERT l after c y").hears(":7");
    t.say("LINSERT l before z y").hears(":-1");
    t.say("LINSERT none before z y").hears(":0");
    t.say("LINSERT l at z y").hears("-ERR syntax error");
    t.say("LRANGE l 0 -1").hears("*7 $1 a $1 b $1 a $1 x $1 c $1 y $1 a");
    t.say("LREM l -2 a").hears(":2");
    t.say("LRANGE l 0 -1").hears("*5 $1 a $1 b $1 x $1 c $1 y");
    t.say("LREM l 0 a").hears(":1");
    t.say("LREM l 1 a").hears(":0");
    t.say("LREM l x a").hears("-ERR value is not an integer or out of range");
    t.say("LTRIM l 1 -2").hears("+OK");
    t.say("LRANGE l 0 -1").hears("*2 $1 x $1 c");
    t.say("LTRIM l 5 9").hears("+OK");
    t.say("EXISTS l").hears(":0");
    t.say("LTRIM l 5 9").hears("+OK");
    t.say("LREM l 5 9").hears(":0");
    t.say("RPUSH l a").hears(":1");
    t.say("LREM l 0 a").hears(":1");
    t.say("EXISTS l").hears(":0");
}

#[test]
fn what_removes_nothing_is_no_change() {
    let mut t = Transcript::start();
    t.say("RPUSH l a b a").hears(":3");
    for (line, removed, then) in [("LREM l -1 c", ":0", "*1 +PONG"), ("LREM l -1 a", ":1", "*-1")] {
        t.say("WATCH l").hears("+OK");
        t.say(line).hears(removed);
        t.say("MULTI").hears("+OK");
        t.say("PING").hears("+QUEUED");
        t.say("EXEC").hears(then);
    }
    t.say("LRANGE l 0 -1").hears("*2 $1 a $1 b");
}

#[test]
fn equal_elements_are_found() {
    let mut t = Transcript::start();
    t.say("RPUSH l a b c 1 2 3 c c").hears(":8");
    t.say("LPOS l c").hears(":2");
    t.say("LPOS l c RANK 2").hears(":6");
    t.say("LPOS l c RANK -1").hears(":7");
    t.say("LPOS l c RANK -3 COUNT 0").hears("*1 :2");
    t.say("LPOS l c COUNT 2").hears("*2 :2 :6");
    t.say("LPOS l c COUNT 0 MAXLEN 7").hears("*2 :2 :6");
    t.say("LPOS l c COUNT 0 RANK -1 MAXLEN 2").hears("*2 :7 :6");
    t.say("LPOS l z").hears("$-1");
    t.say("LPOS l z COUNT 1").hears("*0");
    t.say("LPOS none z COUNT 1").hears("*0");
    t.say("LPOS none z").hears("$-1");
    t.say("LPOS l c RANK 0").hears_start("-ERR RANK can't be zero");
    t.say("LPOS l c RANK -9223372036854775808").hears("$-1");
    t.say("LPOS l c COUNT -1").hears("-ERR COUNT can't be negative");
    t.say("LPOS l c COUNT x").hears("-ERR COUNT can't be negative");
    t.say("LPOS l c MAXLEN -1").hears("-ERR MAXLEN can't be negative");
    t.say("LPOS l c RANK").hears("-ERR syntax error");
    t.say("LPOS l c nosuch 1").hears("-ERR syntax error");
}

#[test]
fn elements_move_between_lists() {
    let mut t = Transcript::start();
    t.say("RPUSH a 1 2 3").hears(":3");
    t.say("LMOVE a b RIGHT LEFT").hears("$1 3");
    t.say("RPOPLPUSH a b").hears("$1 2");
    t.say("LMOVE b b left right").hears("$1 2");
    t.say("LRANGE b 0 -1").hears("*2 $1 3 $1 2");
    t.say("LMOVE a b left right").hears("$1 1");
    t.say("EXISTS a").hears(":0");
    t.say("LMOVE a b left right").hears("$-1");
    t.say("LMOVE a b up right").hears("-ERR syntax error");
    t.say("SET s 1").hears("+OK");
    t.say("RPOPLPUSH b s").hears(WRONG_TYPE);
    t.say("RPOPLPUSH s b").hears(WRONG_TYPE);
    t.say("RPOPLPUSH a s").hears("$-1");
    t.say("LLEN b").hears(":3");
    t.say("LMPOP 2 a b LEFT COUNT 2").hears("*2 $1 b *2 $1 3 $1 2");
    t.say("LMPOP 1 b right").hears("*2 $1 b *1 $1 1");
    t.say("LMPOP 1 b right").hears("*-1");
    t.say("LMPOP 1 s right").hears(WRONG_TYPE);
    t.say("LMPOP 0 b right").hears("-ERR numkeys should be greater than 0");
    t.say("LMPOP x b right").hears("-ERR numkeys should be greater than 0");
    t.say("LMPOP 9223372036854775807 b right").hears("-ERR syntax error");
    t.say("LMPOP 1 b right COUNT 0").hears("-ERR count should be greater than 0");
    t.say("LMPOP 1 b right COUNT 1 COUNT 2").hears("-ERR syntax error");
    t.say("LMPOP 1 b right COUNT").hears("-ERR syntax error");
    t.say("LMPOP 1 b right COUNT 0 1").hears("-ERR count should be greater than 0");
    t.say("HELLO 3");
    t.say("LPOP a").hears("_");
    t.say("LPOP a 1").hears("_");
    t.say("LMPOP 1 a LEFT").hears("_");
}

#[test]
fn other_types_are_refused() {
    let mut t = Transcript::start();
    t.say("SET s 1").hears("+OK");
    for line in [
        "LINDEX s 0",
        "LINSERT s BEFORE a b",
        "LLEN s",
        "LPOP s",
        "RPOP s 1",
        "LPOS s a",
        "LPUSH s a",
        "LPUSHX s a",
        "RPUSH s a",
        "RPUSHX s a",
        "LRANGE s 0 -1",
        "LREM s 0 a",
        "LSET s 0 a",
        "LTRIM s 0 1",
        "BLPOP s 0",
        "BLMPOP 0 1 s LEFT",
        "BRPOPLPUSH s l 0",
    ] {
        t.say(line).hears(WRONG_TYPE);
    }
}

#[test]
fn what_is_there_is_taken_at_once() {
    let mut t = Transcript::start();
    t.say("RPUSH b 1 2 3 4 5").hears(":5");
    t.say("BLPOP a b 0").hears("*2 $1 b $1 1");
    t.say("BRPOP b a 0").hears("*2 $1 b $1 5");
    t.say("BLMPOP 0 2 a b LEFT COUNT 2").hears("*2 $1 b *2 $1 2 $1 3");
    t.say("BLMOVE b c LEFT LEFT 0").hears("$1 4");
    t.say("BRPOPLPUSH c d 0").hears("$1 4");
    t.say("BLPOP d x").hears("-ERR timeout is not a float or out of range");
    t.say("BLPOP d -1").hears("-ERR timeout is negative");
    t.say("BLPOP d 1e20").hears("-ERR timeout is out of range");
    t.say("BLPOP d inf").hears("-ERR timeout is out of range");
    t.say("BLMPOP x 0 a LEFT").hears("-ERR numkeys should be greater than 0");
    t.say("BLMPOP -1 1 a UP").hears("-ERR syntax error");
    t.say("BLMPOP -1 1 a LEFT").hears("-ERR timeout is negative");
    t.client.never_waits = true;
    t.say("BLPOP a 0").hears("*-1");
    t.say("BLMOVE a b LEFT LEFT 0").hears("$-1");
    t.say("BRPOPLPUSH a b 0").hears("$-1");
}

/// Lets another client in that asks for something and waits.
#[track_caller]
fn waiter(t: &mut Transcript, line: &str) -> Client {
    let mut client = t.enter();
    t.say_as(&mut client, line).hears("");
    assert!(matches!(client.flow, Flow::Block(_)) && client.peer.flags() == "b");
    client
}

#[test]
fn who_waited_longest_is_served_first() {
    let mut t = Transcript::start();
    let [mut one, mut two, mut three] = [(); 3].map(|()| waiter(&mut t, "BLPOP a b 0"));
    t.say("RPUSH b 1 2").hears(":2");
    t.say("LLEN b").hears(":0");
    t.say_as(&mut three, "BLPOP a b 0").hears("");
    t.say_as(&mut two, "BLPOP a b 0").hears("*2 $1 b $1 2");
    t.say_as(&mut one, "BLPOP a b 0").hears("*2 $1 b $1 1");
    assert_eq!((one.flow, one.peer.flags()), (Flow::Go, "N".to_owned()));
    // Whatever brings a list serves.
    t.say("RPUSH c 3").hears(":1");
    t.say("RENAME c a").hears("+OK");
    t.say_as(&mut three, "BLPOP a b 0").hears("*2 $1 a $1 3");
    t.say("EXISTS a b c").hears(":0");
    let mut four = waiter(&mut t, "BLMPOP 0 1 a RIGHT COUNT 9");
    t.say("RPUSH c 1 2").hears(":2");
    t.say("COPY c a").hears(":1");
    t.say_as(&mut four, "BLMPOP 0 1 a RIGHT COUNT 9").hears("*2 $1 a *2 $1 2 $1 1");
}

#[test]
fn moves_are_served_along_a_chain() {
    let mut t = Transcript::start();
    let mut one = waiter(&mut t, "BLMOVE a b LEFT RIGHT 0");
    let mut two = waiter(&mut t, "BLMOVE b c LEFT RIGHT 0");
    t.say("RPUSH a x").hears(":1");
    t.say("LRANGE c 0 -1").hears("*1 $1 x");
    t.say("EXISTS a b").hears(":0");
    t.say_as(&mut one, "BLMOVE a b LEFT RIGHT 0").hears("$1 x");
    t.say_as(&mut two, "BLMOVE b c LEFT RIGHT 0").hears("$1 x");
    // Who cannot take leaves it to the next.
    t.say("SET s 1").hears("+OK");
    let mut one = waiter(&mut t, "BRPOPLPUSH a s 0");
    let mut two = waiter(&mut t, "BRPOPLPUSH a b 0");
    t.say("RPUSH a x").hears(":1");
    t.say_as(&mut one, "BRPOPLPUSH a s 0").hears(WRONG_TYPE);
    t.say_as(&mut two, "BRPOPLPUSH a b 0").hears("$1 x");
}

#[test]
fn a_wait_ends_in_time_or_when_it_is_called_off() {
    let mut t = Transcript::start();
    let mut one = waiter(&mut t, "BLPOP a 0.25");
    t.wait(Ttl(249));
    t.say_as(&mut one, "BLPOP a 0.25").hears("");
    t.wait(Ttl(1));
    t.say_as(&mut one, "BLPOP a 0.25").hears("*-1");
    // Nothing calls it any more: what it waits for next, a SAVE say, would seem to be there again and again.
    assert!(!one.peer.is_called());
    let mut one = t.enter();
    t.say_as(&mut one, "HELLO 3");
    t.say_as(&mut one, "BLPOP a 0").hears("");
    let id = one.peer.id;
    t.say(&format!("CLIENT UNBLOCK {id}")).hears(":1");
    t.say(&format!("CLIENT UNBLOCK {id}")).hears(":0");
    t.say_as(&mut one, "BLPOP a 0").hears("_");
    t.say_as(&mut one, "BLPOP a 0").hears("");
    t.say(&format!("CLIENT UNBLOCK {id} ERROR")).hears(":1");
    t.say_as(&mut one, "BLPOP a 0").hears("-UNBLOCKED client unblocked via CLIENT UNBLOCK");
    // Who leaves or is closed takes nothing.
    t.say_as(&mut one, "BLPOP a 0").hears("");
    let two = waiter(&mut t, "BLPOP a 0");
    let mut three = waiter(&mut t, "BLPOP a 0");
    forget(&t.engine, &mut one, true);
    two.peer.kill();
    t.say("RPUSH a x").hears(":1");
    t.say_as(&mut three, "BLPOP a 0").hears("*2 $1 a $1 x");
}

#[test]
fn a_list_that_is_gone_again_or_replaced_wakes_nobody() {
    let mut t = Transcript::start();
    let mut one = waiter(&mut t, "BLPOP a 0");
    t.say("SET a 1").hears("+OK");
    t.say_as(&mut one, "BLPOP a 0").hears("");
    t.say("FLUSHALL").hears("+OK");
    t.say("SELECT 1").hears("+OK");
    t.say("RPUSH a x").hears(":1");
    t.say_as(&mut one, "BLPOP a 0").hears("");
    t.say("SWAPDB 0 1").hears("+OK");
    t.say_as(&mut one, "BLPOP a 0").hears("*2 $1 a $1 x");
    assert!(!t.client.peer.held.load(Ordering::Relaxed));
}
