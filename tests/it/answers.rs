//! What the HTTP door makes of an upstream's answers: which header lines it hands on, and how it deletes cookies.

use super::browser::ask;
use super::http::before;
use super::profiles::{Fake, get, get_plainly, said};
use super::support::free_port;

#[test]
fn what_is_true_of_one_moment_is_said_once_by_both_ways_and_not_again() {
    let fake = Fake::start(|_| {
        said(200, r#"{"user":{"id":"7"},"expires":"2099-01-01T00:00:00.000Z"}"#)
            .with("Date", "Thu, 01 Jan 2026 00:00:00 GMT")
            .with("Age", "7")
            .with("X-Response-Time", "9.99ms")
            .with("X-Session-Source", "app")
            .with("Server-Timing", "app;dur=9")
            .with("Cache-Status", "edge; hit")
            .with("X-App", "1")
    });
    let server = before(fake.addr, &[("profile", "nextauth")]);
    for (token, ways) in [("a", [get, get_plainly]), ("b", [get_plainly, get])] {
        let cookie = format!("next-auth.session-token={token}");
        for (way, source) in [(ways[0], "nextauth"), (ways[0], "cache"), (ways[1], "cache")] {
            let answer = way(&server, "/api/auth/session", &[("Cookie", &cookie)]);
            assert_eq!((answer.header("x-session-source"), answer.header("x-app")), (source, "1"));
            for name in ["date", "x-response-time", "x-session-source"] {
                assert_eq!(answer.all(name).count(), 1, "{source}: {name}");
            }
            assert_eq!(answer.all("age").count(), 0, "{source}");
            assert!(!answer.header("date").contains(" 2026 00:00:00"), "{source}: {}", answer.header("date"));
            // Who waited for the upstream is told what that said of it.
            let own = |name: &str| answer.all(name).filter(|value| value.starts_with(['a', 'e'])).count();
            let told = usize::from(source == "nextauth");
            assert_eq!((own("server-timing"), own("cache-status")), (told, told), "{source}");
        }
    }
    assert_eq!(fake.calls("GET", "/api/auth/session"), 2);
}

#[test]
fn no_answer_is_for_caches_in_between_whatever_the_application_says() {
    let fake = Fake::start(|_| {
        said(200, r#"{"user":{"id":"7"},"expires":"2099-01-01T00:00:00.000Z"}"#)
            .with("Cache-Control", "public, max-age=60")
            .with("CDN-Cache-Control", "max-age=60")
            .with("Surrogate-Control", "max-age=60")
            .with("X-Accel-Expires", "60")
    });
    let server = before(fake.addr, &[("profile", "nextauth")]);
    let cookie = [("Cookie", "next-auth.session-token=a")];
    for path in ["/api/auth/session", "/api/auth/session", "/api/auth/session?x", "/api/auth/providers"] {
        let answer = get(&server, path, &cookie);
        assert_eq!(answer.header("cache-control"), "private, no-cache, no-store", "{path}");
        for name in ["cdn-cache-control", "surrogate-control", "x-accel-expires"] {
            assert_eq!(answer.header(name), "", "{path}: {name}");
        }
    }
}

#[test]
fn a_cookie_that_browsers_take_over_https_alone_is_deleted_in_a_way_that_they_take() {
    let (nobody, _kept) = free_port();
    for (name, secure) in [("__Host-shop", "; Secure"), ("__secure-shop", "; Secure"), ("__shop", ""), ("shop", "")] {
        let server = before(nobody, &[("profile", "better-auth"), ("session-cookie", name)]);
        let cookie = format!("{name}=alice.1");
        let out = ask(server.http, "POST", "/api/auth/sign-out", &[("Cookie", &cookie)], "{}");
        let gone = format!("{name}=; Max-Age=0; Path=/; HttpOnly{secure}; SameSite=Lax");
        assert_eq!((out.status, out.header("set-cookie")), (503, gone.as_str()));
    }
}
