//! DUMP and RESTORE: what Redis wrote is read, what is written comes back, and what is broken is refused.

use super::*;

/// What redis-server 7.0.15 answered to DUMP, and how its value is asked for.
const DUMPS: &[(&str, &[u8], &str, &str)] = &[
    ("string", b"\x00\xc3\x09@d\x01aa\xe0W\x00\x01aa\x0a\x00\xe8\xa3\xb5\x07\xb0m\xf2q", "STRLEN", ":100"),
    ("number", b"\x00\xc1\xc7\xcf\x0a\x00g\xed\xa26\xb4\xdb&\xd0", "GET", "$6 -12345"),
    (
        "list",
        b"\x12\x01\x02\xc3\x15@U\x0dU\x00\x00\x00\x03\x00\x81a\x02\x01\x01\xe0Fb\xe0<\x00\x01H\xff\x0a\x00\x15\xca};\xd8\xeb\xd8\x92",
        "LLEN",
        ":3",
    ),
    (
        "integers",
        b"\x0b\x14\x04\x00\x00\x00\x03\x00\x00\x00\xfd\xff\xff\xff\x01\x00\x00\x00p\x11\x01\x00\x0a\x00{\x8dM\xdd\xaf\x22\x86\xd7",
        "SMEMBERS",
        "*3 $2 -3 $1 1 $5 70000",
    ),
    ("set", b"\x02\x03\xc0\x0c\x01b\x01a\x0a\x008n\xc1\x00\x0eX\xda\xf0", "SCARD", ":3"),
    (
        "zset",
        b"\x11\x14\x14\x00\x00\x00\x04\x00\x81a\x02\x01\x01\x81b\x02\x832.5\x04\xff\x0a\x00\xd4Ln\xa4\xf6D\xd9\xd7",
        "ZPOPMAX",
        "*2 $1 b $3 2.5",
    ),
    (
        "hash",
        b"\x10\x12\x12\x00\x00\x00\x04\x00\x81f\x02\x81v\x02\x81n\x02\x07\x01\xff\x0a\x00\xb8*\xde\xa8@\x7f\xfa\xa8",
        "HGETALL",
        "*4 $1 f $1 v $1 n $1 7",
    ),
    (
        "skiplist",
        b"\x05\x02\x01a\x00\x00\x00\x00\x00\x00\xf0?\x01b\x00\x00\x00\x00\x00\x00\xf0\xff\x0a\x00V\x18,e\xcb[\x93\x81",
        "ZPOPMIN",
        "*2 $1 b $4 -inf",
    ),
    ("table", b"\x04\x02\x01f\x01v\x01n\xc0\x07\x0a\x00b-\x07\xe0\xb3\x0b\xd5\xec", "HLEN", ":2"),
];

#[test]
fn what_redis_dumped_is_restored() {
    let mut t = Transcript::start();
    for (key, dump, question, answer) in DUMPS {
        t.words(&[b"RESTORE", key.as_bytes(), b"0", dump]).hears("+OK");
        t.words(&[question.as_bytes(), key.as_bytes()]).hears(answer);
    }
}

/// Byte for byte the same as Redis' where neither compresses nor has an order of its own.
#[test]
fn what_is_dumped_is_what_redis_dumps() {
    let mut t = Transcript::start();
    t.say("SET number -12345");
    t.say("SADD integers 1 70000 -3");
    t.say("ZADD zset 1 a 2.5 b");
    t.say("HSET hash f v n 7");
    for (key, dump, _, _) in DUMPS.iter().filter(|(key, ..)| ["number", "integers", "zset", "hash"].contains(key)) {
        assert_eq!(dumped(&mut t, key), *dump, "{key}");
    }
    t.say("DUMP nothing").hears("$-1");
}

fn dumped(t: &mut Transcript, key: &str) -> Vec<u8> {
    let reply = t.say(&format!("DUMP {key}")).0;
    let start = reply.iter().position(|byte| *byte == b'\n').expect("a bulk string") + 1;
    reply[start..reply.len() - 2].to_vec()
}

#[test]
fn every_type_comes_back_in_either_encoding() {
    for entries in ["128", "1"] {
        let mut t = Transcript::start();
        for name in ["hash-max-listpack-entries", "zset-max-listpack-entries", "set-max-intset-entries"] {
            t.say(&format!("CONFIG SET {name} {entries}")).hears("+OK");
        }
        t.say("SET string \"some text\\x00\\xff\"");
        t.say("RPUSH list a 1 -70000 \"\"");
        t.words(&[b"RPUSH", b"list", &[b'x'; 9000], &[b'y'; 5000], &[b'z'; 5000]]);
        t.say("SADD integers 1 2 -9000000000");
        t.say("SADD set a b 12");
        t.say("ZADD zset 1 a -0.25 b inf c");
        t.say("HSET hash f v n 12 \"\" empty");
        for key in ["string", "list", "integers", "set", "zset", "hash"] {
            let dump = dumped(&mut t, key);
            t.words(&[b"RESTORE", b"copy", b"0", &dump, b"REPLACE"]).hears("+OK");
            let digests = t.say(&format!("DEBUG DIGEST-VALUE {key} copy")).text();
            let digests: Vec<&str> = digests.split([' ', '+']).filter(|word| word.len() == 40).collect();
            assert!(digests.len() == 2 && digests[0] == digests[1], "{key}: {digests:?}");
            let encoding = t.say(&format!("OBJECT ENCODING {key}")).text();
            t.say("OBJECT ENCODING copy").hears(&encoding);
        }
    }
}

/// A compact sorted set has no -0, and a large one does not become compact on its way.
#[test]
fn a_score_of_minus_zero_comes_back() {
    let mut t = Transcript::start();
    t.say("CONFIG SET zset-max-listpack-entries 2").hears("+OK");
    t.say("ZADD large 1 a 2 b 3 c -0 d").hears(":4");
    let payload = dumped(&mut t, "large");
    t.words(&[b"RESTORE", b"copy", b"0", &payload]).hears("+OK");
    t.say("ZSCORE copy d").hears("$2 -0");
    t.say("OBJECT ENCODING copy").hears("$8 skiplist");
    t.say("CONFIG SET zset-max-listpack-entries 4").hears("+OK");
    t.words(&[b"RESTORE", b"copy", b"0", &payload, b"REPLACE"]).hears("+OK");
    t.say("OBJECT ENCODING copy").hears("$8 listpack");
}

#[test]
fn options_say_how_long_and_how_used() {
    let mut t = Transcript::with(&[("maxmemory-policy", "allkeys-lru")]);
    let dump: &[u8] = DUMPS[1].1;
    t.words(&[b"RESTORE", b"k", b"5000", dump]).hears("+OK");
    t.say("PTTL k").hears(":5000");
    t.words(&[b"RESTORE", b"k", b"0", dump]).hears("-BUSYKEY Target key name already exists.");
    t.words(&[b"RESTORE", b"k", b"0", dump, b"REPLACE", b"IDLETIME", b"1000"]).hears("+OK");
    t.say("TTL k").hears(":-1");
    t.say("OBJECT IDLETIME k").hears(":1000");
    t.words(&[b"RESTORE", b"old", b"1", dump, b"ABSTTL"]).hears("+OK");
    t.say("EXISTS old").hears(":0");
    t.words(&[b"RESTORE", b"x", b"-1", dump]).hears("-ERR Invalid TTL value, must be >= 0");
    // Where Redis counts over and makes a key that is dead. What it can count it takes.
    for (ttl, options) in [("9223372036854775807", &[][..]), ("9223372036854775807", &[b"ABSTTL".as_slice()][..])] {
        let words = [&[b"RESTORE", b"x".as_slice(), ttl.as_bytes(), dump][..], options].concat();
        match options {
            [] => t.words(&words).hears("-ERR invalid expire time in 'restore' command"),
            _ => t.words(&words).hears("+OK"),
        };
    }
    t.say("PEXPIRETIME x").hears(":9223372036854775807");
    t.say("DEL x").hears(":1");
    t.words(&[b"RESTORE", b"x", b"0", dump, b"FREQ", b"256"]).hears("-ERR Invalid FREQ value, must be >= 0 and <= 255");
    t.words(&[b"RESTORE", b"x", b"0", dump, b"IDLETIME", b"-1"]).hears("-ERR Invalid IDLETIME value, must be >= 0");
    t.words(&[b"RESTORE", b"x", b"0", dump, b"FREQ", b"1", b"IDLETIME", b"1"]).hears("-ERR syntax error");
    t.words(&[b"RESTORE", b"x", b"0", b"nonsense"]).hears("-ERR DUMP payload version or checksum are wrong");
    t.say("EXISTS x").hears(":0");
}

/// A payload whose checksum is right, or zero, and whose content is not: each byte changed in turn, and cut at each place.
#[test]
fn what_is_broken_is_refused_and_nothing_is_lost() {
    let mut t = Transcript::start();
    t.say("SET k kept");
    for (_, dump, _, _) in DUMPS {
        let content = &dump[..dump.len() - 10];
        let unchecked = |content: &[u8]| [content, &[10, 0], &[0; 8]].concat();
        for at in 0..content.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bent = content.to_vec();
                bent[at] ^= flip;
                t.words(&[b"RESTORE", b"other", b"0", &unchecked(&bent), b"REPLACE"]);
            }
            let cut = t.words(&[b"RESTORE", b"cut", b"0", &unchecked(&content[..at])]);
            cut.hears("-ERR Bad data format");
        }
    }
    t.say("GET k").hears("$4 kept");
    t.say("EXISTS cut").hears(":0");
}
