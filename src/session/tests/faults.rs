//! What goes wrong between asker, source and store, and that nobody is stuck for it and no token is shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use parking_lot::Mutex;

use super::*;

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn every_failure_has_its_status_and_says_so() {
    for (failure, status) in [
        (Failure::Refused, 503),
        (Failure::Timeout, 504),
        (Failure::Reset, 502),
        (Failure::TooLarge, 502),
        (Failure::Malformed, 502),
    ] {
        let desk = Desk::upstream();
        let fill = desk.miss(&cookie("t1"));
        let answer = desk.fail(fill, failure);
        assert_eq!((answer.status, answer.origin), (status, Origin::Failure));
        assert!(answer.cache_status().ends_with(failure.word()));
        assert!(answer.header("retry-after").is_some());
        assert_eq!(desk.keys(), 0);
    }
}

#[test]
fn a_body_larger_than_a_session_is_passed_on_and_not_stored() {
    let desk = Desk::upstream();
    let large = format!(r#"{{"user":{{"name":"alice"}},"blob":"{}"}}"#, "x".repeat(64 * 1024));
    let answer = desk.fill(&cookie("t1"), SourceAnswer::new(200, large.clone()));
    assert_eq!(answer.body, large);
    assert_eq!(desk.keys(), 0);
    desk.redis_set("t1", &large, Ttl::seconds(5)).unwrap();
    assert_eq!(user(&desk.hit(&cookie("t1"))), None);
}

#[test]
fn a_panic_at_any_step_of_a_calls_end_answers_who_waits() {
    for step in 0.. {
        let desk = Desk::upstream();
        let fill = desk.miss(&cookie("t1"));
        let (bell, wait) = (Arc::new(Bell::default()), desk.joins(&cookie("t1")));
        let waker = Waker::from(bell.clone());
        assert!(desk.sessions.poll_wait(&wait, &waker, desk.now()).is_pending());
        let (steps, passed) = (&desk.sessions.core.steps, AtomicUsize::new(0));
        steps.set(Some(Arc::new(move || assert_ne!(passed.fetch_add(1, Ordering::Relaxed), step, "as wanted"))));
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| desk.complete(fill, told("alice"))));
        steps.set(None);
        assert_eq!(bell.0.load(Ordering::Relaxed), 1, "nobody was woken after a panic at step {step}");
        let shared = desk.shared(&wait).unwrap();
        if ended.is_ok() {
            assert!(step >= 5, "only {step} steps");
            break;
        }
        assert!(shared.cache_status().ends_with("abandoned") || user(&shared).as_deref() == Some("alice"));
        // And the next one asks, or finds what was stored.
        match desk.check(&cookie("t1")) {
            LookUp::Answer(answer) => assert_eq!(user(&answer).as_deref(), Some("alice")),
            LookUp::Fill(fill) => drop(desk.complete(fill, told("alice"))),
            other => panic!("after a panic at step {step}: {other:?}"),
        }
    }
}

#[test]
fn a_wall_clock_that_is_set_ends_no_session_early_and_brings_none_back() {
    const HOUR: i64 = 3_600_000;
    let half_an_hour = r#"{"user":{"name":"alice"},"expires":"2023-11-14T22:43:20.000Z"}"#;
    for jump in [-HOUR, HOUR] {
        let desk = Desk::upstream();
        desk.fill(&cookie("t1"), SourceAnswer::new(200, half_an_hour));
        desk.clock.set_wall_offset(jump);
        desk.wait(Ttl(4_999));
        assert_eq!(user(&desk.hit(&cookie("t1"))).as_deref(), Some("alice"));
        // A new answer's end is meant by the new clock: an hour on, that session is over.
        desk.wait(Ttl(1));
        desk.fill(&cookie("t1"), SourceAnswer::new(200, half_an_hour));
        assert_eq!(matches!(desk.check(&cookie("t1")), LookUp::Answer(_)), jump < 0);

        desk.sign_out(&cookie("t1"), Some(&deletes()));
        for jump in [jump, 0, -jump] {
            desk.clock.set_wall_offset(jump);
            assert_eq!(desk.hit(&cookie("t1")).origin, Origin::Fence);
        }
        desk.wait(Ttl::seconds(25 * 60));
        assert_eq!(desk.hit(&cookie("t1")).origin, Origin::Fence);
    }
}

#[test]
fn an_asker_that_leaves_answers_who_waits() {
    let desk = Desk::upstream();
    let fill = desk.miss(&cookie("t1"));
    let wait = desk.joins(&cookie("t1"));
    drop(fill);
    let answer = desk.shared(&wait).unwrap();
    assert_eq!((answer.status, answer.cache_status()), (503, "cloakroom; fwd=miss; detail=abandoned"));
    // And the next one asks.
    desk.fill(&cookie("t1"), told("alice"));
}

#[test]
fn who_waits_is_woken_once_at_the_end_and_asked_for_nothing_before() {
    let desk = Desk::upstream();
    let fill = desk.miss(&cookie("t1"));
    let wait = desk.joins(&cookie("t1"));
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    for _ in 0..3 {
        assert!(desk.sessions.poll_wait(&wait, &waker, desk.now()).is_pending());
    }
    desk.complete(fill, told("alice"));
    assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    assert!(desk.sessions.poll_wait(&wait, &waker, desk.now()).is_ready());
}

#[test]
fn who_can_wait_no_longer_is_answered_as_after_a_timeout() {
    let desk = Desk::upstream();
    desk.fill(&cookie("t1"), told("alice"));
    desk.wait(Ttl::seconds(5));
    let fill = desk.miss(&cookie("t1"));
    let wait = desk.joins(&cookie("t1"));
    assert_eq!(desk.sessions.give_up(wait, desk.now()).origin, Origin::Stale);
    desk.complete(fill, told("alice"));
}

#[test]
fn a_flush_in_the_middle_costs_a_call_and_keeps_fences() {
    let desk = Desk::upstream();
    desk.sign_out(&cookie("gone"), Some(&deletes()));
    desk.fill(&cookie("t1"), signed_in("alice", "t2"));
    desk.answers.clear();
    let fill = desk.miss(&cookie("t2"));
    desk.answers.clear();
    desk.complete(fill, signed_in("alice", "t3"));
    assert_eq!(user(&desk.hit(&cookie("t1"))).as_deref(), Some("alice"));
    desk.answers.clear();
    assert_eq!(desk.hit(&cookie("gone")).origin, Origin::Fence);
    desk.families.clear();
    let fill = desk.miss(&cookie("t1"));
    desk.complete(fill, signed_in("alice", "t4"));
    desk.hit(&cookie("t4"));
}

#[test]
fn what_was_averted_while_the_source_limits_is_counted() {
    let desk = Desk::upstream();
    desk.fill(&cookie("a"), told("alice"));
    desk.hit(&cookie("a"));
    assert_eq!(desk.count("limited_averted"), 0);
    desk.fill(&cookie("b"), SourceAnswer::new(429, ""));
    desk.hit(&cookie("a"));
    desk.hit("");
    assert_eq!(desk.count("limited_averted"), 2);
    desk.fill(&cookie("b"), told("bob"));
    desk.hit(&cookie("a"));
    assert_eq!((desk.count("limited"), desk.count("limited_averted"), desk.count("hits")), (1, 2, 3));
}

#[test]
fn what_dies_is_reclaimed_and_the_sizes_stay_right() {
    let desk = Desk::upstream();
    for at in 0..200 {
        let token = format!("t{at}");
        desk.fill(&cookie(&token), signed_in("alice", &format!("{token}-next")));
        if at % 3 == 0 {
            desk.sign_out(&cookie(&token), None);
        }
    }
    Store::validate(&[desk.answers.clone(), desk.families.clone()]);
    desk.wait(Ttl::seconds(31 * 24 * 3600));
    for store in [&desk.answers, &desk.families] {
        store.sweep_now();
        assert_eq!((store.len(), store.count().1), (0, 0));
    }
    Store::validate(&[desk.answers.clone(), desk.families.clone()]);
}

#[test]
fn no_token_is_shown_by_names_or_debug_texts() {
    let desk = Desk::upstream();
    let fill = desk.miss(&cookie("canary-1"));
    let wait = desk.joins(&cookie("canary-1"));
    let shown = format!("{fill:?} {wait:?} {:?} {:?}", desk.tokens(&cookie("canary-1")), desk.sessions);
    desk.complete(fill, signed_in("alice", "canary-2"));
    let sign_out = desk.sessions.begin_sign_out(&desk.tokens(&cookie("canary-2")), desk.now());
    let shown = format!("{shown} {sign_out:?}");
    assert!(!shown.contains("canary"), "{shown}");
    desk.sessions.end_sign_out(sign_out, Some(&SourceAnswer::new(200, "")), desk.now());
    let key = desk.answers.secret_name(b"auth:session:", b"canary-2");
    assert!(!key.windows(6).any(|part| part == b"canary"));
}

/// Writes down every event, fields and all.
struct Scribe(Mutex<Vec<String>>);

impl tracing::Subscriber for Scribe {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn event(&self, event: &tracing::Event<'_>) {
        struct Line(String);
        impl tracing::field::Visit for Line {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0 += &format!("{field}={value:?};");
            }
        }
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().push(line.0);
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn logs_say_the_four_messages_and_never_a_token() {
    let scribe = Arc::new(Scribe(Mutex::default()));
    // With a single subscriber tracing lets whichever thread comes first decide whether a message is of interest.
    let _second = tracing::Dispatch::new(Scribe(Mutex::default()));
    tracing::subscriber::with_default(scribe.clone(), || {
        let desk = Desk::upstream();
        desk.fill(&cookie("canary-1"), signed_in("alice", "canary-2"));
        desk.hit(&cookie("canary-2"));
        desk.sessions.clear(&desk.tokens(&cookie("canary-2")), desk.now());
        desk.fill(&cookie("canary-2"), SourceAnswer::new(500, ""));
        let fill = desk.miss(&cookie("canary-2"));
        desk.fail(fill, Failure::Reset);
        desk.sign_out(&cookie("canary-2"), Some(&deletes()));
    });
    let lines = scribe.0.lock().clone();
    for message in [
        "Session API - Cache hit",
        "Session API - Cache miss, generated session",
        "Session cache set",
        "Session cache cleared",
    ] {
        let said = format!("message={message};");
        assert!(lines.iter().any(|line| line.contains(&said) && line.contains("session=~")), "{message}: {lines:?}");
    }
    assert!(!lines.concat().contains("canary"), "{lines:?}");
}

#[test]
fn a_source_that_fails_is_let_alone_while_the_last_good_answer_stands_in() {
    let after = |seconds: &'static str| SourceAnswer::new(429, "slow down").with("retry-after", seconds);
    let slow = |desk: &Desk, fill| {
        desk.wait(Ttl::seconds(2));
        desk.fail(fill, Failure::Timeout)
    };
    type Fails<'f> = (&'f dyn Fn(&Desk, Fill) -> Answer, u64, &'static str);
    let fails: [Fails<'_>; 5] = [
        (&|desk, fill| desk.complete(fill, after("9")), 9_000, "429"),
        (&|desk, fill| desk.complete(fill, after("Fri, 27 Nov 2026 08:00:00 GMT")), 1_000, "429"),
        (&|desk, fill| desk.complete(fill, SourceAnswer::new(500, "oh")), 1_000, "500"),
        (&|desk, fill| desk.fail(fill, Failure::Refused), 1_000, "refused"),
        (&slow, 2_000, "timeout"),
    ];
    for (fail, pause, why) in fails {
        let desk = Desk::upstream();
        desk.fill(&cookie("t1"), signed_in("alice", "t2"));
        desk.wait(Ttl::seconds(5));
        let fill = desk.miss(&cookie("t2"));
        assert_eq!(fail(&desk, fill).origin, Origin::Stale);
        for token in ["t2", "t1"] {
            let answer = desk.hit(&cookie(token));
            assert_eq!((user(&answer).as_deref(), answer.origin), (Some("alice"), Origin::Stale), "{why}");
            assert!(answer.cache_status().starts_with(&format!("cloakroom; hit; detail={why}; ttl=-")), "{why}");
        }
        // Nobody else is concerned, and neither is a sign-out.
        let _others = desk.miss(&cookie("u1"));
        desk.wait(Ttl(pause - 1));
        assert_eq!(desk.hit(&cookie("t2")).origin, Origin::Stale, "{why}");
        desk.wait(Ttl(1));
        let fill = desk.miss(&cookie("t2"));
        assert_eq!(fail(&desk, fill).origin, Origin::Stale);
        desk.sign_out(&cookie("t2"), None);
        assert_eq!(desk.hit(&cookie("t2")).origin, Origin::Fence, "{why}");
    }
    // An update has it asked, and so has a bound that is over.
    let desk = Desk::upstream();
    desk.fill(&cookie("t1"), told("alice"));
    desk.wait(Ttl::seconds(5));
    desk.fill(&cookie("t1"), after("600"));
    desk.sessions.invalidate(&desk.tokens(&cookie("t1")), desk.now());
    desk.fill(&cookie("t1"), told("alice"));
    desk.wait(Ttl::seconds(5));
    desk.fill(&cookie("t1"), after("600"));
    desk.wait(Ttl::seconds(29));
    assert_eq!(desk.hit(&cookie("t1")).origin, Origin::Stale);
    desk.wait(Ttl::seconds(1));
    let _asks = desk.miss(&cookie("t1"));
}
