//! Bits of strings, word for word.

use std::sync::{Arc, Mutex};

use super::Transcript;
use crate::store::Class;

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const SYNTAX: &str = "-ERR syntax error";
const BAD_OFFSET: &str = "-ERR bit offset is not an integer or out of range";
const BAD_BIT: &str = "-ERR bit is not an integer or out of range";
const BAD_KIND: &str =
    "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";

#[test]
fn bits_are_set_and_read() {
    let mut t = Transcript::start();
    t.say("SETBIT bits 1 1").hears(":0");
    t.say("GET bits").hears("$1 @");
    t.say("OBJECT ENCODING bits").hears("$3 raw");
    t.say("SETBIT bits 1 1").hears(":1");
    t.say("SETBIT bits 15 1").hears(":0");
    t.say("STRLEN bits").hears(":2");
    t.say("GETBIT bits 15").hears(":1");
    t.say("GETBIT bits 14").hears(":0");
    t.say("GETBIT bits 16").hears(":0");
    t.say("GETBIT bits 4294967295").hears(":0");
    t.say("GETBIT none 0").hears(":0");
    t.say("SETBIT bits 1 0").hears(":1");
    t.say("GETBIT bits 1").hears(":0");
    t.say("SETBIT zeros 30 0").hears(":0");
    t.say("STRLEN zeros").hears(":4");
    t.say("SET number 1").hears("+OK");
    t.say("EXPIRE number 100").hears(":1");
    t.say("SETBIT number 6 1").hears(":0");
    t.say("GET number").hears("$1 3");
    t.say("TTL number").hears(":100");
    for offset in ["-1", "x", "4294967296", "9223372036854775808", "#1"] {
        t.say(&format!("SETBIT bits {offset} 1")).hears(BAD_OFFSET);
        t.say(&format!("GETBIT bits {offset}")).hears(BAD_OFFSET);
    }
    for bit in ["2", "-1", "x"] {
        t.say(&format!("SETBIT bits 0 {bit}")).hears(BAD_BIT);
    }
}

#[test]
fn what_is_no_string_is_refused() {
    let mut t = Transcript::start();
    t.say("SADD s a").hears(":1");
    for line in [
        "BITCOUNT s",
        "BITFIELD s SET u8 0 1",
        "BITFIELD s GET u8 0",
        "BITFIELD_RO s GET u8 0",
        "BITOP NOT to s",
        "BITPOS s 1",
        "GETBIT s 0",
        "SETBIT s 0 1",
    ] {
        t.say(line).hears(WRONG_TYPE);
    }
    t.say("SET text x").hears("+OK");
    t.say("BITOP OR s text none").hears(":1");
    t.say("GET s").hears("$1 x");
}

#[test]
fn bits_are_counted() {
    let mut t = Transcript::start();
    t.say("SET s foobar").hears("+OK");
    t.say("BITCOUNT none").hears(":0");
    t.say("BITCOUNT none 0 -1 BIT").hears(":0");
    for (range, count) in [
        ("", 26),
        ("0 0", 4),
        ("1 1 BYTE", 6),
        ("1 -2", 18),
        ("-2 1000", 7),
        ("-1000 0", 4),
        ("3 2", 0),
        ("-1 -2", 0),
        ("-2000 -1000", 4),
        ("1000 2000", 0),
        ("-9223372036854775808 9223372036854775807", 26),
        ("5 30 BIT", 17),
        ("0 0 bit", 0),
        ("1 1 bit", 1),
        ("-8 -1 bit", 4),
        ("0 -1 bit", 26),
        ("47 47 bit", 0),
        ("-9223372036854775808 9223372036854775807 bit", 26),
    ] {
        t.say(&format!("BITCOUNT s {range}")).hears(&format!(":{count}"));
    }
    for line in ["BITCOUNT s 0", "BITCOUNT s 0 1 hello", "BITCOUNT s 0 1 BIT x", "BITCOUNT none 0"] {
        t.say(line).hears(SYNTAX);
    }
    t.say("BITCOUNT s x 1").hears(NOT_INTEGER);
    t.say("BITCOUNT none 0 x").hears(NOT_INTEGER);
}

#[test]
fn the_first_bit_is_found() {
    let mut t = Transcript::start();
    t.words(&[b"SET", b"s", b"\xff\xf0\x00"]).hears("+OK");
    t.words(&[b"SET", b"ones", b"\xff\xff\xff"]).hears("+OK");
    t.words(&[b"SET", b"zeros", &[0; 40]]).hears("+OK");
    t.say("SET empty ''").hears("+OK");
    for (question, answer) in [
        ("s 0", 12),
        ("s 1", 0),
        ("s 0 2", 16),
        ("s 1 2", -1),
        ("s 1 1", 8),
        ("s 0 0 0", -1),
        ("s 0 -2", 12),
        ("s 0 -2 -1", 12),
        ("s 0 7 15 BIT", 12),
        ("s 1 9 15 bit", 9),
        ("s 1 12 -1 bit", -1),
        ("s 0 -3 -1 bit", 21),
        ("s 0 1 0", -1),
        ("s 0 9", -1),
        ("s 1 9223372036854775807 -47", -1),
        ("s 1 -25 -9223372036854775808", 0),
        ("s 1 9223372036854775807 9223372036854775807 BIT", -1),
        ("ones 0", 24),
        ("ones 0 1", 24),
        ("ones 0 0 -1", -1),
        ("ones 0 0 -1 bit", -1),
        ("ones 0 3", -1),
        ("zeros 1", -1),
        ("zeros 0 5", 40),
        ("empty 0", -1),
        ("empty 1", -1),
        ("none 0", 0),
        ("none 1", -1),
        ("none 0 5", 0),
    ] {
        t.say(&format!("BITPOS {question}")).hears(&format!(":{answer}"));
    }
    t.say("SETBIT zeros 300 1").hears(":0");
    t.say("BITPOS zeros 1").hears(":300");
    t.say("BITPOS zeros 1 301 -1 BIT").hears(":-1");
    t.say("BITPOS s 2").hears("-ERR The bit argument must be 1 or 0.");
    t.say("BITPOS s x").hears(NOT_INTEGER);
    t.say("BITPOS s 1 x").hears(NOT_INTEGER);
    t.say("BITPOS s 1 0 -1 hello").hears(SYNTAX);
    t.say("BITPOS s 1 0 -1 BIT x").hears(SYNTAX);
}

/// Counts and searches of random ranges, against a look at every bit.
#[test]
fn ranges_are_what_a_look_at_every_bit_says() {
    let mut t = Transcript::start();
    let mut dice = 9u64;
    let mut roll = |bound: u64| {
        dice = dice.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (dice >> 33) % bound
    };
    for round in 0..300 {
        let dull = if round % 2 == 0 { 0 } else { 0xff };
        let len = roll(40) + 1;
        let bytes: Vec<u8> = (0..len).map(|_| if roll(12) == 0 { roll(256) as u8 } else { dull }).collect();
        t.words(&[b"SET", b"s", &bytes]).hears("+OK");
        let bits: Vec<bool> = (0..len as usize * 8).map(|at| bytes[at / 8] >> (7 - at % 8) & 1 == 1).collect();
        let (start, end) = (roll(len * 8) as usize, roll(len * 8) as usize);
        let range = bits.get(start..=end).unwrap_or_default();
        let ones = range.iter().filter(|bit| **bit).count();
        t.say(&format!("BITCOUNT s {start} {end} BIT")).hears(&format!(":{ones}"));
        for (name, wanted) in [("0", false), ("1", true)] {
            let found = range.iter().position(|bit| *bit == wanted).map_or(-1, |at| (start + at) as i64);
            t.say(&format!("BITPOS s {name} {start} {end} BIT")).hears(&format!(":{found}"));
        }
    }
}

#[test]
fn strings_are_combined() {
    let mut t = Transcript::start();
    t.words(&[b"SET", b"a", b"\xaa\x00\xff\x55"]).hears("+OK");
    t.words(&[b"SET", b"b", b"\xaa\x00\xff"]).hears("+OK");
    let get = |t: &mut Transcript| t.say("GET to").0;
    for (operation, expected) in [
        ("NOT to a", &b"$4\r\n\x55\xff\x00\xaa\r\n"[..]),
        ("AND to a b", b"$4\r\n\xaa\x00\xff\x00\r\n"),
        ("and to b a", b"$4\r\n\xaa\x00\xff\x00\r\n"),
        ("OR to b a", b"$4\r\n\xaa\x00\xff\x55\r\n"),
        ("XOR to a b", b"$4\r\n\x00\x00\x00\x55\r\n"),
        ("XOR to a none a a", b"$4\r\n\xaa\x00\xff\x55\r\n"),
        ("AND to a none", b"$4\r\n\x00\x00\x00\x00\r\n"),
        ("AND to none a", b"$4\r\n\x00\x00\x00\x00\r\n"),
        ("NOT to to", b"$4\r\n\xff\xff\xff\xff\r\n"),
    ] {
        t.say(&format!("BITOP {operation}")).hears(":4");
        assert_eq!(get(&mut t), expected, "{operation}");
    }
    t.say("OBJECT ENCODING to").hears("$3 raw");
    t.say("BITOP OR to none nothing").hears(":0");
    t.say("EXISTS to").hears(":0");
    t.say("BITOP NOT to a b").hears("-ERR BITOP NOT must be called with a single source key.");
    t.say("BITOP NAND to a b").hears(SYNTAX);
}

#[test]
fn fields_are_written_and_read() {
    let mut t = Transcript::start();
    t.say("BITFIELD f").hears("*0");
    t.say("BITFIELD f GET u8 0").hears("*1 :0");
    t.say("EXISTS f").hears(":0");
    t.say("BITFIELD f SET i8 0 -100 SET i8 0 101 GET i8 0").hears("*3 :0 :-100 :101");
    t.say("BITFIELD f SET u8 0 255 GET u8 0 GET i8 0 GET u4 2").hears("*4 :101 :255 :-1 :15");
    t.say("BITFIELD f SET u8 #1 65 SET u8 #2 66 GET u16 #0").hears("*3 :0 :0 :65345");
    t.say("STRLEN f").hears(":3");
    t.say("BITFIELD f SET i64 3 -2 GET i64 3 GET u63 4 GET i1 66")
        .hears("*4 :-429513222274416640 :-2 :9223372036854775806 :0");
    t.say("BITFIELD f GET i64 1000 INCRBY i5 100 1").hears("*2 :0 :1");
    t.say("BITFIELD_RO f GET i5 100 GET u1 104").hears("*2 :1 :1");
    t.say("BITFIELD_RO none GET i5 100").hears("*1 :0");
    t.say("BITFIELD_RO f").hears("*0");
    t.say("BITFIELD_RO f SET u8 0 1").hears("-ERR BITFIELD_RO only supports the GET subcommand");
    t.say("BITFIELD_RO f GET u8 0 INCRBY u8 0 1").hears("-ERR BITFIELD_RO only supports the GET subcommand");
    for kind in ["u64", "i65", "u0", "i0", "x8", "u", "''", "i-1", "u08"] {
        t.say(&format!("BITFIELD f GET {kind} 0")).hears(BAD_KIND);
    }
    for offset in ["-1", "#-1", "x", "#x", "4294967296", "#9223372036854775807", "#536870912"] {
        t.say(&format!("BITFIELD f GET u8 {offset}")).hears(BAD_OFFSET);
    }
    for line in ["GET u8", "SET u8 0", "INCRBY u8 0", "NOSUCH u8 0", "OVERFLOW", "GET u8 0 1"] {
        t.say(&format!("BITFIELD f {line}")).hears(SYNTAX);
    }
    t.say("BITFIELD f SET u8 0 x").hears(NOT_INTEGER);
    t.say("BITFIELD f OVERFLOW nosuch GET u8 0").hears("-ERR Invalid OVERFLOW type specified");
}

#[test]
fn a_number_that_does_not_fit_is_treated_as_asked() {
    let mut t = Transcript::start();
    for (operations, expected) in [
        ("SET u8 0 250 INCRBY u8 0 10", "*2 :0 :4"),
        ("OVERFLOW SAT SET u8 0 250 INCRBY u8 0 10", "*2 :4 :255"),
        ("OVERFLOW SAT INCRBY u8 0 -300", "*1 :0"),
        ("OVERFLOW FAIL INCRBY u8 0 -1 GET u8 0", "*2 $-1 :0"),
        ("OVERFLOW FAIL SET u8 0 256 OVERFLOW WRAP SET u8 0 257 GET u8 0", "*3 $-1 :0 :1"),
        ("SET u8 0 -1 GET u8 0 OVERFLOW SAT SET u8 0 -1 GET u8 0", "*4 :1 :255 :255 :255"),
        ("SET i8 0 127 INCRBY i8 0 1", "*2 :-1 :-128"),
        ("OVERFLOW SAT INCRBY i8 0 -1 INCRBY i8 0 1000", "*2 :-128 :127"),
        ("OVERFLOW SAT SET i8 0 -1000 GET i8 0 OVERFLOW WRAP SET i8 0 -129 GET i8 0", "*4 :127 :-128 :-128 :127"),
        ("SET i64 0 9223372036854775807 INCRBY i64 0 1", "*2 :9151314442816847872 :-9223372036854775808"),
        ("OVERFLOW SAT INCRBY i64 0 -9223372036854775808", "*1 :-9223372036854775808"),
        ("OVERFLOW FAIL INCRBY i64 0 -1", "*1 $-1"),
        (
            "OVERFLOW SAT SET u63 0 -1 GET u63 0 INCRBY u63 0 9223372036854775807",
            "*3 :4611686018427387904 :9223372036854775807 :9223372036854775807",
        ),
        ("INCRBY u63 0 1 INCRBY u63 0 -1", "*2 :0 :9223372036854775807"),
        ("SET i1 0 0 INCRBY i1 0 1 INCRBY i1 0 1", "*3 :-1 :-1 :0"),
        ("OVERFLOW SAT SET u1 0 5 GET u1 0", "*2 :0 :1"),
    ] {
        t.say(&format!("BITFIELD f {operations}")).hears(expected);
    }
    t.say("HELLO 3").hears_start("%7");
    t.say("BITFIELD f OVERFLOW FAIL INCRBY u2 0 9").hears("*1 _");
}

#[test]
fn what_happens_to_bits_is_told() {
    let mut t = Transcript::start();
    let told = Arc::new(Mutex::new(Vec::new()));
    let ear = told.clone();
    let store = t.engine.store(0);
    store.want_events(Class::STRING.and(Class::GENERIC));
    store.on_event(move |event| ear.lock().expect("no panic").push(event.name));
    for (line, expected) in [
        ("SETBIT s 8 0", "setbit"),
        ("SETBIT s 8 0", ""),
        ("SETBIT s 0 1", "setbit"),
        ("BITFIELD s SET u1 0 1", ""),
        ("BITFIELD s SET u1 0 0 SET u1 1 1", "setbit"),
        ("BITFIELD s GET u1 0", ""),
        ("BITOP NOT to s", "set"),
        ("BITOP AND to none", "del"),
        ("BITOP AND to none", ""),
    ] {
        t.say(line);
        assert_eq!(std::mem::take(&mut *told.lock().expect("no panic")).join(" "), expected, "{line}");
    }
    t.say("COMMAND GETKEYSANDFLAGS BITFIELD f SET u8 0 1").hears("*1 *2 $1 f *3 +RW +access +update");
    t.say("COMMAND GETKEYSANDFLAGS BITFIELD f GET u8 0").hears("*1 *2 $1 f *2 +RO +access");
    t.say("COMMAND GETKEYSANDFLAGS BITFIELD f OVERFLOW SAT GET SET 0").hears("*1 *2 $1 f *2 +RO +access");
    // What is not understood may write.
    t.say("COMMAND GETKEYSANDFLAGS BITFIELD f GET u8").hears("*1 *2 $1 f *3 +RW +access +update");
    t.say("COMMAND GETKEYSANDFLAGS BITFIELD f 1.5").hears("*1 *2 $1 f *3 +RW +access +update");
    t.say("COMMAND GETKEYS BITOP OR to a b").hears("*3 $2 to $1 a $1 b");
}

#[test]
fn only_what_changes_something_is_a_change() {
    let mut t = Transcript::start();
    let mut changes = |line: &str| {
        t.say(line);
        let text = t.say("INFO persistence").text();
        let (_, rest) = text.split_once("rdb_changes_since_last_save:").expect("a field");
        rest.split(' ').next().expect("a number").parse::<u64>().expect("a number")
    };
    for (line, expected) in [
        ("SETBIT s 0 0", 1),
        ("SETBIT s 0 0", 1),
        ("SETBIT s 0 1", 2),
        ("BITFIELD f SET i5 0 0", 3),
        ("BITFIELD f SET i5 0 0", 3),
        ("BITFIELD f SET i5 90 0", 4),
        ("GET s", 4),
        ("DEL s none", 5),
        ("CONFIG RESETSTAT", 5),
        ("FLUSHALL", 6),
    ] {
        assert_eq!(changes(line), expected, "{line}");
    }
}
