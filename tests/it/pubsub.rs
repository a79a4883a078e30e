//! Subscribers through sockets: on all workers, stalled ones, and the news of what has died.

use std::io::{BufRead, BufReader, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cloakroom::clock::Ttl;

use crate::support::{PATIENCE, Peer, Running, until};

/// A client that listens to a channel.
fn listener(server: &Running, channel: &str) -> Peer {
    let mut client = server.client();
    let len = channel.len();
    client.send(format!("SUBSCRIBE {channel}\r\n"));
    client.hears(format!("*3\r\n$9\r\nsubscribe\r\n${len}\r\n{channel}\r\n:1\r\n"));
    client
}

#[test]
fn subscribers_on_all_workers_hear_everything_in_order() {
    let server = Running::start(&[("workers", "3")]);
    let mut listeners: Vec<Peer> = (0..6).map(|_| listener(&server, "news")).collect();
    let mut speakers = [server.client(), server.client()];
    const EACH: usize = 500;
    for number in 0..EACH {
        for (name, speaker) in ["a", "b"].iter().zip(&mut speakers) {
            speaker.send(format!("PUBLISH news {name}{number:03}\r\n"));
        }
    }
    for speaker in &mut speakers {
        speaker.hears(":6\r\n".repeat(EACH));
    }
    let mut first = Vec::new();
    for listener in &mut listeners {
        let mut heard = vec![0; 2 * EACH * "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$4\r\na000\r\n".len()];
        listener.0.read_exact(&mut heard).expect("all messages");
        let text = String::from_utf8(heard).expect("text");
        let mut messages: Vec<&str> = text.split("\r\n").skip(6).step_by(7).collect();
        messages.retain(|message| !message.is_empty());
        if first.is_empty() {
            first = messages.iter().map(|message| message.to_string()).collect();
        }
        assert_eq!(messages, first, "all hear the same order");
        for name in ["a", "b"] {
            let said: Vec<&&str> = messages.iter().filter(|message| message.starts_with(name)).collect();
            assert!(said.len() == EACH && said.is_sorted(), "{name}");
        }
    }
}

#[test]
fn a_stalled_subscriber_is_cut_and_who_publishes_never_waits() {
    let server = Running::start(&[("client-output-buffer-limit", "pubsub 1mb 0 0")]);
    let mut stalled = listener(&server, "news");
    let mut quick = listener(&server, "news");
    let mut speaker = server.client();
    let message = "x".repeat(50_000);
    let expected = format!("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$50000\r\n{message}\r\n");
    let mut cut = None;
    for number in 0..1_000 {
        speaker.send(format!("*3\r\n$7\r\nPUBLISH\r\n$4\r\nnews\r\n$50000\r\n{message}\r\n"));
        let mut answer = [0; 4];
        speaker.0.read_exact(&mut answer).expect("an answer, as who publishes does not wait");
        quick.hears(&expected);
        if server.engine.metrics.sums().output_limit_disconnections > 0 {
            cut = Some(number);
            break;
        }
    }
    assert!(cut.is_some(), "50 MB were kept for a subscriber that reads none");
    // It hears some of it, and then the end.
    assert!(stalled.rest().len() < 1_000 * message.len());
    until("one is subscribed", || {
        speaker.send("PUBSUB NUMSUB news\r\n");
        speaker.hears("*2\r\n$4\r\nnews\r\n:");
        let mut count = [0; 3];
        speaker.0.read_exact(&mut count).expect("a count");
        count[0] == b'1'
    });
    assert_eq!(server.engine.metrics.sums().output_limit_disconnections, 1);
}

#[test]
fn a_subscriber_over_the_soft_limit_has_its_seconds() {
    const SECOND: Duration = Duration::from_secs(1);
    let server = Running::start(&[("client-output-buffer-limit", "pubsub 0 100kb 1")]);
    let _stalled = listener(&server, "news");
    let mut speaker = server.client();
    let message = format!("*3\r\n$7\r\nPUBLISH\r\n$4\r\nnews\r\n$1000000\r\n{}\r\n", "x".repeat(1_000_000));
    let cut = || server.engine.metrics.sums().output_limit_disconnections;
    let started = Instant::now();
    for _ in 0..20 {
        let mut answer = [0; 4];
        speaker.send(&message).0.read_exact(&mut answer).expect("an answer");
        // On a slow machine its second may be over by now.
        assert!(answer == *b":1\r\n" || started.elapsed() >= SECOND, "it was cut at once");
    }
    until("the deaf one is cut", || cut() == 1);
    assert!(started.elapsed() >= SECOND, "it was cut at once");
    until("nobody is subscribed", || server.engine.pubsub.is_empty());
}

#[test]
fn silence_ends_others_but_not_who_listens() {
    let server = Running::start(&[("timeout", "1")]);
    let mut quiet = listener(&server, "news");
    let mut idle = server.client();
    idle.send("PING\r\n").hears("+PONG\r\n");
    assert!(idle.rest().is_empty(), "an idle client is closed");
    std::thread::sleep(Duration::from_millis(500));
    server.client().send("PUBLISH news x\r\n").hears(":1\r\n");
    quiet.hears("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nx\r\n");
}

#[test]
fn who_leaves_is_no_subscriber_any_more() {
    let server = Running::start(&[]);
    drop(listener(&server, "news"));
    until("nobody is subscribed", || server.engine.pubsub.is_empty());
    let mut client = listener(&server, "news");
    client.send("QUIT\r\n");
    assert_eq!(client.rest(), b"+OK\r\n");
    until("nothing is kept", || server.engine.pubsub.bytes() == 0);
}

#[test]
fn what_dies_is_told_on_time_though_nobody_asks() {
    let server = Running::start(&[("notify-keyspace-events", "Ex")]);
    let mut listener = listener(&server, "__keyevent@0__:expired");
    let mut client = server.client();
    // How late the latest of three is told of.
    let mut round = || {
        for millis in [40, 120, 80] {
            client.send(format!("SET coat:{millis:03} blue PX {millis}\r\n")).hears("+OK\r\n");
        }
        let (started, mut latest) = (server.engine.clock.now(), Ttl(0));
        let mut told = Vec::new();
        for _ in 0..3 {
            listener.hears("*3\r\n$7\r\nmessage\r\n$22\r\n__keyevent@0__:expired\r\n$8\r\ncoat:");
            let mut millis = [0; 5];
            listener.0.read_exact(&mut millis).expect("the rest of the key");
            let millis = String::from_utf8_lossy(&millis).trim_end().parse().expect("a number");
            latest = latest.max(server.engine.clock.now().since(started + Ttl(millis)));
            told.push(millis);
        }
        // Of two that died while the machine was elsewhere either may be told first.
        told.sort_unstable();
        assert_eq!(told, [40, 80, 120]);
        latest
    };
    round();
    // Each begins when the janitor has just lain down for a second, from which deadlines wake it. Late may be what meets a
    // machine that is elsewhere, but not all of them.
    let late: Vec<Ttl> = (0..6).map(|_| round()).collect();
    assert!(late.iter().any(|late| *late < Ttl(500)), "{late:?}");
}

/// Says that it is over when whoever has it leaves, be it by a panic: the threads of its scope are waited for.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn who_was_told_that_it_left_hears_nothing_more() {
    let server = Running::start(&[("workers", "3")]);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = Over(&over);
        for _ in 0..2 {
            scope.spawn(|| {
                let mut speaker = server.client();
                while !over.load(Ordering::Relaxed) {
                    speaker.send("PUBLISH news x\r\nPUBLISH news y\r\n");
                    speaker.0.read_exact(&mut [0; 8]).expect("counts");
                }
            });
        }
        let mut client = server.client();
        let mut lines = BufReader::new(client.0.try_clone().expect("a socket")).lines();
        let mut line = || lines.next().expect("a server").expect("a line");
        let mut heard = 0;
        for _ in 0..300 {
            client.send("SUBSCRIBE news\r\n");
            let begun: Vec<String> = (0..6).map(|_| line()).collect();
            assert_eq!(begun[2], "subscribe");
            client.send("UNSUBSCRIBE\r\nPING\r\n");
            loop {
                // The third line of a message and of a confirmation says what it is; the sixth and seventh what there is.
                let words: Vec<String> = (0..6).map(|_| line()).collect();
                if words[2] == "unsubscribe" {
                    assert_eq!((words[5].as_str(), line().as_str()), (":0", "+PONG"));
                    break;
                }
                assert_eq!((words[2].as_str(), words[5].as_str()), ("message", "$1"));
                line();
                heard += 1;
            }
        }
        assert!(heard > 0, "nothing was said meanwhile");
    });
}

#[test]
fn a_flood_keeps_nobody_from_being_served() {
    let server = Running::start(&[("workers", "2"), ("client-output-buffer-limit", "pubsub 0 0 0")]);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let guard = Over(&over);
        let listeners: Vec<Peer> = (0..2).map(|_| listener(&server, "news")).collect();
        for mut listener in listeners {
            scope.spawn(move || while listener.0.read(&mut [0; 65536]).is_ok_and(|got| got > 0) {});
        }
        for _ in 0..2 {
            scope.spawn(|| {
                let mut speaker = server.client();
                let batch = "PUBLISH news xxxxxxxxxxxxxxxx\r\n".repeat(100);
                while !over.load(Ordering::Relaxed) {
                    speaker.send(&batch);
                    speaker.0.read_exact(&mut [0; 400]).expect("counts");
                }
            });
        }
        let slowest = (0..200).map(|_| {
            let started = Instant::now();
            // Clients are dealt out in turn, so both workers are asked.
            server.client().send("PING\r\n").hears("+PONG\r\n");
            started.elapsed()
        });
        let slowest = slowest.max().expect("some");
        drop(guard);
        server.engine.clients.all().iter().filter(|peer| peer.is_subscriber()).for_each(|peer| peer.kill());
        assert!(slowest < PATIENCE / 2, "a client waited for {slowest:?}");
    });
}

#[test]
fn what_was_published_before_a_request_comes_before_its_answer() {
    let server = Running::start(&[("workers", "1")]);
    let (mut busy, mut publisher) = (server.client(), server.client());
    for _ in 0..5 {
        let mut listener = listener(&server, "news");
        // Their worker sees to both in one turn, as it is busy when they come.
        busy.send("EVAL \"for i = 1, 1e7 do end\" 0\r\n");
        std::thread::sleep(Duration::from_millis(20));
        publisher.send("PUBLISH news x\r\n");
        listener.send("QUIT\r\n");
        let heard = listener.rest();
        let mut number = [0; 4];
        publisher.0.read_exact(&mut number).expect("an answer");
        let message = if &number == b":1\r\n" { "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nx\r\n" } else { "" };
        assert_eq!(String::from_utf8_lossy(&heard), format!("{message}+OK\r\n"));
        busy.hears("$-1\r\n");
    }
}
