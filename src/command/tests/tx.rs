//! Transactions and watched keys.

use super::*;

#[test]
fn what_waits_is_done_at_exec() {
    let mut t = Transcript::start();
    t.say("MULTI").hears("+OK");
    t.say("SET a 1").hears("+QUEUED");
    t.say("INCR a").hears("+QUEUED");
    let mut other = t.enter();
    t.say_as(&mut other, "GET a").hears("$-1");
    t.say("EXEC").hears("*2 +OK :2");
    t.say("GET a").hears("$1 2");
    t.say("MULTI").hears("+OK");
    t.say("EXEC").hears("*0");
}

#[test]
fn transactions_begin_once_and_end_once() {
    let mut t = Transcript::start();
    t.say("EXEC").hears("-ERR EXEC without MULTI");
    t.say("DISCARD").hears("-ERR DISCARD without MULTI");
    t.say("MULTI").hears("+OK");
    t.say("MULTI").hears("-ERR MULTI calls can not be nested");
    t.say("WATCH a").hears("-ERR WATCH inside MULTI is not allowed");
    t.say("SET a 1").hears("+QUEUED");
    t.say("EXEC").hears("*1 +OK");
    t.say("EXEC").hears("-ERR EXEC without MULTI");
    t.say("MULTI").hears("+OK");
    t.say("SET a 2").hears("+QUEUED");
    t.say("DISCARD").hears("+OK");
    t.say("GET a").hears("$1 1");
    t.say("MULTI").hears("+OK");
    t.say("RESET").hears("+RESET");
    t.say("EXEC").hears("-ERR EXEC without MULTI");
    t.say("MULTI").hears("+OK");
    t.say("QUIT").hears("+OK");
    assert_eq!(t.client.flow, Flow::Close);
}

#[test]
fn what_cannot_be_queued_spoils_the_transaction() {
    let mut t = Transcript::start();
    for (line, error) in [
        ("NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with: "),
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        ("CLIENT NOSUCH", "-ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP."),
        ("SHUTDOWN", "-ERR Command not allowed inside a transaction"),
    ] {
        t.say("MULTI").hears("+OK");
        t.say("SET a 1").hears("+QUEUED");
        t.say(line).hears(error);
        t.say("SET a 2").hears("+QUEUED");
        t.say("EXEC").hears("-EXECABORT Transaction discarded because of previous errors.");
        t.say("EXEC").hears("-ERR EXEC without MULTI");
    }
    t.say("GET a").hears("$-1");
    let arity = "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command";
    t.say("MULTI").hears("+OK");
    t.say("EXEC now").hears(arity);
    t.say("EXEC").hears("-ERR EXEC without MULTI");
    t.say("EXEC now").hears(arity);
}

#[test]
fn an_error_of_one_command_stands_in_its_place() {
    let mut t = Transcript::start();
    t.say("SET a text").hears("+OK");
    t.say("MULTI").hears("+OK");
    for line in ["INCR a", "SET b 1", "INCR b"] {
        t.say(line).hears("+QUEUED");
    }
    t.say("EXEC").hears("*3 -ERR value is not an integer or out of range +OK :2");
}

#[test]
fn memory_that_is_not_there_refuses_what_is_queued() {
    let mut t = Transcript::start();
    let oom = "OOM command not allowed when used memory > 'maxmemory'.";
    t.say("SET here 1").hears("+OK");
    t.say("CONFIG SET maxmemory-policy noeviction").hears("+OK");
    t.say("CONFIG SET maxmemory 1").hears("+OK");
    t.say("MULTI").hears("+OK");
    t.say("PING").hears(&format!("-{oom}"));
    t.say("EXEC").hears("-EXECABORT Transaction discarded because of previous errors.");
    t.say("MULTI").hears("+OK");
    t.say("DISCARD").hears("+OK");
    t.say("CONFIG SET maxmemory 0").hears("+OK");
    for (line, fits) in [("SET a 1", false), ("GET here", true)] {
        t.say("MULTI").hears("+OK");
        t.say(line).hears("+QUEUED");
        let mut other = t.enter();
        t.say_as(&mut other, "CONFIG SET maxmemory 1").hears("+OK");
        match fits {
            true => t.say("EXEC").hears("*1 $1 1"),
            false => t.say("EXEC").hears(&format!("-EXECABORT Transaction discarded because of: {oom}")),
        };
        t.say_as(&mut other, "CONFIG SET maxmemory 0").hears("+OK");
        t.say("EXEC").hears("-ERR EXEC without MULTI");
    }
}

#[test]
fn what_is_queued_is_bounded_and_counted() {
    let mut t = Transcript::start();
    t.say("CONFIG SET client-query-buffer-limit 1mb").hears("+OK");
    t.say("MULTI").hears("+OK");
    t.words(&[b"SET", b"a", &vec![b'x'; 600_000]]).hears("+QUEUED");
    assert!(t.client.peer.pending().queue_bytes >= 600_000);
    let larger = "-ERR the transaction is larger than client-query-buffer-limit";
    t.words(&[b"SET", b"a", &vec![b'x'; 600_000]]).hears(larger);
    assert_eq!(t.client.peer.pending().queue_bytes, 0);
    t.words(&[b"SET", b"a", &vec![b'x'; 600_000]]).hears("+QUEUED");
    assert_eq!(t.client.peer.pending().queue_bytes, 0, "what will not run is not kept");
    t.say("EXEC").hears("-EXECABORT Transaction discarded because of previous errors.");
    t.words(&[b"WATCH", &vec![b'x'; 1_100_000]])
        .hears("-ERR the watched keys are larger than client-query-buffer-limit");
    t.say("CLIENT INFO").hears_start("$");
    assert_eq!(t.client.peer.pending().watched, 0);
}

#[test]
fn exec_selects_speaks_and_falls_silent_as_its_commands_say() {
    let mut t = Transcript::start();
    for line in ["MULTI", "SELECT 3", "SET q 1", "HELLO 3", "GET nosuch", "HELLO 2", "GET nosuch"] {
        t.say(line);
    }
    let heard = t.say("EXEC").text();
    assert!(heard.starts_with("*6 +OK +OK %7 ") && heard.ends_with("*0 $-1"), "{heard}");
    assert!(heard.contains(" *0 _ *14 "), "{heard}");
    t.say("GET q").hears("$1 1");
    for line in ["MULTI", "SET a 1", "CLIENT REPLY SKIP", "SET a 1"] {
        t.say(line);
    }
    t.say("EXEC").hears("*3 +OK +OK");
    t.say("PING").hears("");
    t.say("PING").hears("+PONG");
    for line in ["MULTI", "SET a 1", "CLIENT REPLY OFF", "SET a 1"] {
        t.say(line);
    }
    t.say("EXEC").hears("*3 +OK");
    t.say("MULTI").hears("");
    t.say("NOSUCH").hears("");
    t.say("EXEC").hears("");
    t.say("MULTI").hears("");
    t.say("CLIENT REPLY ON").hears("");
    t.say("EXEC").hears("+OK");
    t.say("PING").hears("+PONG");
}

#[test]
fn a_changed_key_stops_the_transaction() {
    let mut t = Transcript::start();
    let mut other = t.enter();
    let lines = [
        "SET k 2",
        "SETRANGE k 0 x",
        "SETRANGE k 9 x",
        "APPEND k x",
        "DEL k",
        "GETDEL k",
        "EXPIRE k 100",
        "PERSIST k",
        "RENAME k l",
        "RENAME m k",
        "COPY m k REPLACE",
        "MOVE k 5",
        "FLUSHDB",
        "FLUSHALL",
        "SWAPDB 0 1",
        "MSET m 1 k 1",
    ];
    for line in lines {
        t.say("FLUSHALL").hears("+OK");
        t.say("MSET k 1 m 1").hears("+OK");
        t.say("EXPIRE k 1000").hears(":1");
        t.say("WATCH k").hears("+OK");
        assert_eq!(t.client.peer.flags(), "N");
        t.say_as(&mut other, line);
        assert_eq!(t.client.peer.flags(), "d", "{line}");
        t.say("MULTI").hears("+OK");
        t.say("PING").hears("+QUEUED");
        t.say("EXEC").hears("*-1");
        t.say("MULTI").hears("+OK");
        t.say("PING").hears("+QUEUED");
        t.say("EXEC").hears("*1 +PONG");
    }
    t.say("HELLO 3");
    t.say("WATCH nosuch").hears("+OK");
    t.say("SET nosuch 1").hears("+OK");
    t.say("MULTI").hears("+OK");
    t.say("EXEC").hears("_");
}

#[test]
fn what_changes_nothing_stops_nothing() {
    let mut t = Transcript::start();
    let mut other = t.enter();
    t.say("MSET k 1 x 1").hears("+OK");
    t.say("WATCH k none").hears("+OK");
    let lines = ["GET k", "SET x 2", "DEL none x", "SETNX k 2", "EXPIRE none 5", "TOUCH k", "PERSIST k", "SELECT 1"];
    for line in lines {
        t.say_as(&mut other, line);
    }
    t.say_as(&mut other, "SET k 7").hears("+OK");
    t.say_as(&mut other, "FLUSHDB").hears("+OK");
    t.say("MULTI").hears("+OK");
    t.say("SET k 3").hears("+QUEUED");
    t.say("EXEC").hears("*1 +OK");
}

#[test]
fn watched_keys_are_forgotten() {
    let mut t = Transcript::start();
    for ends in ["UNWATCH", "MULTI\r\nDISCARD", "MULTI\r\nEXEC", "RESET"] {
        t.say("WATCH k l").hears("+OK");
        assert_eq!(t.client.peer.pending().watched, 2);
        for end in ends.split("\r\n") {
            t.say(end);
        }
        assert_eq!(t.client.peer.pending().watched, 0);
        t.say("SET k 1").hears("+OK");
        t.say("MULTI").hears("+OK");
        t.say("EXEC").hears("*0");
    }
    t.say("WATCH k k k").hears("+OK");
    t.say("CLIENT INFO").hears_start("$");
    assert!(t.say("INFO clients").text().contains("watching_clients:1 total_watched_keys:1 "));
    t.client.forget_transaction(&t.engine);
    assert_eq!(t.client.peer.pending().watched, 0);
}

#[test]
fn a_watched_key_that_dies_stops_the_transaction() {
    let mut t = Transcript::start();
    t.say("SET k 1 PX 10").hears("+OK");
    t.say("WATCH k").hears("+OK");
    t.wait(Ttl(10));
    t.say("MULTI").hears("+OK");
    t.say("EXEC").hears("*-1");
    // The same when it has been taken out meanwhile.
    t.say("SET k 1 PX 10").hears("+OK");
    t.say("WATCH k").hears("+OK");
    t.wait(Ttl(10));
    t.engine.store(0).sweep_now();
    t.say("MULTI").hears("+OK");
    t.say("EXEC").hears("*-1");
    // What was dead before is nothing, and stays nothing.
    t.say("SET k 1 PX 10").hears("+OK");
    t.wait(Ttl(10));
    t.say("WATCH k").hears("+OK");
    t.engine.store(0).sweep_now();
    t.say("EXISTS k").hears(":0");
    t.say("FLUSHDB").hears("+OK");
    t.say("MULTI").hears("+OK");
    t.say("EXEC").hears("*0");
}

#[test]
fn a_collection_that_stays_as_it_is_stops_no_transaction() {
    let mut t = Transcript::start();
    for size in ["128", "1"] {
        t.say(&format!("CONFIG SET zset-max-listpack-entries {size} set-max-intset-entries {size}")).hears("+OK");
        t.say("ZADD z 1 a 5 b").hears(":2");
        t.say("SADD s x y").hears(":2");
        t.say("HSET h f 1").hears(":1");
        t.say("RPUSH l 1 2").hears(":2");
        t.say("SET t abc").hears("+OK");
        let mut other = t.enter();
        for words in [
            "ZREMRANGEBYSCORE z 10 20",
            "ZREMRANGEBYRANK z 5 9",
            "ZREMRANGEBYLEX z [x [y",
            "ZREM z q",
            "ZADD z 1 a",
            "ZADD z NX 3 a",
            "ZADD z XX 3 q",
            "ZADD z GT 0 a",
            "ZADD z NX INCR 1 a",
            "ZADD z XX INCR 1 q",
            "ZINCRBY z 0 a",
            "ZPOPMIN z 0",
            "SADD s x",
            "SREM s q",
            "SPOP s 0",
            "SMOVE s s x",
            "HDEL h q",
            "HSETNX h f 2",
            "LREM l 0 q",
            "LINSERT l BEFORE q 1",
            "SET t x NX",
            "SETRANGE t 0 ''",
            "GETEX t PERSIST",
            "PERSIST t",
        ] {
            t.say("WATCH z s h l t").hears("+OK");
            t.say_as(&mut other, words);
            t.say("MULTI").hears("+OK");
            assert_eq!(t.say("EXEC").text(), "*0", "{words}");
        }
        for words in
            ["ZADD z 2 a", "ZREM z a", "SADD s z", "SREM s z", "ZREMRANGEBYRANK z 0 0", "SPOP s 9", "GETEX t EX 9"]
        {
            t.say("WATCH z s t").hears("+OK");
            t.say_as(&mut other, words);
            t.say("MULTI").hears("+OK");
            assert_eq!(t.say("EXEC").text(), "*-1", "{words}");
        }
        t.say("FLUSHALL").hears("+OK");
    }
}

#[test]
fn watchers_stay_with_the_number_of_their_database() {
    let mut t = Transcript::start();
    let mut other = t.enter();
    // It comes to be by the exchange.
    t.say_as(&mut other, "SELECT 1").hears("+OK");
    t.say_as(&mut other, "SET k 1").hears("+OK");
    t.say("WATCH k").hears("+OK");
    t.say("SWAPDB 0 1").hears("+OK");
    t.say("MULTI").hears("+OK");
    t.say("EXEC").hears("*-1");
    // It is in neither, and is written afterwards.
    t.say("FLUSHALL").hears("+OK");
    t.say("WATCH k").hears("+OK");
    t.say("SWAPDB 1 0").hears("+OK");
    t.say_as(&mut other, "SET k 1").hears("+OK");
    assert_eq!(t.client.peer.flags(), "N");
    t.say("MULTI").hears("+OK");
    t.say("EXEC").hears("*0");
    t.say("WATCH l").hears("+OK");
    t.say("SWAPDB 1 0").hears("+OK");
    t.say("SET l 1").hears("+OK");
    t.say("MULTI").hears("+OK");
    t.say("EXEC").hears("*-1");
    // What is dead in the other database is nothing.
    t.say("FLUSHALL").hears("+OK");
    t.say_as(&mut other, "SET k 1 PX 5").hears("+OK");
    t.wait(Ttl(5));
    t.say("WATCH k").hears("+OK");
    t.say("SWAPDB 0 1").hears("+OK");
    t.say("EXISTS k").hears(":0");
    t.say("MULTI").hears("+OK");
    t.say("EXEC").hears("*0");
}

#[test]
fn an_alias_is_watched_where_it_leads() {
    let mut t = Transcript::start();
    let (now, until) = (t.clock.now(), t.clock.now() + Ttl::seconds(60));
    t.say("SET auth:session:one 1").hears("+OK");
    assert!(t.engine.store(0).add_alias(b"auth:session:two", b"auth:session:one", until, now));
    t.say("WATCH auth:session:two").hears("+OK");
    t.say("SET auth:session:one 2").hears("+OK");
    t.say("MULTI").hears("+OK");
    t.say("EXEC").hears("*-1");
}

#[test]
fn inner_commands_are_counted_and_shown() {
    let mut t = Transcript::start();
    let mut other = t.enter();
    t.say("CONFIG SET slowlog-log-slower-than 0").hears("+OK");
    t.say("SLOWLOG RESET").hears("+OK");
    t.say_as(&mut other, "MONITOR").hears("+OK");
    for line in ["MULTI", "SET a 1", "GET a", "EXEC"] {
        t.say(line);
    }
    let mut mail = Vec::new();
    other.peer.collect(&mut mail);
    let shown: Vec<String> =
        String::from_utf8_lossy(&mail).lines().map(|line| line.split_once("] ").expect("words").1.to_owned()).collect();
    assert_eq!(shown, [r#""MULTI""#, r#""SET" "a" "1""#, r#""GET" "a""#, r#""EXEC""#]);
    let stats = t.say("INFO commandstats").text();
    for name in ["multi", "exec", "set", "get"] {
        assert!(stats.contains(&format!("cmdstat_{name}:calls=1,")), "{name} in {stats}");
    }
    let slow = t.say("SLOWLOG GET").text();
    assert!(slow.contains("*3 $3 SET $1 a $1 1") && !slow.contains("EXEC"), "{slow}");
}

#[test]
fn a_pause_of_writers_holds_exec_if_it_writes() {
    let mut t = Transcript::start();
    for (line, is_held) in [("GET a", false), ("SET a 1", true)] {
        t.say("MULTI").hears("+OK");
        t.say(line).hears("+QUEUED");
        let mut other = t.enter();
        t.say_as(&mut other, "CLIENT PAUSE 1000 WRITE").hears("+OK");
        let heard = t.say("EXEC").text();
        assert_eq!(matches!(t.client.flow, Flow::Hold(_)), is_held, "{line}: {heard}");
        t.say_as(&mut other, "CLIENT UNPAUSE").hears("+OK");
        if is_held {
            t.say("EXEC").hears("*1 +OK");
        }
    }
}

#[test]
fn clients_in_a_transaction_are_listed_as_such() {
    let mut t = Transcript::start();
    t.say("MULTI").hears("+OK");
    t.say("CLIENT INFO").hears("+QUEUED");
    t.say("MONITOR").hears("+QUEUED");
    let heard = t.say("EXEC").text();
    assert!(heard.contains(" flags=x ") && heard.contains(" multi=2 ") && heard.contains(" cmd=exec "), "{heard}");
    assert!(heard.ends_with("-ERR MONITOR isn't allowed for DENY BLOCKING client"), "{heard}");
    let info = t.say("CLIENT INFO").text();
    assert!(info.contains(" flags=N ") && info.contains(" multi=-1 ") && info.contains(" multi-mem=0 "), "{info}");
}

/// Runs a line as a worker does, at the gate and in a batch of its own.
fn say_at(engine: &Engine, client: &mut Client, line: &str) -> String {
    let (request, mut parser, mut out) = (format!("{line}\r\n"), Parser::new(), Vec::new());
    let parsed = parser.parse(request.as_bytes(), &Limits::default());
    assert_eq!(parsed.ok().flatten(), Some(request.len()));
    let _turn = engine.enter(client.worker());
    run(engine, client, parser.args(request.as_bytes()), None, engine.clock.now(), &mut out);
    Heard(out).text()
}

/// Three workers move amounts between keys that lie in many shards, crosswise, and one looks. The sum never changes, not
/// even while somebody is half done, and nobody waits for ever.
#[test]
fn crossing_transactions_are_seen_whole_or_not_at_all() {
    const WORKERS: usize = 4;
    const ROUNDS: usize = 400;
    const SUM: i64 = 8 * 100;
    let engine = Engine::new(Config::default(), Clock::system(), WORKERS, COUNT);
    let mut clients: Vec<Client> = (0..WORKERS)
        .map(|worker| {
            let peer = engine.clients.enter(at(50000 + worker as u16), at(6379), 9, engine.clock.now());
            Client::new(&engine, peer, worker, true)
        })
        .collect();
    for key in 0..8 {
        assert_eq!(say_at(&engine, &mut clients[0], &format!("SET k{key} 100")), "+OK");
    }
    let looks = |heard: &str| -> i64 { heard.split(' ').filter_map(|word| word.parse::<i64>().ok()).sum() };
    std::thread::scope(|scope| {
        for mut client in clients.drain(..) {
            let engine = &engine;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let (from, to) = ((round + client.worker()) % 8, (round * 3 + 7 * client.worker()) % 8);
                    let mut lines = vec!["MULTI".to_owned()];
                    if client.worker() > 0 {
                        let (from, to) = if round % 2 == 0 { (from, to) } else { (to, from) };
                        lines.push(format!("DECRBY k{from} {round}"));
                        lines.push(format!("INCRBY k{to} {round}"));
                    }
                    lines.extend((0..8).map(|key| format!("STRLEN k{key}")));
                    lines.extend((0..8).map(|key| format!("INCRBY k{key} 0")));
                    for line in &lines {
                        say_at(engine, &mut client, line);
                    }
                    let heard = say_at(engine, &mut client, "EXEC");
                    let seen = heard.replace(':', "");
                    let last: Vec<&str> = seen.split(' ').rev().take(8).collect();
                    assert_eq!(looks(&last.join(" ")), SUM, "{heard}");
                }
            });
        }
    });
}

/// Two workers count up with WATCH alone. A lost update would show in the sum.
#[test]
fn optimistic_counting_loses_nothing() {
    const ROUNDS: usize = 200;
    let engine = Engine::new(Config::default(), Clock::system(), 2, COUNT);
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let engine = &engine;
            scope.spawn(move || {
                let peer = engine.clients.enter(at(50000 + worker as u16), at(6379), 9, engine.clock.now());
                let mut client = Client::new(engine, peer, worker, true);
                for _ in 0..ROUNDS {
                    loop {
                        assert_eq!(say_at(engine, &mut client, "WATCH n"), "+OK");
                        let heard = say_at(engine, &mut client, "GET n");
                        let before: usize = heard.split(' ').nth(1).map_or(0, |n| n.parse().expect("a number"));
                        assert_eq!(say_at(engine, &mut client, "MULTI"), "+OK");
                        assert_eq!(say_at(engine, &mut client, &format!("SET n {}", before + 1)), "+QUEUED");
                        match say_at(engine, &mut client, "EXEC").as_str() {
                            "*1 +OK" => break,
                            other => assert_eq!(other, "*-1"),
                        }
                    }
                }
            });
        }
    });
    let counted = engine.store(0).fetch(b"n").expect("the sum");
    assert_eq!(counted, (2 * ROUNDS).to_string().into_bytes());
}
