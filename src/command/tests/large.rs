//! Replies, and what scripts make, that a small request could make as large as it likes.

use super::{Flow, Heard, Transcript, run};
use crate::engine::Charge;
use crate::resp::Words;

const TOO_LARGE: &str = "-OOM reply too large: ask for less at once, or raise 'client-output-buffer-limit normal', and \
                         'maxmemory' if that is less than four times as much";

/// A server where a reply has 8 MB at most, with a value, a field, and members of a megabyte.
fn start() -> Transcript {
    let mut t = Transcript::with(&[("maxmemory", "32mb")]);
    let big = vec![b'x'; 1 << 20];
    t.words(&[b"SET", b"big", &big]).hears("+OK");
    t.words(&[b"SET", b"bigx", &big]).hears("+OK");
    t.words(&[b"HSET", b"hash", b"big", &big]).hears(":1");
    t.words(&[b"SADD", b"set", &big[..10_000]]).hears(":1");
    t.words(&[b"ZADD", b"zset", b"1", &big[..10_000]]).hears(":1");
    let mut request: Vec<&[u8]> = vec![b"RPUSH", b"list"];
    request.extend([&b"x"[..]; 200]);
    t.words(&request).hears(":200");
    t
}

fn often(t: &mut Transcript, words: &[&str], word: &str, times: usize) -> Heard {
    let mut request: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    request.extend(std::iter::repeat_n(word.as_bytes(), times));
    t.words(&request)
}

#[test]
fn a_reply_is_no_larger_than_a_quarter_of_memory() {
    let mut t = start();
    for version in ["2", "3"] {
        t.say(&format!("HELLO {version}"));
        assert_eq!(often(&mut t, &["MGET"], "big", 7).0.len(), 4 + 7 * ((1 << 20) + 12));
        often(&mut t, &["MGET"], "big", 8000).hears(TOO_LARGE);
        often(&mut t, &["HMGET", "hash"], "big", 8000).hears(TOO_LARGE);
        often(&mut t, &["COMMAND", "DOCS"], "client", 5000).hears(TOO_LARGE);
        often(&mut t, &["COMMAND", "INFO"], "client", 5000).hears(TOO_LARGE);
        often(&mut t, &["LATENCY", "HISTOGRAM"], "command", 100_000).hears(TOO_LARGE);
        let id = t.client.peer.id.to_string();
        often(&mut t, &["CLIENT", "LIST", "ID"], &id, 60_000).hears(TOO_LARGE);
        for line in [
            "SRANDMEMBER set -80000",
            "SRANDMEMBER set -800000000",
            "HRANDFIELD hash -80000 WITHVALUES",
            "ZRANDMEMBER zset -80000",
            "ZRANDMEMBER zset -80000 WITHSCORES",
            "SORT list BY nosort GET big*",
            "SORT list BY nosort GET # GET big*",
        ] {
            t.say(line).hears(TOO_LARGE);
        }
    }
    // What is no reply is bounded as well.
    t.say("SORT list BY nosort GET big* STORE sorted").hears(FULL);
    t.say("SORT list ALPHA BY big*").hears(FULL);
    t.say("EXISTS sorted").hears(":0");
    // Each of these was counted as what it is.
    let info = t.say("INFO everything").text();
    assert!(info.contains("errorstat_OOM:count="), "{info}");
}

/// What a command is told that would take more than there is.
const FULL: &str = "-OOM command not allowed when used memory > 'maxmemory'.";

#[test]
fn a_few_words_make_no_string_that_there_is_no_room_for() {
    let mut t = Transcript::with(&[("maxmemory", "16mb"), ("maxmemory-policy", "noeviction")]);
    t.say("SET text x").hears("+OK");
    t.words(&[b"SET", b"ten", &vec![b'x'; 10 << 20]]).hears("+OK");
    for line in [
        "SETRANGE new 30000000 x",
        "SETRANGE text 30000000 x",
        "SETBIT new 240000000 1",
        "SETBIT text 240000000 0",
        "BITFIELD new SET u8 240000000 1",
        "BITFIELD text GET u8 0 INCRBY u8 240000000 0",
        // To be written into, what was not made to grow is copied, and so is what is longer than its place.
        "BITOP NOT new ten",
        "BITOP OR new ten text",
        "APPEND ten x",
        "SETRANGE ten 0 y",
    ] {
        let before = t.engine.used_memory();
        let heard = t.say(line).text();
        // 24 MB are the budget and what may be too much of it: 20 MB fit, 30 do not.
        let fits = matches!(line, "APPEND ten x" | "SETRANGE ten 0 y");
        assert_eq!(heard == FULL, !fits, "{line}: {heard}");
        if !fits {
            assert!(t.engine.used_memory() <= before + 1024, "{line}");
        }
    }
    t.say("COPY ten new").hears(":1");
    t.say("DEL new").hears(":1");
    t.say("COPY ten new").hears(":1");
    t.say("COPY ten newer").hears(FULL);
    t.say("GET text").hears("$1 x");
    t.say("TYPE newer").hears("+none");
    // What is of another kind, or longer than any string, is told as ever.
    t.say("CONFIG SET maxmemory 1gb").hears("+OK");
    t.say("RPUSH list a").hears(":1");
    t.say("CONFIG SET maxmemory 16mb").hears("+OK");
    t.say("DEL new ten").hears(":2");
    t.say("SETRANGE list 30000000 x").hears_start("-WRONGTYPE");
    t.say("SETRANGE text 536870912 x").hears("-ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    t.say("SETRANGE text 5000000 x").hears(":5000001");
}

#[test]
fn a_few_packed_bytes_unpack_to_no_more_than_there_is_room_for() {
    let mut t = Transcript::with(&[("maxmemory", "16mb"), ("maxmemory-policy", "noeviction")]);
    // A byte, which is repeated 264 times by each three bytes.
    let packed = |times: usize| {
        let content = [&[0, b'x'][..], &[0xe0, 255, 0].repeat(times)].concat();
        let lens =
            [content.len(), 1 + 264 * times].map(|len| u32::try_from(len).expect("a short string").to_be_bytes());
        [&[0xc3, 0x80][..], &lens[0], &[0x80], &lens[1], &content].concat()
    };
    let string = |times| [&[0][..], &packed(times)].concat();
    let list = |times, count: u8| [&[1, count][..], &packed(times).repeat(count.into())].concat();
    for (name, mut payload, fits) in [
        ("8 MB", string(30_000), true),
        ("15 MB", string(56_000), false),
        ("a string of 500 MB", string(1_900_000), false),
        ("20 of 1 MB", list(4_000, 20), false),
        ("4 of 1 MB", list(4_000, 4), true),
    ] {
        crate::rdb::seal(&mut payload);
        t.words(&[b"RESTORE", b"k", b"0", &payload]).hears(if fits { "+OK" } else { FULL });
        assert_eq!(t.say("DEL k").text(), if fits { ":1" } else { ":0" }, "{name}");
    }
    // What says that it is longer than any string may be is broken.
    let mut payload = vec![0, 0xc3, 4, 0x80, 255, 255, 255, 255, 0x20, b'a', 0, 0];
    crate::rdb::seal(&mut payload);
    t.words(&[b"RESTORE", b"k", b"0", &payload]).hears("-ERR Bad data format");
}

#[test]
fn what_may_go_does_before_a_string_that_grows_is_refused() {
    let mut t = Transcript::with(&[("maxmemory", "16mb"), ("maxmemory-policy", "allkeys-lru")]);
    let some = vec![b'x'; 100_000];
    for number in 0..150 {
        t.words(&[b"SET", format!("k{number}").as_bytes(), &some]).hears("+OK");
    }
    let before = t.engine.store(0).len();
    for line in ["SETBIT bits 160000000 1", "BITFIELD field SET u8 160000000 1", "SETRANGE range 20000000 x"] {
        assert!(!t.say(line).text().starts_with('-'), "{line}");
        assert!(t.engine.used_memory() <= 24 << 20, "{line}: {}", t.engine.used_memory());
    }
    assert!(t.engine.store(0).len() < before - 50);
    // What could not fit if all else went is no reason for anything to go.
    t.say("FLUSHALL").hears("+OK");
    t.say("SET k v").hears("+OK");
    t.say("SETRANGE range 30000000 x").hears(FULL);
    t.say("GET k").hears("$1 v");
}

#[test]
fn in_the_middle_of_a_script_or_a_transaction_there_is_an_end_too() {
    for policy in ["noeviction", "allkeys-lru"] {
        let mut t = Transcript::with(&[("maxmemory", "16mb"), ("maxmemory-policy", policy)]);
        let bound = |t: &Transcript| assert!(t.engine.used_memory() <= 26 << 20, "{}", t.engine.used_memory());
        // Less than a megabyte each, which is not asked for.
        let script = "#!lua flags=allow-oom\nlocal failed = 0 for i = 1, 60 do \
                      local r = redis.pcall('SETRANGE', 'z' .. i, 1000000, 'x') \
                      if type(r) == 'table' then failed = failed + 1 end end return failed";
        let failed = t.words(&[b"EVAL", script.as_bytes(), b"0"]).text();
        bound(&t);
        match policy {
            "noeviction" => assert!((30..50).contains(&failed[1..].parse().expect("a number")), "{failed}"),
            _ => assert_eq!(failed, ":0"),
        }
        t.say("FLUSHALL").hears("+OK");
        t.say("MULTI").hears("+OK");
        for number in 0..60 {
            t.say(&format!("SETRANGE z{number} 1000000 x")).hears("+QUEUED");
        }
        t.say("DEL z0").hears("+QUEUED");
        let text = t.say("EXEC").text();
        bound(&t);
        assert_eq!(text.contains(FULL), policy == "noeviction", "{text}");
        // What needs no memory is done whatever went before.
        if policy == "noeviction" {
            assert!(text.starts_with("*61 :1000001 ") && text.ends_with(" :1"), "{text}");
        }
    }
}

#[test]
fn what_is_gathered_is_counted_with_its_place() {
    let mut t = Transcript::with(&[("maxmemory", "32mb")]);
    // A table of 9 MB, where 8 may be gathered.
    t.words(&[b"MSET", b"a", &[b'a'; 1500], b"b", &[b'b'; 1500]]).hears("+OK");
    for how in ["", " LEN", " IDX"] {
        t.say(&format!("LCS a b{how}")).hears(FULL);
    }
    t.say("SETRANGE a 0 a").hears(":1500");
    t.say("LCS a nosuch LEN").hears(":0");
    t.say("CONFIG SET maxmemory 0").hears("+OK");
    t.say("LCS a b LEN").hears(":0");
    t.words(&[b"MSET", b"a", &[b'a'; 12_000], b"b", &[b'b'; 12_000]]).hears("+OK");
    t.say("LCS a b LEN").hears("-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
    t.say("CONFIG SET maxmemory 32mb").hears("+OK");
    // A list that is made counts as what it takes, and short elements that are sorted with their places.
    let element = "1".repeat(64);
    assert_eq!(often(&mut t, &["RPUSH", "l"], &element, 50_000).text(), ":50000");
    t.say(&format!("SORT l BY nosort{} STORE d", " GET #".repeat(3))).hears(FULL);
    t.say("EXISTS d").hears(":0");
    t.say("SORT l BY nosort LIMIT 0 2 GET q0* GET # STORE d").hears(":4");
    t.say("LRANGE d 0 -1").hears(&format!("*4 $0  $64 {element} $0  $64 {element}"));
    assert_eq!(often(&mut t, &["RPUSH", "short"], "1", 350_000).text(), ":350000");
    t.say("SORT short LIMIT 0 1").hears(FULL);
}

#[test]
fn what_is_taken_out_is_answered_and_one_value_always_is() {
    let mut t = start();
    let large = vec![b'l'; 9 << 20];
    let one = "$9437184 lll";
    for line in ["GET k", "GETEX k PERSIST", "GETRANGE k 0 -1", "DUMP k", "GETDEL k"] {
        t.words(&[b"SET", b"k", &large]).hears("+OK");
        t.say(line).hears_start(if line == "DUMP k" { "$94" } else { one });
    }
    t.words(&[b"HSET", b"k", b"f", &large]).hears(":1");
    t.say("HGET k f").hears_start(one);
    t.say("HMGET k f f").hears(TOO_LARGE);
    t.words(&[b"SET", b"k", &large]).hears("+OK");
    t.say("SET k new GET").hears_start(one);
    t.words(&[b"SET", b"k", &large]).hears("+OK");
    t.say("GETSET k new").hears_start(one);
    let big = vec![b'x'; 1 << 20];
    for (push, pop) in [
        (&["RPUSH", "k"][..], "LPOP k 9"),
        (&["RPUSH", "k"], "LMPOP 1 k RIGHT COUNT 9"),
        (&["RPUSH", "k"], "BLMPOP 0 1 k RIGHT COUNT 9"),
        (&["SADD", "k"], "SPOP k 9"),
        (&["ZADD", "k", "1"], "ZPOPMIN k 9"),
        (&["ZADD", "k", "1"], "BZMPOP 0 1 k MAX COUNT 9"),
    ] {
        t.say("DEL k").hears(":1");
        for number in 0..9 {
            let element = [number.to_string().as_bytes(), &big].concat();
            let mut words: Vec<&[u8]> = push.iter().map(|word| word.as_bytes()).collect();
            words.push(&element);
            t.words(&words);
        }
        let popped = t.say(pop).0.len();
        assert!(popped > 9 << 20, "{pop}: {popped}");
        t.say("EXISTS k").hears(":0");
        t.say("SET k x").hears("+OK");
    }
    t.say("DEL k").hears(":1");
    // A transaction's pops, too; what it reads is bounded.
    for _ in 0..10 {
        t.words(&[b"RPUSH", b"k", &big]);
    }
    t.say("MULTI").hears("+OK");
    for _ in 0..10 {
        t.say("LPOP k").hears("+QUEUED");
    }
    t.say("GET big").hears("+QUEUED");
    let reply = t.say("EXEC");
    assert!(reply.0.len() > 10 << 20 && reply.text().ends_with(TOO_LARGE), "{}", reply.0.len());
    // What stays where it is, or is moved in a circle, can be had again and again.
    t.words(&[b"RPUSH", b"k", &big]).hears(":1");
    for line in ["LMOVE k k LEFT RIGHT", "RPOPLPUSH k k", "GETEX big PERSIST"] {
        t.say("MULTI").hears("+OK");
        for _ in 0..100 {
            t.say(line).hears("+QUEUED");
        }
        let reply = t.say("EXEC");
        assert!(reply.0.len() <= 9 << 20, "{line}: {}", reply.0.len());
    }
}

#[test]
fn without_a_limit_there_is_one() {
    let t = Transcript::with(&[("maxmemory", "0"), ("client-output-buffer-limit", "normal 0 0 0")]);
    assert_eq!(t.engine.hot.reply_max(), 520 << 20);
    let of = |settings: &[(&str, &str)]| Transcript::with(settings).engine.hot.reply_max() >> 20;
    assert_eq!(of(&[("maxmemory", "100mb")]), 25);
    assert_eq!(of(&[("maxmemory", "1mb")]), 8);
    assert_eq!(of(&[("maxmemory", "1gb")]), 32);
    assert_eq!(of(&[("client-output-buffer-limit", "normal 16mb 0 0")]), 16);
    assert_eq!(of(&[("client-output-buffer-limit", "normal 100 0 0")]), 8);
}

#[test]
fn what_a_transaction_answers_is_bounded_as_a_whole_and_all_of_it_is_done() {
    let mut t = start();
    t.say("MULTI").hears("+OK");
    for _ in 0..100 {
        t.say("GET big").hears("+QUEUED");
    }
    t.say("SET k done").hears("+QUEUED");
    t.say("GET k").hears("+QUEUED");
    let reply = t.say("EXEC");
    assert!(reply.0.len() <= 9 << 20, "{}", reply.0.len());
    let text = reply.text();
    assert!(text.starts_with("*102 $1048576 xxx"), "{}", &text[..30]);
    assert_eq!(text.matches(TOO_LARGE).count(), 93);
    assert!(text.ends_with("+OK $4 done"), "{}", &text[text.len() - 30..]);
}

#[test]
fn of_large_words_the_beginning_is_noted_and_shown() {
    let mut t = Transcript::with(&[("slowlog-log-slower-than", "0")]);
    let mut watcher = t.enter();
    t.say_as(&mut watcher, "MONITOR").hears("+OK");
    // Tokens by the hundred thousand, in something that is no key.
    let value = b"x auth:session:c4n4ry ".repeat(100_000);
    t.words(&[b"SET", b"k", &value]).hears("+OK");
    let noted = t.say("SLOWLOG GET 1").text();
    assert!(noted.contains("x auth:session:~") && noted.contains(" more bytes) "), "{noted}");
    let mail = t.mail(&watcher);
    let line = mail.lines().next().expect("a line");
    assert!(line.contains("x auth:session:~") && line.contains(" more bytes)\""), "{}", &line[..200]);
    assert!((4096..4400).contains(&mail.len()), "{}", mail.len());
    assert!(!noted.contains("c4n4ry") && !mail.contains("c4n4ry"));
    // What fits is shown as it is, whole.
    t.words(&[b"SET", b"k", &[b'y'; 128]]).hears("+OK");
    assert!(t.say("SLOWLOG GET 2").text().contains(&format!("$128 {} ", "y".repeat(128))));
    t.words(&[b"SET", b"k", &[b'z'; 4096]]).hears("+OK");
    assert!(t.mail(&watcher).contains(&format!("\"{}\"", "z".repeat(4096))));
    assert!(t.say("SLOWLOG GET 1").text().contains(&format!("$149 {}... (3968 more bytes) ", "z".repeat(128))));
}

#[test]
fn what_was_denied_is_kept_in_part_and_counts() {
    let mut t = Transcript::start();
    t.say("ACL SETUSER low on >pw ~app:* +get +auth").hears("+OK");
    let before = t.engine.charges().of(Charge::AclLog);
    let mut low = t.enter();
    t.say_as(&mut low, "AUTH low pw").hears("+OK");
    std::mem::swap(&mut t.client, &mut low);
    for number in 0..12 {
        let key = format!("{number:03}{}", "k".repeat(1_000_000));
        t.words(&[b"GET", key.as_bytes()]).hears_start("-NOPERM");
    }
    let name = "n".repeat(1_000_000);
    t.words(&[b"AUTH", name.as_bytes(), b"pw"]).hears_start("-WRONGPASS");
    std::mem::swap(&mut t.client, &mut low);
    let text = t.say("ACL LOG 20").text();
    assert!(text.contains(&format!(" 011{}... (999875 more bytes) ", "k".repeat(125))), "{text}");
    assert!(text.contains(&format!(" {}... (999872 more bytes) ", "n".repeat(128))), "{text}");
    let kept = t.engine.charges().of(Charge::AclLog);
    assert!(before == 0 && (13 * 300..13 * 1000).contains(&kept), "{kept}");
    t.say("ACL LOG RESET").hears("+OK");
    assert_eq!(t.engine.charges().of(Charge::AclLog), 0);
}

#[test]
fn what_clients_call_themselves_counts_and_has_an_end() {
    let mut t = Transcript::start();
    let most = [b'n'; 16 * 1024];
    let more = [b'n'; 16 * 1024 + 1];
    let refused = "cannot be longer than 16384 bytes.";
    t.words(&[b"CLIENT", b"SETNAME", &more]).hears(&format!("-ERR Client names {refused}"));
    t.words(&[b"HELLO", b"2", b"SETNAME", &more]).hears(&format!("-ERR Client names {refused}"));
    t.words(&[b"CLIENT", b"SETINFO", b"LIB-NAME", &more]).hears(&format!("-ERR LIB-NAME {refused}"));
    let charged = |t: &Transcript| (t.engine.charges().of(Charge::Labels), t.client.peer.weight());
    assert_eq!(charged(&t), (0, 0));
    t.words(&[b"CLIENT", b"SETNAME", &most]).hears("+OK");
    t.words(&[b"CLIENT", b"SETINFO", b"LIB-NAME", &most[..10]]).hears("+OK");
    t.words(&[b"CLIENT", b"SETINFO", b"LIB-VER", &most[..5]]).hears("+OK");
    assert_eq!(charged(&t), (16_399, 16_399));
    assert!(t.engine.charges().clients() == 16_399 && t.engine.used_memory() >= 16_399);
    t.words(&[b"HELLO", b"2", b"SETNAME", b"short"]).hears_start("*14 ");
    assert_eq!(charged(&t), (20, 20));
    t.say("RESET").hears("+RESET");
    assert_eq!(charged(&t), (15, 15));
    let mut other = t.enter();
    t.say_as(&mut other, "CLIENT SETNAME other").hears("+OK");
    assert_eq!(charged(&t).0, 20);
    t.engine.leave(&other.peer);
    drop(other);
    assert_eq!(charged(&t).0, 15);
}

#[test]
fn names_that_a_walk_has_gathered_count_until_they_are_sent() {
    let mut t = Transcript::start();
    for number in 0..2000 {
        let key = format!("{number:04}{}", "k".repeat(250));
        t.engine.store(0).put(key.as_bytes(), b"", crate::clock::Ttl::seconds(9)).expect("a write");
    }
    for words in [&["KEYS", "*"][..], &["SCAN", "0", "COUNT", "5000"]] {
        let words: Words = words.iter().map(|word| word.as_bytes()).collect();
        let (mut most, mut out) = (0, Vec::new());
        while run(&t.engine, &mut t.client, words.args(), None, t.clock.now(), &mut out) == Flow::Again {
            let charged = t.engine.charges().of(Charge::Output);
            assert_eq!(charged as usize, t.client.gathered());
            most = most.max(charged);
        }
        assert!(out.len() > 2000 * 254 && most > 400_000, "{most}");
        assert_eq!(t.engine.charges().of(Charge::Output), 0);
    }
    // Whoever goes before the end takes it along.
    let words: Words = [&b"KEYS"[..], b"*"].into_iter().collect();
    assert_eq!(run(&t.engine, &mut t.client, words.args(), None, t.clock.now(), &mut Vec::new()), Flow::Again);
    let (charges, other) = (t.engine.charges().clone(), t.enter());
    assert!(charges.of(Charge::Output) > 0);
    t.client = other;
    assert_eq!(charges.of(Charge::Output), 0);
}

#[cfg(feature = "server")]
mod scripts {
    use super::super::script::eval;
    use super::*;

    /// A table in a table, each many times, so that there is no end to what is written of it.
    const TREE: &str = "local t = {LEAF} for i = 1, 14 do local n = {} for j = 1, 100 do n[j] = t end t = n end ";

    fn tree(leaf: &str, then: &str) -> String {
        TREE.replace("LEAF", leaf) + then
    }

    #[test]
    fn what_a_script_returns_is_bounded_however_often_one_table_stands_in_another() {
        let mut t = start();
        const BIG: &str = "string.rep('1', 100000)";
        for leaf in [
            "BIG",
            "{ok=BIG}",
            "{err=BIG}",
            "{big_number=BIG}",
            "{verbatim_string={format='txt', string=BIG}}",
            "{map={a=BIG}}",
            "{set={[BIG]=true}}",
        ] {
            let leaf = &leaf.replace("BIG", BIG);
            eval(&mut t, &tree(leaf, "return t")).hears(TOO_LARGE);
            eval(&mut t, &tree(leaf, "redis.setresp(3) return t")).hears(TOO_LARGE);
        }
        // All at once, as well as one after the other.
        eval(&mut t, "local s = redis.call('GET', 'big') return {s, s, s, s, s, s, s, s, s}").hears(TOO_LARGE);
        eval(&mut t, "return {redis.call('MGET', 'big', 'big', 'big', 'big', 'big')}").hears_start("*1 *5 $1048576 x");
        eval(&mut t, "return 7").hears(":7");
    }

    #[test]
    fn an_error_has_an_end_and_no_token() {
        let mut t = Transcript::start();
        let text = b"x auth:session:c4n4ry ".repeat(100_000);
        for script in [&b"return redis.error_reply(ARGV[1])"[..], b"error(ARGV[1])", b"return {err = ARGV[1]}"] {
            let reply = t.words(&[b"EVAL", script, b"0", &text]);
            assert!((16 << 10..17 << 10).contains(&reply.0.len()), "{}", reply.0.len());
            let shown = reply.text();
            assert!(shown.starts_with('-') && shown.ends_with(" more bytes)"), "{}", &shown[..200]);
            assert!(shown.contains("auth:session:~") && !shown.contains("c4n4ry"), "{}", &shown[..200]);
        }
    }

    #[test]
    fn what_is_made_for_a_script_beside_its_own_memory_is_bounded() {
        let mut t = start();
        let short = "not enough memory";
        for leaf in ["string.rep('x', 100000)", "a = string.rep('x', 100000)"] {
            let text = eval(&mut t, &tree(leaf, "return cmsgpack.pack(t)")).text();
            assert!(text.contains(short), "{leaf}: {text}");
        }
        for script in [
            "local t = {} for i = 1, 4000 do t[i] = ARGV[1] end return struct.pack(string.rep('s', 4000), unpack(t))",
            &tree("1", "return cjson.encode(t)"),
        ] {
            let text = t.words(&[b"EVAL", script.as_bytes(), b"0", &[b'x'; 100_000]]).text();
            assert!(text.contains(short), "{script}: {text}");
        }
        let script = "return {pcall(struct.unpack, string.rep('b', 100000), string.rep('x', 100000))}";
        eval(&mut t, script).hears_start("*2 $-1 $");
        // Words of commands, and what they answer.
        let many = "local t = {} for i = 1, 4000 do t[i] = ARGV[1] end ";
        for (then, expected) in [
            ("redis.call('DEL', unpack(t))", "-ERR the words of this command are larger than a quarter of 'maxmemory'"),
            ("redis.acl_check_cmd('DEL', unpack(t))", "-ERR the words of this command are larger"),
            ("redis.call('MGET', unpack(t, 1, 6))", "*6 "),
            ("redis.log(redis.LOG_DEBUG, unpack(t))", "$-1"),
        ] {
            let script = format!("{many} return {then}");
            t.words(&[b"EVAL", script.as_bytes(), b"0", &[b'x'; 100_000]]).hears_start(expected);
        }
        let one = "local s = string.rep('x', 2000000) return redis.call('DEL', s, s, s, s, s, s)";
        eval(&mut t, one).hears_start("-ERR the words of this command are larger");
        let many = "local t = {} for i = 1, 100 do t[i] = 'big' end return redis.call('MGET', unpack(t))";
        eval(&mut t, many).hears_start(TOO_LARGE);
        eval(&mut t, "return cmsgpack.unpack(cmsgpack.pack('as before'))").hears("$9 as before");
    }
}
