//! The rules of the cache about updates and sign-outs, one by one.

use super::*;

#[test]
fn rule_12_an_update_drops_the_family_before_and_after() {
    let desk = Desk::upstream();
    desk.fill(&cookie("t1"), signed_in("alice", "t2"));
    let tokens = desk.tokens(&cookie("t2"));
    assert_eq!(desk.sessions.admit(&tokens, Passage::Update, desk.now()), None);
    let early = desk.miss(&cookie("t2"));
    let source = SourceAnswer::new(200, body("renamed")).with("set-cookie", rolled_to("t3"));
    let answer = desk.sessions.passed(&tokens, Passage::Update, Outcome::Answered(source.clone()), desk.now());
    assert_eq!((answer.status, &answer.body, set_cookies(&answer)), (200, &source.body, vec![&rolled_to("t3")[..]]));
    // What began before the update is neither stored nor takes the new cookie away.
    let late = desk.complete(early, signed_in("alice", "t2b"));
    assert_eq!(set_cookies(&late), [rolled_to("t3")]);
    // A token from before asks for itself, and what it is told is not shared with the new one.
    let behind = desk.miss(&cookie("t1"));
    let fill = desk.miss(&cookie("t3"));
    assert_eq!(set_cookies(&desk.complete(behind, signed_in("alice", "t1b"))), [rolled_to("t3")]);
    desk.complete(fill, signed_in("renamed", "t4"));
    for token in ["t1", "t2", "t3", "t4"] {
        assert_eq!(user(&desk.hit(&cookie(token))).as_deref(), Some("renamed"), "{token}");
    }
}

#[test]
fn rule_12_an_update_that_was_refused_costs_a_call() {
    let desk = Desk::upstream();
    desk.fill(&cookie("t1"), signed_in("alice", "t2"));
    let tokens = desk.tokens(&cookie("t2"));
    desk.sessions.admit(&tokens, Passage::Update, desk.now());
    let outcome = Outcome::Answered(SourceAnswer::new(400, "bad csrf"));
    assert_eq!(desk.sessions.passed(&tokens, Passage::Update, outcome, desk.now()).status, 400);
    desk.fill(&cookie("t2"), signed_in("alice", "t3"));
    assert_eq!(set_cookies(&desk.hit(&cookie("t1"))), [rolled_to("t3")]);
}

#[test]
fn rule_13_clearing_forgets_the_answer_and_fences_nothing() {
    let desk = Desk::upstream();
    desk.fill(&cookie("t1"), signed_in("alice", "t2"));
    let answer = desk.sessions.clear(&desk.tokens(&cookie("t2")), desk.now());
    assert_eq!((answer.status, &answer.body[..]), (200, &br#"{"success":true}"#[..]));
    assert_eq!(desk.keys(), 0);
    desk.fill(&cookie("t2"), signed_in("alice", "t3"));
    desk.hit(&cookie("t3"));
}

#[test]
fn rule_13_with_the_store_alone_clearing_is_the_sign_out() {
    let desk = Desk::alone();
    desk.redis_set("t1", &body("alice"), Ttl::seconds(60)).unwrap();
    desk.sessions.clear(&desk.tokens(&cookie("t1")), desk.now());
    assert_eq!(desk.hit(&cookie("t1")).origin, Origin::Fence);
    assert!(desk.redis_set("t1", &body("alice"), Ttl::seconds(60)).is_err());
}

#[test]
fn rule_14_a_check_that_began_before_a_sign_out_shows_nobody() {
    let desk = Desk::upstream();
    let fill = desk.miss(&cookie("t1"));
    let wait = desk.joins(&cookie("t1"));
    assert_eq!(desk.sign_out(&cookie("t1"), Some(&deletes())), Ended::SignedOut);
    let answer = desk.complete(fill, signed_in("alice", "t2").with("set-cookie", "next-auth.csrf-token=x"));
    for answer in [answer, desk.shared(&wait).unwrap(), desk.hit(&cookie("t1"))] {
        assert_eq!((answer.status, &answer.body[..], answer.origin), (200, &b"{}"[..], Origin::Fence));
        assert!(set_cookies(&answer).is_empty());
    }
    assert_eq!((desk.keys(), desk.count("sign_outs")), (0, 1));
}

#[test]
fn rule_14_an_answer_that_is_there_but_not_yet_taken_is_not_shown_after_a_sign_out() {
    let desk = Desk::upstream();
    let fill = desk.miss(&cookie("t1"));
    let wait = desk.joins(&cookie("t1"));
    desk.complete(fill, signed_in("alice", "t2"));
    desk.sign_out(&cookie("t1"), Some(&deletes()));
    assert_eq!(desk.shared(&wait).unwrap().origin, Origin::Fence);
}

#[test]
fn rule_14_every_token_of_the_family_is_signed_out() {
    let desk = Desk::upstream();
    desk.fill(&cookie("t1"), signed_in("alice", "t2"));
    desk.wait(Ttl::seconds(5));
    desk.fill(&cookie("t2"), signed_in("alice", "t3"));
    desk.sign_out(&cookie("t2"), Some(&deletes()));
    for token in ["t1", "t2", "t3"] {
        assert_eq!(desk.hit(&cookie(token)).origin, Origin::Fence, "{token}");
    }
}

#[test]
fn rule_14_what_passes_by_is_signed_out_too() {
    let desk = Desk::upstream();
    let tokens = desk.tokens(&cookie("t1"));
    for passage in [Passage::Check, Passage::Update] {
        assert_eq!(desk.sessions.admit(&tokens, passage, desk.now()), None);
    }
    desk.sign_out(&cookie("t1"), Some(&deletes()));
    let outcome = || Outcome::Answered(signed_in("alice", "t2"));
    for passage in [Passage::Check, Passage::Update] {
        assert_eq!(desk.sessions.passed(&tokens, passage, outcome(), desk.now()).origin, Origin::Fence);
        assert_eq!(desk.sessions.admit(&tokens, passage, desk.now()).unwrap().origin, Origin::Fence);
    }
    let page = desk.sessions.observe(&tokens, Passage::Page, 200, &signed_in("alice", "t2").headers, desk.now());
    assert_eq!(page, Observed::SignedOut);
    assert!(desk.sessions.is_session_cookie(rolled_to("t2").as_bytes()));
    // But signing in is possible with a dead cookie in the jar.
    assert_eq!(desk.sessions.admit(&tokens, Passage::SignIn, desk.now()), None);
    let callback = desk.sessions.observe(&tokens, Passage::SignIn, 200, &signed_in("alice", "n1").headers, desk.now());
    assert_eq!(callback, Observed::Untouched);
    desk.fill(&cookie("n1"), signed_in("alice", "n2"));
}

#[test]
fn rule_14_a_page_that_deletes_the_session_cookie_is_a_sign_out() {
    // As a server action does it, a route of the application's own, and each way to delete a cookie.
    let ways = ["=; Path=/; Max-Age=0", "=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "=gone; Max-Age=0"];
    for (way, passage) in ways.into_iter().flat_map(|way| [(way, Passage::Page), (way, Passage::SignIn)]) {
        let desk = Desk::upstream();
        desk.fill(&cookie("t1"), signed_in("alice", "t2"));
        desk.wait(Ttl::seconds(6));
        let late = desk.miss(&cookie("t2"));
        let line = format!("next-auth.session-token{way}; HttpOnly; SameSite=Lax");
        let page = SourceAnswer::new(303, "").with("set-cookie", line).with("location", "/");
        let tokens = desk.tokens(&cookie("t2"));
        let seen = desk.sessions.observe(&tokens, passage, page.status, &page.headers, desk.now());
        assert_eq!((seen, desk.count("sign_outs")), (Observed::Ended, 1), "{way} {passage:?}");
        for token in ["t1", "t2"] {
            assert_eq!(desk.hit(&cookie(token)).origin, Origin::Fence, "{token} {way} {passage:?}");
        }
        // What began before it brings nothing back.
        assert_eq!(desk.complete(late, signed_in("alice", "t3")).origin, Origin::Fence);
        // Nor does anything else, for as long as a session may last.
        desk.wait(Ttl::seconds(29 * 24 * 60 * 60));
        assert_eq!(desk.hit(&cookie("t2")).origin, Origin::Fence);
    }
}

#[test]
fn rule_14_what_deletes_less_than_the_session_is_no_sign_out() {
    use Passage::{Check, Page, SignIn, Update};
    let gone = |name: &str| format!("{name}=; Path=/; Max-Age=0");
    let (plain, secure) = ("next-auth.session-token", "__Secure-next-auth.session-token");
    let chunks = format!("{plain}.0=ab; {plain}.1=cd; {plain}.2=ef");
    let set = |name: &str| format!("{name}=new; Path=/");
    let chunk = |number: usize| format!("{plain}.{number}");
    let (one, nobody) = (cookie("t1"), String::new());
    for (what, passage, status, sent, lines) in [
        ("a check of a back-end in trouble", Check, 200, &one, vec![gone(plain)]),
        ("an update of one", Update, 200, &one, vec![gone(plain)]),
        ("a failure", Page, 500, &one, vec![gone(plain)]),
        ("a limit", SignIn, 429, &one, vec![gone(plain)]),
        ("a chunk that is no longer needed", Page, 200, &chunks, vec![set(&chunk(0)), set(&chunk(1)), gone(&chunk(2))]),
        ("one chunk alone", Page, 200, &chunks, vec![gone(&chunk(2))]),
        (
            "a whole token in place of chunks",
            Page,
            200,
            &chunks,
            vec![set(plain), gone(&chunk(0)), gone(&chunk(1)), gone(&chunk(2))],
        ),
        ("a cookie that was not sent", Page, 200, &one, vec![gone(secure)]),
        ("nobody's cookie", Page, 200, &nobody, vec![gone(plain)]),
        ("another cookie", Page, 200, &one, vec![gone("theme")]),
        ("a new token behind a deletion", Page, 200, &one, vec![gone(plain), set(plain)]),
    ] {
        let desk = Desk::upstream();
        let headers: Vec<_> = lines.into_iter().map(|line| ("set-cookie".into(), line.into())).collect();
        let seen = desk.sessions.observe(&desk.tokens(sent), passage, status, &headers, desk.now());
        assert_eq!((seen, desk.count("sign_outs")), (Observed::Untouched, 0), "{what}");
        if !sent.is_empty() {
            desk.fill(sent, told("alice"));
        }
    }
    // All chunks are the session.
    let desk = Desk::upstream();
    desk.fill(&chunks, told("alice"));
    let headers: Vec<_> = (0..3).map(|number| ("set-cookie".into(), gone(&chunk(number)).into())).collect();
    assert_eq!(desk.sessions.observe(&desk.tokens(&chunks), Page, 200, &headers, desk.now()), Observed::Ended);
    assert_eq!(desk.hit(&chunks).origin, Origin::Fence);
}

#[test]
fn rule_14_of_two_cookies_the_one_that_is_deleted_is_signed_out() {
    let (plain, secure) = (cookie("t1"), "__Secure-next-auth.session-token=t2");
    let both = format!("{plain}; {secure}");
    let observe = |desk: &Desk, name: &str| {
        let headers = [("set-cookie".into(), format!("{name}=; Max-Age=0").into())];
        desk.sessions.observe(&desk.tokens(&both), Passage::Page, 200, &headers, desk.now())
    };
    // The source reads the secure one, and an old plain one is cleared away: nobody is signed out by that.
    let desk = Desk::upstream();
    desk.fill(&both, told("alice").with("set-cookie", format!("{secure}; Path=/; Secure")));
    assert_eq!(observe(&desk, "next-auth.session-token"), Observed::Ended);
    assert_eq!(user(&desk.fill(secure, told("alice"))).as_deref(), Some("alice"));
    assert_eq!(desk.hit(&plain).origin, Origin::Fence);
    // The other way round it is a sign-out, with both in the jar too.
    let desk = Desk::upstream();
    desk.fill(&both, told("alice").with("set-cookie", format!("{secure}; Path=/; Secure")));
    assert_eq!(observe(&desk, "__Secure-next-auth.session-token"), Observed::Ended);
    assert_eq!(desk.hit(secure).origin, Origin::Fence);
    assert_eq!(desk.hit(&both).origin, Origin::Fence);
    desk.fill(&plain, told("bob"));
}

#[test]
fn rule_14_a_refused_sign_out_lifts_the_fence() {
    let desk = Desk::upstream();
    desk.fill(&cookie("t1"), signed_in("alice", "t2"));
    let refused = SourceAnswer::new(200, r#"{"url":"/api/auth/signout?csrf=true"}"#);
    assert_eq!(desk.sign_out(&cookie("t2"), Some(&refused)), Ended::Refused);
    // And the family is one again.
    desk.fill(&cookie("t2"), signed_in("alice", "t3"));
    assert_eq!(set_cookies(&desk.hit(&cookie("t1"))), [rolled_to("t3")]);
    desk.sign_out(&cookie("t3"), Some(&deletes()));
    assert_eq!(desk.hit(&cookie("t1")).origin, Origin::Fence);
}

#[test]
fn rule_14_two_refused_sign_outs_at_once_leave_the_family_one() {
    let desk = Desk::upstream();
    desk.fill(&cookie("t1"), signed_in("alice", "t2"));
    let begin = || desk.sessions.begin_sign_out(&desk.tokens(&cookie("t2")), desk.now());
    for sign_out in [begin(), begin()] {
        let refused = SourceAnswer::new(200, "{}");
        assert_eq!(desk.sessions.end_sign_out(sign_out, Some(&refused), desk.now()), Ended::Refused);
    }
    desk.fill(&cookie("t2"), signed_in("alice", "t3"));
    assert_eq!(set_cookies(&desk.hit(&cookie("t1"))), [rolled_to("t3")]);
}

#[test]
fn rule_14_a_refused_sign_out_lifts_nobody_elses_fence() {
    let refused = SourceAnswer::new(200, "{}");
    let desk = Desk::upstream();
    desk.sign_out(&cookie("t1"), Some(&deletes()));
    desk.sign_out(&cookie("t1"), Some(&refused));
    assert_eq!(desk.hit(&cookie("t1")).origin, Origin::Fence);

    desk.redis_del("t2");
    desk.wait(Ttl::seconds(1));
    desk.sign_out(&cookie("t2"), Some(&refused));
    assert_eq!(desk.hit(&cookie("t2")).origin, Origin::Fence);

    // One that is under way beside the refused one still ends what it was begun for.
    let tokens = desk.tokens(&cookie("t3"));
    let first = desk.sessions.begin_sign_out(&tokens, desk.now());
    desk.sign_out(&cookie("t3"), Some(&refused));
    let between = desk.check(&cookie("t3"));
    desk.sessions.end_sign_out(first, Some(&deletes()), desk.now());
    if let LookUp::Fill(fill) = between {
        assert_eq!(desk.complete(fill, signed_in("alice", "t4")).origin, Origin::Fence);
    }
    assert_eq!(desk.hit(&cookie("t3")).origin, Origin::Fence);
}

#[test]
fn rule_14_a_sign_out_works_while_the_source_is_down() {
    for answer in [None, Some(SourceAnswer::new(503, "")), Some(SourceAnswer::new(429, ""))] {
        let desk = Desk::upstream();
        assert_eq!(desk.sign_out(&cookie("t1"), answer.as_ref()), Ended::SignedOut);
        assert_eq!(desk.hit(&cookie("t1")).origin, Origin::Fence);
    }
    let desk = Desk::upstream();
    drop(desk.sessions.begin_sign_out(&desk.tokens(&cookie("t1")), desk.now()));
    assert_eq!(desk.hit(&cookie("t1")).origin, Origin::Fence);
}

#[test]
fn rule_15_a_fence_outlasts_the_longest_call_and_what_is_stored_from_it() {
    let settings =
        Settings { source: Source::Upstream, revoke: false, profile: Some(Profile::NextAuth), ..Settings::default() };
    assert!(settings.fence().0 > settings.timeout.0 + settings.ttl.0);
    assert!(settings.fence().0 > settings.ttl.0 + settings.stale.0);
    let desk = Desk::with(settings.clone());
    let fill = desk.miss(&cookie("t1"));
    desk.sign_out(&cookie("t1"), Some(&deletes()));
    desk.wait(settings.fence());
    // A call that lasted even longer is not believed.
    assert_eq!(user(&desk.complete(fill, signed_in("alice", "t2"))), None);
    // Then the source is asked again: without `revoke` it has the last word.
    desk.fill(&cookie("t1"), signed_in("alice", "t2"));
}

/// In front of next-auth 4, with sessions that last so long.
fn lasting(max_age: Ttl) -> Desk {
    let settings =
        Settings { source: Source::Upstream, max_age, profile: Some(Profile::NextAuth), ..Settings::default() };
    Desk::with(settings)
}

const DAY: Ttl = Ttl::seconds(24 * 60 * 60);

#[test]
fn rule_15_with_revoke_a_token_is_dead_until_its_session_would_have_ended() {
    // The app's sessions last longer than the setting says.
    let desk = lasting(Ttl::seconds(3600));
    desk.fill(&cookie("t1"), signed_in("alice", "t2"));
    desk.wait(Ttl::seconds(5));
    desk.fill(&cookie("t2"), signed_in("alice", "t3"));
    desk.sign_out(&cookie("t3"), Some(&deletes()));
    // NextAuth takes a token for 15 seconds more than it says.
    desk.wait(Ttl(DAY.0 - 5_000 + 16_000));
    for token in ["t1", "t2", "t3"] {
        assert_eq!(desk.hit(&cookie(token)).origin, Origin::Fence, "{token}");
    }
    desk.wait(Ttl::seconds(60));
    let _asks = desk.miss(&cookie("t1"));
}

#[test]
fn rule_15_a_token_whose_end_is_unknown_is_dead_as_long_as_a_session_can_last() {
    for (seen, sweeps) in [(false, false), (true, false), (false, true), (true, true)] {
        let desk = Desk::upstream();
        if seen {
            desk.fill(&cookie("t1"), signed_in("alice", ""));
            // Neither the answer nor the family is known any more.
            desk.wait(Ttl::seconds(600));
        }
        desk.sign_out(&cookie("t1"), Some(&deletes()));
        for day in 0..30 {
            desk.wait(DAY);
            if sweeps {
                desk.answers.sweep_now();
                desk.families.sweep_now();
            }
            assert_eq!(desk.hit(&cookie("t1")).origin, Origin::Fence, "day {day}, seen {seen}");
            assert_eq!(desk.redis_set("t1", &body("alice"), Ttl::seconds(5)), Err(crate::error::Error::Fenced));
        }
        desk.wait(Ttl::seconds(61));
        let _asks = desk.miss(&cookie("t1"));
    }
}

#[test]
fn rule_15_a_token_that_was_made_after_the_last_answer_outlives_its_end() {
    let desk = lasting(DAY);
    desk.fill(&cookie("t1"), signed_in("alice", ""));
    desk.wait(Ttl::seconds(50));
    // A page rolls the session, and does not say until when.
    let page = signed_in("alice", "t2");
    desk.sessions.observe(&desk.tokens(&cookie("t1")), Passage::Page, 200, &page.headers, desk.now());
    desk.sign_out(&cookie("t2"), Some(&deletes()));
    desk.wait(DAY);
    for token in ["t1", "t2"] {
        assert_eq!(desk.hit(&cookie(token)).origin, Origin::Fence, "{token}");
    }
}

#[test]
fn rule_15_every_token_of_a_minute_is_dead_however_many_they_were() {
    let settings = Settings {
        source: Source::Upstream,
        ttl: Ttl(100),
        max_age: DAY,
        profile: Some(Profile::NextAuth),
        ..Settings::default()
    };
    let desk = Desk::with(settings);
    for at in 0..300 {
        desk.fill(&cookie(&format!("t{at}")), signed_in("alice", &format!("t{}", at + 1)));
        desk.wait(Ttl(150));
    }
    desk.sign_out(&cookie("t300"), Some(&deletes()));
    desk.wait(Ttl::seconds(62));
    for at in 0..=300 {
        assert_eq!(desk.hit(&cookie(&format!("t{at}"))).origin, Origin::Fence, "t{at}");
    }
}

#[test]
fn rule_15_a_new_sign_in_is_none_of_a_lasting_fences_business() {
    let desk = Desk::upstream();
    desk.fill(&cookie("t1"), signed_in("alice", "t2"));
    desk.sign_out(&cookie("t2"), Some(&deletes()));
    desk.sign_out(&cookie("stranger"), Some(&deletes()));
    for old in ["t1", "t2", "stranger"] {
        desk.wait(Ttl::seconds(100));
        let (first, next) = (format!("{old}-n1"), format!("{old}-n2"));
        // A browser that has kept its dead cookie signs in with it.
        assert_eq!(desk.sessions.admit(&desk.tokens(&cookie(old)), Passage::SignIn, desk.now()), None);
        let callback = signed_in("alice", &first);
        let seen =
            desk.sessions.observe(&desk.tokens(&cookie(old)), Passage::SignIn, 200, &callback.headers, desk.now());
        assert_eq!(seen, Observed::Untouched);
        assert_eq!(user(&desk.fill(&cookie(&first), signed_in("alice", &next))).as_deref(), Some("alice"));
        assert_eq!(user(&desk.hit(&cookie(&next))).as_deref(), Some("alice"));
        assert_eq!(desk.hit(&cookie(old)).origin, Origin::Fence);
        // Nor may a source that hands out a dead token bring it back by a family that lives.
        desk.wait(Ttl::seconds(5));
        desk.fill(&cookie(&next), signed_in("alice", old));
        assert_eq!(desk.hit(&cookie(old)).origin, Origin::Fence);
    }
}

#[test]
fn rule_15_made_up_tokens_take_their_share_of_memory_and_no_more() {
    let settings = Settings { fences_room: 100_000, ..lasting(DAY).sessions.settings().as_ref().clone() };
    let (desk, short) = (Desk::with(settings.clone()), settings.fence());
    for number in 0..5_000 {
        desk.sign_out(&cookie(&format!("made-up-{number}")), Some(&deletes()));
    }
    let forgotten = desk.count("sign_outs_forgotten");
    let kept = 5_000 - forgotten as usize;
    let room = settings.fences_room / crate::session::signout::FENCE_BYTES;
    assert!((room..=room + 2).contains(&kept), "{forgotten}");
    // Who was seen here is signed out for good all the same.
    desk.fill(&cookie("t1"), signed_in("alice", "t2"));
    desk.sign_out(&cookie("t2"), Some(&deletes()));
    desk.wait(short);
    desk.answers.sweep_now();
    desk.families.sweep_now();
    for token in ["t1", "t2", "made-up-0"] {
        assert_eq!(desk.hit(&cookie(token)).origin, Origin::Fence, "{token}");
    }
    let _asks = desk.miss(&cookie("made-up-4999"));
    assert_eq!(desk.answers.hidden(), 5_000 - forgotten as usize + 2);
}

#[test]
fn rule_15_what_a_sign_out_leaves_behind_is_a_fence_and_without_revoke_nothing() {
    const PEOPLE: usize = 1_000;
    for revoke in [true, false] {
        let desk = Desk::with(Settings { revoke, ..lasting(DAY).sessions.settings().as_ref().clone() });
        let mut samples = Vec::new();
        for round in 0..3 {
            for number in 0..PEOPLE {
                let [first, second] = [1, 2].map(|roll| format!("user{round}x{number}.{roll}"));
                desk.fill(&cookie(&first), signed_in("alice", &second));
                desk.sign_out(&cookie(&second), Some(&deletes()));
            }
            // Short fences, and the records of families.
            desk.wait(Ttl::seconds(61));
            desk.answers.sweep_now();
            desk.families.sweep_now();
            samples.push(desk.answers.used_memory());
            assert_eq!(desk.answers.hidden(), if revoke { 2 * PEOPLE * (round + 1) } else { 0 });
            assert_eq!(desk.families.count(), (0, 0));
        }
        assert!(revoke || samples[2] <= samples[0] + samples[0] / 10, "{samples:?}");
    }
}

#[test]
fn rule_15_a_fence_is_as_large_as_it_is_taken_for() {
    const FENCES: usize = 100_000;
    let (desk, until) = (Desk::upstream(), Ttl::seconds(30 * 86_400));
    let before = desk.answers.used_memory();
    for number in 0..FENCES {
        desk.answers.fence(format!("auth:session:{number}").as_bytes(), 1, desk.now() + until, desk.now());
    }
    let each = (desk.answers.used_memory() - before) / FENCES;
    println!("{each} bytes a fence");
    assert!(
        (crate::session::signout::FENCE_BYTES * 3 / 4..=crate::session::signout::FENCE_BYTES).contains(&each),
        "{each}"
    );
}

#[test]
fn rule_15_the_five_steps_of_a_logout_button_end_every_token_of_the_login() {
    let desk = Desk::upstream();
    // Signed in: the callback hands out t0, two checks with a pause between them roll it twice.
    desk.fill(&cookie("t0"), signed_in("alice", "t1"));
    desk.wait(Ttl::seconds(7));
    desk.fill(&cookie("t1"), signed_in("alice", "t2"));
    desk.wait(Ttl::seconds(1));
    desk.sessions.clear(&desk.tokens(&cookie("t2")), desk.now());
    desk.sign_out(&cookie("t2"), Some(&deletes()));
    desk.wait(Ttl::seconds(1));
    for token in ["t0", "t1", "t2"] {
        assert_eq!(desk.hit(&cookie(token)).origin, Origin::Fence, "{token}");
    }
}

#[test]
fn rule_16_a_del_is_a_sign_out_and_a_late_set_is_refused() {
    let desk = Desk::upstream();
    desk.fill(&cookie("t1"), signed_in("alice", "t2"));
    desk.wait(Ttl::seconds(5));
    let fill = desk.miss(&cookie("t2"));
    let wait = desk.joins(&cookie("t1"));
    desk.redis_del("t2");
    assert_eq!(desk.complete(fill, signed_in("alice", "t3")).origin, Origin::Fence);
    assert_eq!(desk.shared(&wait).unwrap().origin, Origin::Fence);
    assert_eq!(desk.redis_set("t2", &body("alice"), Ttl::seconds(5)), Err(crate::error::Error::Fenced));
    for token in ["t1", "t2"] {
        assert_eq!(desk.hit(&cookie(token)).origin, Origin::Fence);
    }
}

#[test]
fn rule_16_a_sign_in_beside_it_takes_no_token_out_of_a_del() {
    let desk = Desk::upstream();
    desk.fill(&cookie("t1"), signed_in("alice", "t2"));
    desk.redis_del("t2");
    let callback = signed_in("bob", "b1");
    desk.sessions.observe(&desk.tokens(&cookie("t1")), Passage::SignIn, 200, &callback.headers, desk.now());
    for token in ["t1", "t2"] {
        assert_eq!(desk.hit(&cookie(token)).origin, Origin::Fence, "{token}");
    }
}

#[test]
fn rule_16_what_a_command_sets_is_what_a_check_shows() {
    let desk = Desk::upstream();
    desk.fill(&cookie("t1"), signed_in("alice", "t2").with("etag", "\"1\""));
    desk.redis_set("t2", &body("renamed"), Ttl::seconds(60)).unwrap();
    let answer = desk.hit(&cookie("t1"));
    assert_eq!((user(&answer).as_deref(), answer.header("etag")), (Some("renamed"), None));
    assert_eq!(set_cookies(&answer), [rolled_to("t2")]);
    assert_eq!(answer.cache_status(), "cloakroom; hit; ttl=60");
}

#[test]
fn rule_15_a_repeated_sign_out_is_told_again_only_when_its_fence_would_fall_sooner() {
    let desk = lasting(DAY);
    let written = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let log = written.clone();
    desk.sessions.on_sign_out(move |names, until| log.lock().push((names.len(), until)));
    let told = || std::mem::take(&mut *written.lock()).into_iter().map(|(names, _)| names).collect::<Vec<_>>();
    desk.fill(&cookie("t1"), signed_in("alice", "t2"));
    desk.sign_out(&cookie("t2"), Some(&deletes()));
    assert_eq!(told(), [2]);
    for _ in 0..100 {
        desk.sign_out(&cookie("t2"), Some(&deletes()));
        desk.sign_out(&cookie("made-up"), None);
        desk.wait(Ttl::seconds(30));
    }
    assert_eq!(told(), [1], "fifty minutes");
    desk.wait(Ttl::seconds(900));
    desk.sign_out(&cookie("made-up"), None);
    assert_eq!(told(), [1]);
    // What lasts for seconds alone is no other process' business: refused ones, and those for which there is no room.
    desk.sign_out(&cookie("t9"), Some(&SourceAnswer::new(200, "{}")));
    desk.sessions.change(|settings| settings.fences_room = 0);
    for number in 0..10 {
        desk.sign_out(&cookie(&format!("made-up-{number}")), None);
    }
    assert_eq!((told(), desk.count("sign_outs_forgotten")), (Vec::new(), 10));
    // A login of very many tokens is told whole, once.
    let desk = lasting(DAY);
    let log = written.clone();
    desk.sessions.on_sign_out(move |names, until| log.lock().push((names.len(), until)));
    desk.fill(&cookie("r0"), signed_in("alice", "r1"));
    for number in 1..600 {
        let outcome = Outcome::Answered(signed_in("alice", &format!("r{}", number + 1)));
        desk.sessions.passed(&desk.tokens(&cookie(&format!("r{number}"))), Passage::Check, outcome, desk.now());
    }
    for _ in 0..3 {
        desk.sign_out(&cookie("r600"), Some(&deletes()));
    }
    assert_eq!(told(), [601]);
}
