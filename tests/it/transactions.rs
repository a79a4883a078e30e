//! Transactions of several workers, over sockets.

use std::io::Read;

use crate::support::{Running, until};

/// Clients of all workers send transactions over the same keys in long batches, in opposite orders; each reads what it has
/// written alone, and all end.
#[test]
fn crossing_transactions_in_batches_are_served_alone_and_all_end() {
    const CLIENTS: usize = 6;
    const ROUNDS: usize = 300;
    let server = Running::start(&[("workers", "3")]);
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let mut client = server.client();
            scope.spawn(move || {
                let keys: Vec<usize> = if number % 2 == 0 { (0..5).collect() } else { (0..5).rev().collect() };
                let mut batch = String::new();
                let mut answer = String::new();
                for round in 0..ROUNDS {
                    // Always six letters, so that the answer is known to the byte.
                    let text = format!("{number}-{round:04}");
                    batch.push_str("GET other\r\nMULTI\r\n");
                    answer.push_str("$-1\r\n+OK\r\n");
                    keys.iter().for_each(|key| batch.push_str(&format!("SET k{key} {text}\r\n")));
                    batch.push_str("MGET k0 k1 k2 k3 k4\r\nEXEC\r\n");
                    answer.push_str(&"+QUEUED\r\n".repeat(6));
                    answer.push_str(&format!("*6\r\n{}*5\r\n", "+OK\r\n".repeat(5)));
                    answer.push_str(&format!("$6\r\n{text}\r\n").repeat(5));
                }
                client.send(&batch);
                client.hears(&answer);
            });
        }
        let mut looker = server.client();
        scope.spawn(move || {
            for _ in 0..ROUNDS {
                looker.send("MULTI\r\nGET k0\r\nGET k4\r\nEXEC\r\n");
                looker.hears("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n");
                let mut length = [0; 5];
                looker.0.read_exact(&mut length).expect("the first value");
                if &length == b"$-1\r\n" {
                    looker.hears("$-1\r\n");
                    continue;
                }
                let mut first = [0; 7];
                looker.0.read_exact(&mut first[..]).expect("its text");
                // The header of a value of six letters is four bytes long, so one was read too many.
                let whole = [&length[4..], &first[..]].concat();
                looker.hears([b"$6\r\n".as_slice(), &whole].concat());
            }
        });
    });
    server.stop();
}

/// Who leaves in the middle of a transaction leaves nothing behind.
#[test]
fn a_client_that_leaves_is_forgotten() {
    let server = Running::start(&[]);
    let mut client = server.client();
    client.send("WATCH a b\r\nMULTI\r\nSET a 1\r\n").hears("+OK\r\n+OK\r\n+QUEUED\r\n");
    assert_eq!(server.engine.clients.all()[0].pending().watched, 2);
    drop(client);
    let mut other = server.client();
    until("the one who left is forgotten", || server.engine.clients.len() == 1);
    other.send("GET a\r\nSET b 1\r\n").hears("$-1\r\n+OK\r\n");
}

/// A script without end keeps the stores to itself. Clients of other workers hear so, and can end it.
#[test]
fn a_script_without_end_is_ended_from_another_worker() {
    let server = Running::start(&[("workers", "3"), ("busy-reply-threshold", "50")]);
    let mut stuck = server.client();
    let mut others = [server.client(), server.client()];
    stuck.send("EVAL 'while true do end' 0\r\n");
    until("the script runs", || server.engine.scripts.is_running());
    // Both are told while it runs, be it that they waited at the gate until it counted as long.
    others[0].send("GET a\r\n");
    // The other worker may come to its client late on a busy machine, but not after the end.
    others[1].send("MULTI\r\nSET a 1\r\nEXEC\r\nGET a\r\n").hears("+OK\r\n-BUSY ");
    for _ in 0..2 {
        others[0].hears("-BUSY ");
        let mut byte = [0];
        while byte != *b"\n" {
            others[0].0.read_exact(&mut byte).expect("the rest of the line");
        }
        others[0].send("GET a\r\n");
    }
    others[0].send("SCRIPT KILL\r\n");
    stuck.hears("-ERR Script killed by user");
    others[0].hears("-BUSY ");
}
