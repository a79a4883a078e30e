//! SORT, word for word.

use super::Transcript;

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const SYNTAX: &str = "-ERR syntax error";
const NOT_NUMBERS: &str = "-ERR One or more scores can't be converted into double";

/// Sets, and keys that patterns lead to.
fn start() -> Transcript {
    let mut t = Transcript::start();
    t.say("SADD ids 1 2 3 10").hears(":4");
    t.say("MSET weight_1 30 weight_2 -1.5 weight_10 0x10 name_1 one name_2 two name_3 three").hears("+OK");
    t.say("HSET user_1 age 7 name ann").hears(":2");
    t.say("HSET user_2 age 5 name bob").hears(":2");
    t.say("HSET user_10 age 6").hears(":1");
    t
}

#[test]
fn elements_are_sorted_as_numbers_or_as_text() {
    let mut t = start();
    t.say("SORT ids").hears("*4 $1 1 $1 2 $1 3 $2 10");
    t.say("SORT ids DESC").hears("*4 $2 10 $1 3 $1 2 $1 1");
    t.say("SORT ids desc ASC").hears("*4 $1 1 $1 2 $1 3 $2 10");
    t.say("SORT ids ALPHA").hears("*4 $1 1 $2 10 $1 2 $1 3");
    t.say("SORT ids ALPHA DESC").hears("*4 $1 3 $1 2 $2 10 $1 1");
    t.say("SORT_RO ids").hears("*4 $1 1 $1 2 $1 3 $2 10");
    t.say("SORT none").hears("*0");
    t.say("SADD texts b a c").hears(":3");
    t.say("SORT texts").hears(NOT_NUMBERS);
    t.say("SORT texts ALPHA").hears("*3 $1 a $1 b $1 c");
    t.say("SADD floats 1.1 -inf 1e1 ' 7'").hears(":4");
    t.say("SORT floats").hears("*4 $4 -inf $3 1.1 $2  7 $3 1e1");
    t.say("SADD floats nan").hears(":1");
    t.say("SORT floats").hears(NOT_NUMBERS);
    t.say("SADD same 1.0 1.00 1").hears(":3");
    t.say("SORT same").hears("*3 $1 1 $3 1.0 $4 1.00");
    t.say("SORT same DESC").hears("*3 $4 1.00 $3 1.0 $1 1");
}

#[test]
fn a_part_of_them_is_shown() {
    let mut t = start();
    for (limit, shown) in [
        ("0 2", "*2 $1 1 $1 2"),
        ("1 2", "*2 $1 2 $1 3"),
        ("3 5", "*1 $2 10"),
        ("4 1", "*0"),
        ("1000 1000", "*0"),
        ("-5 1", "*1 $1 1"),
        ("2 -1", "*2 $1 3 $2 10"),
        ("0 0", "*0"),
        ("9223372036854775807 9223372036854775807", "*0"),
        ("1 -9223372036854775808", "*3 $1 2 $1 3 $2 10"),
    ] {
        t.say(&format!("SORT ids LIMIT {limit}")).hears(shown);
    }
    t.say("SORT ids LIMIT 0 1 DESC").hears("*1 $2 10");
    t.say("SORT ids LIMIT x 1").hears(NOT_INTEGER);
    t.say("SORT ids LIMIT 1").hears(SYNTAX);
}

#[test]
fn other_keys_say_what_comes_first() {
    let mut t = start();
    t.say("SORT ids BY weight_*").hears("*4 $1 2 $1 3 $2 10 $1 1");
    t.say("SORT ids BY weight_* DESC").hears("*4 $1 1 $2 10 $1 3 $1 2");
    t.say("SORT ids BY name_*").hears(NOT_NUMBERS);
    t.say("SORT ids BY name_* ALPHA").hears("*4 $2 10 $1 1 $1 3 $1 2");
    t.say("SORT ids BY user_*->age").hears("*4 $1 3 $1 2 $2 10 $1 1");
    t.say("SORT ids BY user_*->name ALPHA DESC LIMIT 0 2").hears("*2 $1 2 $1 1");
    t.say("SORT ids BY user_*").hears("*4 $1 1 $2 10 $1 2 $1 3");
    t.say("SORT ids BY nothing").hears("*4 $1 1 $1 2 $1 3 $2 10");
    t.say("ZADD ranks 3 a 1 b 2 c").hears(":3");
    t.say("SORT ranks ALPHA").hears("*3 $1 a $1 b $1 c");
    t.say("SORT ranks BY nosort").hears("*3 $1 b $1 c $1 a");
    t.say("SORT ranks BY nosort BY weight_*").hears("*3 $1 b $1 c $1 a");
    t.say("SORT ranks BY nosort DESC").hears("*3 $1 a $1 c $1 b");
    t.say("SORT ranks BY nosort DESC LIMIT 1 1").hears("*1 $1 c");
    t.say("SORT ranks BY nosort LIMIT 1 10").hears("*2 $1 c $1 a");
}

#[test]
fn other_keys_are_shown_instead() {
    let mut t = start();
    t.say("SORT ids GET name_*").hears("*4 $3 one $3 two $5 three $-1");
    t.say("SORT ids GET # GET name_* LIMIT 2 2").hears("*4 $1 3 $5 three $2 10 $-1");
    t.say("SORT ids GET user_*->name GET user_*->age DESC").hears("*8 $-1 $1 6 $-1 $-1 $3 bob $1 5 $3 ann $1 7");
    t.say("SORT ids GET constant").hears("*4 $-1 $-1 $-1 $-1");
    t.say("SORT ids GET user_* LIMIT 0 1").hears("*1 $-1");
    t.say("SET user_1->x odd").hears("+OK");
    t.say("SET user_1-> odd").hears("+OK");
    t.say("SORT ids GET user_*-> LIMIT 0 1").hears("*1 $3 odd");
    t.say("SORT ids GET user_*->x LIMIT 0 1").hears("*1 $-1");
    t.say("HELLO 3").hears_start("%7");
    t.say("SORT ids GET name_* LIMIT 2 2").hears("*2 $5 three _");
}

#[test]
fn the_result_is_kept_as_a_list() {
    let mut t = start();
    t.say("SORT ids DESC STORE list").hears(":4");
    t.say("TYPE list").hears("+list");
    t.say("SORT list BY nosort").hears("*4 $2 10 $1 3 $1 2 $1 1");
    t.say("SORT list BY nosort LIMIT 1 2 DESC").hears("*2 $1 2 $1 3");
    t.say("SORT list").hears("*4 $1 1 $1 2 $1 3 $2 10");
    t.say("SORT ids GET # GET name_* LIMIT 2 2 STORE list").hears(":4");
    t.say("SORT list BY nosort").hears("*4 $1 3 $5 three $2 10 $0 ");
    t.say("SORT ids BY nosort STORE text DESC STORE list").hears(":4");
    t.say("SORT list BY nosort").hears("*4 $1 3 $1 2 $2 10 $1 1");
    t.say("EXPIRE list 100").hears(":1");
    t.say("SORT list STORE list").hears(":4");
    t.say("TTL list").hears(":-1");
    t.say("SORT none STORE list").hears(":0");
    t.say("EXISTS list").hears(":0");
    t.say("SORT none STORE list").hears(":0");
    t.say("SADD texts b a").hears(":2");
    t.say("SORT texts STORE list").hears(NOT_NUMBERS);
    t.say("EXISTS list text").hears(":0");
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut t = start();
    t.say("SET text x").hears("+OK");
    t.say("SORT text").hears(WRONG_TYPE);
    t.say("SORT user_1").hears(WRONG_TYPE);
    t.say("SORT_RO text").hears(WRONG_TYPE);
    t.say("SORT_RO ids STORE to").hears(SYNTAX);
    for options in ["BY", "GET", "STORE", "LIMIT 1", "NOSUCH"] {
        t.say(&format!("SORT ids {options}")).hears(SYNTAX);
    }
    t.say("COMMAND GETKEYS SORT a BY store GET x STORE b LIMIT store store STORE c").hears("*2 $1 a $1 c");
    t.say("COMMAND GETKEYS SORT_RO a BY store").hears("*1 $1 a");
    t.say("COMMAND GETKEYSANDFLAGS SORT a STORE b").hears("*2 *2 $1 a *2 +RO +access *2 $1 b *2 +OW +update");
    let info = t.say("COMMAND INFO SORT").text();
    let start = "*1 *10 $4 sort :-2 *3 +write +denyoom +movablekeys :1 :1 :1 *6 +@write +@set +@sortedset +@list +@slow +@dangerous";
    assert!(info.starts_with(start), "{info}");
}
