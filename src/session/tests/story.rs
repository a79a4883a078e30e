//! Why a check was no hit, as an operator hears it.

use super::*;

impl Desk {
    /// The words for what is remembered of a token, oldest first.
    fn words(&self, token: &str) -> Vec<&'static str> {
        let account = self.sessions.account(&self.tokens(&cookie(token)), self.now());
        account.events.iter().rev().map(|told| told.event.word()).collect()
    }

    fn state(&self, token: &str) -> State {
        self.sessions.account(&self.tokens(&cookie(token)), self.now()).state
    }
}

#[test]
fn a_miss_tells_why_it_was_one() {
    let desk = Desk::upstream();
    assert_eq!(desk.state("t0"), State::Absent { stale: None });
    desk.fill(&cookie("t0"), told("alice"));
    assert_eq!(desk.state("t0"), State::Stored { ttl: Some(Ttl::seconds(5)), is_session: true });
    // A hit is nothing to speak of.
    desk.hit(&cookie("t0"));
    assert_eq!(desk.words("t0"), ["new", "stored"]);
    desk.wait(Ttl(6_500));
    let State::Absent { stale: Some(left) } = desk.state("t0") else { panic!("{:?}", desk.state("t0")) };
    assert!(left < desk.sessions.settings().stale);
    let fill = desk.miss(&cookie("t0"));
    let newest = &desk.sessions.events(1)[0];
    assert_eq!(newest.event, Event::Expired(Ttl(1_500)));
    assert_eq!(newest.event.to_string(), "miss: the stored answer had died 1.5 s ago");
    desk.fail(fill, Failure::Timeout);
    assert_eq!(desk.words("t0"), ["new", "stored", "expired", "failed"]);
    // The source is let alone for a moment.
    desk.wait(Ttl::seconds(1));
    let fill = desk.miss(&cookie("t0"));
    desk.complete(fill, SourceAnswer::new(429, ""));
    assert_eq!(desk.sessions.events(1)[0].event, Event::Refused(429));
    desk.wait(Ttl::seconds(1));
    let fill = desk.miss(&cookie("t0"));
    desk.complete(fill, SourceAnswer::new(200, "{}").with("content-type", "application/json"));
    assert_eq!(desk.sessions.events(1)[0].event, Event::Nobody(200));
    assert_eq!(desk.words("t1").len(), 0);
}

#[test]
fn what_was_taken_away_before_its_time_is_told() {
    let desk = Desk::upstream();
    desk.fill(&cookie("t0"), signed_in("alice", "t1"));
    // The tokens of a login have one story.
    assert_eq!(desk.words("t1"), ["new", "stored"]);
    desk.sessions.clear(&desk.tokens(&cookie("t1")), desk.now());
    let fill = desk.miss(&cookie("t1"));
    desk.complete(fill, signed_in("alice", "t2"));
    assert_eq!(desk.words("t2"), ["new", "stored", "cleared", "removed", "stored"]);
    let account = desk.sessions.account(&desk.tokens(&cookie("t1")), desk.now());
    assert!(account.is_superseded && account.tokens >= 3, "{account:?}");
    assert!(account.session_ends.is_some_and(|ends| ends > Ttl::seconds(3_600)));
    desk.sign_out(&cookie("t2"), Some(&deletes()));
    assert!(matches!(desk.state("t0"), State::SignedOut(left) if left > Ttl::seconds(3_600)));
    assert_eq!(desk.words("t0").last(), Some(&"signed-out"));
}

#[test]
fn what_goes_past_the_cache_is_told_and_what_has_no_token_has_no_story() {
    let desk = Desk::upstream();
    let two = "next-auth.session-token=a; next-auth.session-token=b";
    assert!(matches!(desk.check(two), LookUp::Pass(PassWhy::Ambiguous)));
    assert_eq!(desk.sessions.events(1)[0].event, Event::Passed(PassWhy::Ambiguous));
    let of = |line: &str| desk.sessions.account(&desk.tokens(line), desk.now()).state;
    assert_eq!(of(two), State::Unclear(PassWhy::Ambiguous));
    assert_eq!(of("theme=dark"), State::NoCookie);
    let alone = Desk::alone();
    alone.hit(&cookie("t0"));
    assert_eq!(alone.words("t0"), ["absent"]);
    alone.redis_set("t0", "no session", Ttl::seconds(9)).unwrap();
    assert_eq!(alone.state("t0"), State::Stored { ttl: Some(Ttl::seconds(9)), is_session: false });
}

#[test]
fn a_story_has_no_token_and_an_end() {
    let desk = Desk::with(Settings { prefix: b"open:".to_vec(), ..Desk::alone().sessions.settings().as_ref().clone() });
    for number in 0..2_000 {
        desk.hit(&cookie(&format!("a-token-in-the-open-{number}")));
    }
    let all = desk.sessions.events(usize::MAX);
    assert!(all.len() < 1_000 && all[0].id == 1_999, "{}", all.len());
    // Nor where names are no hashes.
    assert!(all.iter().all(|told| told.name.len() < 10), "{}", all[0].name);
}
