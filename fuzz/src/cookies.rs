//! Cookies of every shape: a token is shown its own session, whatever stands around its cookie, and nothing else; and one
//! that was signed out is handed to nobody who would read it, however it is written.

use std::borrow::Cow;

use cloakroom::clock::{ManualClock, Ttl};
use cloakroom::session::{LookUp, Outcome, Passage, Profile, SessionCache, Settings, Source, SourceAnswer};
use cloakroom::store::Store;

#[path = "parsers.rs"]
mod parsers;

use parsers::{is_taken_for, tokens_read};

/// Stands for the token that was signed out, as no fuzzer finds it by itself.
const MARK: u8 = 0x01;

/// A token that was signed out: header, no key, vector, text and tag. Its last letter has four bits to spare.
const DEAD: &[u8] = b"eyJhbGciOiJkaXIifQ..AAECAwQFBgcICQoL.c2Vzc2lvbi1vZi1hbGljZQ.AAECAwQFBgcICQoLDA0ODw";

fn caches(settings: Settings) -> (ManualClock, Store, SessionCache) {
    let clock = ManualClock::default();
    let mut stores = Store::builder().clock(clock.clone()).fence(settings.fence()).build_family(2);
    let (families, answers) = (stores.remove(1), stores.remove(0));
    let sessions = SessionCache::new(answers.clone(), families, settings);
    (clock, answers, sessions)
}

/// One case.
pub fn run(input: &[u8]) {
    let (clock, answers, sessions) = caches(Settings::default());
    let mine = br#"{"user":{"name":"mine"}}"#;
    answers.put(b"auth:session:abcdefghijklmnop", mine, Ttl::seconds(60)).expect("room for one");

    let lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    let tokens = sessions.tokens(lines.iter().copied());
    if let LookUp::Answer(answer) = sessions.look_up(&tokens, clock.now()) {
        // The token may lie in pieces, but all of its letters must have been sent.
        if answer.body[..] == mine[..] {
            let sent: Vec<u8> = input.to_vec();
            assert!(b"abcdefghijklmnop".iter().all(|byte| sent.contains(byte) || sent.contains(&b'%')), "{lines:?}");
        }
    }
    // What one reading says, another says.
    let again = sessions.tokens(lines.iter().copied());
    assert_eq!(format!("{tokens:?}"), format!("{again:?}"));
    past_a_fence(&lines);
}

/// What any parser and decoder take for a token that was signed out is asked of nobody.
fn past_a_fence(lines: &[&[u8]]) {
    let settings = Settings { source: Source::Upstream, profile: Some(Profile::NextAuth), ..Settings::default() };
    let (clock, _, sessions) = caches(settings);
    let name = sessions.cookie_name();
    let dead = sessions.tokens([&[name.as_bytes(), b"=", DEAD].concat()[..]]);
    let sign_out = sessions.begin_sign_out(&dead, clock.now());
    sessions.end_sign_out(sign_out, None, clock.now());

    let with_dead = |line: &&[u8]| line.split(|byte| *byte == MARK).collect::<Vec<_>>().join(DEAD);
    let lines: Vec<Vec<u8>> = lines.iter().map(with_dead).collect();
    let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
    // HTTP lets no other control characters through.
    if lines.iter().any(|line| line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t')) {
        return;
    }
    let dead = String::from_utf8_lossy(DEAD);
    if tokens_read(&lines, &name).iter().any(|token| is_taken_for(token, &dead)) {
        let tokens = sessions.tokens(lines.iter().copied());
        let shown = || lines.iter().map(|line| String::from_utf8_lossy(line)).collect::<Vec<Cow<'_, str>>>();
        let answer = match sessions.look_up(&tokens, clock.now()) {
            LookUp::Answer(answer) => answer,
            // Of two cookies the other one may count, so the source is asked; what it says is not shown.
            LookUp::Fill(fill) => {
                let alice = SourceAnswer::new(200, r#"{"user":{"name":"alice"}}"#);
                let outcome = Outcome::Answered(alice.with("content-type", "application/json"));
                sessions.complete(fill, outcome, clock.now())
            }
            _ => panic!("handed on: {:?}", shown()),
        };
        assert!(!String::from_utf8_lossy(&answer.body).contains("alice"), "{:?}", shown());
        let is_left = sessions.without_dead(&tokens, lines.iter().copied(), clock.now()).is_none();
        let admitted = sessions.admit(&tokens, Passage::Check, clock.now()).is_none();
        assert!(!(is_left && admitted), "{:?}", shown());
    }
}
