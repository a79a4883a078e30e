//! Clients that wait for an element, over sockets.

use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::support::{Peer, Running, until};

/// Waits until so many clients wait.
fn until_waiting(server: &Running, count: usize) {
    let waiting = || server.engine.clients.all().iter().filter(|peer| peer.flags() == "b").count();
    until(&format!("{count} clients wait"), || waiting() == count);
}

/// Clients that wait for something, in this order, on both workers.
fn waiters<const N: usize>(server: &Running, request: &str) -> [Peer; N] {
    std::array::from_fn(|at| {
        let mut client = server.client();
        client.send(request);
        until_waiting(server, at + 1);
        client
    })
}

#[test]
fn who_waited_longest_gets_the_first_element_and_what_follows_waits() {
    let server = Running::start(&[]);
    let mut other = server.client();
    let [mut one, mut two, mut three] = waiters(&server, "BLPOP list 0\r\nECHO after\r\n");
    other.send("RPUSH list a b\r\nLLEN list\r\n").hears(":2\r\n:0\r\n");
    for (client, element) in [(&mut one, "a"), (&mut two, "b")] {
        client.hears(format!("*2\r\n$4\r\nlist\r\n$1\r\n{element}\r\n$5\r\nafter\r\n"));
    }
    until_waiting(&server, 1);
    other.send("LPUSH list c\r\n").hears(":1\r\n");
    three.hears("*2\r\n$4\r\nlist\r\n$1\r\nc\r\n$5\r\nafter\r\n").send("PING\r\n").hears("+PONG\r\n");
}

#[test]
fn a_wait_ends_punctually_and_a_waiting_client_is_not_idle() {
    let server = Running::start(&[("timeout", "1")]);
    let mut client = server.client();
    let began = Instant::now();
    client.send("BLPOP list 0.2\r\n").hears("*-1\r\n");
    let took = began.elapsed();
    assert!((Duration::from_millis(200)..Duration::from_secs(5)).contains(&took), "{took:?}");
    client.send("BLPOP list 1.5\r\n").hears("*-1\r\n");
    // A date that no clock of the machine reaches.
    client.send("BLPOP list 900000000000\r\n");
    until_waiting(&server, 1);
    server.client().send("RPUSH list a\r\n").hears(":1\r\n");
    client.hears("*2\r\n$4\r\nlist\r\n$1\r\na\r\n");
}

#[test]
fn a_wait_can_be_called_off() {
    let server = Running::start(&[]);
    let mut client = server.client();
    client.send("CLIENT ID\r\n").hears(":1\r\n");
    let mut other = server.client();
    for (line, answer) in [
        ("CLIENT UNBLOCK 1\r\n", "*-1\r\n"),
        ("CLIENT UNBLOCK 1 ERROR\r\n", "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"),
    ] {
        client.send("BRPOP list 0\r\n");
        until_waiting(&server, 1);
        other.send(line).hears(":1\r\n");
        client.hears(answer);
    }
    client.send("BRPOP list 0\r\n");
    until_waiting(&server, 1);
    other.send("CLIENT KILL ID 1\r\nRPUSH list a\r\nLLEN list\r\n").hears(":1\r\n:1\r\n:1\r\n");
    assert_eq!(client.rest(), b"");
}

#[test]
fn who_closes_its_end_takes_no_element() {
    let server = Running::start(&[]);
    let mut other = server.client();
    let [one, mut two] = waiters(&server, "BLMOVE list there LEFT LEFT 0\r\n");
    drop(one);
    until_waiting(&server, 1);
    other.send("RPUSH list a\r\n").hears(":1\r\n");
    two.hears("$1\r\na\r\n");
    other.send("LRANGE there 0 -1\r\n").hears("*1\r\n$1\r\na\r\n");
}

#[test]
fn many_workers_hand_elements_on_and_lose_none() {
    const ELEMENTS: usize = 2_000;
    let server = Running::start(&[]);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let mut client = server.client();
            scope.spawn(move || {
                for _ in 0..ELEMENTS {
                    client.send("BLMOVE one two LEFT RIGHT 0\r\n").hears("$1\r\nx\r\n");
                }
            });
            let mut client = server.client();
            scope.spawn(move || {
                for _ in 0..ELEMENTS {
                    client.send("BLPOP two 0\r\n").hears("*2\r\n$3\r\ntwo\r\n$1\r\nx\r\n");
                }
            });
        }
        let mut client = server.client();
        client.send("CLIENT REPLY OFF\r\n");
        for _ in 0..2 * ELEMENTS {
            client.send("RPUSH one x\r\n");
        }
        client.send("CLIENT REPLY ON\r\n").hears("+OK\r\n");
    });
    server.client().send("EXISTS one two\r\n").hears(":0\r\n");
}

#[test]
fn a_transaction_that_unblocks_or_swaps_has_ended_before_anybody_is_served() {
    let server = Running::start(&[]);
    let [mut waiter] = waiters(&server, "BLPOP k 0\r\n");
    let mut unrelated = server.client();
    unrelated.send("CLIENT ID\r\n").hears(":2\r\n").send("BLPOP other 0\r\n");
    until_waiting(&server, 2);
    let mut client = server.client();
    let queue = |lines: &[&str]| format!("MULTI\r\n{}\r\nEXEC\r\n", lines.join("\r\n"));
    client.send(queue(&["RPUSH k x", "CLIENT UNBLOCK 2", "DEL k"]));
    client.hears("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n:1\r\n:1\r\n:1\r\n");
    unrelated.hears("*-1\r\n");
    client.send("SELECT 1\r\nRPUSH k y\r\nSELECT 0\r\n").hears("+OK\r\n:1\r\n+OK\r\n");
    client.send(queue(&["SWAPDB 0 1", "DEL k"])).hears("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n:1\r\n");
    client.send("EVAL \"redis.call('RPUSH', 'k', 'x') redis.call('SWAPDB', 0, 1) redis.call('SWAPDB', 0, 1) return redis.call('DEL', 'k')\" 0\r\n");
    client.hears(":1\r\n").send("RPUSH k last\r\n").hears(":1\r\n");
    waiter.hears("*2\r\n$1\r\nk\r\n$4\r\nlast\r\n");
}

#[test]
fn who_leaves_takes_no_element_whatever_it_has_asked_for_behind_its_wait() {
    let server = Running::start(&[]);
    let [waiter] = waiters(&server, &format!("BLPOP list 0\r\n{}", "PING\r\n".repeat(30_000)));
    let mut other = server.client();
    other.send("PING\r\n").hears("+PONG\r\n");
    drop(waiter);
    until("it is gone", || server.engine.clients.all().len() == 1);
    other.send("RPUSH list job\r\nLLEN list\r\n").hears(":1\r\n:1\r\n");
}

#[test]
fn who_asks_for_more_behind_its_wait_than_a_request_may_be_is_closed_and_counted() {
    let server = Running::start(&[("client-query-buffer-limit", "1mb")]);
    let [mut waiter] = waiters(&server, "BLPOP list 0\r\n");
    let mut other = server.client();
    other.send("PING\r\n").hears("+PONG\r\n");
    // It may be closed before all of it is taken.
    let _ = waiter.0.write_all(&b"PING\r\n".repeat(400_000));
    until("it is gone", || server.engine.clients.all().len() == 1);
    let mut info = redis::Client::open(format!("redis://{}", server.resp)).expect("an address");
    let info: String = redis::cmd("INFO").arg("stats").query(&mut info).expect("text");
    assert!(info.contains("client_query_buffer_limit_disconnections:1\r\n"), "{info}");
}
