//! Who watches a key is told of what Redis tells: of each change, and not of what changes nothing.

use super::both;

/// What lies at `k`, and requests that change nothing of it, or hardly.
const CASES: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "DEL k",
            "UNLINK k",
            "EXPIRE k 10",
            "PERSIST k",
            "EXPIRE k -1",
            "SET k x XX",
            "GETDEL k",
            "GETEX k EX 5",
            "SETBIT k 1 0",
            "BITFIELD k INCRBY u8 0 0",
            "BITFIELD k GET u8 0",
            "BITOP AND k nokey",
            "LPUSHX k x",
            "RPUSHX k x",
            "LREM k 0 x",
            "LTRIM k 0 1",
            "LINSERT k BEFORE a q",
            "LPOP k",
            "LPOP k 0",
            "RPOPLPUSH k j",
            "LMOVE k j LEFT LEFT",
            "LMPOP 1 k LEFT",
            "RPOPLPUSH j k",
            "SREM k a",
            "SPOP k",
            "SMOVE k j a",
            "SMOVE j k a",
            "SINTERSTORE k nokey",
            "SUNIONSTORE k nokey",
            "SDIFFSTORE k nokey",
            "ZADD k XX 1 a",
            "ZREM k a",
            "ZREMRANGEBYRANK k 0 1",
            "ZPOPMIN k",
            "ZPOPMAX k",
            "ZMPOP 1 k MIN",
            "ZUNIONSTORE k 1 nokey",
            "ZINTERSTORE k 1 nokey",
            "ZDIFFSTORE k 1 nokey",
            "ZRANGESTORE k nokey 0 -1",
            "HDEL k f",
            "HGET k f",
            "RENAME k j",
            "RENAMENX k j",
            "COPY j k",
            "MOVE k 1",
            "SORT nokey STORE k",
            "RESTORE k 0 bad",
            "FLUSHDB",
            "FLUSHALL",
            "SWAPDB 0 1",
            "MSETNX j 1 k",
            "EXPIREAT k 1",
            "BLPOP k 0.01",
            "BZPOPMIN k 0.01",
        ],
    ),
    (
        "SET k v",
        &[
            "PERSIST k",
            "EXPIRE k 10 XX",
            "EXPIRE k 10 GT",
            "SETNX k x",
            "SET k x NX",
            "MSETNX k a j b",
            "GETEX k",
            "GETEX k PERSIST",
            "SETRANGE k 0 v",
            "GETSET k v",
            "SET k v",
            "SETBIT k 1 1",
            "BITFIELD k SET u8 0 118",
            "BITFIELD k GET u8 0",
            "BITFIELD k OVERFLOW FAIL INCRBY u8 0 200",
            "INCR k",
            "RENAME k k",
            "RENAMENX k k",
            "COPY k k",
            "COPY j k",
            "MOVE k 0",
            "SORT nokey STORE k",
            "FLUSHDB",
            "SWAPDB 0 1",
            "SWAPDB 0 0",
            "TOUCH k",
            "GET k",
            "EXPIREAT k 1",
            "EXPIRE k 0",
            "SETEX k 10 v",
            "SETEX k 0 v",
            "BITOP AND k nokey",
            "DEL k",
        ],
    ),
    ("SET k 5", &["INCRBY k 0", "DECRBY k 0", "INCRBYFLOAT k 0"]),
    (
        "SET k v EX 1000",
        &[
            "EXPIRE k 10 NX",
            "EXPIRE k 10 GT",
            "EXPIRE k 100000 LT",
            "PEXPIREAT k 99999999999999 LT",
            "GETEX k PERSIST",
            "EXPIRE k 1000",
            "SET k v KEEPTTL",
            "PERSIST k",
        ],
    ),
    (
        "RPUSH k a b c",
        &[
            "LREM k 0 zz",
            "LTRIM k 0 -1",
            "LSET k 0 a",
            "LINSERT k BEFORE zz q",
            "LPOP k 0",
            "RPOPLPUSH k k",
            "LMOVE k k LEFT LEFT",
            "RPOPLPUSH j k",
            "SETRANGE k 0 x",
            "SORT k ALPHA STORE k",
            "LPUSHX j x",
            "INCR k",
        ],
    ),
    (
        "SADD k a b c",
        &[
            "SADD k a",
            "SADD k a b",
            "SADD k a z",
            "SREM k zz",
            "SREM k zz a",
            "SPOP k 0",
            "SPOP k",
            "SMOVE k j zz",
            "SMOVE k k a",
            "SMOVE k k zz",
            "SINTERSTORE k nokey",
            "SUNIONSTORE k k",
        ],
    ),
    ("SADD k 1 2 3", &["SADD k 1", "SREM k 4", "SADD k x"]),
    (
        "ZADD k 1 a 2 b 3 c",
        &[
            "ZADD k 1 a",
            "ZADD k XX 1 zz",
            "ZADD k NX 9 a",
            "ZADD k GT 0 a",
            "ZADD k LT 9 a",
            "ZADD k CH 1 a",
            "ZADD k INCR 0 a",
            "ZINCRBY k 0 a",
            "ZADD k NX INCR 1 a",
            "ZADD k 9 a",
            "ZADD k 1 a 1 z",
            "ZREM k zz",
            "ZREM k zz a",
            "ZREMRANGEBYRANK k 10 20",
            "ZREMRANGEBYRANK k 0 0",
            "ZREMRANGEBYSCORE k 10 20",
            "ZREMRANGEBYLEX k [x [z",
            "ZPOPMIN k 0",
            "ZUNIONSTORE k 1 nokey",
            "ZRANGESTORE k nokey 0 -1",
            "ZRANGESTORE k k 0 -1",
        ],
    ),
    ("HSET k f v g w", &["HSET k f v", "HSETNX k f z", "HDEL k zz", "HSET k f other", "HDEL k f"]),
    ("HSET k f 5", &["HINCRBY k f 0", "HINCRBYFLOAT k f 0"]),
];

#[test]
fn who_watches_is_told_of_what_redis_tells() {
    let (redis, server, mut pair) = both("2", 0);
    let mut writers = [crate::support::Peer::connect(redis.addr), server.client()];
    for (before, requests) in CASES {
        for request in *requests {
            pair.say("FLUSHALL");
            if !before.is_empty() {
                pair.say(before);
            }
            pair.say("WATCH k");
            for writer in &mut writers {
                // What is asked for may be refused by either; that it is over is what matters.
                writer.send(format!("{request}\r\nECHO over\r\n"));
                let (mut heard, mut byte) = (Vec::new(), [0; 1]);
                while !heard.ends_with(b"\r\nover\r\n") {
                    std::io::Read::read_exact(&mut writer.0, &mut byte).expect("an answer");
                    heard.push(byte[0]);
                }
            }
            pair.asked.push(format!("by another: {request}"));
            for request in ["MULTI", "PING", "EXEC"] {
                pair.say(request);
            }
        }
    }
    assert!(pair.count == 0, "{}", pair.differences);
}
