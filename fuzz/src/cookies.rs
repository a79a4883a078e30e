//! Cookies of every shape: a token is shown its own session, whatever stands around its cookie, and nothing else.

use cloakroom::clock::{ManualClock, Ttl};
use cloakroom::session::{LookUp, SessionCache, Settings};
use cloakroom::store::Store;

/// One case.
pub fn run(input: &[u8]) {
    let clock = ManualClock::default();
    let settings = Settings::default();
    let mut stores = Store::builder().clock(clock.clone()).fence(settings.fence()).build_family(2);
    let (families, answers) = (stores.remove(1), stores.remove(0));
    let sessions = SessionCache::new(answers.clone(), families, settings);
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
}
