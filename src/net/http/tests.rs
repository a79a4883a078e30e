//! One door over pipes: clients that are slow, handlers that panic, a server that ends.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, LocalSet};

use super::{Door, Hall};
use crate::clock::{Clock, ManualClock, Ttl};
use crate::config::Config;
use crate::engine::{Charge, Engine};
use crate::net::Patience;
use crate::session::{Claims, DICE, Keyring, Profile, Secrets};

const SHORT: Duration = Duration::from_millis(60);

struct House {
    door: Rc<Door>,
    leaving: watch::Sender<bool>,
}

impl House {
    fn new(metrics: impl Fn() -> String + Send + Sync + 'static) -> House {
        let patience = Patience { first_byte: SHORT, head: SHORT, body: SHORT, ..Patience::default() };
        House::with(Config::default(), patience, metrics)
    }

    /// One that waits as long as a real one for its clients, with these settings.
    fn patient(settings: &[(&str, &str)]) -> House {
        let mut config = Config::default();
        settings.iter().for_each(|(name, value)| config.set(name, value).expect("a good setting"));
        House::with(config, Patience::default(), String::new)
    }

    fn with(config: Config, patience: Patience, metrics: impl Fn() -> String + Send + Sync + 'static) -> House {
        let engine = Arc::new(Engine::new(config, Clock::system(), 1, 0));
        House::of(Hall::new(engine, None, move |_| metrics()).with_patience(patience))
    }

    fn of(hall: Hall) -> House {
        House { door: Door::new(Arc::new(hall), 0), leaving: watch::Sender::new(false) }
    }

    /// Stores a session as an app would.
    fn put(&self, token: &str, session: &str) {
        let (engine, key) = (&self.door.hall.engine, format!("auth:session:{token}"));
        engine.store(0).put(key.as_bytes(), session.as_bytes(), Ttl::seconds(60)).expect("no fence");
    }

    /// Bytes that clients of the door are charged.
    fn charged(&self) -> u64 {
        self.door.hall.engine.charges().of(Charge::Http)
    }

    /// A client's end of a pipe that holds so much, and the task that serves it.
    fn enter(&self, room: usize) -> (DuplexStream, JoinHandle<()>) {
        let (near, far) = tokio::io::duplex(room);
        let peer: std::net::SocketAddr = "127.0.0.1:7".parse().expect("an address");
        (near, tokio::task::spawn_local(self.door.clone().serve(far, peer.into(), self.leaving.subscribe())))
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let bounded = async { tokio::time::timeout(Duration::from_secs(30), test).await.expect("it ends") };
    LocalSet::new().block_on(&runtime, bounded);
}

async fn rest(client: &mut DuplexStream) -> String {
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.expect("an end");
    String::from_utf8_lossy(&rest).into_owned()
}

#[test]
fn a_client_holds_room_neither_for_hyper_nor_for_the_upstream_before_it_needs_them() {
    let house = House::new(String::new);
    let (_near, far) = tokio::io::duplex(1);
    let peer: std::net::SocketAddr = "127.0.0.1:7".parse().expect("an address");
    let served = house.door.clone().serve(far, peer.into(), house.leaving.subscribe());
    // With what tokio and the worker add, 1024 are enough for its task.
    assert!(size_of_val(&served) <= 840, "{} bytes", size_of_val(&served));
}

#[test]
fn a_client_that_says_nothing_or_only_half_a_head_is_let_go() {
    run(async {
        let house = House::new(String::new);
        for half in ["", "GET /healthz HTTP/1.1\r\nHost: a\r\n", "G", &CHECK[..40], &CHECK[..CHECK.len() - 1]] {
            let (mut client, served) = house.enter(4096);
            let started = Instant::now();
            client.write_all(half.as_bytes()).await.expect("room");
            rest(&mut client).await;
            served.await.expect("no panic");
            assert!(started.elapsed() >= SHORT, "{half:?}");
        }
    });
}

#[test]
fn a_client_that_reads_nothing_is_let_go() {
    run(async {
        let house = House::new(|| "x".repeat(100_000));
        let (mut client, served) = house.enter(1000);
        client.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("room");
        served.await.expect("no panic");
        assert!(rest(&mut client).await.len() <= 1000);
    });
}

#[test]
fn a_sign_out_whose_body_does_not_come_is_told_so() {
    run(async {
        let house = House::new(String::new);
        let (mut client, _served) = house.enter(4096);
        let head = "POST /api/auth/signout HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\ncsrf";
        client.write_all(head.as_bytes()).await.expect("room");
        assert!(rest(&mut client).await.starts_with("HTTP/1.1 408 "));
    });
}

#[test]
fn a_panic_costs_one_client_and_no_other() {
    run(async {
        let panics = || panic!("in a handler, as this test wants it");
        let house = House::with(Config::default(), Patience::default(), panics);
        let (mut other, _served) = house.enter(4096);
        other.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n").await.expect("room");
        let (mut client, served) = house.enter(4096);
        client.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("room");
        assert_eq!(rest(&mut client).await, "");
        assert!(served.await.expect_err("a panic").is_panic());
        other.write_all(b"Connection: close\r\n\r\n").await.expect("room");
        assert!(rest(&mut other).await.starts_with("HTTP/1.1 200 "));
    });
}

#[test]
fn a_server_that_ends_finishes_what_it_answers_and_closes_what_is_idle() {
    run(async {
        let house = House::patient(&[]);
        let (mut idle, idle_served) = house.enter(4096);
        idle.write_all(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("room");
        let mut first = [0; 12];
        idle.read_exact(&mut first).await.expect("an answer");
        assert_eq!(&first, b"HTTP/1.1 200");
        let (mut busy, busy_served) = house.enter(4096);
        let head = "POST /api/auth/signout HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
        busy.write_all(head.as_bytes()).await.expect("room");
        tokio::time::sleep(SHORT / 4).await;
        house.leaving.send_replace(true);
        rest(&mut idle).await;
        drop(idle);
        idle_served.await.expect("no panic");
        busy.write_all(b"a=1").await.expect("room");
        let answer = rest(&mut busy).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(r#"{"success":true}"#), "{answer}");
        busy_served.await.expect("no panic");
    });
}

const CHECK: &str = "GET /api/auth/session HTTP/1.1\r\nHost: a\r\nCookie: next-auth.session-token=t\r\n\r\n";

fn statuses(answers: &str) -> Vec<&str> {
    answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect()
}

#[test]
fn checks_in_one_piece_with_other_requests_are_answered_in_order() {
    run(async {
        let house = House::new(String::new);
        house.put("t", r#"{"user":{"name":"alice"}}"#);
        let (mut client, served) = house.enter(64 * 1024);
        let others = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n";
        let last = CHECK.replace("Host", "Connection: close\r\nHost");
        client.write_all(format!("{CHECK}{CHECK}{others}{CHECK}{last}").as_bytes()).await.expect("room");
        let answers = rest(&mut client).await;
        assert_eq!(statuses(&answers), ["200", "200", "200", "404", "200", "200"]);
        assert_eq!(answers.matches("alice").count(), 4);
        served.await.expect("no panic");
    });
}

#[test]
fn a_check_cut_in_two_is_still_answered() {
    run(async {
        let house = House::patient(&[]);
        house.put("t", r#"{"user":{"name":"alice"}}"#);
        for cut in [1, 30, CHECK.len() - 1] {
            let (mut client, _served) = house.enter(4096);
            client.write_all(&CHECK.as_bytes()[..cut]).await.expect("room");
            tokio::task::yield_now().await;
            client.write_all(&CHECK.as_bytes()[cut..]).await.expect("room");
            client.shutdown().await.expect("half a close");
            assert!(rest(&mut client).await.ends_with(r#"{"user":{"name":"alice"}}"#), "{cut}");
        }
    });
}

#[test]
fn a_check_cut_in_two_is_no_reason_to_answer_all_others_slowly() {
    run(async {
        let house = House::patient(&[]);
        house.put("t", r#"{"user":{"name":"alice"}}"#);
        let (mut client, _served) = house.enter(64 * 1024);
        for cut in [1, 30, CHECK.len() - 1] {
            // Behind a whole one, and in three pieces.
            let bytes = format!("{CHECK}{CHECK}");
            let (first, rest) = bytes.as_bytes().split_at(CHECK.len() + cut);
            for piece in [first, &rest[..1], &rest[1..]] {
                client.write_all(piece).await.expect("room");
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
            }
            let mut answers = String::new();
            while answers.matches("alice").count() < 2 {
                let mut piece = [0; 4096];
                let count = client.read(&mut piece).await.expect("an answer");
                answers += &String::from_utf8_lossy(&piece[..count]);
            }
            // Who is left to hyper is charged for its buffers.
            assert_eq!(house.charged(), 0, "{cut}");
        }
        // Nor is half a head looked at again and again.
        for byte in &CHECK.as_bytes()[..6] {
            client.write_all(&[*byte]).await.expect("room");
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        }
        assert!(house.charged() > 1024);
        client.write_all(&CHECK.as_bytes()[6..]).await.expect("room");
        client.shutdown().await.expect("half a close");
        assert!(rest(&mut client).await.ends_with(r#"{"user":{"name":"alice"}}"#));
    });
}

#[test]
fn a_call_that_others_wait_for_begins_though_its_asker_reads_nothing() {
    run(async {
        let upstream = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", upstream.local_addr().expect("an address"));
        let house = House::patient(&[("upstream", &url)]);
        house.put("t", r#"{"user":{"name":"alice"}}"#);
        let (mut leader, _served) = house.enter(1000);
        let check = CHECK.replace("token=t", "token=u");
        leader.write_all(format!("{}{check}", CHECK.repeat(8)).as_bytes()).await.expect("room");
        let (mut call, _) = upstream.accept().await.expect("a call");
        let (mut follower, _served) = house.enter(4096);
        follower.write_all(check.as_bytes()).await.expect("room");
        let mut head = [0; 1024];
        let count = call.read(&mut head).await.expect("a head");
        assert!(String::from_utf8_lossy(&head[..count]).contains("token=u"));
        let body = r#"{"user":{"name":"bob"},"expires":"2099-01-01T00:00:00.000Z"}"#;
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        call.write_all(answer.as_bytes()).await.expect("an open connection");
        follower.shutdown().await.expect("half a close");
        assert!(rest(&mut follower).await.ends_with(body));
        leader.shutdown().await.expect("half a close");
        let answers = rest(&mut leader).await;
        assert_eq!((answers.matches("alice").count(), answers.matches("bob").count()), (8, 1));
    });
}

#[test]
fn answers_that_nobody_reads_are_few_and_charged() {
    run(async {
        let house = House::patient(&[]);
        let (mut client, served) = house.enter(16 * 1024);
        let check = "GET /api/auth/session HTTP/1.1\r\nHost:a\r\n\r\n";
        client.write_all(check.repeat(380).as_bytes()).await.expect("room");
        while house.charged() == 0 {
            tokio::task::yield_now().await;
        }
        // Not all answers, but those up to a limit, and what is yet to be answered.
        assert!((32 * 1024..96 * 1024).contains(&house.charged()), "{}", house.charged());
        client.shutdown().await.expect("half a close");
        assert_eq!(statuses(&rest(&mut client).await), ["200"; 380]);
        served.await.expect("no panic");
        assert_eq!(house.charged(), 0);
    });
}

#[test]
fn both_ways_of_answering_write_the_same() {
    run(async {
        let house = House::new(String::new);
        house.put("t", r#"{"user":{"name":"alice"}}"#);
        let mut heads = Vec::new();
        // A header that is left to hyper, and one that is not.
        for line in ["TE: trailers", "X: 1"] {
            let (mut client, _served) = house.enter(4096);
            let check = CHECK.replace("Host", &format!("{line}\r\nHost"));
            client.write_all(check.as_bytes()).await.expect("room");
            client.shutdown().await.expect("half a close");
            let answer = rest(&mut client).await;
            let times = ["x-response-time: ", "date: ", "cache-status: cloakroom; hit; ttl="];
            let varies = |line: &&str| times.iter().any(|time| line.starts_with(time));
            assert_eq!(answer.lines().filter(varies).count(), 3, "{answer}");
            let mut lines: Vec<String> = answer.lines().filter(|line| !varies(line)).map(str::to_owned).collect();
            lines[1..].sort_unstable();
            heads.push(lines);
        }
        assert_eq!(heads[0], heads[1]);
    });
}

#[test]
fn a_proxy_is_told_the_same_by_both_ways_and_by_any_method() {
    run(async {
        let house = House::new(String::new);
        house.put("t", r#"{"user":{"name":"alice"}}"#);
        let verify = CHECK.replace("session HTTP", "verify HTTP").replace("Host", "Connection: keep-alive\r\nHost");
        let mut heads = Vec::new();
        let starts = ["GET /api/auth/verify ", "GET /api/auth/verify ", "DELETE /api/auth/verify/orders?x=1 "];
        for (start, line) in starts.iter().zip(["X: 1", "TE: trailers", "X: 1"]) {
            let (mut client, _served) = house.enter(4096);
            let asked = verify.replace("GET /api/auth/verify ", start).replace("Host", &format!("{line}\r\nHost"));
            // The first makes what the second is shown.
            client.write_all(format!("{asked}{asked}").as_bytes()).await.expect("room");
            client.shutdown().await.expect("half a close");
            let answers = rest(&mut client).await;
            assert_eq!(statuses(&answers), ["200", "200"], "{start}");
            let varies = |line: &&str| ["x-response", "date", "cache-status"].iter().any(|name| line.starts_with(name));
            let mut lines: Vec<String> = answers.lines().filter(|line| !varies(line)).map(str::to_owned).collect();
            lines.sort_unstable();
            assert_eq!(lines.iter().filter(|line| *line == "x-session-name: alice").count(), 2);
            assert_eq!(lines.iter().filter(|line| *line == "content-length: 0").count(), 2);
            heads.push(lines);
        }
        assert!(heads.iter().all(|lines| *lines == heads[0]), "{heads:#?}");
        for (start, status) in [("GET /api/auth/verify ", "401"), ("HEAD /api/auth/verify ", "401")] {
            let (mut client, _served) = house.enter(4096);
            let asked = verify.replace("GET /api/auth/verify ", start).replace("token=t", "token=u");
            client.write_all(asked.as_bytes()).await.expect("room");
            client.shutdown().await.expect("half a close");
            let answer = rest(&mut client).await;
            assert_eq!(statuses(&answer), [status]);
            assert!(answer.ends_with("\r\n\r\n"), "{answer}");
        }
    });
}

#[test]
fn a_token_that_is_read_in_the_instant_of_a_sign_out_everywhere_goes_from_the_browser() {
    run(async {
        let (mut config, hands) = (Config::default(), ManualClock::default());
        config.set("source", "nextauth").expect("a source");
        let secrets = Secrets::new(["a secret"]).expect("a secret");
        let keys = Keyring::new(Profile::NextAuth, "next-auth.session-token", &secrets);
        let claims = Claims::read(br#"{"name":"erin","sub":"erin"}"#).expect("claims");
        let clock = Clock::from(hands.clone());
        let token = keys.encode(claims, clock.to_wall(hands.now()) / 1000, 3600, [7; DICE]);
        let engine = Arc::new(Engine::new(config, clock, 1, 0));
        let house = House::of(Hall::new(engine, Some(secrets), |_| String::new()));
        let sessions = house.door.hall.sessions();
        let _ended = sessions.end_everywhere(sessions.user_called("erin"), hands.now());
        // One that is answered in place, and one that hyper reads.
        for line in ["X: 1", "TE: trailers"] {
            let (mut client, _served) = house.enter(4096);
            let check = CHECK.replace("token=t", &format!("token={token}")).replace("Host", &format!("{line}\r\nHost"));
            client.write_all(check.as_bytes()).await.expect("room");
            client.shutdown().await.expect("half a close");
            let answer = rest(&mut client).await;
            assert!(answer.contains("detail=signed-out"), "{answer}");
            assert!(answer.contains("set-cookie: next-auth.session-token=; Max-Age=0"), "{answer}");
        }
    });
}

#[test]
fn an_idle_client_is_let_go_after_its_checks() {
    run(async {
        let house = House::new(String::new);
        loop {
            let (mut client, served) = house.enter(4096);
            let (started, mut longest) = (Instant::now(), Duration::ZERO);
            for _ in 0..3 {
                let slept = Instant::now();
                let _ = client.write_all(CHECK.as_bytes()).await;
                tokio::time::sleep(SHORT / 2).await;
                longest = longest.max(slept.elapsed());
            }
            let answers = rest(&mut client).await;
            served.await.expect("no panic");
            // On a busy machine it may have been idle for too long, and tries again.
            if longest < SHORT * 3 / 4 {
                assert_eq!(statuses(&answers).len(), 3);
                assert!(started.elapsed() >= SHORT * 3 / 2);
                return;
            }
        }
    });
}

#[test]
fn a_client_that_asks_and_asks_but_reads_nothing_is_let_go() {
    run(async {
        let house = House::new(String::new);
        let (mut client, served) = house.enter(2000);
        let asking = async { while client.write_all(CHECK.as_bytes()).await.is_ok() {} };
        asking.await;
        served.await.expect("no panic");
        assert!(rest(&mut client).await.len() <= 2000);
    });
}

#[test]
fn looking_through_the_whole_store_is_done_once_however_often_it_is_asked_for() {
    run(async {
        let house = House::patient(&[]);
        house.put("a1", r#"{"user":{"email":"alice"}}"#);
        let turn = house.door.hall.walk.acquire().await.expect("it is open");
        let mut clients = Vec::new();
        for _ in 0..4 {
            let (mut client, _) = house.enter(4096);
            let request = b"POST /api/auth/signout-everywhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
                Content-Length: 0\r\nCookie: next-auth.session-token=a1\r\n\r\n";
            client.write_all(request).await.expect("room");
            clients.push(client);
        }
        tokio::time::sleep(SHORT).await;
        assert!(house.door.hall.engine.store(0).fetch(b"auth:session:a1").is_some(), "they wait for their turn");
        drop(turn);
        let mut ended = Vec::new();
        for client in &mut clients {
            let answer = rest(client).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            ended.push(answer.contains(r#""sessions":1"#));
        }
        assert_eq!(ended.iter().filter(|one| **one).count(), 1);
    });
}
