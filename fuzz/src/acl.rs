//! Rules of users: whatever SETUSER takes is shown as rules that make the same user, and nobody gets more by it.

use super::commands::Desk;

/// Whether the user may run these, by the reply of ACL DRYRUN.
const TRIED: &[&[&[u8]]] = &[
    &[b"GET", b"key"],
    &[b"SET", b"key", b"v"],
    &[b"SET", b"other", b"v"],
    &[b"PUBLISH", b"channel", b"m"],
    &[b"PSUBSCRIBE", b"c*"],
    &[b"CONFIG", b"GET", b"a"],
    &[b"SELECT", b"0"],
    &[b"COPY", b"key", b"other"],
    &[b"FLUSHALL"],
];

fn tried(desk: &mut Desk, user: &[u8]) -> Vec<Vec<u8>> {
    let mut replies = Vec::new();
    for request in TRIED {
        let reply = desk.send(&[&[&b"ACL"[..], b"DRYRUN", user], *request].concat()).to_vec();
        // Refusals name the user.
        replies.push(String::from_utf8_lossy(&reply).replace(&*String::from_utf8_lossy(user), "U").into_bytes());
    }
    replies
}

/// One case: the words of one or more ACL SETUSER, one a line; an empty line ends each.
pub fn run(input: &[u8]) {
    let mut desk = Desk::new();
    let lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').take(64).collect();
    for words in lines.split(|line| line.is_empty()).take(8) {
        desk.send(&[&[&b"ACL"[..], b"SETUSER", b"one"], words].concat());
    }
    let Some(one) = desk.engine.acl.user(b"one") else { return };
    let described = one.rules().describe();
    let words: Vec<&[u8]> = described.split(|byte| *byte == b' ').collect();
    // What is shown begins with nothing, and says so only of channels.
    let reply = desk.send(&[&[&b"ACL"[..], b"SETUSER", b"two", b"reset"], &words[..]].concat()).to_vec();
    assert!(reply.starts_with(b"+OK"), "{}: {}", described.escape_ascii(), reply.escape_ascii());
    let two = desk.engine.acl.user(b"two").expect("made above");
    assert_eq!(two.rules().is_free(), one.rules().is_free(), "{}", described.escape_ascii());
    let again = two.rules().describe();
    let without = |rules: &[u8]| {
        String::from_utf8_lossy(rules).replace("skip-sanitize-payload ", "").replace("sanitize-payload ", "")
    };
    assert_eq!(without(&again), without(&described));
    assert_eq!(tried(&mut desk, b"one"), tried(&mut desk, b"two"), "{}", described.escape_ascii());
}
