//! Clients on all workers that keep copies of what they read.

use std::io::Read as _;

use crate::support::{Peer, Running};

/// A client that speaks RESP3 and tracks.
fn tracker(server: &Running, options: &str) -> Peer {
    let mut client = server.client();
    client.send(format!("HELLO 3\r\nCLIENT TRACKING ON{options}\r\n"));
    let mut heard = Vec::new();
    while !heard.ends_with(b"+OK\r\n") {
        let mut byte = [0];
        client.0.read_exact(&mut byte).expect("an answer");
        heard.push(byte[0]);
    }
    client
}

#[test]
fn no_copy_outlives_its_key() {
    let server = Running::start(&[("workers", "3")]);
    let mut writer = server.client();
    let mut trackers: Vec<Peer> = (0..6).map(|_| tracker(&server, "")).collect();
    for round in 0..50 {
        writer.send(format!("SET key {round:02}\r\n")).hears("+OK\r\n");
        for tracker in &mut trackers {
            // What was read before is told of before it is read again.
            if round > 0 {
                tracker.hears(">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nkey\r\n");
            }
            tracker.send("GET key\r\n").hears(format!("$2\r\n{round:02}\r\n"));
        }
    }
}

#[test]
fn every_race_ends_with_the_last_value_or_an_invalidation() {
    const ROUNDS: usize = 300;
    let server = Running::start(&[("workers", "2")]);
    let (mut reader, mut writer) = (tracker(&server, ""), server.client());
    for round in 0..ROUNDS {
        writer.send(format!("SET key {round:03}\r\n"));
        reader.send("GET key\r\nPING\r\n");
        writer.hears("+OK\r\n");
        let mut heard = Vec::new();
        let read_on = |heard: &mut Vec<u8>, reader: &mut Peer| {
            let mut byte = [0];
            reader.0.read_exact(&mut byte).expect("an answer");
            heard.push(byte[0]);
        };
        while !heard.ends_with(b"+PONG\r\n") {
            read_on(&mut heard, &mut reader);
        }
        let reply = String::from_utf8_lossy(&heard).into_owned();
        let last = format!("$3\r\n{round:03}\r\n");
        if !reply.contains(&last) && !reply.contains("invalidate") {
            // The copy is old, so the news of that must be on its way.
            while !heard.ends_with(b"*1\r\n$3\r\nkey\r\n") {
                read_on(&mut heard, &mut reader);
            }
        }
        // Both begin anew: nothing is noted, and nothing is on its way.
        writer.send("FLUSHALL\r\n").hears("+OK\r\n");
        reader.send("PING\r\n");
        let is_through = |heard: &[u8]| {
            let text = String::from_utf8_lossy(heard);
            text.matches("+PONG\r\n").count() == 2 && text.contains("invalidate\r\n_\r\n")
        };
        while !is_through(&heard) {
            read_on(&mut heard, &mut reader);
        }
    }
}

#[test]
fn who_is_served_on_another_worker_hears_the_answer_first() {
    let server = Running::start(&[("workers", "2")]);
    let (mut writer, mut one, mut two) = (server.client(), tracker(&server, ""), tracker(&server, ""));
    for _ in 0..100 {
        for client in [&mut one, &mut two] {
            client.send("LLEN to\r\n").hears(":0\r\n").send("BLMOVE from to LEFT LEFT 0\r\n");
            while server.engine.clients.all().iter().all(|peer| !peer.flags().contains('b')) {
                std::thread::yield_now();
            }
            writer.send("RPUSH from x\r\n").hears(":1\r\n");
            client.hears("$1\r\nx\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$2\r\nto\r\n");
            writer.send("DEL to\r\n").hears(":1\r\n");
        }
    }
}
