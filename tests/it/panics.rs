//! Panics in the middle of a command, a script, a call to the upstream. They are a logger's, so the server is as it always
//! is.

use std::fmt::Debug;
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::browser::{Answer, check, cookie, send};
use super::faulty::{Faulty, Mode};
use super::http::{before, metric};
use super::support::{PATIENCE, Running, until};

/// What a warning must say for the logger to panic.
const FAINT: &str = "the logger faints";

/// A status for which the session engine's warning makes the logger panic.
const FAINT_STATUS: u64 = 599;

/// Writes nothing, and panics at these two. All tests of this process have it, and no other meets either.
struct Faint;

impl Faint {
    /// Makes it the logger, once.
    fn install() {
        static INSTALLED: std::sync::Once = std::sync::Once::new();
        INSTALLED
            .call_once(|| tracing::subscriber::set_global_default(Faint).expect("no other logger in this process"));
    }
}

impl Subscriber for Faint {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let heard = ["cloakroom::session", "cloakroom::command::debug", "script"];
        *metadata.level() == Level::WARN && heard.iter().any(|target| metadata.target().starts_with(target))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Look);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Look;

impl Visit for Look {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let said = format!("{value:?}");
        assert!(field.name() != "message" || !said.contains(FAINT), "in a handler, as this test wants it");
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        assert!(field.name() != "status" || value != FAINT_STATUS, "in a call to the upstream, as this test wants it");
    }
}

#[test]
fn a_panic_in_a_call_to_the_upstream_is_counted_and_everybody_is_answered_at_once() {
    Faint::install();
    let upstream = Faulty::start();
    // Whoever is not told waits for as long as this.
    let server = before(upstream.addr, &[("upstream-timeout", "1m")]);
    upstream.behave(Mode::Broken599);
    upstream.holds.store(true, Ordering::SeqCst);
    let cookies = cookie("alice.1");
    let ask = |_| send(server.http, "GET", "/api/auth/session", &[("Cookie", cookies.as_str())], "");
    let mut asked: Vec<TcpStream> = (0..8).map(ask).collect();
    // A request is looked up in the turn in which it is counted.
    until("all wait for one call", || server.engine.metrics.sums().http_requests == 8);
    let began = Instant::now();
    upstream.holds.store(false, Ordering::SeqCst);
    for stream in &mut asked {
        let answer = Answer::read(stream);
        assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
        assert!(answer.header("cache-status").contains("detail=abandoned"), "{}", answer.header("cache-status"));
    }
    assert!(began.elapsed() < PATIENCE, "somebody waited for {:?}", began.elapsed());
    assert_eq!(upstream.checks(), 1);
    assert_eq!(metric(&server, "panics_total"), 1);

    // The same token, the same workers, and a session.
    upstream.behave(Mode::Good);
    for source in ["nextauth", "cache"] {
        let answer = check(server.http, "alice.1");
        assert!(answer.body.contains("alice"), "{}", answer.body);
        assert_eq!(answer.header("x-session-source"), source);
    }
    assert_eq!(metric(&server, "panics_total"), 1);
}

#[test]
fn a_panic_in_a_command_or_a_script_ends_that_client_and_no_other() {
    Faint::install();
    let server = Running::start(&[("workers", "1"), ("enable-debug-command", "yes")]);
    let mut other = server.client();
    other.send("SET a 1\r\nSUBSCRIBE c\r\n").hears("+OK\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    let script = format!("redis.call('INCR', 'a') redis.log(redis.LOG_WARNING, '{FAINT}') return 1");
    let caught = format!("redis.call('INCR', 'a') return pcall(redis.log, redis.LOG_WARNING, '{FAINT}') and 1 or 0");
    let panics = [
        (format!("DEBUG LOG \"{FAINT}\"\r\n"), "command"),
        (format!("MULTI\r\nINCR a\r\nDEBUG LOG \"{FAINT}\"\r\nINCR a\r\nEXEC\r\n"), "transaction"),
        (format!("EVAL \"{script}\" 0\r\n"), "script"),
        (format!("EVAL \"{caught}\" 0\r\n"), "script that catches"),
    ];
    for (number, (request, what)) in panics.iter().enumerate() {
        let mut client = server.client();
        client.send("SET before 1\r\n").hears("+OK\r\n");
        client.send(request);
        let rest = client.rest();
        assert!(!String::from_utf8_lossy(&rest).contains(":1"), "{what}: {:?}", String::from_utf8_lossy(&rest));
        assert_eq!(metric(&server, "panics_total"), number as u64 + 1, "{what}");
        // The same worker, the same shards, the gate open, the interpreter whole.
        let mut next = server.client();
        next.send("GET before\r\nMULTI\r\nSET b 2\r\nGET b\r\nEXEC\r\nEVAL \"return redis.call('GET', 'b')\" 0\r\n");
        next.hears("$1\r\n1\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n$1\r\n2\r\n$1\r\n2\r\n");
        next.send("PUBLISH c x\r\n").hears(":1\r\n");
        other.hears("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n");
    }
    // Of each what ran before the panic counts: nothing of the first, an INCR of each of the others.
    server.client().send("GET a\r\n").hears("$1\r\n4\r\n");
    until("one is listed", || server.engine.clients.len() <= 1);
}
