//! Session services other than NextAuth: what differs of each, on a manual clock.

use super::*;
use crate::config::Nobody;

fn desk(service: Service) -> Desk {
    Desk::with(Settings { source: Source::Upstream, service, ..Settings::default() })
}

fn named(service: Service, cookie: &str) -> Desk {
    Desk::with(Settings { source: Source::Upstream, service, cookie: Some(cookie.into()), ..Settings::default() })
}

#[test]
fn a_path_follows_the_base_where_the_base_makes_it() {
    for (service, follows) in [
        (Service::next_auth(), true),
        (Service::better_auth(), true),
        (Service::better_auth().with_path("/api/auth/whoami"), false),
        (Service::generic("/api/auth/me"), false),
        (Service::kratos(), false),
        (Service::supabase().with_base_path("/auth"), false),
    ] {
        assert_eq!(service.is_below_base(), follows, "{}", service.path());
    }
}

/// What a request with these lines shows.
fn shown(desk: &Desk, lines: &[(&str, &str)]) -> Tokens {
    desk.sessions.credentials(|| lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

fn look(desk: &Desk, lines: &[(&str, &str)]) -> LookUp {
    desk.sessions.look_up(&shown(desk, lines), desk.now())
}

#[track_caller]
fn fill(desk: &Desk, lines: &[(&str, &str)], answer: SourceAnswer) -> Answer {
    let LookUp::Fill(mut fill) = look(desk, lines) else { panic!("no call") };
    desk.sessions.bound(&mut fill, || lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    desk.complete(fill, answer)
}

#[track_caller]
fn hit(desk: &Desk, lines: &[(&str, &str)]) -> Answer {
    match look(desk, lines) {
        LookUp::Answer(answer) => answer,
        other => panic!("no answer at hand: {other:?}"),
    }
}

fn is_miss(desk: &Desk, lines: &[(&str, &str)]) -> bool {
    matches!(look(desk, lines), LookUp::Fill(_))
}

fn line<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.header(name).map(|value| std::str::from_utf8(value).unwrap()).unwrap_or_default()
}

fn json(status: u16, body: &str) -> SourceAnswer {
    SourceAnswer::new(status, body.to_owned()).with("content-type", "application/json")
}

// The manual clock begins on 2023-11-14T22:13:20Z.
const BETTER: &str = r#"{"session":{"id":"s1","token":"tok","userId":"7","expiresAt":"2023-11-15T22:13:20.000Z"},"user":{"id":"7","name":"Alice","email":"alice@shop.example"}}"#;
const WHOAMI: &str = r#"{"id":"s1","active":true,"expires_at":"2023-11-15T22:13:20.123456789Z","authenticator_assurance_level":"aal1","identity":{"id":"i7","schema_id":"default","traits":{"email":"alice@shop.example","name":"Alice","role":"admin"},"metadata_public":{"role":"buyer"}}}"#;
const GOTRUE: &str = r#"{"id":"u7","aud":"authenticated","role":"authenticated","email":"alice@shop.example","user_metadata":{"full_name":"Alice","role":"admin"},"app_metadata":{"groups":["buyers"]}}"#;

fn claims(service: Service, lines: &[(&str, &str)], body: &str, headers: &str) -> Vec<(String, String)> {
    let settings =
        Settings { source: Source::Upstream, service, headers: headers.parse().unwrap(), ..Settings::default() };
    let desk = Desk::with(settings);
    let answer = fill(&desk, lines, json(200, body));
    let told = desk.sessions.verdict(&shown(&desk, lines), answer, desk.now());
    assert_eq!(told.status, 200);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let lines = told.headers.iter().map(|(name, value)| (text(name), text(value)));
    lines
        .filter(|(name, _)| name.starts_with("x-session-") && name != "x-session-source" || name.starts_with("x-a"))
        .collect()
}

const TOKEN: &[(&str, &str)] = &[("Cookie", "better-auth.session_token=tok.c2ln%3D")];

#[test]
fn a_session_of_better_auth_is_its_token_and_no_cookie_that_begins_or_looks_like_it() {
    let desk = desk(Service::better_auth());
    for cookies in
        ["", "better-auth.session_data=x", "better-auth.session_token_multi-1=x", "better-auth.session_token.0=x"]
    {
        let nobody = hit(&desk, &[("cookie", cookies)]);
        assert_eq!((nobody.status, &nobody.body[..]), (200, &b"null"[..]), "{cookies}");
    }
    let first = fill(&desk, TOKEN, json(200, BETTER).with("set-cookie", "better-auth.session_data=abc; Max-Age=300"));
    assert_eq!((line(&first, "x-session-source"), first.body.as_ref()), ("better-auth", BETTER.as_bytes()));
    assert_eq!(set_cookies(&first).len(), 1);
    // The cache in a cookie is neither part of the name nor shown to others, and its end is not the session's.
    let cached = [("cookie", "better-auth.session_data=abc; better-auth.session_token=tok.c2ln=")];
    let again = hit(&desk, &cached);
    assert_eq!((again.body.as_ref(), set_cookies(&again).len()), (BETTER.as_bytes(), 0));
    desk.wait(Ttl::seconds(6));
    fill(&desk, &cached, json(200, BETTER).with("set-cookie", "better-auth.session_data=; Max-Age=0"));
    assert_eq!(hit(&desk, TOKEN).origin, Origin::Cache);
    desk.wait(Ttl::seconds(6));
    fill(&desk, TOKEN, json(200, "null"));
    assert!(is_miss(&desk, TOKEN), "nobody is not stored");
}

#[test]
fn better_auth_sets_the_same_token_again_and_it_stays_cached() {
    let desk = desk(Service::better_auth());
    let set = "better-auth.session_token=tok.c2ln%3D; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax";
    assert_eq!(set_cookies(&fill(&desk, TOKEN, json(200, BETTER).with("set-cookie", set))), [set]);
    assert_eq!(set_cookies(&hit(&desk, TOKEN)).len(), 0);
    // So does the POST that refreshes what a GET has not.
    let tokens = shown(&desk, TOKEN);
    assert_eq!(desk.sessions.admit(&tokens, Passage::Update, desk.now()), None);
    let answer = json(200, BETTER).with("set-cookie", set);
    desk.sessions.passed(&tokens, Passage::Update, Outcome::Answered(answer), desk.now());
    fill(&desk, TOKEN, json(200, BETTER));
    assert_eq!(hit(&desk, TOKEN).origin, Origin::Cache);
    // And a newer one joins the login: who has the old one gets it.
    desk.wait(Ttl::seconds(6));
    let rolled = "better-auth.session_token=new.c2ln; Path=/";
    fill(&desk, TOKEN, json(200, BETTER).with("set-cookie", rolled));
    assert_eq!(set_cookies(&hit(&desk, TOKEN)), [rolled]);
    assert_eq!(set_cookies(&hit(&desk, &[("cookie", "better-auth.session_token=new.c2ln")])).len(), 0);
}

#[test]
fn a_request_that_shows_two_tokens_goes_past_the_cache_and_a_fence_on_either_holds() {
    for (service, cookie) in
        [(Service::better_auth(), "better-auth.session_token"), (Service::kratos(), "ory_kratos_session")]
    {
        let desk = desk(service);
        let cookie = format!("{cookie}=a");
        let both = [("cookie", cookie.as_str()), ("authorization", "Bearer b")];
        assert!(matches!(look(&desk, &both), LookUp::Pass(PassWhy::Ambiguous)));
        fill(&desk, &both[..1], json(200, WHOAMI));
        fill(&desk, &both[1..], json(200, WHOAMI));
        let sign_out = desk.sessions.begin_sign_out(&shown(&desk, &both[1..]), desk.now());
        assert_eq!(desk.sessions.end_sign_out(sign_out, Some(&json(204, "")), desk.now()), Ended::SignedOut);
        assert_eq!(hit(&desk, &both).origin, Origin::Fence);
        assert_eq!(hit(&desk, &both[1..]).origin, Origin::Fence);
        assert_eq!(hit(&desk, &both[..1]).origin, Origin::Cache);
    }
}

#[test]
fn kratos_reads_its_own_header_before_all_others() {
    let desk = desk(Service::kratos());
    let own = ("X-Session-Token", "t1");
    fill(&desk, &[own], json(200, WHOAMI));
    let more = [("cookie", "ory_kratos_session=c"), ("authorization", "bearer b"), own];
    assert_eq!(hit(&desk, &more).origin, Origin::Cache);
    assert_eq!(hit(&desk, &[("authorization", "BEARER t1")]).origin, Origin::Cache, "the same token");
    for odd in [&[own, ("x-session-token", "t2")][..], &[own, ("x-session-cookie", "c")], &[("x-session-cookie", "c")]]
    {
        assert!(matches!(look(&desk, odd), LookUp::Pass(PassWhy::Ambiguous)), "{odd:?}");
    }
    for none in
        [&[][..], &[("authorization", "Basic YTpi")], &[("authorization", "Bearer ")], &[("x-session-token", "")]]
    {
        let nobody = hit(&desk, none);
        assert_eq!((nobody.status, nobody.origin), (401, Origin::Nothing), "{none:?}");
        assert!(nobody.body.starts_with(br#"{"error":{"id":"session_inactive""#));
    }
}

#[test]
fn kratos_says_for_how_long_an_answer_is_kept() {
    let lines = &[("cookie", "ory_kratos_session=c")][..];
    for (told, kept) in [("2", 2), ("60", 5), ("0", 0), ("-3", 0), ("1h", 0), ("", 0)] {
        let desk = desk(Service::kratos());
        let first = fill(&desk, lines, json(200, WHOAMI).with("ory-session-cache-for", told));
        assert_eq!(line(&first, "ory-session-cache-for"), told);
        let left = |at: u64| !is_miss(&desk, lines) || at >= kept;
        for at in 0..6 {
            assert!(left(at), "{told}: gone after {at} s");
            if at >= kept {
                let LookUp::Fill(fill) = look(&desk, lines) else { panic!("{told}: kept after {at} s") };
                // Longer than that it stands in for nobody either.
                let down = desk.fail(fill, Failure::Refused);
                assert_eq!(down.status == 200, told == "60", "{told} after {at} s");
            } else {
                assert_eq!(line(&hit(&desk, lines), "ory-session-cache-for"), "", "it was true of one moment");
            }
            desk.wait(Ttl::seconds(1));
        }
    }
}

#[test]
fn a_second_factor_that_is_due_is_handed_on_and_nothing_earlier_is_shown() {
    let desk = desk(Service::kratos());
    let lines = &[("cookie", "ory_kratos_session=c")][..];
    fill(&desk, lines, json(200, WHOAMI));
    desk.wait(Ttl::seconds(6));
    let due = r#"{"error":{"id":"session_aal2_required","code":403},"redirect_browser_to":"http://a/login?aal=aal2"}"#;
    let barred = fill(&desk, lines, json(403, due));
    assert_eq!((barred.status, barred.body.as_ref()), (403, due.as_bytes()));
    assert_eq!(desk.sessions.verdict(&shown(&desk, lines), barred, desk.now()).status, 403);
    assert!(is_miss(&desk, lines), "it is not kept");
    let LookUp::Fill(fill) = look(&desk, lines) else { panic!("no call") };
    let down = desk.fail(fill, Failure::Timeout);
    assert_eq!((down.status, down.origin), (504, Origin::Failure), "what was said before is no longer true");
    assert_eq!(desk.sessions.verdict(&shown(&desk, lines), down, desk.now()).status, 503);
}

#[test]
fn a_401_is_nobody_and_what_is_told_by_a_status_is_never_told_for_a_failure() {
    let desk = desk(Service::kratos());
    let lines = &[("x-session-token", "t")][..];
    fill(&desk, lines, json(200, WHOAMI));
    desk.wait(Ttl::seconds(6));
    let nobody = fill(&desk, lines, json(401, "{}"));
    assert_eq!((nobody.status, nobody.body.as_ref()), (401, &b"{}"[..]));
    assert_eq!(desk.sessions.verdict(&shown(&desk, lines), nobody, desk.now()).status, 401);
    // session-error empty, and yet no 401: clients throw their token away for it.
    assert_eq!(desk.sessions.settings().on_error, OnError::Empty);
    assert_eq!(fill(&desk, lines, json(500, "oops")).status, 500);
    let quiet = super::services::desk(Service::better_auth());
    let down = fill(&quiet, TOKEN, json(500, "oops"));
    assert_eq!((down.status, down.body.as_ref()), (200, &b"null"[..]));
}

#[test]
fn a_supabase_session_ends_with_its_token() {
    let desk = desk(Service::supabase());
    // {"sub":"u7","exp":1700000003}, which is three seconds from the clock's start.
    let bearer = "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1NyIsImV4cCI6MTcwMDAwMDAwM30.c2ln";
    let lines = &[("Authorization", bearer), ("apikey", "anon")][..];
    fill(&desk, lines, json(200, GOTRUE));
    desk.wait(Ttl(2_900));
    let other_key = [("authorization", bearer), ("cookie", "sb=1")];
    assert_eq!(hit(&desk, &other_key).origin, Origin::Cache, "the bearer alone names the session");
    desk.wait(Ttl(100));
    let LookUp::Fill(late) = look(&desk, lines) else { panic!("kept past its token's end") };
    assert_eq!(desk.fail(late, Failure::Refused).status, 503, "nor is it shown past it");
    assert_eq!(fill(&desk, lines, json(403, r#"{"error_code":"bad_jwt"}"#)).status, 403);
    let nobody = hit(&desk, &[("apikey", "anon")]);
    assert_eq!((nobody.status, nobody.origin), (401, Origin::Nothing));
    for other in ["Bearer b", "Basic YTpi"] {
        let two = [("authorization", other), ("authorization", "Bearer a")];
        assert!(matches!(look(&desk, &two), LookUp::Pass(PassWhy::Ambiguous)));
    }
    let sign_out = desk.sessions.begin_sign_out(&shown(&desk, &[("authorization", "Bearer a")]), desk.now());
    desk.sessions.end_sign_out(sign_out, None, desk.now());
    assert_eq!(hit(&desk, &[("authorization", "Bearer b"), ("authorization", "Bearer a")]).origin, Origin::Fence);
}

#[test]
fn a_supabase_client_hears_of_a_sign_out_what_it_forgets_its_session_for() {
    let desk = desk(Service::supabase());
    let lines = &[("authorization", "Bearer t")][..];
    fill(&desk, lines, json(200, GOTRUE));
    let out = |answer: Option<SourceAnswer>| {
        let sign_out = desk.sessions.begin_sign_out(&shown(&desk, lines), desk.now());
        desk.sessions.end_sign_out(sign_out, answer.as_ref(), desk.now())
    };
    assert_eq!(out(Some(json(401, r#"{"message":"No API key found"}"#))), Ended::Refused);
    fill(&desk, lines, json(200, GOTRUE));
    assert_eq!(out(None), Ended::SignedOut);
    let gone = hit(&desk, lines);
    assert_eq!((gone.status, gone.origin), (403, Origin::Fence));
    let told: serde_json::Value = serde_json::from_slice(&gone.body).unwrap();
    assert_eq!(told["error_code"], "session_not_found");
}

#[test]
fn a_generic_service_is_what_the_settings_say() {
    let service = || Service::generic("/api/me").with_nobody(&[Nobody::Object, Nobody::Status(404)]);
    let bearers = desk(service());
    let lines = &[("authorization", "Bearer t")][..];
    let body = r#"{"id":7,"expires_at":"2023-11-14T22:13:22Z"}"#;
    fill(&bearers, lines, json(200, body));
    bearers.wait(Ttl(1_999));
    assert_eq!(hit(&bearers, lines).body.as_ref(), body.as_bytes());
    bearers.wait(Ttl(1));
    assert_eq!(fill(&bearers, lines, json(404, "")).status, 404);
    for empty in ["{}", "null"] {
        fill(&bearers, lines, json(200, empty));
        assert!(is_miss(&bearers, lines), "{empty}");
    }
    let nobody = hit(&bearers, &[("cookie", "sid=1")]);
    assert_eq!((nobody.status, nobody.body.as_ref()), (200, &b"{}"[..]));
    // By a cookie of its own name there is no bearer.
    let cookies = named(service(), "sid");
    let lines = &[("cookie", "sid=1; sid2=x"), ("authorization", "Bearer t")][..];
    fill(&cookies, &lines[..1], json(200, r#"{"user":{"id":"7"}}"#));
    assert_eq!(hit(&cookies, &[("cookie", "sid=1")]).origin, Origin::Cache);
    assert_eq!(hit(&cookies, &lines[1..]).origin, Origin::Nothing);
}

#[test]
fn what_goes_up_beside_the_token_and_may_count_is_never_shared() {
    let generic = || named(Service::generic("/api/me"), "sid");
    let better = || desk(Service::better_auth());
    type Lines<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Desk, Lines<'_>, (&str, &str)); 6] = [
        (generic(), &[("cookie", "sid=anon")], ("authorization", "Bearer alice")),
        (generic(), &[("cookie", "sid=anon")], ("Authorization", "Basic YTpi")),
        (better(), TOKEN, ("X-Api-Key", "k1")),
        (better(), &[("authorization", "Bearer b")], ("x-api-key", "k1")),
        // The signature of a cookie that is no secret itself.
        (generic(), &[("cookie", "sid=eyJ1c2VyIjoiYSJ9")], ("cookie", "sid.sig=x")),
        (generic(), &[("cookie", "sid=eyJ1c2VyIjoiYSJ9")], ("cookie", "a=b; sid.sig=")),
    ];
    for (desk, own, more) in cases {
        let both = [own, &[more]].concat();
        assert!(matches!(look(&desk, &both), LookUp::Pass(PassWhy::Ambiguous)), "{both:?}");
        let answer = Outcome::Answered(json(200, r#"{"user":{"id":"alice"}}"#));
        let shown_to = shown(&desk, &both);
        desk.sessions.passed(&shown_to, Passage::Check, answer, desk.now());
        assert!(is_miss(&desk, own), "nothing is kept under what others may show too: {both:?}");
        fill(&desk, own, json(200, BETTER));
        assert!(matches!(look(&desk, &both), LookUp::Pass(PassWhy::Ambiguous)), "nor shown: {both:?}");
        let sign_out = desk.sessions.begin_sign_out(&shown(&desk, own), desk.now());
        assert_eq!(desk.sessions.end_sign_out(sign_out, Some(&json(204, "")), desk.now()), Ended::SignedOut);
        assert_eq!(hit(&desk, &both).origin, Origin::Fence, "{both:?}");
    }
}

#[test]
fn a_signed_out_bearer_stays_so_however_its_letters_are_written() {
    let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    for service in [Service::supabase(), Service::generic("/me"), Service::better_auth()] {
        let desk = desk(service);
        let bearer = format!("Bearer {token}");
        fill(&desk, &[("authorization", &bearer)], json(200, r#"{"id":"7"}"#));
        let sign_out = desk.sessions.begin_sign_out(&shown(&desk, &[("authorization", &bearer)]), desk.now());
        desk.sessions.end_sign_out(sign_out, Some(&json(204, "")), desk.now());
        let at = bearer.len() - 8;
        let others = [
            bearer.replace("h8", "h9"),
            format!("{bearer}="),
            format!("{bearer}%3D"),
            format!("{}!{}", &bearer[..at], &bearer[at..]),
            // Decoded it is another token; to who does not decode it, it is this one with a letter that is none.
            format!("{}%{}", &bearer[..at], &bearer[at..]),
            bearer.replace("REhM", "RE%68M"),
        ];
        for other in others {
            let lines = [("authorization", other.as_str())];
            let LookUp::Answer(answer) = look(&desk, &lines) else { panic!("{other} is asked for") };
            assert_ne!(answer.origin, Origin::Cache);
            assert!(desk.sessions.admit(&shown(&desk, &lines), Passage::Check, desk.now()).is_some());
        }
    }
}

#[test]
fn claims_are_where_the_service_has_them() {
    let of = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let who = |id: &'static str| {
        [("x-session-user-id", id), ("x-session-email", "alice@shop.example"), ("x-session-name", "Alice")]
    };
    let end = ("x-session-expires", "2023-11-15T22:13:20.000Z");
    assert_eq!(claims(Service::better_auth(), TOKEN, BETTER, ""), of(&[&who("7")[..], &[end]].concat()));
    let kratos =
        claims(Service::kratos(), &[("x-session-token", "t")], WHOAMI, "x-auth-request,identity.schema_id=X-Ab");
    let deep = WHOAMI.replace(r#""role":"admin""#, r#""role":{"name":"admin"}"#);
    let deep = claims(Service::kratos(), &[("x-session-token", "t")], &deep, "user.role.name=X-A");
    assert!(!deep.iter().any(|(name, _)| name == "x-a"), "{deep:?}");
    let more = [
        ("x-session-expires", "2023-11-15T22:13:20.123456789Z"),
        ("x-auth-request-user", "i7"),
        ("x-auth-request-email", "alice@shop.example"),
        // Not what the person may write into the traits.
        ("x-auth-request-groups", "buyer"),
        ("x-ab", "default"),
    ];
    assert_eq!(kratos, of(&[&who("i7")[..], &more].concat()));
    let supabase = claims(Service::supabase(), &[("authorization", "Bearer t")], GOTRUE, "user.groups|user.role=X-A");
    assert_eq!(supabase, of(&[&who("u7")[..], &[("x-a", "buyers")]].concat()));
    let body = r#"{"id":9,"email":"a@b","expires":"2023-11-15T22:13:20Z"}"#;
    let generic = claims(Service::generic("/me"), &[("authorization", "Bearer t")], body, "");
    let told = [("x-session-user-id", "9"), ("x-session-email", "a@b"), ("x-session-expires", "2023-11-15T22:13:20Z")];
    assert_eq!(generic, of(&told));
}

#[test]
fn every_service_has_its_doors() {
    let at = |service: &Service, line: &str| {
        let (method, target) = line.split_once(' ').unwrap();
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        service.route(method, path, query, true)
    };
    let own = |service: Service, lines: &[(&str, Route)]| {
        let both = [
            ("GET /api/auth/session", Route::Check),
            ("GET /api/auth/session?x", Route::OtherCheck),
            ("HEAD /api/auth/session", Route::OtherCheck),
            ("POST /api/auth/session", Route::Update),
            ("POST /api/auth/signout", Route::Clear),
            ("POST /api/auth/signout-everywhere", Route::SignOutEverywhere),
            ("PUT /api/auth/verify/x", Route::Verify),
            ("GET /healthz", Route::Elsewhere),
            ("GET /", Route::Elsewhere),
            ("GET /admin/sessions", Route::Elsewhere),
        ];
        for (line, route) in both.iter().chain(lines) {
            assert_eq!(at(&service, line), *route, "{line}");
        }
    };
    own(
        Service::better_auth(),
        &[
            ("GET /api/auth/get-session", Route::Check),
            ("GET /api/auth/get-session?disableCookieCache=true", Route::OtherCheck),
            ("POST /api/auth/get-session", Route::Update),
            ("POST /api/auth/sign-out", Route::SignOut),
            ("GET /api/auth/sign-out", Route::SignIn),
            ("POST /api/auth/sign-in/email", Route::SignIn),
            ("GET /api/auth/list-sessions", Route::SignIn),
            ("GET /api/authx", Route::Elsewhere),
        ],
    );
    own(
        Service::kratos(),
        &[
            ("GET /sessions/whoami", Route::Check),
            ("OPTIONS /sessions/whoami", Route::OtherCheck),
            ("DELETE /self-service/logout/api", Route::SignOut),
            ("GET /self-service/logout?token=x", Route::SignIn),
            ("GET /sessions", Route::SignIn),
            ("DELETE /sessions/7", Route::SignIn),
            ("GET /schemas/default", Route::SignIn),
            ("GET /schemas/../admin/identities", Route::Elsewhere),
            ("GET /sessions/%2e%2e/admin/identities", Route::Elsewhere),
            ("GET /api/auth/other", Route::Elsewhere),
            ("GET /.well-known/jwks.json", Route::Elsewhere),
        ],
    );
    own(
        Service::supabase(),
        &[
            ("GET /auth/v1/user", Route::Check),
            ("PUT /auth/v1/user", Route::Update),
            ("POST /auth/v1/logout?scope=local", Route::SignOut),
            ("POST /auth/v1/token?grant_type=refresh_token", Route::SignIn),
            ("GET /rest/v1/orders", Route::Elsewhere),
        ],
    );
    own(
        Service::generic("/me").with_sign_out("/account/leave"),
        &[
            ("GET /me", Route::Check),
            ("POST /account/leave", Route::SignOut),
            ("DELETE /account/leave", Route::SignOut),
            ("GET /account/leave", Route::SignIn),
            ("GET /account/other", Route::SignIn),
            ("GET /others", Route::Elsewhere),
        ],
    );
    let supabase = Service::supabase();
    assert!(
        supabase.ends_all(None) && supabase.ends_all(Some("scope=global")) && !supabase.ends_all(Some("scope=local"))
    );
    assert!(supabase.spares_itself(Some("a=b&scope=others")) && !supabase.spares_itself(None));
    assert_eq!(Service::kratos().token_in(br#"{"session_token":"t"}"#).as_deref(), Some("t"));
    assert_eq!(Service::better_auth().token_in(br#"{"session_token":"t"}"#), None);
}

#[test]
fn a_users_sessions_are_known_by_where_the_service_has_the_id() {
    let desk = desk(Service::kratos());
    for token in ["a", "b"] {
        fill(&desk, &[("x-session-token", token)], json(200, WHOAMI));
    }
    let mut everywhere = desk.sessions.end_everywhere(desk.sessions.user_called("i7"), desk.now());
    while !everywhere.step(desk.now()) {}
    assert_eq!(everywhere.ended(), 2);
    assert_eq!(hit(&desk, &[("x-session-token", "b")]).origin, Origin::Fence);
}

#[test]
fn who_signs_in_again_with_the_very_token_is_locked_out_no_longer() {
    let desk = named(Service::generic("/me"), "sid");
    let told = json(200, r#"{"user":{"id":"7","name":"alice"}}"#);
    let set = |token: &str| vec![("set-cookie".into(), format!("sid={token}; Path=/; HttpOnly").into())];
    let tokens = |cookies: &str| shown(&desk, &[("cookie", cookies)]);
    let is_out = |token: &str| {
        let looked = look(&desk, &[("cookie", &format!("sid={token}"))]);
        matches!(looked, LookUp::Answer(answer) if answer.origin == Origin::Fence)
    };
    let sign_out = |token: &str| {
        let sign_out = desk.sessions.begin_sign_out(&tokens(&format!("sid={token}")), desk.now());
        assert_eq!(desk.sessions.end_sign_out(sign_out, Some(&json(200, "{}")), desk.now()), Ended::SignedOut);
    };
    let end = |began: SignIn, cookies: &str, status: u16, headers: &[Header]| {
        desk.sessions.end_sign_in(began, &tokens(cookies), status, headers, desk.now())
    };
    fill(&desk, &[("cookie", "sid=a.sig")], told.clone());
    sign_out("a.sig");
    desk.wait(Ttl::seconds(3_600));
    assert!(is_out("a.sig"));
    // Neither a failed sign-in nor one of somebody else, nor an answer that gives back what it was shown.
    let began = desk.sessions.begin_sign_in();
    assert!(!end(began, "", 401, &set("a.sig")));
    assert!(!end(began, "", 200, &set("b.sig")));
    assert!(!end(began, "", 200, &set("")));
    assert!(!end(began, "sid=a.sig", 200, &set("a.sig")));
    sign_out("a.sig");
    assert!(is_out("a.sig"));
    // A sign-out that was begun after the sign-in holds.
    assert!(!end(began, "", 200, &set("a.sig")));
    assert!(is_out("a.sig"));
    assert!(end(desk.sessions.begin_sign_in(), "theme=dark", 302, &set("a.sig")));
    assert_eq!(fill(&desk, &[("cookie", "sid=a.sig")], told.clone()).status, 200);
    // And so he can sign out again, many times, and in again.
    for _ in 0..40 {
        sign_out("a.sig");
    }
    assert!(is_out("a.sig"));
    assert!(end(desk.sessions.begin_sign_in(), "", 200, &set("a.sig")) && !is_out("a.sig"));
    // A removal by a command falls by itself, and one sign-out that is under way may not be undone.
    desk.redis_del("a.sig");
    assert!(!end(desk.sessions.begin_sign_in(), "", 200, &set("a.sig")) && is_out("a.sig"));
    desk.wait(Ttl::seconds(60));
    let pending = desk.sessions.begin_sign_out(&tokens("sid=a.sig"), desk.now());
    assert!(!end(desk.sessions.begin_sign_in(), "", 200, &set("a.sig")) && is_out("a.sig"));
    drop(pending);
    // NextAuth's tokens are new ones at each sign-in.
    let desk = Desk::upstream();
    desk.sign_out(&cookie("t1"), Some(&deletes()));
    let set = [("set-cookie".into(), rolled_to("t1").into())];
    let began = desk.sessions.begin_sign_in();
    assert!(!desk.sessions.end_sign_in(began, &desk.tokens(""), 200, &set, desk.now()));
}
