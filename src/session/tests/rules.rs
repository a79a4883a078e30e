//! The rules of the cache, one by one; those about updates and sign-outs are in `endings`.

use super::*;

#[test]
fn rule_01_what_would_change_the_answer_is_not_passed_up() {
    for name in ["cookie", "host", "x-forwarded-for", "X-Forwarded-Proto", "authorization", "user-agent", "accept"] {
        assert!(passes_up(name.as_bytes()), "{name}");
    }
    for name in ["If-None-Match", "if-modified-since", "Accept-Encoding", "connection", "te", "upgrade", "range"] {
        assert!(!passes_up(name.as_bytes()), "{name}");
    }
    let named: Vec<_> = connection_names(b"close, X-Mine ,,").collect();
    assert_eq!(named, [b"close".as_slice(), b"X-Mine"]);
}

#[test]
fn rule_02_the_asker_gets_status_body_and_every_header_line() {
    let desk = Desk::upstream();
    let source = signed_in("alice", "t2")
        .with("set-cookie", "next-auth.csrf-token=x; Path=/")
        .with("set-cookie", "locale=de")
        .with("x-powered-by", "Next.js")
        .with("transfer-encoding", "chunked");
    let answer = desk.fill(&cookie("t1"), source.clone());
    assert_eq!((answer.status, &answer.body), (200, &source.body));
    assert_eq!(set_cookies(&answer), [&rolled_to("t2"), "next-auth.csrf-token=x; Path=/", "locale=de"]);
    assert_eq!(answer.header("x-powered-by"), Some(&b"Next.js"[..]));
    assert_eq!(answer.header("transfer-encoding"), None);
    assert_eq!(answer.header("x-session-source"), Some(&b"nextauth"[..]));
    assert_eq!(answer.cache_status(), "cloakroom; fwd=miss; fwd-status=200; stored; ttl=5");
}

#[test]
fn rule_02_a_request_that_carries_our_via_is_a_loop() {
    assert!(carries_via(b"1.1 proxy, 1.1 cloakroom-7f", "cloakroom-7f"));
    assert!(carries_via(b"HTTP/1.1 CLOAKROOM-7F (comment)", "cloakroom-7f"));
    assert!(!carries_via(b"1.1 cloakroom-80, 1.1 proxy", "cloakroom-7f"));
    assert!(!carries_via(b"cloakroom-7f", "cloakroom-7f"));
}

#[test]
fn rule_03_a_hundred_checks_at_once_are_one_call() {
    let desk = Desk::upstream();
    let fill = desk.miss(&cookie("t1"));
    let waits: Vec<Wait> = (0..99).map(|_| desk.joins(&cookie("t1"))).collect();
    assert!(waits.iter().all(|wait| desk.shared(wait).is_none()));
    let source =
        signed_in("alice", "t2").with("set-cookie", "next-auth.csrf-token=x; Path=/").with("set-cookie", "a=b");
    desk.complete(fill, source);
    for wait in &waits {
        let answer = desk.shared(wait).unwrap();
        assert_eq!((answer.status, user(&answer).as_deref()), (200, Some("alice")));
        assert_eq!(set_cookies(&answer), [rolled_to("t2")]);
        assert_eq!(answer.cache_status(), "cloakroom; fwd=miss; fwd-status=200; stored; ttl=5; collapsed");
    }
    assert_eq!((desk.count("misses"), desk.count("waits"), desk.count("source_calls")), (1, 99, 1));
}

#[test]
fn rule_03_a_call_that_fails_answers_who_waits_and_lets_nobody_loose() {
    let desk = Desk::upstream();
    let fill = desk.miss(&cookie("t1"));
    let waits = [desk.joins(&cookie("t1")), desk.joins(&cookie("t1"))];
    desk.fail(fill, Failure::Reset);
    for wait in &waits {
        assert_eq!(desk.shared(wait).unwrap().status, 502);
    }
}

#[test]
fn rule_04_twenty_checks_in_five_seconds_are_one_call_and_the_cookie_still_rolls() {
    let desk = Desk::upstream();
    let mut jar = cookie("t0");
    let mut calls = 0;
    for at in 0..20 {
        let answer = match desk.check(&jar) {
            LookUp::Answer(answer) => answer,
            LookUp::Fill(fill) => {
                calls += 1;
                desk.complete(fill, signed_in("alice", &format!("t{calls}")))
            }
            other => panic!("{at}: {other:?}"),
        };
        assert_eq!(user(&answer).as_deref(), Some("alice"), "{at}");
        if let Some(line) = set_cookies(&answer).first() {
            jar = line.split(';').next().unwrap().to_owned();
        }
        desk.wait(Ttl(249));
    }
    assert_eq!((calls, desk.count("hits")), (1, 19));
    assert_eq!(jar, cookie("t1"));
    desk.wait(Ttl::seconds(1));
    desk.fill(&jar, signed_in("alice", "t2"));
    assert_eq!(set_cookies(&desk.hit(&jar)), [rolled_to("t2")]);
}

#[test]
fn rule_04_a_rotated_token_joins_its_family() {
    let desk = Desk::upstream();
    desk.fill(&cookie("t1"), signed_in("alice", "t2"));
    // The one with the newest token gets none; the one with an older token gets the newest again.
    assert!(set_cookies(&desk.hit(&cookie("t2"))).is_empty());
    assert_eq!(set_cookies(&desk.hit(&cookie("t1"))), [rolled_to("t2")]);
    // A Redis client finds the session under either.
    assert_eq!(desk.redis_get("t1").unwrap(), body("alice").into_bytes());
    assert_eq!(desk.redis_get("t2"), desk.redis_get("t1"));
    assert_eq!(desk.keys(), 1);
    // The family goes on with the next fill, whichever token asks.
    desk.wait(Ttl::seconds(6));
    desk.fill(&cookie("t2"), signed_in("alice", "t3"));
    for old in ["t1", "t2"] {
        assert_eq!(set_cookies(&desk.hit(&cookie(old))), [rolled_to("t3")]);
    }
}

#[test]
fn rule_04_all_chunks_and_deletions_are_handed_to_older_tokens() {
    let desk = Desk::upstream();
    let source = told("alice")
        .with("set-cookie", "next-auth.session-token.0=AA; Path=/")
        .with("set-cookie", "next-auth.session-token.1=BB; Path=/")
        .with("set-cookie", "next-auth.session-token=; Max-Age=0; Path=/");
    desk.fill(&cookie("t1"), source);
    assert_eq!(set_cookies(&desk.hit(&cookie("t1"))).len(), 3);
    let chunked = "next-auth.session-token.1=BB; next-auth.session-token.0=AA";
    assert!(set_cookies(&desk.hit(chunked)).is_empty());
}

#[test]
fn rule_04_a_left_over_chunk_is_not_guessed_at() {
    let desk = Desk::upstream();
    let source = told("alice").with("set-cookie", rolled_to("new"));
    // The browser will send the chunk along with the new cookie, which is then another token.
    desk.fill("next-auth.session-token.0=old", source);
    let _asks = desk.miss("next-auth.session-token=new; next-auth.session-token.0=old");
    let _asks = desk.miss(&cookie("new"));
}

#[test]
fn rule_04_the_newest_token_stays_linked_while_its_family_is_filled() {
    let desk = Desk::upstream();
    desk.fill(&cookie("t1"), signed_in("alice", "t2"));
    for _ in 0..3 {
        desk.wait(Ttl::seconds(40));
        desk.fill(&cookie("t1"), told("alice"));
    }
    assert!(set_cookies(&desk.hit(&cookie("t2"))).is_empty());
    desk.sign_out(&cookie("t2"), Some(&deletes()));
    assert_eq!(desk.hit(&cookie("t1")).origin, Origin::Fence);
}

#[test]
fn rule_04_with_the_database_strategy_the_token_stays_and_hits_set_nothing() {
    let desk = Desk::upstream();
    desk.fill(&cookie("row-1"), signed_in("alice", "row-1"));
    assert!(set_cookies(&desk.hit(&cookie("row-1"))).is_empty());
}

#[test]
fn rule_04_a_token_of_one_family_is_never_given_to_another() {
    let desk = Desk::upstream();
    desk.fill(&cookie("a"), signed_in("alice", "a2"));
    desk.fill(&cookie("b"), signed_in("bob", "b2"));
    desk.wait(Ttl::seconds(5));
    // A source that mixes up its users: nobody is shown another's session from here.
    desk.fill(&cookie("a"), signed_in("alice", "b2"));
    assert_eq!(user(&desk.hit(&cookie("a"))).as_deref(), Some("alice"));
    let _asks = desk.miss(&cookie("b2"));
    desk.wait(Ttl::seconds(5));
    desk.fill(&cookie("b"), signed_in("bob", "a"));
    assert_eq!(user(&desk.hit(&cookie("b"))).as_deref(), Some("bob"));
    let _asks = desk.miss(&cookie("a"));
}

#[test]
fn rule_05_what_an_update_sets_joins_the_family() {
    let desk = Desk::upstream();
    desk.fill(&cookie("t1"), signed_in("alice", "t2"));
    let update = Outcome::Answered(signed_in("alice", "t3"));
    desk.sessions.passed(&desk.tokens(&cookie("t2")), Passage::Update, update, desk.now());
    desk.fill(&cookie("t3"), told("alice"));
    assert!(set_cookies(&desk.hit(&cookie("t3"))).is_empty());
    assert_eq!(set_cookies(&desk.hit(&cookie("t1"))), [rolled_to("t3")]);
}

#[test]
fn rule_05_what_a_page_sets_may_be_anothers_and_shares_nothing_but_its_end() {
    let switched = || {
        let desk = Desk::upstream();
        desk.fill(&cookie("a1"), signed_in("alice", "a2"));
        // An app that switches accounts, or signs in by a link.
        let page = signed_in("bob", "b1");
        desk.sessions.observe(&desk.tokens(&cookie("a2")), Passage::Page, 302, &page.headers, desk.now());
        assert_eq!(user(&desk.fill(&cookie("b1"), signed_in("bob", "b2"))).as_deref(), Some("bob"));
        desk
    };
    let desk = switched();
    assert_eq!(set_cookies(&desk.hit(&cookie("a1"))), [rolled_to("a2")]);
    assert_eq!(set_cookies(&desk.hit(&cookie("b1"))), [rolled_to("b2")]);
    desk.wait(Ttl::seconds(6));
    assert_eq!(user(&desk.fill(&cookie("a1"), told("alice"))).as_deref(), Some("alice"));
    assert_eq!(user(&desk.fill(&cookie("b2"), told("bob"))).as_deref(), Some("bob"));
    for last in ["a2", "b2"] {
        let desk = switched();
        desk.sign_out(&cookie(last), Some(&deletes()));
        for token in ["a1", "a2", "b1", "b2"] {
            assert_eq!(desk.hit(&cookie(token)).origin, Origin::Fence, "{token} after {last}");
        }
    }
    // A refused one leaves both as they were: each is asked for anew, and is its own.
    let desk = switched();
    desk.sign_out(&cookie("b2"), Some(&told("bob")));
    assert_eq!(user(&desk.fill(&cookie("a1"), told("alice"))).as_deref(), Some("alice"));
    assert_eq!(user(&desk.fill(&cookie("b1"), told("bob"))).as_deref(), Some("bob"));
    assert_eq!(user(&desk.hit(&cookie("a2"))).as_deref(), Some("alice"));
}

#[test]
fn rule_05_who_signs_in_on_the_same_browser_starts_a_new_family() {
    let desk = Desk::upstream();
    desk.fill(&cookie("a1"), signed_in("alice", "a2"));
    let callback = signed_in("bob", "b1");
    desk.sessions.observe(&desk.tokens(&cookie("a2")), Passage::SignIn, 200, &callback.headers, desk.now());
    assert_eq!(user(&desk.fill(&cookie("b1"), signed_in("bob", "b2"))).as_deref(), Some("bob"));
    // The old token is asked for anew, and not fenced.
    assert_eq!(user(&desk.fill(&cookie("a2"), signed_in("alice", "a3"))).as_deref(), Some("alice"));
    assert_eq!(user(&desk.hit(&cookie("b2"))).as_deref(), Some("bob"));
}

#[test]
fn rule_05_a_first_sign_in_has_no_family_to_join() {
    let desk = Desk::upstream();
    let callback = signed_in("alice", "a1");
    for passage in [Passage::SignIn, Passage::Page] {
        desk.sessions.observe(&desk.tokens(""), passage, 200, &callback.headers, desk.now());
    }
    let _asks = desk.miss(&cookie("a1"));
}

#[test]
fn rule_06_the_ttl_counts_from_the_start_of_the_call_and_ends_with_the_session() {
    let desk = Desk::upstream();
    let fill = desk.miss(&cookie("slow"));
    desk.wait(Ttl::seconds(2));
    let answer = desk.complete(fill, told("alice"));
    assert!(answer.cache_status().ends_with("stored; ttl=3"), "{}", answer.cache_status());
    desk.wait(Ttl(2999));
    desk.hit(&cookie("slow"));
    desk.wait(Ttl(1));
    let _asks = desk.miss(&cookie("slow"));

    // The clock stands at 22:13:25, and the session ends a second and a half later.
    let ends = r#"{"user":{"name":"bob"},"expires":"2023-11-14T22:13:26.500Z"}"#;
    desk.fill(&cookie("short"), SourceAnswer::new(200, ends));
    desk.wait(Ttl(1499));
    desk.hit(&cookie("short"));
    desk.wait(Ttl(1));
    let _asks = desk.miss(&cookie("short"));
}

#[test]
fn rule_07_a_hit_differs_from_the_stored_answer_in_its_own_three_lines_only() {
    let desk = Desk::upstream();
    let source = told("alice").with("cache-control", "private, no-cache, no-store").with("etag", "\"1\"");
    let first = desk.fill(&cookie("t1"), source);
    desk.wait(Ttl(1500));
    let hit = desk.hit(&cookie("t1"));
    let lines = |answer: &Answer| -> Vec<Header> {
        let own = |name: &[u8]| name == b"x-session-source" || name == b"cache-status";
        answer.headers.iter().filter(|(name, _)| !own(name)).cloned().collect()
    };
    assert_eq!((first.status, &first.body, lines(&first)), (hit.status, &hit.body, lines(&hit)));
    assert_eq!(hit.header("x-session-source"), Some(&b"cache"[..]));
    assert_eq!((hit.origin, hit.cache_status()), (Origin::Cache, "cloakroom; hit; ttl=3"));
}

const BOTH: &str = "next-auth.session-token=p; __Secure-next-auth.session-token=s";

fn secure(user: &str, token: &str) -> SourceAnswer {
    told(user).with("set-cookie", format!("__Secure-next-auth.session-token={token}; Path=/; Secure"))
}

#[test]
fn rule_08_both_cookies_are_part_of_the_key() {
    let desk = Desk::upstream();
    desk.fill(BOTH, secure("alice", "s2"));
    let _asks = desk.miss(&cookie("p"));
    let _asks = desk.miss("__Secure-next-auth.session-token=s");
    let _asks = desk.miss("next-auth.session-token=q; __Secure-next-auth.session-token=s");
    desk.hit("__Secure-next-auth.session-token=s; next-auth.session-token=p");
    // After the roll the key is made of the old plain and the new secure one.
    assert!(set_cookies(&desk.hit("next-auth.session-token=p; __Secure-next-auth.session-token=s2")).is_empty());
}

#[test]
fn rule_08_a_fence_on_the_cookie_in_use_holds_and_on_the_other_locks_nobody_out() {
    let desk = Desk::upstream();
    desk.fill(BOTH, secure("alice", "s"));
    desk.sign_out(&cookie("p"), Some(&deletes()));
    assert_eq!(user(&desk.hit(BOTH)).as_deref(), Some("alice"));
    desk.wait(Ttl::seconds(5));
    assert_eq!(user(&desk.fill(BOTH, secure("alice", "s"))).as_deref(), Some("alice"));
    // The source that read the signed-out cookie after all is not shown.
    desk.wait(Ttl::seconds(5));
    assert_eq!(desk.fill(BOTH, signed_in("mallory", "p2")).origin, Origin::Fence);
    // If it cannot be told, neither is it.
    let unclear = desk.fill(BOTH, told("mallory"));
    assert_eq!((unclear.origin, user(&unclear)), (Origin::Fence, None));
    desk.redis_del("s");
    assert_eq!(desk.hit(BOTH).origin, Origin::Fence);
}

#[test]
fn rule_08_a_sign_out_with_both_fences_both() {
    let desk = Desk::upstream();
    desk.fill(BOTH, secure("alice", "s2"));
    desk.sign_out(BOTH, Some(&deletes()));
    let later = "next-auth.session-token=p; __Secure-next-auth.session-token=s2";
    let alone = "__Secure-next-auth.session-token=s2";
    for request in [BOTH, later, alone, &cookie("p"), "__Secure-next-auth.session-token=s"] {
        assert_eq!(desk.hit(request).origin, Origin::Fence, "{request}");
    }
}

#[test]
fn rule_06_tokens_stay_together_for_as_long_as_an_answer_is_kept() {
    let settings = Settings {
        source: Source::Upstream,
        profile: Some(Profile::NextAuth),
        on_error: OnError::Pass,
        ttl: Ttl::seconds(300),
        ..Settings::default()
    };
    let desk = Desk::with(settings);
    desk.fill(&cookie("t1"), signed_in("alice", "t2"));
    desk.wait(Ttl::seconds(299));
    for token in ["t1", "t2"] {
        assert_eq!(desk.hit(&cookie(token)).origin, Origin::Cache, "{token}");
    }
    desk.wait(Ttl::seconds(30));
    let fill = desk.miss(&cookie("t2"));
    assert_eq!(desk.fail(fill, Failure::Refused).origin, Origin::Stale);
    desk.sign_out(&cookie("t2"), None);
    for token in ["t1", "t2"] {
        assert_eq!(desk.hit(&cookie(token)).origin, Origin::Fence, "{token}");
    }
}

#[test]
fn rule_09_only_a_plain_get_of_a_good_session_is_stored() {
    use Route::*;
    let at = |method: &str, path: &str, query: Option<&str>| route("/api/auth", method, path, query, true);
    assert_eq!(at("GET", "/api/auth/session", None), Check);
    assert_eq!(at("GET", "/api/auth/session", Some("x=1")), OtherCheck);
    assert_eq!(at("GET", "/api/auth/session", Some("")), OtherCheck);
    assert_eq!(at("HEAD", "/api/auth/session", None), OtherCheck);
    assert_eq!(at("POST", "/api/auth/session", None), Update);
    // As who wants a closing slash behind every path sends clients to it.
    assert_eq!(at("GET", "/api/auth/session/", None), Check);
    assert_eq!(at("POST", "/api/auth/session/", None), Update);
    assert_eq!(at("POST", "/api/auth/signout/", None), SignOut);
    assert_eq!(at("POST", "/api/auth/signout-everywhere/", None), SignOutEverywhere);
    for spelling in ["session//", "/session", "%73ession", "%2573ession", "Session", "%5csession", "session;a=b"] {
        assert_eq!(at("GET", &format!("/api/auth/{spelling}"), None), OtherCheck, "{spelling}");
        assert_eq!(at("PUT", &format!("/api/auth/{spelling}"), None), Update, "{spelling}");
    }
    for other in ["session/x", "sessions", "session%", "%zzession"] {
        assert_eq!(at("GET", &format!("/api/auth/{other}"), None), Page, "{other}");
    }
    assert_eq!(at("POST", "/api/auth/signout", None), SignOut);
    assert_eq!(at("GET", "/api/auth/callback/google", Some("code=1")), SignIn);
    assert_eq!(at("POST", "/api/auth/callback/credentials", None), SignIn);
    assert_eq!(at("GET", "/api/auth/csrf", None), Page);
    assert_eq!(at("GET", "/api/authority", None), Elsewhere);
    assert_eq!(at("GET", "/api/auth/verify-request", None), Page);
    // What leads out of the folder is none of its pages, however it is written.
    let get = |path: String| route("/api/auth", "GET", &path, None, true);
    for way in ["..", ".", "%2e%2E", ".%2e", "x/../..", "x/..%2F..", "..\\..", "..%5c.."] {
        for end in ["", "/", "/orders/7"] {
            assert_eq!(get(format!("/api/auth/{way}{end}")), Elsewhere, "{way}{end}");
            assert_eq!(get(format!("/api/auth/callback/{way}{end}")), Elsewhere, "{way}{end}");
        }
    }
    for page in ["...", "a..b", "..a", ".well-known", "%2e%2e%2e", "%2", "a%2fb"] {
        assert_eq!(get(format!("/api/auth/{page}")), Page, "{page}");
    }
    assert_eq!(at("GET", "/api/auth/verify/../orders", None), Verify);
    for (method, path, query) in
        [("GET", "/verify", None), ("DELETE", "/verify", Some("x=1")), ("POST", "/verify/orders/7", None)]
    {
        let at = |verifies| route("/api/auth", method, &format!("/api/auth{path}"), query, verifies);
        assert_eq!(at(true), Verify);
        assert_eq!(at(false), if method == "GET" { Page } else { SignIn });
    }

    let json = |status, body: &str| SourceAnswer::new(status, body.to_owned());
    let refused = [
        json(201, &body("alice")),
        json(302, ""),
        json(400, "{}"),
        json(404, &body("alice")),
        json(200, "{}"),
        json(200, "null"),
        json(200, "[1]"),
        json(200, "<html>"),
        json(200, ""),
        told("alice").with("content-encoding", "gzip"),
        told("alice").with("set-cookie", "next-auth.session-token=; Max-Age=0"),
    ];
    for source in refused {
        let desk = Desk::upstream();
        let answer = desk.fill(&cookie("t1"), source.clone());
        assert_eq!((answer.status, &answer.body), (source.status, &source.body));
        assert_eq!(desk.keys(), 0, "{source:?}");
        let _asks = desk.miss(&cookie("t1"));
    }
}

#[test]
fn rule_09_a_source_that_knows_of_no_session_ends_what_was_known() {
    let desk = Desk::upstream();
    desk.fill(&cookie("t1"), signed_in("alice", "t2"));
    desk.wait(Ttl::seconds(5));
    desk.fill(&cookie("t2"), SourceAnswer::new(200, "{}"));
    let fill = desk.miss(&cookie("t2"));
    assert_eq!(user(&desk.fail(fill, Failure::Refused)), None);
}

#[test]
fn rule_10_without_a_session_cookie_nobody_is_asked() {
    let with = |profile| Desk::with(Settings { source: Source::Upstream, profile, ..Settings::default() });
    let desk = with(Some(Profile::NextAuth));
    for cookie in ["", "theme=dark", "next-auth.session-token=", "next-auth.csrf-token=x"] {
        let answer = desk.hit(cookie);
        assert_eq!((answer.status, &answer.body[..], answer.origin), (200, &b"{}"[..], Origin::Nothing));
    }
    assert_eq!(&with(Some(Profile::AuthJs)).hit("").body[..], b"null");
    assert_eq!(desk.keys(), 0);
    // Not set and not told: by the csrf cookie, and from then on by what the source sets.
    let desk = with(None);
    assert_eq!(&desk.hit("__Host-authjs.csrf-token=x").body[..], b"null");
    assert!(matches!(desk.check(""), LookUp::Pass(PassWhy::ProfileUnknown)));
    let source = SourceAnswer::new(200, "null").with("set-cookie", "authjs.csrf-token=x; Path=/");
    desk.sessions.passed(&desk.tokens(""), Passage::Check, Outcome::Answered(source), desk.now());
    assert_eq!(&desk.hit("").body[..], b"null");
    // A cookie of the app's own tells nothing; where nobody is asked, next-auth is taken for granted.
    let own = |source| Settings { source, cookie: Some("sid".into()), ..Settings::default() };
    assert_eq!(&Desk::with(own(Source::StoreAlone)).hit("").body[..], b"{}");
    // An empty session tells it all the same.
    for empty in ["null", "{}"] {
        for settings in [own(Source::Upstream), Settings { source: Source::Upstream, ..Settings::default() }] {
            let desk = Desk::with(settings);
            assert!(matches!(desk.check("theme=dark"), LookUp::Pass(PassWhy::ProfileUnknown)));
            let tokens = desk.tokens("");
            for source in
                [SourceAnswer::new(500, "null"), SourceAnswer::new(200, "<html>"), SourceAnswer::new(200, empty)]
            {
                assert!(matches!(desk.check(""), LookUp::Pass(PassWhy::ProfileUnknown)));
                desk.sessions.passed(&tokens, Passage::Check, Outcome::Answered(source), desk.now());
            }
            assert_eq!(&desk.hit("").body[..], empty.as_bytes());
        }
    }
}

#[test]
fn rule_11_the_last_good_answer_is_shown_within_its_bound_while_the_source_fails() {
    let desk = Desk::upstream();
    desk.fill(&cookie("t1"), signed_in("alice", "t2"));
    desk.wait(Ttl::seconds(34));
    let fill = desk.miss(&cookie("t1"));
    let wait = desk.joins(&cookie("t2"));
    let answer = desk.complete(fill, SourceAnswer::new(429, "slow down").with("retry-after", "9"));
    assert_eq!((user(&answer).as_deref(), answer.origin), (Some("alice"), Origin::Stale));
    assert_eq!(answer.cache_status(), "cloakroom; fwd=stale; fwd-status=429; ttl=-29");
    assert_eq!(set_cookies(&answer), [rolled_to("t2")]);
    assert_eq!(desk.shared(&wait).unwrap().origin, Origin::Stale);
    assert_eq!((desk.count("stale"), desk.count("limited"), desk.count("limited_averted")), (2, 1, 1));
    desk.wait(Ttl::seconds(1));
    let fill = desk.miss(&cookie("t2"));
    let answer = desk.fail(fill, Failure::Timeout);
    assert_eq!((answer.status, user(&answer)), (504, None));
    assert_eq!(answer.header("retry-after"), Some(&b"1"[..]));
}

#[test]
fn rule_11_a_failure_is_never_stored_and_signs_nobody_out() {
    let desk = Desk::upstream();
    let source =
        SourceAnswer::new(500, "oh").with("set-cookie", "next-auth.session-token=; Max-Age=0").with("retry-after", "7");
    let answer = desk.fill(&cookie("t1"), source);
    assert_eq!((answer.status, &answer.body[..], answer.header("retry-after")), (500, &b"oh"[..], Some(&b"7"[..])));
    assert!(set_cookies(&answer).is_empty());
    assert_eq!(answer.cache_status(), "cloakroom; fwd=miss; fwd-status=500");
    let _asks = desk.miss(&cookie("t1"));

    let settings = Settings {
        source: Source::Upstream,
        profile: Some(Profile::AuthJs),
        on_error: OnError::Empty,
        ..Settings::default()
    };
    let desk = Desk::with(settings);
    let fill = desk.miss("authjs.session-token=t1");
    let answer = desk.fail(fill, Failure::Refused);
    assert_eq!((answer.status, &answer.body[..]), (200, &b"null"[..]));
    assert_eq!(answer.cache_status(), "cloakroom; fwd=miss; detail=refused");
}

#[test]
fn rule_11_nothing_stale_after_a_sign_out_however_it_came() {
    for by_command in [false, true] {
        let desk = Desk::upstream();
        desk.fill(&cookie("t1"), signed_in("alice", "t2"));
        if by_command {
            desk.redis_del("t2");
        } else {
            desk.sign_out(&cookie("t2"), None);
        }
        // For as long as anything could be stale, and longer than any fence of a command.
        for _ in 0..60 {
            for token in ["t1", "t2"] {
                let answer = match desk.check(&cookie(token)) {
                    LookUp::Answer(answer) => answer,
                    LookUp::Fill(fill) => desk.fail(fill, Failure::Refused),
                    other => panic!("{other:?}"),
                };
                assert_eq!(user(&answer), None);
            }
            desk.wait(Ttl::seconds(1));
        }
    }
}

#[test]
fn rule_11_a_store_with_short_fences_shows_nothing_stale_for_longer() {
    let clock = ManualClock::default();
    let settings = Settings {
        source: Source::Upstream,
        profile: Some(Profile::NextAuth),
        on_error: OnError::Pass,
        ..Settings::default()
    };
    let mut stores = Store::builder().clock(clock.clone()).fence(Ttl::seconds(10)).build_family(2);
    let (families, answers) = (stores.remove(1), stores.remove(0));
    let sessions = SessionCache::new(answers.clone(), families.clone(), settings);
    let desk = Desk { clock, answers, families, sessions };
    desk.fill(&cookie("t1"), told("alice"));
    desk.redis_del("t1");
    desk.wait(Ttl::seconds(10));
    let fill = desk.miss(&cookie("t1"));
    assert_eq!(desk.fail(fill, Failure::Timeout).status, 504);
}

#[test]
fn rule_11_settings_may_change_while_it_runs() {
    let desk = Desk::upstream();
    desk.fill(&cookie("t1"), told("alice"));
    desk.sessions.change(|settings| {
        settings.ttl = Ttl::seconds(1);
        settings.stale = Ttl(0);
        settings.on_error = OnError::Empty;
    });
    desk.wait(Ttl::seconds(5));
    let fill = desk.miss(&cookie("t1"));
    let answer = desk.fail(fill, Failure::Timeout);
    assert_eq!((answer.status, user(&answer)), (200, None));
    desk.fill(&cookie("t1"), told("alice"));
    desk.wait(Ttl::seconds(1));
    let _asks = desk.miss(&cookie("t1"));
}

#[test]
fn rule_17_every_answer_is_private_whatever_the_app_says() {
    let private = |answer: &Answer| {
        let text = String::from_utf8(answer.header("cache-control").unwrap().to_vec()).unwrap();
        assert!(text.contains("private") && text.contains("no-store") && !text.contains("public"), "{text}");
        assert_eq!(answer.header("cdn-cache-control"), None);
    };
    for control in ["", "public, max-age=60", "private", "public, private, no-store"] {
        let desk = Desk::upstream();
        let source = told("alice").with("cache-control", control).with("cdn-cache-control", "max-age=60");
        let fill = desk.miss(&cookie("t1"));
        let wait = desk.joins(&cookie("t1"));
        private(&desk.complete(fill, source));
        private(&desk.shared(&wait).unwrap());
        private(&desk.hit(&cookie("t1")));
        private(&desk.hit(""));
        let fill = desk.miss(&cookie("t2"));
        private(&desk.fail(fill, Failure::Refused));
        private(&desk.fill(&cookie("t3"), SourceAnswer::new(500, "").with("cache-control", "public")));
        let outcome = Outcome::Answered(told("alice").with("cache-control", "public"));
        private(&desk.sessions.passed(&desk.tokens(&cookie("t4")), Passage::Check, outcome, desk.now()));
        desk.sign_out(&cookie("t1"), None);
        private(&desk.hit(&cookie("t1")));
    }
}
