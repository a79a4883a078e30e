//! What the HTTP door makes of an upstream's answers: which header lines it hands on, and how it deletes cookies.

use super::browser::ask;
use super::faulty::Faulty;
use super::http::before;

#[test]
fn a_cookie_that_browsers_take_over_https_alone_is_deleted_in_a_way_that_they_take() {
    let (nobody, _kept) = Faulty::nobody();
    for (name, secure) in [("__Host-shop", "; Secure"), ("__secure-shop", "; Secure"), ("__shop", ""), ("shop", "")] {
        let server = before(nobody, &[("profile", "better-auth"), ("session-cookie", name)]);
        let cookie = format!("{name}=alice.1");
        let out = ask(server.http, "POST", "/api/auth/sign-out", &[("Cookie", &cookie)], "{}");
        let gone = format!("{name}=; Max-Age=0; Path=/; HttpOnly{secure}; SameSite=Lax");
        assert_eq!((out.status, out.header("set-cookie")), (503, gone.as_str()));
    }
}
