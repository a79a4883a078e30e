//! Strings, in conversations.

use super::Transcript;
use crate::clock::Ttl;

const SYNTAX: &str = "-ERR syntax error";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const NOT_FLOAT: &str = "-ERR value is not a valid float";
const TOO_LONG: &str = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";

#[test]
fn what_was_set_is_returned_byte_by_byte() {
    let mut t = Transcript::start();
    t.say("GET coat").hears("$-1");
    t.say(r#"SET coat "\x00\r\n\xff""#).hears("+OK");
    assert_eq!(t.say("GET coat").0, b"$4\r\n\x00\r\n\xff\r\n");
    t.say("SET '' ''").hears("+OK");
    t.say("GET ''").hears("$0 ");
    t.say("HELLO 3").hears_start("%7");
    t.say("GET nothing").hears("_");
}

#[test]
fn set_replaces_value_and_expiration() {
    let mut t = Transcript::start();
    t.say("SET coat 42 PX 100").hears("+OK");
    t.say("SET coat blue").hears("+OK");
    t.say("PTTL coat").hears(":-1");
    t.say("SET coat 42 EX 10").hears("+OK");
    t.say("SET coat red KEEPTTL").hears("+OK");
    t.say("PTTL coat").hears(":10000");
    t.say("SET none red KEEPTTL").hears("+OK");
    t.say("PTTL none").hears(":-1");
}

#[test]
fn nx_sets_what_is_absent_and_xx_what_is_there() {
    let mut t = Transcript::start();
    t.say("SET coat red XX").hears("$-1");
    t.say("GET coat").hears("$-1");
    t.say("SET coat red NX").hears("+OK");
    t.say("SET coat blue NX PX 5").hears("$-1");
    t.say("SET coat green XX EX 5").hears("+OK");
    t.say("GET coat").hears("$5 green");
    t.say("TTL coat").hears(":5");
    t.say("SETNX coat blue").hears(":0");
    t.wait(Ttl::seconds(5));
    t.say("SETNX coat blue").hears(":1");
    t.say("TTL coat").hears(":-1");
}

#[test]
fn set_get_answers_what_was_there_whether_it_sets_or_not() {
    let mut t = Transcript::start();
    t.say("SET coat red GET").hears("$-1");
    t.say("SET coat blue GET").hears("$3 red");
    t.say("SET coat green NX GET").hears("$4 blue");
    t.say("SET other green NX GET").hears("$-1");
    t.say("SET none green XX GET").hears("$-1");
    t.say("MGET coat other none").hears("*3 $4 blue $5 green $-1");
    t.say("SET coat white GET EX 10").hears("$4 blue");
    t.say("SET coat black GET KEEPTTL").hears("$5 white");
    t.say("TTL coat").hears(":10");
    t.say("GETSET coat grey").hears("$5 black");
    t.say("TTL coat").hears(":-1");
}

#[test]
fn options_of_set_come_in_any_order_but_do_not_contradict_each_other() {
    let mut t = Transcript::start();
    t.say("SET coat 1 get Ex 10 nX get NX").hears("$-1");
    t.say("SET coat 2 EX 10 EX 20").hears("+OK");
    t.say("TTL coat").hears(":20");
    for wrong in [
        "NX XX",
        "XX NX",
        "EX 1 PX 1",
        "PX 1 EXAT 1",
        "PXAT 1 EXAT 1",
        "EX 1 KEEPTTL",
        "KEEPTTL PX 1",
        "EX",
        "PXAT",
        "PERSIST",
        "NOSUCH",
        "GET GET NOSUCH",
        "''",
    ] {
        t.say(&format!("SET coat 3 {wrong}")).hears(SYNTAX);
    }
    t.say("GET coat").hears("$1 2");
}

#[test]
fn an_expiration_that_makes_no_sense_leaves_everything_as_it_was() {
    let mut t = Transcript::start();
    t.say("SET coat red EX 100").hears("+OK");
    for (wrong, answer) in [
        ("SET coat x EX 0", "-ERR invalid expire time in 'set' command"),
        ("SET coat x PX -1", "-ERR invalid expire time in 'set' command"),
        ("SET coat x EXAT 0", "-ERR invalid expire time in 'set' command"),
        ("SET coat x EX 9223372036854775807", "-ERR invalid expire time in 'set' command"),
        ("SET coat x PX 9223372036854775807", "-ERR invalid expire time in 'set' command"),
        ("SET coat x EXAT 9223372036854775807", "-ERR invalid expire time in 'set' command"),
        ("SET coat x EX 10.5", NOT_INTEGER),
        ("SET coat x EX 9223372036854775808", NOT_INTEGER),
        ("SET coat x EX NX", NOT_INTEGER),
        ("SETEX coat 0 x", "-ERR invalid expire time in 'setex' command"),
        ("SETEX coat -10 x", "-ERR invalid expire time in 'setex' command"),
        ("SETEX coat soon x", NOT_INTEGER),
        ("PSETEX coat -1 x", "-ERR invalid expire time in 'psetex' command"),
        ("PSETEX coat 9223372036854775807 x", "-ERR invalid expire time in 'psetex' command"),
        ("GETEX coat EX 0", "-ERR invalid expire time in 'getex' command"),
        ("GETEX coat PX 9223372036854775807", "-ERR invalid expire time in 'getex' command"),
        ("GETEX coat PX soon", NOT_INTEGER),
    ] {
        t.say(wrong).hears(answer);
        t.say("GET coat").hears("$3 red");
        t.say("TTL coat").hears(":100");
    }
}

#[test]
fn what_is_set_with_a_time_that_has_passed_is_gone_at_once() {
    let mut t = Transcript::start();
    t.say("SET coat red").hears("+OK");
    t.say("SET coat blue EXAT 1").hears("+OK");
    t.say("GET coat").hears("$-1");
    t.say("SET coat red").hears("+OK");
    t.say("SET coat blue PXAT 1 GET").hears("$3 red");
    t.say("EXISTS coat").hears(":0");
    t.say("SET coat red").hears("+OK");
    t.say("GETEX coat EXAT 1").hears("$3 red");
    t.say("GET coat").hears("$-1");
}

#[test]
fn setex_and_psetex_last_as_long_as_they_say() {
    let mut t = Transcript::start();
    t.say("SETEX coat 2 red").hears("+OK");
    t.say("PSETEX hat 1500 blue").hears("+OK");
    t.wait(Ttl(1499));
    t.say("MGET coat hat").hears("*2 $3 red $4 blue");
    t.wait(Ttl(1));
    t.say("MGET coat hat").hears("*2 $3 red $-1");
    t.wait(Ttl(500));
    t.say("MGET coat hat").hears("*2 $-1 $-1");
}

#[test]
fn getex_changes_only_the_expiration() {
    let mut t = Transcript::start();
    t.say("GETEX coat EX 10").hears("$-1");
    t.say("SET coat red").hears("+OK");
    t.say("GETEX coat").hears("$3 red");
    t.say("TTL coat").hears(":-1");
    t.say("GETEX coat PX 1500").hears("$3 red");
    t.say("PTTL coat").hears(":1500");
    t.say("GETEX coat PERSIST").hears("$3 red");
    t.say("TTL coat").hears(":-1");
    t.say("GETEX coat EXAT 1700000010").hears("$3 red");
    t.say("TTL coat").hears(":10");
    for wrong in ["KEEPTTL", "NX", "GET", "PERSIST EX 1", "EX 1 PERSIST", "EX 1 PX 1", "EX"] {
        t.say(&format!("GETEX coat {wrong}")).hears(SYNTAX);
    }
    t.say("TTL coat").hears(":10");
    t.say("GETEX none EX 0").hears("$-1");
    t.say("GETEX none EX soon").hears("$-1");
}

#[test]
fn getdel_takes_the_value_away() {
    let mut t = Transcript::start();
    t.say("SET coat red EX 10").hears("+OK");
    t.say("GETDEL coat").hears("$3 red");
    t.say("GETDEL coat").hears("$-1");
    t.say("EXISTS coat").hears(":0");
}

#[test]
fn mset_sets_all_and_msetnx_all_or_none() {
    let mut t = Transcript::start();
    t.say("SET a old EX 10").hears("+OK");
    t.say("MSET a 1 b 2 a 3").hears("+OK");
    t.say("MGET a b c").hears("*3 $1 3 $1 2 $-1");
    t.say("TTL a").hears(":-1");
    t.say("MSETNX c 4 b 5").hears(":0");
    t.say("MGET b c").hears("*2 $1 2 $-1");
    t.say("MSETNX c 4 d 5 c 6").hears(":1");
    t.say("MGET c d").hears("*2 $1 6 $1 5");
    t.say("MSET a 1 b").hears("-ERR wrong number of arguments for 'mset' command");
    t.say("MSETNX e 1 f").hears("-ERR wrong number of arguments for 'msetnx' command");
    t.say("MSET a").hears("-ERR wrong number of arguments for 'mset' command");
    t.say("EXISTS e").hears(":0");
}

#[test]
fn counters_count_and_keep_their_expiration() {
    let mut t = Transcript::start();
    t.say("INCR n").hears(":1");
    t.say("PEXPIRE n 1000").hears(":1");
    t.say("INCRBY n 99").hears(":100");
    t.say("DECR n").hears(":99");
    t.say("DECRBY n 100").hears(":-1");
    t.say("PTTL n").hears(":1000");
    t.say("GET n").hears("$2 -1");
    t.wait(Ttl(1000));
    t.say("INCR n").hears(":1");
}

#[test]
fn a_counter_refuses_what_it_cannot_hold() {
    let mut t = Transcript::start();
    t.say("SET n 9223372036854775807").hears("+OK");
    t.say("INCR n").hears("-ERR increment or decrement would overflow");
    t.say("INCRBY n 9223372036854775807").hears("-ERR increment or decrement would overflow");
    t.say("DECRBY n -9223372036854775808").hears("-ERR decrement would overflow");
    t.say("GET n").hears("$19 9223372036854775807");
    t.say("SET n -9223372036854775808").hears("+OK");
    t.say("DECR n").hears("-ERR increment or decrement would overflow");
    t.say("INCRBY n 9223372036854775807").hears(":-1");
    for text in ["'1 '", "' 1'", "1.0", "+1", "01", "''", "abc", "9223372036854775808"] {
        t.say(&format!("SET n {text}")).hears("+OK");
        t.say("INCR n").hears(NOT_INTEGER);
        t.say(&format!("INCRBY m {text}")).hears(NOT_INTEGER);
        t.say(&format!("DECRBY m {text}")).hears(NOT_INTEGER);
    }
    t.say("EXISTS m").hears(":0");
}

#[test]
fn floats_are_added_with_the_precision_of_redis() {
    let mut t = Transcript::start();
    for expected in ["$3 0.1", "$3 0.2", "$3 0.3", "$3 0.4", "$3 0.5"] {
        t.say("INCRBYFLOAT n 0.1").hears(expected);
    }
    t.say("PEXPIRE n 500").hears(":1");
    t.say("INCRBYFLOAT n -5e-1").hears("$1 0");
    t.say("PTTL n").hears(":500");
    t.say("SET n 3.0").hears("+OK");
    t.say("INCRBYFLOAT n 1.5e2").hears("$3 153");
    t.say("GET n").hears("$3 153");
    t.say("INCRBYFLOAT n inf").hears("-ERR increment would produce NaN or Infinity");
    t.say("INCRBYFLOAT n nan").hears(NOT_FLOAT);
    t.say("INCRBYFLOAT n ' 1'").hears(NOT_FLOAT);
    t.say("RPUSH l x").hears(":1");
    t.say("INCRBYFLOAT l nan").hears("-WRONGTYPE Operation against a key holding the wrong kind of value");
    t.say("GET n").hears("$3 153");
    t.say("SET n '1 '").hears("+OK");
    t.say("INCRBYFLOAT n 1").hears(NOT_FLOAT);
}

#[test]
fn a_string_grows_at_its_end_and_anywhere() {
    let mut t = Transcript::start();
    t.say("APPEND coat blue").hears(":4");
    t.say("PEXPIRE coat 1000").hears(":1");
    t.say("APPEND coat !!").hears(":6");
    t.say("SETRANGE coat 0 BL").hears(":6");
    t.say("SETRANGE coat 8 x").hears(":9");
    assert_eq!(t.say("GET coat").0, b"$9\r\nBLue!!\0\0x\r\n");
    t.say("PTTL coat").hears(":1000");
    t.say("STRLEN coat").hears(":9");
    t.say("SETRANGE coat 100 ''").hears(":9");
    t.say("SETRANGE none 100 ''").hears(":0");
    t.say("STRLEN none").hears(":0");
    t.say("EXISTS none").hears(":0");
    t.say("APPEND none ''").hears(":0");
    t.say("EXISTS none").hears(":1");
}

#[test]
fn a_string_never_grows_past_the_longest_reply() {
    let mut t = Transcript::with(&[("proto-max-bulk-len", "1048576")]);
    t.say("SETRANGE coat 1048575 x").hears(":1048576");
    t.say("SETRANGE coat 1048576 x").hears(TOO_LONG);
    t.say("APPEND coat x").hears(TOO_LONG);
    t.say("SETRANGE none 1048576 x").hears(TOO_LONG);
    t.say("SETRANGE none 9223372036854775807 x").hears(TOO_LONG);
    t.say("SETRANGE none -1 x").hears("-ERR offset is out of range");
    t.say("SETRANGE none 1.5 x").hears(NOT_INTEGER);
    t.say("SETRANGE none 9223372036854775808 x").hears(NOT_INTEGER);
    t.say("EXISTS none").hears(":0");
    t.say("STRLEN coat").hears(":1048576");
}

#[test]
fn a_range_is_cut_from_either_end() {
    let mut t = Transcript::start();
    t.say("SET coat 'Hello world'").hears("+OK");
    for (range, expected) in [
        ("0 3", "$4 Hell"),
        ("0 -1", "$11 Hello world"),
        ("-4 -1", "$4 orld"),
        ("5 3", "$0 "),
        ("6 5000", "$5 world"),
        ("-5000 4", "$5 Hello"),
        ("-100 -50", "$1 H"),
        ("-50 -100", "$0 "),
        ("11 20", "$0 "),
        ("-9223372036854775808 9223372036854775807", "$11 Hello world"),
    ] {
        t.say(&format!("GETRANGE coat {range}")).hears(expected);
        t.say(&format!("SUBSTR coat {range}")).hears(expected);
    }
    t.say("GETRANGE none 0 -1").hears("$0 ");
    t.say("GETRANGE coat 0 x").hears(NOT_INTEGER);
    t.say("GETRANGE none 0 9223372036854775808").hears(NOT_INTEGER);
    t.say("SET empty ''").hears("+OK");
    t.say("GETRANGE empty 0 -1").hears("$0 ");
}

#[test]
fn lcs_finds_what_two_strings_have_in_common() {
    let mut t = Transcript::start();
    t.say("MSET one ohmytext other mynewtext").hears("+OK");
    t.say("LCS one other").hears("$6 mytext");
    t.say("LCS one other LEN").hears(":6");
    t.say("LCS one other IDX").hears("*4 $7 matches *2 *2 *2 :4 :7 *2 :5 :8 *2 *2 :2 :3 *2 :0 :1 $3 len :6");
    t.say("LCS one other IDX MINMATCHLEN 4 WITHMATCHLEN").hears("*4 $7 matches *1 *3 *2 :4 :7 *2 :5 :8 :4 $3 len :6");
    t.say("LCS one none").hears("$0 ");
    t.say("LCS one none IDX").hears("*4 $7 matches *0 $3 len :0");
    t.say("HELLO 3").hears_start("%7");
    t.say("LCS one other IDX MINMATCHLEN 5").hears("%2 $7 matches *0 $3 len :6");
}

#[test]
fn lcs_refuses_what_contradicts_itself_or_needs_too_much_memory() {
    let mut t = Transcript::with(&[("proto-max-bulk-len", "1048576")]);
    t.say("LCS a b LEN IDX").hears("-ERR If you want both the length and indexes, please just use IDX.");
    t.say("LCS a b NOSUCH").hears(SYNTAX);
    t.say("LCS a b MINMATCHLEN").hears(SYNTAX);
    t.say("LCS a b IDX MINMATCHLEN x").hears(NOT_INTEGER);
    let many = "x".repeat(511);
    t.say(&format!("MSET a {many} b {many}")).hears("+OK");
    t.say("LCS a b LEN").hears(":511");
    t.say("APPEND b x").hears(":512");
    let refused = "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";
    t.say("LCS a b LEN").hears(refused);
    t.say("SETRANGE b 1048575 x").hears(":1048576");
    t.say("LCS none b").hears(refused);
}

#[test]
fn a_read_that_must_leave_no_trace_leaves_none() {
    let mut t = Transcript::start();
    t.say("SET coat red").hears("+OK");
    t.wait(Ttl::seconds(60));
    t.client.no_touch = true;
    for request in ["GET coat", "MGET coat", "STRLEN coat", "GETEX coat EX 1000", "GETRANGE coat 0 1", "LCS coat coat"]
    {
        t.say(request);
        t.say("OBJECT IDLETIME coat").hears(":60");
    }
    t.say("TOUCH coat").hears(":1");
    t.say("OBJECT IDLETIME coat").hears(":0");
    t.client.no_touch = false;
    t.wait(Ttl::seconds(60));
    t.say("TTL coat").hears(":940");
    t.say("TYPE coat").hears("+string");
    t.say("EXISTS coat").hears(":1");
    t.say("OBJECT IDLETIME coat").hears(":60");
    t.say("GET coat").hears("$3 red");
    t.say("OBJECT IDLETIME coat").hears(":0");
}

#[test]
fn a_value_that_is_only_written_is_not_idle() {
    let mut t = Transcript::start();
    t.say("MSET n 10 s abc").hears("+OK");
    for request in ["INCR n", "DECRBY n 2", "APPEND s d", "SETRANGE s 0 x"] {
        t.wait(Ttl::seconds(30));
        let key = if request.contains('n') { "n" } else { "s" };
        t.say(request);
        t.say(&format!("OBJECT IDLETIME {key}")).hears(":0");
    }
}

#[test]
fn reads_are_counted_as_hits_and_misses() {
    let mut t = Transcript::start();
    t.say("SET coat red").hears("+OK");
    for request in ["GET coat", "EXISTS coat", "GETEX coat PX 9000", "SET coat blue GET", "TTL coat", "GETDEL coat"] {
        t.say(request);
    }
    for request in ["GET coat", "EXISTS coat", "MGET coat coat", "GETDEL coat"] {
        t.say(request);
    }
    let stats = t.engine.store(0).stats();
    assert_eq!((stats.hits, stats.misses), (6, 5));
}
