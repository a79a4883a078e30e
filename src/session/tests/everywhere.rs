//! Ending every session of a user at once.

use super::*;
use crate::store::Sweep;

fn finish(desk: &Desk, mut everywhere: Everywhere) -> usize {
    while !everywhere.step(desk.now()) {}
    everywhere.ended()
}

#[track_caller]
fn end_all_of(desk: &Desk, cookies: &str) -> usize {
    let user = desk.sessions.user(&desk.tokens(cookies), desk.now()).expect("somebody");
    finish(desk, desk.sessions.end_everywhere(user, desk.now()))
}

/// The session of a user with an id.
fn of(id: &str, rolled: &str) -> SourceAnswer {
    let body = format!(r#"{{"user":{{"id":"{id}","name":"{id}"}},"expires":"2023-11-15T22:13:20.000Z"}}"#);
    let answer = SourceAnswer::new(200, body).with("content-type", "application/json");
    if rolled.is_empty() { answer } else { answer.with("set-cookie", rolled_to(rolled)) }
}

#[test]
fn every_device_of_a_user_is_signed_out_and_nobody_elses() {
    let desk = Desk::upstream();
    desk.fill(&cookie("phone1"), of("alice", "phone2"));
    desk.fill(&cookie("laptop1"), of("alice", "laptop2"));
    desk.fill(&cookie("bob1"), of("bob", "bob2"));
    assert_eq!(end_all_of(&desk, &cookie("phone2")), 2);
    for token in ["phone1", "phone2", "laptop1", "laptop2"] {
        assert_eq!(desk.hit(&cookie(token)).origin, Origin::Fence, "{token}");
    }
    assert_eq!(user(&desk.hit(&cookie("bob1"))).as_deref(), Some("bob"));
    assert_eq!(desk.count("sign_outs"), 2);
    // She can sign in again at once.
    desk.wait(Ttl(1));
    desk.fill(&cookie("new1"), of("alice", ""));
    assert_eq!(user(&desk.hit(&cookie("new1"))).as_deref(), Some("alice"));
}

#[test]
fn what_is_under_way_does_not_come_back() {
    let desk = Desk::upstream();
    desk.fill(&cookie("phone1"), of("alice", "phone2"));
    // One whose family is known, and one that nobody has seen yet.
    desk.wait(Ttl::seconds(6));
    let known = desk.miss(&cookie("phone2"));
    let unseen = desk.miss(&cookie("laptop1"));
    let waiting = desk.joins(&cookie("laptop1"));
    let bob = desk.miss(&cookie("bob1"));
    assert_eq!(finish(&desk, desk.sessions.end_everywhere(desk.sessions.user_called("alice"), desk.now())), 1);
    desk.wait(Ttl(50));
    for (fill, rolled) in [(known, "phone3"), (unseen, "laptop2")] {
        let answer = desk.complete(fill, of("alice", rolled));
        assert_eq!((user(&answer), set_cookies(&answer).len()), (None, 0));
    }
    assert_eq!(user(&desk.shared(&waiting).unwrap()), None);
    assert_eq!(user(&desk.complete(bob, of("bob", ""))).as_deref(), Some("bob"));
    assert_eq!(desk.keys(), 1);
}

#[test]
fn lists_die_with_the_families() {
    let desk = Desk::upstream();
    for round in 0..200 {
        desk.fill(&cookie(&format!("t{round}")), of("alice", &format!("r{round}")));
        desk.wait(Ttl::seconds(1));
    }
    let (families, _) = desk.families.count();
    assert!(families > 0);
    // Old devices have left the list: what is ended are those that were seen within the window.
    let ended = finish(&desk, desk.sessions.end_everywhere(desk.sessions.user_called("alice"), desk.now()));
    assert!((30..=100).contains(&ended), "{ended}");
    desk.wait(Ttl::seconds(200));
    while !matches!(desk.families.sweep(desk.now()), Sweep::Idle(_)) {}
    assert_eq!(desk.families.len(), 0);
}

#[test]
fn a_list_has_an_end() {
    let desk = Desk::upstream();
    for device in 0..600 {
        desk.fill(&cookie(&format!("t{device}")), of("alice", ""));
        desk.wait(Ttl(1));
    }
    assert_eq!(finish(&desk, desk.sessions.end_everywhere(desk.sessions.user_called("alice"), desk.now())), 512);
    assert_eq!(desk.hit(&cookie("t599")).origin, Origin::Fence);
}

#[test]
fn with_the_store_alone_what_apps_have_stored_is_looked_through() {
    let desk = Desk::alone();
    for n in 0..1500 {
        let id = if n % 500 == 0 { "alice" } else { "bob" };
        let body = format!(r#"{{"user":{{"email":"{id}"}},"n":{n}}}"#);
        desk.redis_set(&format!("t{n}"), &body, Ttl::seconds(60)).unwrap();
    }
    desk.redis_set("odd", "no session", Ttl::seconds(60)).unwrap();
    desk.answers.put(b"other", br#"{"user":{"email":"alice"}}"#, Ttl::seconds(60)).unwrap();
    assert_eq!(end_all_of(&desk, &cookie("t500")), 3);
    for n in [0, 500, 1000] {
        assert_eq!(desk.hit(&cookie(&format!("t{n}"))).origin, Origin::Fence);
        // A write that comes late is refused.
        assert!(desk.redis_set(&format!("t{n}"), "{}", Ttl::seconds(9)).is_err());
    }
    assert_eq!(desk.keys(), 1499);
    desk.redis_set("new", r#"{"user":{"email":"alice"}}"#, Ttl::seconds(60)).unwrap();
    assert_eq!(desk.hit(&cookie("new")).status, 200);
}

#[test]
fn who_is_not_signed_in_is_nobody() {
    let desk = Desk::upstream();
    desk.fill(&cookie("t1"), SourceAnswer::new(200, r#"{"user":{"name":"anonymous"}}"#));
    for cookies in ["", "a=b", &cookie("t1"), &cookie("unknown")] {
        assert_eq!(desk.sessions.user(&desk.tokens(cookies), desk.now()), None, "{cookies}");
    }
    desk.fill(&cookie("t2"), of("alice", ""));
    desk.sign_out(&cookie("t2"), Some(&deletes()));
    assert_eq!(desk.sessions.user(&desk.tokens(&cookie("t2")), desk.now()), None);
}

#[test]
fn a_decoded_token_from_before_is_dead_wherever_it_has_been() {
    let secrets = Secrets::new(["s"]).unwrap();
    let source = Source::NextAuth(NextAuth::new(secrets.clone()));
    let desk = Desk::with(Settings { source: source.clone(), profile: Some(Profile::NextAuth), ..Settings::default() });
    let ring = Keyring::new(Profile::NextAuth, "", &secrets);
    let make = |desk: &Desk, sub: &str, dice: u8| {
        let claims = Claims::read(format!(r#"{{"name":"{sub}","sub":"{sub}"}}"#).as_bytes()).unwrap();
        cookie(&ring.encode(claims, desk.now().0 / 1000, 86_400, [dice; DICE]))
    };
    let decode = |desk: &Desk, cookies: &str, dice: u8| {
        let fill = desk.miss(cookies);
        desk.sessions.decode(fill, [cookies.as_bytes()], false, [dice; DICE], desk.now())
    };
    let written = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let log = written.clone();
    desk.sessions.on_sign_out(move |names, until| {
        log.lock().extend(names.iter().map(|name| (name.to_vec(), until)));
    });
    let (idle, phone, bob) = (make(&desk, "alice", 1), make(&desk, "alice", 2), make(&desk, "bob", 3));
    decode(&desk, &idle, 10);
    // The idle device has been forgotten long since.
    desk.wait(Ttl::seconds(3600));
    decode(&desk, &phone, 11);
    let late = desk.miss(&make(&desk, "alice", 4));
    assert_eq!(end_all_of(&desk, &phone), 1);
    let cookies = make(&desk, "alice", 4);
    assert_eq!(user(&desk.sessions.decode(late, [cookies.as_bytes()], false, [12; DICE], desk.now())), None);
    desk.wait(Ttl(1));
    let answer = decode(&desk, &idle, 13);
    assert_eq!((user(&answer), set_cookies(&answer).len()), (None, 1));
    assert!(set_cookies(&answer)[0].contains("=; Max-Age=0"));
    assert_eq!(user(&decode(&desk, &bob, 14)).as_deref(), Some("bob"));
    desk.wait(Ttl::seconds(1));
    assert_eq!(user(&decode(&desk, &make(&desk, "alice", 5), 15)).as_deref(), Some("alice"));
    // What was written down holds in the next process too.
    let key = desk.answers.naming_key().clone();
    let mut stores = Store::builder().clock(desk.clock.clone()).naming_key(key).build_family(2);
    let (families, answers) = (stores.remove(1), stores.remove(0));
    let settings = Settings { source, profile: Some(Profile::NextAuth), ..Settings::default() };
    let next = Desk {
        clock: desk.clock.clone(),
        sessions: SessionCache::new(answers.clone(), families.clone(), settings),
        answers,
        families,
    };
    for (name, until) in written.lock().iter() {
        next.sessions.restore_sign_out([name.as_slice()].into_iter(), *until);
    }
    assert_eq!(next.hit(&phone).origin, Origin::Fence);
    assert_eq!(user(&decode(&next, &idle, 16)), None);
    assert_eq!(user(&decode(&next, &bob, 17)).as_deref(), Some("bob"));
    assert_eq!(user(&decode(&next, &make(&next, "alice", 6), 18)).as_deref(), Some("alice"));
}

/// A desk that decodes tokens, and who makes them by its wall clock.
fn decoding() -> (Desk, impl Fn(&Desk, &str, u8) -> String) {
    let secrets = Secrets::new(["s"]).unwrap();
    let source = Source::NextAuth(NextAuth::new(secrets.clone()));
    let desk = Desk::with(Settings { source, profile: Some(Profile::NextAuth), ..Settings::default() });
    let ring = Keyring::new(Profile::NextAuth, "", &secrets);
    let make = move |desk: &Desk, sub: &str, dice: u8| {
        let claims = Claims::read(format!(r#"{{"name":"{sub}","sub":"{sub}"}}"#).as_bytes()).unwrap();
        let wall = desk.answers.clock().to_wall(desk.now()) / 1000;
        cookie(&ring.encode(claims, wall, 30 * 86_400, [dice; DICE]))
    };
    (desk, make)
}

/// Whom a token shows that is decoded now.
fn decoded(desk: &Desk, cookies: &str, dice: u8) -> Option<String> {
    let fill = desk.miss(cookies);
    user(&desk.sessions.decode(fill, [cookies.as_bytes()], false, [dice; DICE], desk.now()))
}

#[test]
fn a_wall_clock_that_is_set_neither_revives_tokens_from_before_nor_refuses_those_from_after() {
    let (desk, make) = decoding();
    let written = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let log = written.clone();
    desk.sessions.on_sign_out(move |names, until| {
        log.lock().extend(names.iter().map(|name| (name.to_vec(), until)));
    });
    let stolen = make(&desk, "alice", 1);
    desk.wait(Ttl::seconds(600));
    finish(&desk, desk.sessions.end_everywhere(desk.sessions.user_called("alice"), desk.now()));
    desk.wait(Ttl::seconds(10));
    let fresh = make(&desk, "alice", 2);
    for (dice, offset) in [0, -1_800_000, 1_800_000, 0].into_iter().enumerate() {
        desk.clock.set_wall_offset(offset);
        assert_eq!(decoded(&desk, &stolen, 10 + dice as u8), None, "{offset}");
        assert_eq!(decoded(&desk, &fresh, 20 + dice as u8).as_deref(), Some("alice"), "{offset}");
        desk.wait(Ttl::seconds(100));
    }
    // Nor in the next process, whatever its clock says, though a snapshot has told it of the same fence.
    desk.clock.set_wall_offset(-1_800_000);
    let (next, _) = decoding();
    let key = desk.answers.naming_key().clone();
    let mut stores = Store::builder().clock(desk.clock.clone()).naming_key(key).build_family(2);
    let (families, answers) = (stores.remove(1), stores.remove(0));
    let settings = next.sessions.settings().as_ref().clone();
    let sessions = SessionCache::new(answers.clone(), families.clone(), settings);
    let next = Desk { clock: desk.clock.clone(), sessions, answers, families };
    for (name, until) in written.lock().iter() {
        let stored = [b"auth:session:", name.as_slice()].concat();
        let until_here = desk.now() + Ttl::seconds(9);
        next.answers.put_back(crate::store::Kept::Fence { name: &stored, until: until_here }, next.now());
        next.sessions.restore_sign_out([name.as_slice()].into_iter(), *until);
    }
    next.wait(Ttl(1));
    for offset in [-1_800_000, 1_800_000] {
        next.clock.set_wall_offset(offset);
        assert_eq!(decoded(&next, &stolen, 30), None, "{offset}");
        assert_eq!(decoded(&next, &fresh, 31).as_deref(), Some("alice"), "{offset}");
        next.wait(Ttl::seconds(100));
    }
}

#[test]
fn a_decoded_token_from_before_is_not_handed_on_either() {
    let (desk, make) = decoding();
    let kept = |cookies: &str| {
        desk.sessions.without_dead(&desk.tokens(cookies), [cookies.as_bytes()], desk.now()).map(|lines| lines.len())
    };
    // One that was never seen here, as of a device that slept or of a thief.
    let (stolen, bob) = (make(&desk, "alice", 1), make(&desk, "bob", 2));
    assert_eq!(kept(&stolen), None);
    desk.wait(Ttl::seconds(5));
    finish(&desk, desk.sessions.end_everywhere(desk.sessions.user_called("alice"), desk.now()));
    desk.wait(Ttl::seconds(5));
    assert_eq!(kept(&stolen), Some(0));
    assert_eq!(kept(&format!("a=1; {stolen}")), Some(1));
    assert_eq!(desk.sessions.farewell(&desk.tokens(&stolen), [stolen.as_bytes()], desk.now()).len(), 1);
    for alive in [&bob, &make(&desk, "alice", 3), &cookie("garbage")] {
        assert_eq!(kept(alive), None);
    }
}
