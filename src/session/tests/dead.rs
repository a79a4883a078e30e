//! What was signed out and is still in a browser.

use super::*;

#[test]
fn rule_18_what_was_signed_out_is_not_handed_on_and_all_else_is_as_it_was() {
    let kept = |desk: &Desk, cookies: &[&str]| {
        let lines = || cookies.iter().map(|line| line.as_bytes());
        let tokens = desk.sessions.tokens(lines());
        let kept = desk.sessions.without_dead(&tokens, lines(), desk.now());
        kept.map(|lines| lines.iter().map(|line| String::from_utf8(line.to_vec()).unwrap()).collect::<Vec<_>>())
    };
    let gone = |desk: &Desk, cookies: &str| -> Vec<String> {
        let lines = desk.sessions.farewell(&desk.tokens(cookies), [cookies.as_bytes()], desk.now());
        lines.iter().map(|line| String::from_utf8(line.to_vec()).unwrap()).collect()
    };
    for profile in [Some(Profile::NextAuth), None] {
        let settings = Settings { source: Source::Upstream, profile, ..Settings::default() };
        let desk = Desk::with(settings);
        let (dead, live) = ("next-auth.session-token=dead", "__Secure-next-auth.session-token=live");
        assert_eq!(kept(&desk, &[dead]), None);
        // While the upstream may still refuse it, nothing is taken from the browser.
        let sign_out = desk.sessions.begin_sign_out(&desk.tokens(dead), desk.now());
        assert_eq!((kept(&desk, &[dead]), gone(&desk, dead).len()), (Some(Vec::new()), 0));
        desk.sessions.end_sign_out(sign_out, Some(&deletes()), desk.now());
        for (came, left) in [
            (vec![dead], vec![]),
            (vec!["a=1; next-auth.session-token=dead"], vec!["a=1"]),
            (vec!["next-auth.session-token=dead; b=\"x y\";c", "d=2"], vec!["b=\"x y\";c", "d=2"]),
            (vec!["a=1 ; next-auth.session-token.0=de; b=2; next-auth.session-token.1=ad;c=3"], vec!["a=1 ; b=2;c=3"]),
            (vec![dead, live, "next-auth.csrf-token=x%7Cy"], vec![live, "next-auth.csrf-token=x%7Cy"]),
            // Which of two values counts is not known, so neither does.
            (vec!["next-auth.session-token=other; next-auth.session-token=dead; a=1"], vec!["a=1"]),
        ] {
            assert_eq!(
                kept(&desk, &came).as_deref(),
                Some(&left.into_iter().map(str::to_owned).collect::<Vec<_>>()[..])
            );
        }
        for alive in
            ["a=1; next-auth.session-token=", live, "next-auth.session-token=other", "next-auth.csrf-token=dead"]
        {
            assert_eq!((kept(&desk, &[alive]), gone(&desk, alive).len()), (None, 0), "{alive}");
        }
        assert_eq!(gone(&desk, dead), ["next-auth.session-token=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"]);
        assert_eq!(gone(&desk, &format!("{dead}; {live}")).len(), 1);
        assert_eq!(gone(&desk, "next-auth.session-token.0=de; a=1; next-auth.session-token.1=ad").len(), 2);
        assert_eq!(gone(&desk, "next-auth.session-token=other; next-auth.session-token=dead").len(), 0);
        // One that only HTTPS can set is deleted as such.
        desk.sign_out(live, Some(&deletes()));
        let secure = "__Secure-next-auth.session-token=; Max-Age=0; Path=/; HttpOnly; Secure; SameSite=Lax";
        assert_eq!(gone(&desk, live), [secure]);
        assert_eq!(kept(&desk, &[&format!("{dead}; {live}")]), Some(Vec::new()));
    }
    // What is left of another library is no reason to sign out who has signed in since.
    let desk = Desk::with(Settings { source: Source::Upstream, ..Settings::default() });
    desk.sign_out("next-auth.session-token=dead", Some(&deletes()));
    let both = "next-auth.session-token=dead; authjs.session-token=live";
    assert_eq!(kept(&desk, &[both]), Some(vec!["authjs.session-token=live".to_owned()]));
    assert_eq!(gone(&desk, both), ["next-auth.session-token=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"]);
    // A command's fence stands for seconds; whether the cookie is good is then the source's to say.
    let desk = Desk::upstream();
    desk.redis_set("t1", &body("alice"), Ttl::seconds(60)).unwrap();
    desk.redis_del("t1");
    assert_eq!((kept(&desk, &[&cookie("t1")]), gone(&desk, &cookie("t1")).len()), (Some(Vec::new()), 0));
}
