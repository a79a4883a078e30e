//! A panic in the middle of a call to the upstream. It is a logger's, so the server is as it always is.

use std::fmt::Debug;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::browser::{Answer, check, cookie, send};
use super::faulty::{Faulty, Mode};
use super::http::{before, metric};

/// Writes nothing, and panics when the session engine warns of this status. All tests of this process have it, and no
/// other meets that status.
struct Faint(u64);

impl Subscriber for Faint {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN && metadata.target().starts_with("cloakroom::session")
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
        event.record(&mut Look(self.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Look(u64);

impl Visit for Look {
    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}

    fn record_u64(&mut self, field: &Field, value: u64) {
        assert!(field.name() != "status" || value != self.0, "in a call to the upstream, as this test wants it");
    }
}

#[test]
fn a_panic_in_a_call_to_the_upstream_is_counted_and_everybody_is_answered_at_once() {
    tracing::subscriber::set_global_default(Faint(599)).expect("no other logger in this process");
    let upstream = Faulty::start();
    let server = before(upstream.addr, &[]);
    upstream.behave(Mode::Broken599);
    upstream.take_your_time(100);
    let cookies = cookie("alice.1");
    let began = Instant::now();
    let ask = |_| send(server.http, "GET", "/api/auth/session", &[("Cookie", cookies.as_str())], "");
    let mut asked: Vec<TcpStream> = (0..8).map(ask).collect();
    for stream in &mut asked {
        let answer = Answer::read(stream);
        assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
        assert!(answer.header("cache-status").contains("detail=abandoned"), "{}", answer.header("cache-status"));
    }
    assert!(began.elapsed() < Duration::from_secs(1), "somebody waited for {:?}", began.elapsed());
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
