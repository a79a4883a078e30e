//! Hashes, word for word.

use std::collections::{BTreeMap, BTreeSet};

use super::Transcript;
use crate::store::Store;

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";

/// The bulk strings of a reply, whatever is around them.
fn bulks(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split(' ').collect();
    words.windows(2).filter(|pair| pair[0].starts_with('$')).map(|pair| pair[1].to_owned()).collect()
}

#[test]
fn fields_are_set_read_and_deleted() {
    let mut t = Transcript::start();
    t.say("HSET coat colour red size 42").hears(":2");
    t.say("HSET coat size 43 owner ada").hears(":1");
    t.say("TYPE coat").hears("+hash");
    t.say("HGET coat size").hears("$2 43");
    t.say("HGET coat price").hears("$-1");
    t.say("HGET none size").hears("$-1");
    t.say("HMGET coat size price colour size").hears("*4 $2 43 $-1 $3 red $2 43");
    t.say("HMGET none size price").hears("*2 $-1 $-1");
    t.say("HEXISTS coat size").hears(":1");
    t.say("HEXISTS coat price").hears(":0");
    t.say("HEXISTS none size").hears(":0");
    t.say("HSTRLEN coat colour").hears(":3");
    t.say("HSTRLEN coat size").hears(":2");
    t.say("HSTRLEN coat price").hears(":0");
    t.say("HSTRLEN none size").hears(":0");
    t.say("HLEN coat").hears(":3");
    t.say("HLEN none").hears(":0");
    t.say("HGETALL coat").hears("*6 $6 colour $3 red $4 size $2 43 $5 owner $3 ada");
    t.say("HKEYS coat").hears("*3 $6 colour $4 size $5 owner");
    t.say("HVALS coat").hears("*3 $3 red $2 43 $3 ada");
    t.say("HMSET coat size 1 price -2").hears("+OK");
    t.say("HSETNX coat size 2").hears(":0");
    t.say("HSETNX coat weight 2").hears(":1");
    t.say("HSETNX hat size 2").hears(":1");
    t.say("HDEL coat size nothing price size").hears(":2");
    t.say("HDEL none size").hears(":0");
    t.say("HGETALL coat").hears("*6 $6 colour $3 red $5 owner $3 ada $6 weight $1 2");
    t.say("HDEL coat colour owner weight").hears(":3");
    t.say("EXISTS coat").hears(":0");
    for line in ["HGETALL coat", "HKEYS coat", "HVALS coat"] {
        t.say(line).hears("*0");
    }
    t.say("HSET \"\" \"\" \"\"").hears(":1");
    t.say("HGETALL \"\"").hears("*2 $0  $0 ");
}

#[test]
fn a_hash_keeps_its_deadline_and_leaves_with_it() {
    let mut t = Transcript::start();
    t.say("HSET coat a 1").hears(":1");
    t.say("EXPIRE coat 100").hears(":1");
    t.say("HSET coat b 2").hears(":1");
    t.say("HINCRBY coat b 2").hears(":4");
    t.say("HDEL coat a").hears(":1");
    t.say("TTL coat").hears(":100");
    t.wait(crate::clock::Ttl::seconds(100));
    t.say("HGETALL coat").hears("*0");
    t.say("HSET coat c 3").hears(":1");
    t.say("TTL coat").hears(":-1");
    t.say("HGETALL coat").hears("*2 $1 c $1 3");
}

#[test]
fn resp3_has_maps() {
    let mut t = Transcript::start();
    t.say("HELLO 3").hears_start("%7");
    t.say("HSET coat colour red").hears(":1");
    t.say("HGETALL coat").hears("%1 $6 colour $3 red");
    t.say("HGETALL none").hears("%0");
    t.say("HKEYS coat").hears("*1 $6 colour");
    t.say("HVALS none").hears("*0");
    t.say("HMGET coat colour size").hears("*2 $3 red _");
    t.say("HGET coat size").hears("_");
    t.say("HSCAN coat 0").hears("*2 $1 0 *2 $6 colour $3 red");
    t.say("HRANDFIELD coat").hears("$6 colour");
    t.say("HRANDFIELD none").hears("_");
    t.say("HRANDFIELD coat 5").hears("*1 $6 colour");
    t.say("HRANDFIELD coat 5 WITHVALUES").hears("*1 *2 $6 colour $3 red");
    t.say("HRANDFIELD coat -2 withvalues").hears("*2 *2 $6 colour $3 red *2 $6 colour $3 red");
    t.say("HRANDFIELD none 5 WITHVALUES").hears("*0");
    t.say("HRANDFIELD coat 0 WITHVALUES").hears("*0");
    t.say("HINCRBYFLOAT coat n 0.5").hears("$3 0.5");
}

#[test]
fn fields_count_up() {
    let mut t = Transcript::start();
    t.say("HINCRBY h n 5").hears(":5");
    t.say("HINCRBY h n -7").hears(":-2");
    t.say("HSET h text abc spaced \" 1\" max 9223372036854775807 min -9223372036854775808 half 0.5").hears(":5");
    t.say("HINCRBY h text 1").hears("-ERR hash value is not an integer");
    t.say("HINCRBY h spaced 1").hears("-ERR hash value is not an integer");
    t.say("HINCRBY h half 1").hears("-ERR hash value is not an integer");
    t.say("HINCRBY h max 1").hears("-ERR increment or decrement would overflow");
    t.say("HINCRBY h min -1").hears("-ERR increment or decrement would overflow");
    t.say("HINCRBY h max -9223372036854775808").hears(":-1");
    t.say("HINCRBY h n x").hears(NOT_INTEGER);
    t.say("HINCRBY h n 9223372036854775808").hears(NOT_INTEGER);
    t.say("HINCRBY new n x").hears(NOT_INTEGER);
    t.say("EXISTS new").hears(":0");
    t.say("HINCRBYFLOAT h n 0.1").hears("$4 -1.9");
    t.say("HINCRBYFLOAT h half 5.0e3").hears("$6 5000.5");
    t.say("HINCRBYFLOAT h fresh 1").hears("$1 1");
    t.say("HINCRBYFLOAT h text 1").hears("-ERR hash value is not a float");
    t.say("HINCRBYFLOAT h spaced 1").hears("-ERR hash value is not a float");
    t.say("HINCRBYFLOAT h n nan").hears("-ERR value is not a valid float");
    t.say("HINCRBYFLOAT h n \" 1\"").hears("-ERR value is not a valid float");
    t.say("HINCRBYFLOAT h n -inf").hears("-ERR value is NaN or Infinity");
    t.say("HSET h inf inf").hears(":1");
    t.say("HINCRBYFLOAT h inf 1").hears("-ERR increment would produce NaN or Infinity");
    t.say("HSET tenths n 0").hears(":1");
    for _ in 0..9 {
        t.say("HINCRBYFLOAT tenths n 0.1");
    }
    t.say("HINCRBYFLOAT tenths n 0.1").hears("$1 1");
    t.say("HINCRBYFLOAT tenths big 1.7e308")
        .hears_start("$309 170000000000000000003136778025197596795270213889694133733");
    t.say("OBJECT ENCODING tenths").hears("$9 hashtable");
}

#[test]
fn other_types_and_wrong_words_are_refused() {
    let mut t = Transcript::start();
    t.say("SET s x").hears("+OK");
    for line in [
        "HDEL s f",
        "HEXISTS s f",
        "HGET s f",
        "HGETALL s",
        "HINCRBY s f 1",
        "HINCRBYFLOAT s f 1",
        "HKEYS s",
        "HLEN s",
        "HMGET s f g",
        "HMSET s f v",
        "HRANDFIELD s",
        "HRANDFIELD s 3",
        "HRANDFIELD s -3 WITHVALUES",
        "HSCAN s 0",
        "HSCAN s 0 NONSENSE",
        "HSET s f v",
        "HSETNX s f v",
        "HSTRLEN s f",
        "HVALS s",
    ] {
        t.say(line).hears(WRONG_TYPE);
    }
    t.say("GET s").hears("$1 x");
    t.say("HSET h f v").hears(":1");
    t.say("GET h").hears(WRONG_TYPE);
    t.say("HSET h f").hears("-ERR wrong number of arguments for 'hset' command");
    t.say("HSET h f v g").hears("-ERR wrong number of arguments for 'hset' command");
    t.say("HSET s f v g").hears("-ERR wrong number of arguments for 'hset' command");
    t.say("HMSET h f v g").hears("-ERR wrong number of arguments for 'hmset' command");
    t.say("HRANDFIELD s x").hears(NOT_INTEGER);
    t.say("HRANDFIELD h 1 VALUES").hears("-ERR syntax error");
    t.say("HRANDFIELD h 1 WITHVALUES WITHVALUES").hears("-ERR syntax error");
    t.say("HRANDFIELD h -9223372036854775808")
        .hears("-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807");
    t.say("HRANDFIELD h 4611686018427387904 WITHVALUES").hears("-ERR value is out of range");
    t.say("HRANDFIELD h -4611686018427387904 WITHVALUES").hears("-ERR value is out of range");
    t.say("HRANDFIELD h 4611686018427387903 WITHVALUES").hears("*2 $1 f $1 v");
    t.say("HRANDFIELD h 9223372036854775807").hears("*1 $1 f");
    // Redis would send until it has no memory left.
    t.say("HRANDFIELD h -9223372036854775807").hears("-ERR value is out of range");
    t.say("HGETALL h").hears("*2 $1 f $1 v");
}

#[test]
fn a_hash_is_a_listpack_while_it_is_small() {
    let mut t = Transcript::start();
    let encoding = |t: &mut Transcript, key: &str| t.say(&format!("OBJECT ENCODING {key}")).text();
    for number in 0..512 {
        t.say(&format!("HSET many field:{number} {number}")).hears(":1");
    }
    assert_eq!(encoding(&mut t, "many"), "$8 listpack");
    t.say("HSET many field:0 other").hears(":0");
    assert_eq!(encoding(&mut t, "many"), "$8 listpack");
    t.say("HINCRBY many last 1").hears(":1");
    assert_eq!(encoding(&mut t, "many"), "$9 hashtable");
    t.say("HLEN many").hears(":513");
    t.say("HGET many field:511").hears("$3 511");
    t.say("HGET many field:0").hears("$5 other");
    let (fits, long) = ("x".repeat(64), "x".repeat(65));
    t.say(&format!("HSET long {fits} {fits}")).hears(":1");
    assert_eq!(encoding(&mut t, "long"), "$8 listpack");
    t.say(&format!("HSET long f {long}")).hears(":1");
    assert_eq!(encoding(&mut t, "long"), "$9 hashtable");
    t.say(&format!("HSETNX field {long} v")).hears(":1");
    assert_eq!(encoding(&mut t, "field"), "$9 hashtable");
    t.say("HDEL long f").hears(":1");
    assert_eq!(encoding(&mut t, "long"), "$9 hashtable");
    t.say("COPY long copy").hears(":1");
    t.say("HGETALL copy").hears(&format!("*2 $64 {fits} $64 {fits}"));
    t.say("CONFIG SET hash-max-listpack-entries 1 hash-max-listpack-value 2").hears("+OK");
    t.say("HSET few a 12").hears(":1");
    assert_eq!(encoding(&mut t, "few"), "$8 listpack");
    t.say("HSET few b 12").hears(":1");
    assert_eq!(encoding(&mut t, "few"), "$9 hashtable");
    t.say("HSET wide a 123").hears(":1");
    assert_eq!(encoding(&mut t, "wide"), "$9 hashtable");
}

#[test]
fn random_fields_are_fields() {
    let mut t = Transcript::start();
    t.say("HRANDFIELD none").hears("$-1");
    t.say("HRANDFIELD none 3").hears("*0");
    t.say("HRANDFIELD none -3 WITHVALUES").hears("*0");
    for (key, len) in [("small", 30), ("large", 1000)] {
        let mut all = BTreeMap::new();
        for number in 0..len {
            t.say(&format!("HSET {key} field:{number} value:{number}"));
            all.insert(format!("field:{number}"), format!("value:{number}"));
        }
        t.say(&format!("HRANDFIELD {key} 0")).hears("*0");
        let mut seen = BTreeSet::new();
        for _ in 0..len * 15 {
            seen.extend(bulks(&t.say(&format!("HRANDFIELD {key}")).text()));
        }
        assert!(seen.iter().eq(all.keys()));
        for count in [1, 5, len / 2, len - 1, len, len + 1, 5 * len] {
            let heard = t.say(&format!("HRANDFIELD {key} {count}"));
            let fields: BTreeSet<_> = bulks(&heard.text()).into_iter().collect();
            let expected = count.min(len);
            heard.hears_start(&format!("*{expected} "));
            assert!(fields.len() == expected && fields.iter().all(|field| all.contains_key(field)));

            let heard = t.say(&format!("HRANDFIELD {key} {count} WITHVALUES"));
            let pairs = bulks(&heard.text());
            heard.hears_start(&format!("*{} ", 2 * expected));
            assert!(pairs.chunks(2).all(|pair| all[&pair[0]] == pair[1]));

            let heard = t.say(&format!("HRANDFIELD {key} -{count} WITHVALUES"));
            let pairs = bulks(&heard.text());
            heard.hears_start(&format!("*{} ", 2 * count));
            assert!(pairs.len() == 2 * count && pairs.chunks(2).all(|pair| all[&pair[0]] == pair[1]));
        }
    }
}

#[test]
fn a_scan_shows_every_field() {
    let mut t = Transcript::start();
    t.say("HSCAN none 0").hears("*2 $1 0 *0");
    t.say("HSCAN none 0 NONSENSE").hears("*2 $1 0 *0");
    t.say("HSCAN none x").hears("-ERR invalid cursor");
    t.say("HSET small a 1 b 2 ab 3").hears(":3");
    t.say("HSCAN small 0 COUNT 1").hears("*2 $1 0 *6 $1 a $1 1 $1 b $1 2 $2 ab $1 3");
    t.say("HSCAN small 9 MATCH a* COUNT 1").hears("*2 $1 0 *4 $1 a $1 1 $2 ab $1 3");
    for (options, answer) in [
        ("COUNT", "-ERR syntax error"),
        ("COUNT 0", "-ERR syntax error"),
        ("COUNT -1", "-ERR syntax error"),
        ("COUNT x", NOT_INTEGER),
        ("MATCH", "-ERR syntax error"),
        ("TYPE hash", "-ERR syntax error"),
        ("NOVALUES", "-ERR syntax error"),
    ] {
        t.say(&format!("HSCAN small 0 {options}")).hears(answer);
    }
    for number in 0..2000 {
        t.say(&format!("HSET large field:{number} value:{number}"));
    }
    for (options, expected) in
        [("", 2000), ("COUNT 100", 2000), ("MATCH field:1??", 100), ("COUNT 9223372036854775807", 2000)]
    {
        let (mut cursor, mut seen) = ("0".to_owned(), BTreeSet::new());
        loop {
            let mut words = bulks(&t.say(&format!("HSCAN large {cursor} {options}")).text());
            cursor = words.remove(0);
            assert!(words.chunks(2).all(|pair| pair[0].replace("field", "value") == pair[1]));
            seen.extend(words.into_iter().step_by(2));
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(seen.len(), expected, "{options}");
    }
}

#[test]
fn a_key_that_was_signed_out_takes_no_fields() {
    let mut t = Transcript::start();
    t.say("SET auth:session:token x").hears("+OK");
    t.say("DEL auth:session:token").hears(":1");
    t.say("HSET auth:session:token f v").hears_start("-FENCED");
    t.say("HINCRBY auth:session:token f 1").hears_start("-FENCED");
    t.say("HDEL auth:session:token f").hears(":0");
    t.say("HGETALL auth:session:token").hears("*0");
}

#[test]
fn a_digest_knows_no_order_and_no_encoding() {
    let mut t = Transcript::start();
    t.say("HSET one a 1 b 2 c 3").hears(":3");
    t.say("CONFIG SET hash-max-listpack-entries 2").hears("+OK");
    t.say("HSET two c 3 b 2 a 1").hears(":3");
    t.say("HSET other a 2 b 1 c 3").hears(":3");
    let mut digest = |key: &str| t.say(&format!("DEBUG DIGEST-VALUE {key}")).text();
    assert_eq!(digest("one"), digest("two"));
    assert_ne!(digest("one"), digest("other"));
    assert_ne!(digest("one"), digest("none"));
}

#[test]
fn memory_is_counted() {
    let mut t = Transcript::start();
    let used = |t: &Transcript| t.engine.store(0).used_memory();
    let before = used(&t);
    for number in 0..5000 {
        t.say(&format!("HSET large field:{number} {}", "x".repeat(1 + number % 100)));
    }
    assert!(used(&t) > before + 5000 * (10 + 50 + 16 + 8));
    let all: Vec<_> = t.engine.all_stores().cloned().collect();
    Store::validate(&all);
    for number in 0..5000 {
        t.say(&format!("HDEL large field:{number}")).hears(":1");
    }
    Store::validate(&all);
    assert!(used(&t) < before + 4096);
}
