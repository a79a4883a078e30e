//! Values in the format of DUMP, with a checksum that is right: refused, or a value like any other, which is dumped as
//! what it was restored from.

use cloakroom::rdb::seal;

use super::commands::Desk;

/// What reads or changes each kind of value, with names and numbers that may be in it.
const AFTERWARDS: &[&str] = &[
    "TYPE k",
    "OBJECT ENCODING k",
    "MEMORY USAGE k",
    "GET k",
    "APPEND k x",
    "LRANGE k 0 -1",
    "LPUSH k a",
    "RPOP k",
    "LINSERT k BEFORE a b",
    "LREM k 0 a",
    "SMEMBERS k",
    "SADD k a 1",
    "SREM k 1",
    "SPOP k",
    "HGETALL k",
    "HSET k a 1",
    "HDEL k a",
    "ZRANGE k 0 -1 WITHSCORES",
    "ZADD k 1 a",
    "ZRANGEBYLEX k - +",
    "ZPOPMIN k",
    "ZREM k a",
    "SSCAN k 0",
    "HSCAN k 0",
    "ZSCAN k 0",
    "SORT k ALPHA",
    "COPY k c",
    "RENAME k r",
    "SCAN 0",
];

/// One case.
pub fn run(input: &[u8]) {
    // Longer ones find nothing that these do not.
    if input.len() > 4096 {
        return;
    }
    let mut sealed = input.to_vec();
    seal(&mut sealed);
    let mut desk = Desk::new();
    let restore = |desk: &mut Desk, key: &[u8], bytes: &[u8]| {
        desk.send(&[b"RESTORE", key, b"0", bytes, b"REPLACE"]).starts_with(b"+OK")
    };
    if !restore(&mut desk, b"k", &sealed) {
        assert!(desk.send(&[b"EXISTS", b"k"]).starts_with(b":0"), "refused, and there is a key");
        return;
    }
    let dumped = |desk: &mut Desk, key: &[u8]| {
        let reply = desk.send(&[b"DUMP", key]);
        let line = reply.windows(2).position(|pair| pair == b"\r\n").expect("a line");
        reply[line + 2..reply.len() - 2].to_vec()
    };
    let first = dumped(&mut desk, b"k");
    assert!(restore(&mut desk, b"again", &first), "what was dumped is not restored: {:?}", first.escape_ascii());
    let kind = desk.send(&[b"TYPE", b"k"]).to_vec();
    assert_eq!(kind, desk.send(&[b"TYPE", b"again"]));
    let size = |desk: &mut Desk, key: &[u8]| -> Vec<Vec<u8>> {
        ["STRLEN", "LLEN", "SCARD", "HLEN", "ZCARD"].map(|name| desk.send(&[name.as_bytes(), key]).to_vec()).to_vec()
    };
    assert_eq!(size(&mut desk, b"k"), size(&mut desk, b"again"));
    desk.validate();
    for line in AFTERWARDS {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        desk.send(&words);
    }
    desk.validate();
}
