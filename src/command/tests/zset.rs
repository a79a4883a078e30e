//! Sorted sets, word for word.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::Transcript;
use crate::store::{Class, Store};

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const NOT_FLOAT: &str = "-ERR value is not a valid float";
const NOT_SCORES: &str = "-ERR min or max is not a float";
const NOT_LEX: &str = "-ERR min or max not valid string range item";
const SYNTAX: &str = "-ERR syntax error";

/// Both encodings: the same conversation must go the same way.
fn in_both(talk: impl Fn(&mut Transcript)) {
    talk(&mut Transcript::start());
    talk(&mut Transcript::with(&[("zset-max-listpack-entries", "0")]));
}

/// What happens while these lines are said.
fn events(t: &mut Transcript, lines: &[&str]) -> Vec<String> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&heard);
    let store = t.engine.store(0);
    store.on_event(move |event| {
        let line = format!("{} {}", event.name, String::from_utf8_lossy(event.key));
        notes.lock().expect("no panic").push(line);
    });
    store.want_events(Class::ZSET.and(Class::GENERIC));
    lines.iter().for_each(|line| drop(t.say(line)));
    std::mem::take(&mut heard.lock().expect("no panic"))
}

#[test]
fn members_are_added_ranked_and_removed() {
    in_both(|t| {
        t.say("ZADD board 10 ada 20 bob 30 cy").hears(":3");
        t.say("TYPE board").hears("+zset");
        t.say("ZADD board 25 ada 5 dan 20 bob").hears(":1");
        t.say("ZRANGE board 0 -1 WITHSCORES").hears("*8 $3 dan $1 5 $3 bob $2 20 $3 ada $2 25 $2 cy $2 30");
        t.say("ZCARD board").hears(":4");
        t.say("ZSCORE board ada").hears("$2 25");
        t.say("ZSCORE board eve").hears("$-1");
        t.say("ZMSCORE board cy eve dan").hears("*3 $2 30 $-1 $1 5");
        t.say("ZRANK board ada").hears(":2");
        t.say("ZREVRANK board ada").hears(":1");
        t.say("ZRANK board eve").hears("$-1");
        t.say("ZRANK board ada WITHSCORE").hears("*2 :2 $2 25");
        t.say("ZREVRANK board dan withscore").hears("*2 :3 $1 5");
        t.say("ZRANK board eve WITHSCORE").hears("*-1");
        t.say("ZRANK board ada WITHSCORES").hears(SYNTAX);
        t.say("ZRANK board ada WITHSCORE 1").hears("-ERR wrong number of arguments for 'zrank' command");
        t.say("ZREM board eve bob bob dan").hears(":2");
        t.say("ZREM board ada cy eve").hears(":2");
        t.say("EXISTS board").hears(":0");
        t.say("ZCARD board").hears(":0");
        t.say("ZSCORE board ada").hears("$-1");
        t.say("ZMSCORE board ada bob").hears("*2 $-1 $-1");
        t.say("ZREVRANK board ada").hears("$-1");
        t.say("ZREM board ada").hears(":0");
        Store::validate(&[t.engine.store(0).clone()]);
    });
}

#[test]
fn members_with_one_score_are_in_the_order_of_their_bytes() {
    in_both(|t| {
        t.say("ZADD z 1 b 1 10 1 a 1 9 1 \"\" 1 aa 0 zz -inf low inf high").hears(":9");
        t.say("ZRANGE z 0 -1").hears("*9 $3 low $2 zz $0  $2 10 $1 9 $1 a $2 aa $1 b $4 high");
        t.say("ZREVRANGE z 0 1 WITHSCORES").hears("*4 $4 high $3 inf $1 b $1 1");
        t.say("ZRANK z 9").hears(":4");
    });
}

#[test]
fn zadd_minds_its_conditions() {
    in_both(|t| {
        t.say("ZADD z XX 1 a").hears(":0");
        t.say("EXISTS z").hears(":0");
        t.say("ZADD z NX 1 a 2 b").hears(":2");
        t.say("ZADD z NX 5 a 3 c").hears(":1");
        t.say("ZADD z xx CH 5 a 9 d 2 b").hears(":1");
        t.say("ZADD z GT CH 4 a 6 b 1 new").hears(":2");
        t.say("ZADD z LT CH 4 a 7 b").hears(":1");
        t.say("ZADD z XX GT 9 other").hears(":0");
        t.say("ZRANGE z 0 -1 WITHSCORES").hears("*8 $3 new $1 1 $1 c $1 3 $1 a $1 4 $1 b $1 6");
        t.say("ZADD z INCR 2 a").hears("$1 6");
        t.say("ZADD z NX INCR 2 a").hears("$-1");
        t.say("ZADD z XX INCR 2 none").hears("$-1");
        t.say("ZADD z GT INCR -1 a").hears("$-1");
        t.say("ZADD z LT INCR -1 a").hears("$1 5");
        t.say("ZADD none XX INCR 1 a").hears("$-1");
        t.say("ZADD none GT 1 a").hears(":1");
    });
}

#[test]
fn zadd_refuses_what_makes_no_sense_and_changes_nothing() {
    let mut t = Transcript::start();
    t.say("ZADD z NX XX 1 a").hears("-ERR XX and NX options at the same time are not compatible");
    let compared = "-ERR GT, LT, and/or NX options at the same time are not compatible";
    for pair in ["GT LT", "NX GT", "lt NX"] {
        t.say(&format!("ZADD z {pair} 1 a")).hears(compared);
    }
    t.say("ZADD z INCR 1 a 2 b").hears("-ERR INCR option supports a single increment-element pair");
    for line in ["ZADD z 1 a 2", "ZADD z NX CH", "ZADD z NX 1 a 2", "ZADD z CH INCR NX"] {
        t.say(line).hears(SYNTAX);
    }
    for score in ["nan", "x", "\"\"", "\" 1\"", "1e400", "GTX"] {
        t.say(&format!("ZADD z 1 a {score} b")).hears(NOT_FLOAT);
    }
    t.say("EXISTS z").hears(":0");
    t.say("ZADD z inf a").hears(":1");
    t.say("ZINCRBY z -inf a").hears("-ERR resulting score is not a number (NaN)");
    t.say("ZADD z INCR -inf a").hears("-ERR resulting score is not a number (NaN)");
    t.say("ZSCORE z a").hears("$3 inf");
    t.say("ZINCRBY z x a").hears(NOT_FLOAT);
}

#[test]
fn scores_read_back_as_redis_prints_them() {
    in_both(|t| {
        for (said, heard) in [
            ("3.1", "3.1000000000000001"),
            ("1e3", "1000"),
            ("1e20", "1e+20"),
            ("-1.5", "-1.5"),
            ("0x10", "16"),
            ("+inf", "inf"),
            ("-inf", "-inf"),
            ("1e-7", "9.9999999999999995e-08"),
            ("4503599627370497", "4503599627370497"),
            ("9007199254740993", "9007199254740992"),
        ] {
            t.say(&format!("ZADD z {said} a"));
            t.say("ZSCORE z a").hears(&format!("${} {heard}", heard.len()));
        }
    });
    // A zero loses its sign in a listpack, and only there.
    let mut t = Transcript::start();
    t.say("ZADD z -0 a").hears(":1");
    t.say("ZSCORE z a").hears("$1 0");
    let mut t = Transcript::with(&[("zset-max-listpack-entries", "0")]);
    t.say("ZADD z -0 a").hears(":1");
    t.say("ZADD z CH 0 a").hears(":0");
    t.say("ZSCORE z a").hears("$2 -0");
    t.say("ZINCRBY z 2.5 a").hears("$3 2.5");
}

#[test]
fn resp3_has_doubles_and_nested_pairs() {
    in_both(|t| {
        t.say("HELLO 3");
        t.say("ZADD z 1 a 2.5 b inf c").hears(":3");
        t.say("ZSCORE z b").hears(",2.5");
        t.say("ZSCORE z none").hears("_");
        t.say("ZMSCORE z c none").hears("*2 ,inf _");
        t.say("ZINCRBY z 1 a").hears(",2");
        t.say("ZADD z XX INCR 1 none").hears("_");
        t.say("ZRANK z b WITHSCORE").hears("*2 :1 ,2.5");
        t.say("ZRANK z none WITHSCORE").hears("_");
        t.say("ZRANGE z 0 1 WITHSCORES").hears("*2 *2 $1 a ,2 *2 $1 b ,2.5");
        t.say("ZRANGE z 0 1").hears("*2 $1 a $1 b");
        t.say("ZREVRANGEBYSCORE z inf 2.5 WITHSCORES").hears("*2 *2 $1 c ,inf *2 $1 b ,2.5");
        t.say("ZUNION 1 z WITHSCORES").hears("*3 *2 $1 a ,2 *2 $1 b ,2.5 *2 $1 c ,inf");
        t.say("ZSCAN z 0 MATCH b COUNT 100").hears("*2 $1 0 *2 $1 b $3 2.5");
        t.say("ZRANDMEMBER z 9 WITHSCORES").hears_start("*3 *2 $1 ");
        t.say("ZPOPMIN z").hears("*2 $1 a ,2");
        t.say("ZPOPMAX z 1").hears("*1 *2 $1 c ,inf");
        t.say("ZMPOP 2 none z MIN").hears("*2 $1 z *1 *2 $1 b ,2.5");
        t.say("ZMPOP 2 none z MIN").hears("_");
        t.say("ZPOPMIN z").hears("*0");
    });
}

#[test]
fn ranges_of_ranks_count_from_either_end() {
    in_both(|t| {
        t.say("ZADD z 1 a 2 b 3 c 4 d").hears(":4");
        t.say("ZRANGE z 1 2").hears("*2 $1 b $1 c");
        t.say("ZRANGE z -2 -1").hears("*2 $1 c $1 d");
        t.say("ZRANGE z -100 100").hears("*4 $1 a $1 b $1 c $1 d");
        t.say("ZRANGE z 2 1").hears("*0");
        t.say("ZRANGE z 4 9").hears("*0");
        t.say("ZRANGE z 0 -5").hears("*0");
        t.say("ZRANGE z -9223372036854775808 9223372036854775807 REV").hears("*4 $1 d $1 c $1 b $1 a");
        t.say("ZRANGE z 0 1 rev withscores").hears("*4 $1 d $1 4 $1 c $1 3");
        t.say("ZREVRANGE z 2 -1").hears("*2 $1 b $1 a");
        t.say("ZRANGE none 0 -1").hears("*0");
        t.say("ZRANGE z 0 x").hears(NOT_INTEGER);
        t.say("ZRANGE z 0 1 REV REV").hears(SYNTAX);
        t.say("ZREVRANGE z 0 1 REV").hears(SYNTAX);
        t.say("ZREVRANGE z 0 1 BYSCORE").hears(SYNTAX);
        t.say("ZRANGE z 0 1 LIMIT 0").hears(SYNTAX);
        let limited = "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX";
        t.say("ZRANGE z 0 1 LIMIT 0 1").hears(limited);
        t.say("ZRANGE z 0 1 LIMIT 1 -1").hears("*2 $1 a $1 b");
        t.say("ZREMRANGEBYRANK z -2 -2").hears(":1");
        t.say("ZREMRANGEBYRANK z 5 9").hears(":0");
        t.say("ZREMRANGEBYRANK z x 9").hears(NOT_INTEGER);
        t.say("ZREMRANGEBYRANK z 0 9").hears(":3");
        t.say("EXISTS z").hears(":0");
        t.say("ZREMRANGEBYRANK z 0 9").hears(":0");
    });
}

#[test]
fn ranges_of_scores_have_open_and_closed_ends() {
    in_both(|t| {
        t.say("ZADD z -inf low 1 a 2 b 2 c 3 d inf high").hears(":6");
        t.say("ZRANGEBYSCORE z 1 2").hears("*3 $1 a $1 b $1 c");
        t.say("ZRANGEBYSCORE z (1 (3").hears("*2 $1 b $1 c");
        t.say("ZRANGEBYSCORE z -inf +inf").hears("*6 $3 low $1 a $1 b $1 c $1 d $4 high");
        t.say("ZRANGEBYSCORE z (-inf (inf").hears("*4 $1 a $1 b $1 c $1 d");
        t.say("ZRANGEBYSCORE z 3 1").hears("*0");
        t.say("ZRANGEBYSCORE z (2 2").hears("*0");
        t.say("ZREVRANGEBYSCORE z 3 (1").hears("*3 $1 d $1 c $1 b");
        t.say("ZRANGE z 3 (1 BYSCORE REV LIMIT 1 1 WITHSCORES").hears("*2 $1 c $1 2");
        t.say("ZRANGEBYSCORE z 1 3 LIMIT 1 2").hears("*2 $1 b $1 c");
        t.say("ZRANGEBYSCORE z 1 3 WITHSCORES LIMIT 3 -1").hears("*2 $1 d $1 3");
        t.say("ZRANGEBYSCORE z 1 3 LIMIT -1 2").hears("*0");
        t.say("ZRANGEBYSCORE z 1 3 LIMIT 4611686018427387904 9223372036854775807").hears("*0");
        t.say("ZRANGEBYSCORE z 1 3 LIMIT 0 0").hears("*0");
        t.say("ZRANGEBYSCORE z 1 3 LIMIT x 0").hears(NOT_INTEGER);
        t.say("ZRANGEBYSCORE z 1 3 BYLEX").hears(SYNTAX);
        t.say("ZCOUNT z 1 2").hears(":3");
        t.say("ZCOUNT z (2 1e400").hears(":2");
        t.say("ZCOUNT z \"\" \" 2\"").hears(":3");
        t.say("ZCOUNT none 1 2").hears(":0");
        for (min, max) in [("x", "1"), ("1", "nan"), ("((1", "2"), ("1", "\" \"")] {
            for name in ["ZCOUNT", "ZRANGEBYSCORE", "ZREMRANGEBYSCORE", "ZREVRANGEBYSCORE"] {
                t.say(&format!("{name} z {min} {max}")).hears(NOT_SCORES);
            }
        }
        t.say("ZREMRANGEBYSCORE z (1 2").hears(":2");
        t.say("ZREMRANGEBYSCORE z -inf inf").hears(":4");
        t.say("EXISTS z").hears(":0");
    });
}

#[test]
fn ranges_of_bytes_have_open_and_closed_ends() {
    in_both(|t| {
        t.say("ZADD z 0 a 0 b 0 bb 0 c 0 10").hears(":5");
        t.say("ZRANGEBYLEX z - +").hears("*5 $2 10 $1 a $1 b $2 bb $1 c");
        t.say("ZRANGEBYLEX z [b (c").hears("*2 $1 b $2 bb");
        t.say("ZRANGEBYLEX z (b [c LIMIT 1 5").hears("*1 $1 c");
        t.say("ZREVRANGEBYLEX z + (b").hears("*2 $1 c $2 bb");
        t.say("ZRANGE z [bb - BYLEX REV LIMIT 0 2").hears("*2 $2 bb $1 b");
        t.say("ZRANGEBYLEX z + -").hears("*0");
        t.say("ZRANGEBYLEX z [ [").hears("*0");
        t.say("ZLEXCOUNT z [a [bb").hears(":3");
        t.say("ZLEXCOUNT z (c +").hears(":0");
        t.say("ZLEXCOUNT none - +").hears(":0");
        t.say("ZRANGE z [a [b BYLEX WITHSCORES")
            .hears("-ERR syntax error, WITHSCORES not supported in combination with BYLEX");
        for (min, max) in [("a", "+"), ("-", "b"), ("+x", "-"), ("\"\"", "+")] {
            for name in ["ZLEXCOUNT", "ZRANGEBYLEX", "ZREMRANGEBYLEX", "ZREVRANGEBYLEX"] {
                t.say(&format!("{name} z {min} {max}")).hears(NOT_LEX);
            }
        }
        t.say("ZREMRANGEBYLEX z (a (c").hears(":2");
        t.say("ZREMRANGEBYLEX z - +").hears(":3");
        t.say("EXISTS z").hears(":0");
    });
}

#[test]
fn a_range_is_stored_in_place_of_what_was_there() {
    in_both(|t| {
        t.say("ZADD z 1 a 2 b 3 c").hears(":3");
        t.say("SET to text EX 100").hears("+OK");
        t.say("ZRANGESTORE to z 1 -1").hears(":2");
        t.say("TTL to").hears(":-1");
        t.say("ZRANGE to 0 -1 WITHSCORES").hears("*4 $1 b $1 2 $1 c $1 3");
        t.say("ZRANGESTORE to z inf (1 BYSCORE REV LIMIT 1 1").hears(":1");
        t.say("ZRANGE to 0 -1").hears("*1 $1 b");
        t.say("ZRANGESTORE z z 0 0").hears(":1");
        t.say("ZRANGESTORE to z 5 6").hears(":0");
        t.say("EXISTS to").hears(":0");
        t.say("ZRANGESTORE z none 0 -1").hears(":0");
        t.say("EXISTS z").hears(":0");
        t.say("ZRANGESTORE to z 0 -1 WITHSCORES").hears(SYNTAX);
        t.say("SET s 1").hears("+OK");
        t.say("ZRANGESTORE to s 0 -1").hears(WRONG_TYPE);
    });
}

#[test]
fn members_are_taken_from_either_end() {
    in_both(|t| {
        t.say("ZADD z 1 a 2 b 3 c 4 d 5 e").hears(":5");
        t.say("ZPOPMIN z").hears("*2 $1 a $1 1");
        t.say("ZPOPMAX z 2").hears("*4 $1 e $1 5 $1 d $1 4");
        t.say("ZPOPMIN z 0").hears("*0");
        t.say("ZPOPMIN z -1").hears("-ERR value is out of range, must be positive");
        t.say("ZPOPMIN z x").hears("-ERR value is out of range, must be positive");
        t.say("ZPOPMIN z 1 2").hears(SYNTAX);
        t.say("ZPOPMAX z 9223372036854775807").hears("*4 $1 c $1 3 $1 b $1 2");
        t.say("EXISTS z").hears(":0");
        t.say("ZPOPMAX z").hears("*0");
        t.say("ZADD one 1 a 2 b 3 c").hears(":3");
        t.say("ZADD two 9 z").hears(":1");
        t.say("ZMPOP 3 none one two MAX COUNT 2").hears("*2 $3 one *2 *2 $1 c $1 3 *2 $1 b $1 2");
        t.say("ZMPOP 2 one two min").hears("*2 $3 one *1 *2 $1 a $1 1");
        t.say("ZMPOP 2 one two MIN COUNT 10").hears("*2 $3 two *1 *2 $1 z $1 9");
        t.say("ZMPOP 2 one two MIN").hears("*-1");
        t.say("ZMPOP 0 one MIN").hears("-ERR numkeys should be greater than 0");
        t.say("ZMPOP x one MIN").hears("-ERR numkeys should be greater than 0");
        t.say("ZMPOP 1 one MIN COUNT 0").hears("-ERR count should be greater than 0");
        for line in [
            "ZMPOP 2 one MIN",
            "ZMPOP 9223372036854775807 one MIN",
            "ZMPOP 1 one MID",
            "ZMPOP 1 one MIN COUNT",
            "ZMPOP 1 one MIN COUNT 1 COUNT 1",
        ] {
            t.say(line).hears(SYNTAX);
        }
    });
}

#[test]
fn sorted_sets_are_united_intersected_and_subtracted() {
    in_both(|t| {
        t.say("ZADD one 1 a 2 b 3 c").hears(":3");
        t.say("ZADD two 10 b 20 c 30 d").hears(":3");
        t.say("ZUNION 2 one two").hears("*4 $1 a $1 b $1 c $1 d");
        t.say("ZUNION 2 one two WITHSCORES").hears("*8 $1 a $1 1 $1 b $2 12 $1 c $2 23 $1 d $2 30");
        t.say("ZUNION 2 one two WITHSCORES WEIGHTS 2 0.5").hears("*8 $1 a $1 2 $1 b $1 9 $1 d $2 15 $1 c $2 16");
        t.say("ZUNION 2 one two aggregate MIN WITHSCORES").hears("*8 $1 a $1 1 $1 b $1 2 $1 c $1 3 $1 d $2 30");
        t.say("ZINTER 2 one two").hears("*2 $1 b $1 c");
        t.say("ZINTER 2 two one AGGREGATE max WITHSCORES").hears("*4 $1 b $2 10 $1 c $2 20");
        t.say("ZINTER 3 two one none").hears("*0");
        t.say("ZDIFF 2 one two WITHSCORES").hears("*2 $1 a $1 1");
        t.say("ZDIFF 2 one one").hears("*0");
        t.say("ZDIFF 3 two none one").hears("*1 $1 d");
        t.say("ZINTERCARD 2 one two").hears(":2");
        t.say("ZINTERCARD 2 one two LIMIT 1").hears(":1");
        t.say("ZINTERCARD 2 one two LIMIT 0").hears(":2");
        t.say("ZUNIONSTORE one 2 one two WEIGHTS 1 -1").hears(":4");
        t.say("ZRANGE one 0 -1 WITHSCORES").hears("*8 $1 d $3 -30 $1 c $3 -17 $1 b $2 -8 $1 a $1 1");
        t.say("ZINTERSTORE to 2 one two").hears(":3");
        t.say("ZRANGE to 0 -1 WITHSCORES").hears("*6 $1 d $1 0 $1 b $1 2 $1 c $1 3");
        t.say("ZDIFFSTORE to 2 one two").hears(":1");
        t.say("ZDIFFSTORE to 2 two one").hears(":0");
        t.say("EXISTS to").hears(":0");
        // Infinity less infinity, and infinity times zero, are zero.
        t.say("ZADD up inf a").hears(":1");
        t.say("ZADD down -inf a").hears(":1");
        t.say("ZUNION 2 up down WITHSCORES").hears("*2 $1 a $1 0");
        t.say("ZINTER 2 up down WITHSCORES WEIGHTS 0 0").hears("*2 $1 a $1 0");
    });
}

#[test]
fn plain_sets_are_sorted_sets_of_ones() {
    let mut t = Transcript::start();
    t.say("ZADD z 5 1 6 b").hears(":2");
    t.say("SADD numbers 1 2").hears(":2");
    t.say("SADD words b c").hears(":2");
    t.say("ZUNION 2 z numbers WITHSCORES").hears("*6 $1 2 $1 1 $1 1 $1 6 $1 b $1 6");
    t.say("ZINTER 2 words z WEIGHTS 10 1 WITHSCORES").hears("*2 $1 b $2 16");
    t.say("ZDIFF 2 numbers z WITHSCORES").hears("*2 $1 2 $1 1");
    t.say("ZINTERSTORE words 2 words z").hears(":1");
    t.say("TYPE words").hears("+zset");
}

#[test]
fn what_several_sets_cannot_be_is_refused() {
    let mut t = Transcript::start();
    t.say("ZADD z 1 a").hears(":1");
    t.say("SET s 1").hears("+OK");
    t.say("ZUNION 0 z").hears("-ERR at least 1 input key is needed for 'zunion' command");
    t.say("ZINTERSTORE to -1 z").hears("-ERR at least 1 input key is needed for 'zinterstore' command");
    t.say("ZDIFF x z").hears(NOT_INTEGER);
    t.say("ZUNION 2 z s BOGUS").hears(WRONG_TYPE);
    t.say("ZUNION 1 z WEIGHTS x").hears("-ERR weight value is not a float");
    t.say("ZINTERCARD 1 z LIMIT -1").hears("-ERR LIMIT can't be negative");
    t.say("ZINTERCARD 1 z LIMIT x").hears("-ERR LIMIT can't be negative");
    for line in [
        "ZUNION 2 z",
        "ZUNION 9223372036854775807 z",
        "ZUNION 1 z WEIGHTS",
        "ZUNION 1 z WEIGHTS 1 2",
        "ZUNION 1 z AGGREGATE",
        "ZUNION 1 z AGGREGATE AVG",
        "ZUNION 1 z LIMIT 1",
        "ZDIFF 1 z WEIGHTS 1",
        "ZDIFFSTORE to 1 z WITHSCORES",
        "ZUNIONSTORE to 1 z WITHSCORES",
        "ZINTERCARD 1 z WITHSCORES",
    ] {
        t.say(line).hears(SYNTAX);
    }
}

#[test]
fn members_at_random_are_members() {
    in_both(|t| {
        t.say("ZRANDMEMBER z").hears("$-1");
        t.say("ZRANDMEMBER z 5").hears("*0");
        let all: Vec<String> = (0..50).map(|number| format!("{number} m{number}")).collect();
        t.say(&format!("ZADD z {}", all.join(" "))).hears(":50");
        let mut members = |line: &str| -> Vec<String> {
            let text = t.say(line).text();
            text.split(' ').filter(|word| word.starts_with('m')).map(str::to_owned).collect()
        };
        for count in [0, 1, 10, 49, 50, 51, i64::MAX / 2] {
            let found = members(&format!("ZRANDMEMBER z {count} WITHSCORES"));
            assert_eq!(found.len() as i64, count.min(50));
            assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), found.len());
        }
        assert_eq!(members("ZRANDMEMBER z -500").len(), 500);
        let seen: BTreeSet<String> = (0..300).flat_map(|_| members("ZRANDMEMBER z 3")).collect();
        assert_eq!(seen.len(), 50);
        let seen: BTreeSet<String> = (0..900).flat_map(|_| members("ZRANDMEMBER z")).collect();
        assert_eq!(seen.len(), 50);
        t.say("ZRANDMEMBER z x").hears(NOT_INTEGER);
        t.say("ZRANDMEMBER z 1 SCORES").hears(SYNTAX);
        t.say("ZRANDMEMBER z 1 WITHSCORES 1").hears(SYNTAX);
        t.say("ZRANDMEMBER z -9223372036854775807 WITHSCORES").hears("-ERR value is out of range");
        t.say("ZRANDMEMBER z -9223372036854775807").hears("-ERR value is out of range");
        t.say("ZRANDMEMBER z -9223372036854775808")
            .hears("-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807");
    });
}

#[test]
fn a_scan_meets_every_member_once() {
    in_both(|t| {
        let all: Vec<String> = (0..100).map(|number| format!("{number} m{number}")).collect();
        t.say(&format!("ZADD z {}", all.join(" "))).hears(":100");
        let (mut cursor, mut seen) = ("0".to_owned(), Vec::new());
        loop {
            let text = t.say(&format!("ZSCAN z {cursor} COUNT 7")).text();
            let words: Vec<&str> = text.split(' ').collect();
            seen.extend(words.iter().filter(|word| word.starts_with('m')).map(|word| (*word).to_owned()));
            cursor = words[2].to_owned();
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(seen.len(), 100);
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 100);
        t.say("ZSCAN z 0 COUNT 1000 MATCH m42").hears("*2 $1 0 *2 $3 m42 $2 42");
        t.say("ZSCAN none 0 COUNT 0").hears("*2 $1 0 *0");
        t.say("ZSCAN z x").hears("-ERR invalid cursor");
        t.say("ZSCAN z 0 COUNT 0").hears(SYNTAX);
        t.say("ZSCAN z 0 COUNT x").hears(NOT_INTEGER);
        t.say("ZSCAN z 0 NOVALUES").hears(SYNTAX);
        t.say("ZSCAN z 18446744073709551615").hears_start("*2 $1 0 *");
    });
}

#[test]
fn encodings_change_where_redis_changes_them() {
    let mut t = Transcript::with(&[("zset-max-listpack-entries", "3"), ("zset-max-listpack-value", "8")]);
    let packed = "$8 listpack";
    let ranked = "$8 skiplist";
    t.say("ZADD z 1 a 2 b 3 12345678").hears(":3");
    t.say("OBJECT ENCODING z").hears(packed);
    t.say("ZADD z 9 a").hears(":0");
    t.say("OBJECT ENCODING z").hears(packed);
    t.say("ZADD z 4 d").hears(":1");
    t.say("OBJECT ENCODING z").hears(ranked);
    t.say("ZREM z a b").hears(":2");
    t.say("OBJECT ENCODING z").hears(ranked);
    t.say("ZRANGE z 0 -1 WITHSCORES").hears("*4 $8 12345678 $1 3 $1 d $1 4");
    t.say("ZUNIONSTORE z 1 z").hears(":2");
    t.say("OBJECT ENCODING z").hears(packed);
    t.say("ZADD long 1 123456789").hears(":1");
    t.say("OBJECT ENCODING long").hears(ranked);
    t.say("ZRANGESTORE z long 0 -1").hears(":1");
    t.say("OBJECT ENCODING z").hears(ranked);
    t.say("COPY long copy").hears(":1");
    t.say("ZADD copy 2 b").hears(":1");
    t.say("ZCARD long").hears(":1");
    Store::validate(&[t.engine.store(0).clone()]);
}

#[test]
fn other_types_are_refused() {
    let mut t = Transcript::start();
    t.say("SET s 1").hears("+OK");
    t.say("ZADD z 1 a").hears(":1");
    for line in [
        "ZADD s 1 a",
        "ZADD s XX 1 a",
        "ZCARD s",
        "ZCOUNT s 0 1",
        "ZDIFF 2 z s",
        "ZDIFFSTORE to 1 s",
        "ZINCRBY s 1 a",
        "ZINTER 2 none s",
        "ZINTERCARD 1 s",
        "ZINTERSTORE to 1 s",
        "ZLEXCOUNT s - +",
        "ZMPOP 2 none s MIN",
        "ZMSCORE s a",
        "ZPOPMAX s",
        "ZPOPMIN s 0",
        "ZRANDMEMBER s",
        "ZRANDMEMBER s 1",
        "ZRANGE s 0 1",
        "ZRANGEBYLEX s - +",
        "ZRANGEBYSCORE s 0 1",
        "ZRANGESTORE to s 0 1",
        "ZRANK s a",
        "ZREM s a",
        "ZREMRANGEBYLEX s - +",
        "ZREMRANGEBYRANK s 0 1",
        "ZREMRANGEBYSCORE s 0 1",
        "ZREVRANGE s 0 1",
        "ZREVRANGEBYLEX s + -",
        "ZREVRANGEBYSCORE s 1 0",
        "ZREVRANK s a",
        "ZSCAN s 0",
        "ZSCORE s a",
        "ZUNION 1 s",
        "ZUNIONSTORE to 1 s",
    ] {
        t.say(line).hears(WRONG_TYPE);
    }
    t.say("GET z").hears(WRONG_TYPE);
    t.say("ZUNIONSTORE s 1 z").hears(":1");
}

#[test]
fn changes_are_told() {
    let mut t = Transcript::start();
    let lines = [
        "ZADD z 1 a 2 b 3 c",
        "ZADD z 1 a",
        "ZADD z XX 1 none",
        "ZADD z INCR 1 a",
        "ZINCRBY z 0 a",
        "ZINCRBY z 1 a",
        "ZREM z none",
        "ZREM z a",
        "ZREMRANGEBYSCORE z 2 2",
        "ZREMRANGEBYSCORE z 9 9",
        "ZREMRANGEBYRANK z 0 -1",
        "ZADD z 1 a 1 b",
        "ZREMRANGEBYLEX z [a [a",
        "ZPOPMIN z 0",
        "ZPOPMAX z",
        "ZADD z 1 a 2 b",
        "ZMPOP 2 none z MIN",
        "ZUNIONSTORE to 1 z",
        "ZINTERSTORE to 2 z none",
        "ZINTERSTORE to 2 z none",
        "ZDIFFSTORE to 1 z",
        "ZRANGESTORE to z 0 -1",
        "ZRANGESTORE to z 5 6",
    ];
    let expected = [
        "zadd z",
        "zincr z",
        "zincr z",
        "zrem z",
        "zremrangebyscore z",
        "zremrangebyrank z",
        "del z",
        "zadd z",
        "zremrangebylex z",
        "zpopmax z",
        "del z",
        "zadd z",
        "zpopmin z",
        "zunionstore to",
        "del to",
        "zdiffstore to",
        "zrangestore to",
        "del to",
    ];
    assert_eq!(events(&mut t, &lines), expected);
}

#[test]
fn a_sorted_set_keeps_its_deadline_when_it_changes() {
    let mut t = Transcript::start();
    t.say("ZADD z 1 a 2 b").hears(":2");
    t.say("EXPIRE z 100").hears(":1");
    t.say("ZADD z 3 c").hears(":1");
    t.say("ZPOPMIN z").hears("*2 $1 a $1 1");
    t.say("TTL z").hears(":100");
    t.wait(crate::clock::Ttl::seconds(100));
    t.say("ZCARD z").hears(":0");
    t.say("ZADD z 1 a").hears(":1");
    t.say("TTL z").hears(":-1");
    Store::validate(&[t.engine.store(0).clone()]);
}

#[test]
fn what_is_there_is_taken_at_once() {
    let mut t = Transcript::start();
    t.say("ZADD b 1 x 2 y 3 z 4 q").hears(":4");
    t.say("BZPOPMIN a b 0").hears("*3 $1 b $1 x $1 1");
    t.say("BZPOPMAX b a 0").hears("*3 $1 b $1 q $1 4");
    t.say("BZMPOP 0 2 a b MAX COUNT 9").hears("*2 $1 b *2 *2 $1 z $1 3 *2 $1 y $1 2");
    t.say("BZPOPMIN b x").hears("-ERR timeout is not a float or out of range");
    t.say("BZPOPMAX b -1").hears("-ERR timeout is negative");
    t.say("BZMPOP 0 0 b MIN").hears("-ERR numkeys should be greater than 0");
    t.say("BZMPOP 0 1 b MIN COUNT 0").hears("-ERR count should be greater than 0");
    t.say("BZMPOP 0 1 b LEFT").hears(SYNTAX);
    t.say("RPUSH list 1").hears(":1");
    t.say("BZPOPMIN a list 0").hears(WRONG_TYPE);
    t.say("BZMPOP 0 1 list MIN").hears(WRONG_TYPE);
    t.client.never_waits = true;
    t.say("BZPOPMIN a 0").hears("*-1");
}

#[test]
fn who_waits_is_served_by_whatever_brings_members() {
    let mut t = Transcript::start();
    let lines = ["BZPOPMIN a 0", "BZPOPMAX a b 0", "BZMPOP 0 2 b a MIN COUNT 2"];
    let mut waiters = lines.map(|line| {
        let mut client = t.enter();
        t.say_as(&mut client, "HELLO 3");
        t.say_as(&mut client, line).hears("");
        client
    });
    t.say("SADD a x").hears(":1");
    t.say("DEL a").hears(":1");
    t.say("ZADD a 1 x 2 y").hears(":2");
    t.say("EXISTS a").hears(":0");
    t.say_as(&mut waiters[0], lines[0]).hears("*3 $1 a $1 x ,1");
    t.say_as(&mut waiters[1], lines[1]).hears("*3 $1 a $1 y ,2");
    t.say_as(&mut waiters[2], lines[2]).hears("");
    t.say("ZADD c 1 p 2 q 3 r").hears(":3");
    t.say("ZUNIONSTORE b 1 c").hears(":3");
    t.say_as(&mut waiters[2], lines[2]).hears("*2 $1 b *2 *2 $1 p ,1 *2 $1 q ,2");
    t.say("ZCARD b").hears(":1");
    let mut late = t.enter();
    t.say_as(&mut late, "BZPOPMIN d 0.5").hears("");
    t.wait(crate::clock::Ttl(500));
    t.say_as(&mut late, "BZPOPMIN d 0.5").hears("*-1");
}
