//! The RESP door: batches, slow readers, broken protocol, limits, punctual death, an end in good order.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use cloakroom::clock::Ttl;
use cloakroom::store::Look;

use crate::binary::Binary;
use crate::support::{PATIENCE, Peer, Running, until, within};

#[test]
fn requests_that_arrive_in_pieces_are_answered_in_order() {
    let server = Running::start(&[]);
    let mut client = server.client();
    for piece in ["*1\r\n$4\r\nPI", "NG\r\n*2\r\n$4\r\nECHO\r", "\n$3\r\na\r\n\r\nPING x\r\n*1\r\n$4\r\nPING\r\n"] {
        client.send(piece);
        std::thread::sleep(Duration::from_millis(20));
    }
    client.hears("+PONG\r\n$3\r\na\r\n\r\n$1\r\nx\r\n+PONG\r\n");
}

#[test]
fn clients_of_one_worker_do_not_finish_each_others_requests() {
    let server = Running::start(&[("workers", "1")]);
    let [mut one, mut other, mut whole] = [(); 3].map(|()| server.client());
    for (first, second) in
        [("*2\r\n$4\r\nECHO\r\n$3\r\na", "*2\r\n$4\r\nEC"), ("b", "HO\r\n$1\r\n"), ("c\r\n", "d\r\n")]
    {
        one.send(first);
        other.send(second);
        std::thread::sleep(Duration::from_millis(20));
        whole.send("*1\r\n$4\r\nPING\r\n").hears("+PONG\r\n");
    }
    one.hears("$3\r\nabc\r\n");
    other.hears("$1\r\nd\r\n");

    // Nor when they are held meanwhile, the last of them not whole.
    whole.send("CLIENT PAUSE 10000 WRITE\r\n").hears("+OK\r\n");
    one.send("SET a b\r\nGET a\r\n*2\r\n$3\r\nGE");
    std::thread::sleep(Duration::from_millis(20));
    other.send("GET a\r\n").hears("$-1\r\n");
    whole.send("CLIENT UNPAUSE\r\n").hears("+OK\r\n");
    one.hears("+OK\r\n$1\r\nb\r\n").send("T\r\n$1\r\na\r\n").hears("$1\r\nb\r\n");
}

#[test]
fn a_client_that_writes_ten_thousand_commands_before_it_reads_gets_every_answer() {
    let server = Running::start(&[]);
    let mut client = server.client();
    let payload = vec![b'x'; 1000];
    let one = [b"*2\r\n$4\r\nECHO\r\n$1000\r\n".as_slice(), &payload, b"\r\n"].concat();
    let answer = [b"$1000\r\n".as_slice(), &payload, b"\r\n"].concat();
    client.send(one.repeat(10_000));
    client.hears(answer.repeat(10_000));
}

/// The reply to a walk over all keys is sent in pieces: what is published to its client, or asked by it, comes behind it, and
/// others of its worker have their turns meanwhile.
#[test]
fn nothing_comes_in_between_of_a_reply_that_takes_many_turns() {
    const KEYS: usize = 60_000;
    let server = Running::start(&[("workers", "1")]);
    for number in 0..KEYS {
        server.engine.store(0).put(format!("{number:0100}").as_bytes(), b"v", Ttl::seconds(600)).expect("a write");
    }
    let [mut asker, mut other] = [(); 2].map(|()| server.client());
    asker.send("HELLO 3\r\nSUBSCRIBE news\r\nPING ~\r\n");
    let mut last = [0; 1];
    while last != [b'~'] {
        asker.0.read_exact(&mut last).expect("an answer");
    }
    asker.hears("\r\n");
    asker.send("KEYS *\r\nPING x\r\n");
    until("the walk has begun", || {
        let list = other.send("CLIENT LIST\r\nECHO over\r\n").up_to("$4\r\nover\r\n");
        String::from_utf8_lossy(&list).contains(" cmd=keys ")
    });
    let mut turns = 0;
    // What is published is not read while the walk goes on, as its client reads nothing.
    for _ in 0..200 {
        other.send("PUBLISH news n\r\n").hears(":1\r\n");
        turns += 1;
    }
    assert_eq!(turns, 200);
    asker.hears(format!("*{KEYS}\r\n"));
    let (mut key, mut seen) = ([0; 108], std::collections::HashSet::new());
    for _ in 0..KEYS {
        asker.0.read_exact(&mut key).expect("a key");
        assert!(key.starts_with(b"$100\r\n") && key.ends_with(b"\r\n"), "{}", key.escape_ascii());
        seen.insert(key);
    }
    assert_eq!(seen.len(), KEYS);
    let pushed = ">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nn\r\n";
    let mut rest = vec![0; pushed.len() * 200 + "$1\r\nx\r\n".len()];
    asker.0.read_exact(&mut rest).expect("the rest");
    let rest = String::from_utf8(rest).expect("text");
    assert_eq!(rest.matches(pushed).count(), 200);
    assert_eq!(rest.replace(pushed, ""), "$1\r\nx\r\n");
}

/// Where sign-outs must stay a flush takes many turns: others have theirs meanwhile, and it is done to the end even if who asked
/// has left.
#[test]
fn a_flush_among_sign_outs_is_done_to_its_end_and_others_have_their_turns() {
    const FENCES: usize = 30_000;
    let server = Running::start(&[("workers", "1")]);
    let (store, now) = (server.engine.store(0), server.engine.clock.now());
    let fences: Vec<_> = (0..FENCES).map(|n| store.secret_name(b"auth:session:", &n.to_le_bytes())).collect();
    let lasting = now + Ttl::seconds(600);
    fences.iter().for_each(|name| store.fence(name, 0, lasting, now));
    let fill = || {
        for number in 0..FENCES {
            store.put(format!("{number}").as_bytes(), b"v", Ttl::seconds(600)).expect("a write");
        }
    };
    fill();
    let [mut asker, mut other] = [(); 2].map(|()| server.client());
    asker.send("FLUSHALL\r\nSET behind v\r\nDBSIZE\r\n");
    for _ in 0..100 {
        other.send("PING\r\n").hears("+PONG\r\n");
    }
    asker.hears("+OK\r\n+OK\r\n:1\r\n");
    fill();
    asker.send("FLUSHALL\r\n");
    drop(asker);
    until("all is gone", || store.is_empty());
    other.send("PING\r\n").hears("+PONG\r\n");
    assert!(fences.iter().all(|name| store.look(name, now, |_| ()) == Look::Fenced(lasting)));
}

#[test]
fn a_client_that_never_reads_is_cut_and_nobody_else_notices() {
    let server = Running::start(&[("client-output-buffer-limit", "normal 1048576 0 0")]);
    let mut greedy = server.client();
    let one = [b"*2\r\n$4\r\nECHO\r\n$100000\r\n".as_slice(), &[b'x'; 100_000], b"\r\n"].concat();
    let mut refused = false;
    for _ in 0..1_000 {
        if greedy.0.write_all(&one).is_err() {
            refused = true;
            break;
        }
        server.client().send("PING\r\n").hears("+PONG\r\n");
    }
    assert!(refused, "100 MB of replies were kept for a client that reads none");
    assert_eq!(server.engine.metrics.sums().output_limit_disconnections, 1);
}

#[test]
fn what_is_not_resp_gets_one_error_in_redis_words_and_the_door() {
    let server = Running::start(&[]);
    for (request, answer) in [
        ("*9223372036854775807\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        ("*1\r\n$536870913\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        ("*1\r\n$-2\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        ("*1\r\nPING\r\n", "-ERR Protocol error: expected '$', got 'P'\r\n"),
        ("*1\r\n*1\r\n", "-ERR Protocol error: expected '$', got '*'\r\n"),
        ("SET \"unbalanced\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
    ] {
        let mut client = server.client();
        client.send(request);
        assert_eq!(String::from_utf8_lossy(&client.rest()), answer, "{request:?}");
    }
    let mut client = server.client();
    client.send(vec![b'a'; 70_000]);
    assert_eq!(client.rest(), b"-ERR Protocol error: too big inline request\r\n");
}

#[test]
fn an_announced_size_costs_nothing_until_the_bytes_arrive() {
    const CLIENTS: usize = 50;
    // In a process of its own, whose memory is no other test's.
    let binary = Binary::start(&[]);
    let before = binary.memory("VmRSS:");
    let mut clients: Vec<Peer> = (0..CLIENTS).map(|_| Peer::connect(binary.resp)).collect();
    for client in &mut clients {
        client.send("*1048576\r\n$536870912\r\nabc");
    }
    let mut asker = Peer::connect(binary.resp);
    until("all have been read", || {
        let list = asker.send("CLIENT LIST\r\nECHO over\r\n").up_to("$4\r\nover\r\n");
        String::from_utf8_lossy(&list).matches(" qbuf=25 ").count() == CLIENTS
    });
    let grown = binary.memory("VmRSS:").saturating_sub(before);
    assert!(grown < CLIENTS * 192 * 1024, "{grown} bytes for {CLIENTS} announcements");
}

#[test]
fn a_browser_that_was_tricked_onto_the_resp_port_runs_no_command() {
    let server = Running::start(&[]);
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nPING\r\n");
    assert_eq!(client.rest(), b"");
    assert_eq!(server.engine.metrics.sums().commands, 0);
}

#[test]
fn one_client_too_many_is_told_so() {
    let server = Running::start(&[("maxclients", "2")]);
    let mut clients = [server.client(), server.client()];
    for client in &mut clients {
        client.send("PING\r\n").hears("+PONG\r\n");
    }
    assert_eq!(server.client().rest(), b"-ERR max number of clients reached\r\n");
    drop(clients);
    // The place is free again as soon as the server has noticed.
    until("a place is free", || {
        let mut client = server.client();
        let mut heard = [0; 7];
        // One that is turned away may be closed before it has been able to say anything.
        client.0.write_all(b"PING\r\n").is_ok() && client.0.read_exact(&mut heard).is_ok() && heard == *b"+PONG\r\n"
    });
}

#[test]
fn a_silent_client_is_closed_after_the_timeout() {
    let server = Running::start(&[("timeout", "1")]);
    let (mut client, mut mute) = (server.client(), server.client());
    let began = Instant::now();
    client.send("PING\r\n").hears("+PONG\r\n");
    assert_eq!(client.rest(), b"");
    assert_eq!(mute.rest(), b"", "one that has never said anything");
    assert!((Duration::from_millis(900)..PATIENCE).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[test]
fn who_has_yet_to_log_in_is_not_waited_for_and_reads_its_refusals() {
    let server = Running::start(&[("requirepass", "secret")]);
    let mut known = server.client();
    known.send("AUTH secret\r\n").hears("+OK\r\n");
    let began = Instant::now();
    let mut silent = TcpStream::connect(server.resp).expect("a server");
    silent.set_read_timeout(Some(2 * PATIENCE)).expect("a timeout");

    let mut deaf = TcpStream::connect(server.resp).expect("a server");
    deaf.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    let request = "PING\r\n".repeat(10_000);
    let sent = (0..1000).take_while(|_| deaf.write_all(request.as_bytes()).is_ok()).count();
    assert!(sent < 1000, "cut once the sockets are full");
    assert!(server.engine.metrics.sums().output_limit_disconnections > 0);

    assert_eq!(silent.read(&mut [0; 1]).expect("an end"), 0);
    let limit = Duration::from_secs(10);
    assert!((limit..limit + PATIENCE).contains(&began.elapsed()), "{:?}", began.elapsed());
    known.send("PING\r\n").hears("+PONG\r\n");
}

#[test]
fn a_sleep_is_answered_when_it_is_over_and_before_what_follows_it() {
    const SLEEP: Duration = Duration::from_millis(300);
    let server = Running::start(&[("workers", "1"), ("enable-debug-command", "yes")]);
    let mut other = server.client();
    let (mut sleeper, began) = within(SLEEP, || {
        let (mut sleeper, began) = (server.client(), Instant::now());
        sleeper.send("ECHO before\r\nDEBUG SLEEP 0.3\r\nECHO after\r\n").hears("$6\r\nbefore\r\n");
        // Nobody else waits for it.
        other.send("PING\r\n").hears("+PONG\r\n");
        (sleeper, began)
    });
    sleeper.hears("+OK\r\n");
    assert!(began.elapsed() >= SLEEP, "{:?}", began.elapsed());
    sleeper.hears("$5\r\nafter\r\n").send("PING\r\n").hears("+PONG\r\n");
}

#[test]
fn who_sleeps_is_neither_idle_nor_gone() {
    let server = Running::start(&[("enable-debug-command", "yes"), ("timeout", "1")]);
    let mut client = server.client();
    client.send("DEBUG SLEEP 1.5\r\nPING\r\n");
    client.0.shutdown(std::net::Shutdown::Write).expect("a socket");
    assert_eq!(String::from_utf8_lossy(&client.rest()), "+OK\r\n+PONG\r\n");
}

#[test]
fn a_sleep_of_a_client_that_wants_no_replies_has_none() {
    let server = Running::start(&[("enable-debug-command", "yes")]);
    let mut client = server.client();
    client.send("CLIENT REPLY SKIP\r\nDEBUG SLEEP 0.1\r\nDEBUG SLEEP 0\r\nPING\r\n").hears("+OK\r\n+PONG\r\n");
}

#[test]
fn what_dies_is_reclaimed_without_anybody_asking() {
    let server = Running::start(&[]);
    let (store, now) = (server.engine.store(0), server.engine.clock.now());
    for number in 0..10_000u32 {
        let deadline = now + Ttl(u64::from(number % 200));
        let put = store.write(&number.to_be_bytes(), b"value", now, |slot, fresh| slot.put(fresh.until(deadline)));
        assert!(put.is_ok());
    }
    until("the store is empty", || store.is_empty());
    assert_eq!((store.len(), store.stats().expired), (0, 10_000));
}

#[test]
fn an_ending_server_answers_what_it_was_asked_and_closes() {
    let server = Running::start(&[]);
    let mut client = server.client();
    client.send("PING\r\n").hears("+PONG\r\n");
    server.stop();
    assert_eq!(client.rest(), b"");
    let mut byte = [0];
    assert!(matches!(client.0.read(&mut byte), Ok(0) | Err(_)));
}

#[test]
fn who_is_killed_is_gone_when_that_is_answered() {
    let server = Running::start(&[("workers", "2")]);
    let mut killer = server.client();
    for _ in 0..100 {
        // One of the two is served by the killer's own worker.
        for _ in 0..2 {
            let mut victim = server.client();
            victim.send("PING\r\n").hears("+PONG\r\n");
            killer.send("CLIENT KILL TYPE normal\r\n").hears(":1\r\n");
            assert_eq!(victim.rest(), b"");
        }
    }
    // Whoever finds it off the list counts on that it is closed: here it is closed while nobody can be taken off.
    let mut victim = server.client();
    victim.send("PING\r\n").hears("+PONG\r\n");
    let killed = victim.0.local_addr().expect("an address").to_string();
    let mut closed = 0;
    server.engine.clients.visit(0, usize::MAX, |peer| {
        if peer.addr.to_string() == killed {
            peer.kill();
            assert_eq!(victim.rest(), b"");
            closed += 1;
        }
    });
    assert_eq!(closed, 1);
}

#[test]
fn who_wants_no_replies_hears_of_no_protocol_error_either_and_is_closed() {
    let server = Running::start(&[]);
    for (first, heard) in
        [("OFF", ""), ("SKIP", ""), ("SKIP\r\nPING", "-ERR Protocol error: expected '$', got '!'\r\n")]
    {
        let mut client = server.client();
        client.send(format!("CLIENT REPLY {first}\r\n*1\r\n!x\r\n"));
        assert_eq!(String::from_utf8_lossy(&client.rest()), heard, "{first}");
    }
}
